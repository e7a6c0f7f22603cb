"""Greedy decoding with a cache or without, the exact-match score, and where the decoder looks."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from helpers.training import evaluation_mode
from helpers.transformers.attention.tasks import BEGIN, END, PAD


@torch.no_grad()
def greedy(
    model: nn.Module,
    source: Int[Tensor, "b s"],
    steps: int,
    *,
    cache: bool = True,
) -> Int[Tensor, "b t"]:
    """Write the likeliest token again and again, each fed back.

    Up to `steps` tokens, the end included; padding follows the end. With
    `cache` each token is read once; without, all are read again for each
    new one: the same tokens, at a cost that grows. Raises `ValueError` for
    steps below 1 and beyond the model's context.
    """
    if not 1 <= steps <= model.context:
        raise ValueError(
            f"steps = {steps}: this model writes 1 to {model.context} tokens"
        )
    tokens = torch.full_like(source[:, :1], BEGIN)
    ended = torch.zeros_like(tokens, dtype=torch.bool)
    with evaluation_mode(model):
        memory = model.encode(source)
        caches = model.caches() if cache else None
        for _ in range(steps):
            unread = tokens[:, -1:] if cache else tokens
            logits = model.decode(unread, memory, source, caches)
            new = logits[:, -1:].argmax(2).masked_fill(ended, PAD)  # [b 1]
            tokens = torch.cat([tokens, new], 1)
            ended = ended | (new == END)
            if ended.all():
                break
    return tokens[:, 1:]


@torch.no_grad()
def exact_match(
    model: nn.Module, source: Int[Tensor, "b s"], target: Int[Tensor, "b t"]
) -> Bool[Tensor, "b"]:
    """Whether greedy decoding writes all of `target`, the end included.

    One forward pass decides: if every token is the likeliest after the
    true ones before it, greedy decoding writes the first, hence the
    second, hence all of them; and it goes wrong at the first that is not.
    """
    with evaluation_mode(model):
        guess = model(source, target[:, :-1]).argmax(2)
    right = (guess == target[:, 1:]) | (target[:, 1:] == PAD)
    return right.all(1)


@torch.no_grad()
def cross_weights(
    model: nn.Module, source: Int[Tensor, "b s"], target: Int[Tensor, "b t"]
) -> Float[Tensor, "b heads t s"]:
    """Where in the source the decoder's last layer looks, at every step.

    Row i belongs to the step that reads token i of `target` and guesses
    the next one. No dropout is applied.
    """
    last = model.transformer.decoder.layers[-1].multihead_attn
    found = []

    def look(layer, inputs):
        found.append(layer.weights(*inputs))

    hook = last.register_forward_pre_hook(look)
    try:
        with evaluation_mode(model):
            model(source, target)
    finally:
        hook.remove()
    return found[0]

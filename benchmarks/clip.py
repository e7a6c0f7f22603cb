"""CLIP's two towers and its loss against transformers."""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial

import torch
from torch import nn
from transformers import CLIPConfig, CLIPModel

from benchmarks.harness import Pair
from helpers.multimodal.clip import (
    CLIP,
    TextTransformer,
    VisionTransformer,
    clip_vit_b_32,
    contrastive_loss,
    from_transformers,
)

PAIRS = 5  # a call takes up to some seconds
AGAINST = "transformers CLIPModel"
SAME = (
    "The same kernels on both sides, only that ours projects queries, keys and values in one product: else what differs from 1 "
    "is noise."
)
WORDS = 49_408


def pairs(device: torch.device, tiny: bool = False) -> Iterator[Pair]:
    """Forward, and forward and backward, with the same weights on both sides.

    ViT-B/32, on a CPU with 2 pairs in single precision, on a GPU with 256 in bfloat16; the loss
    compiled too, which takes the compiler a minute or two.
    """
    large = device.type == "cuda" and not tiny
    batch = 256 if large else 2
    name = "two blocks of width 32" if tiny else "ViT-B/32"
    for compiled in (False, True) if large else (False,):
        for part in ("loss",) if compiled else ("image tower", "text tower", "loss"):
            for how in ("forward", "both ways"):
                what = f"{name}, {part}, {batch} pairs, {how}" + ", compiled" * compiled
                sides = partial(towers, part, batch, device, tiny, compiled)
                run = answer if how == "forward" else gradient
                ours, other = (partial(run, sides, which, device) for which in (0, 1))
                yield Pair(what, AGAINST, ours, other, SAME)


def answer(sides: Callable, which: int, device: torch.device) -> torch.Tensor:
    call, _ = sides()[which]
    with torch.no_grad(), half_precision(device):
        return call()


def gradient(sides: Callable, which: int, device: torch.device) -> torch.Tensor:
    """The gradient of the first weights, which depends on all the rest."""
    call, first = sides()[which]
    first.grad = None
    with half_precision(device):
        out = call()
    (out if out.ndim == 0 else out.float().square().mean()).backward()
    return first.grad


def half_precision(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


@lru_cache(maxsize=1)
def towers(part: str, batch: int, device: torch.device, tiny: bool, compiled: bool):
    """For each side a function without arguments, and the weights that its input meets first."""
    ours, other, images, tokens = (x.to(device) for x in models(batch, tiny))
    if part == "image tower":
        calls = partial(ours.image, images), partial(image_features, other, images)
    elif part == "text tower":
        calls = partial(ours.text, tokens), partial(text_features, other, tokens)
    else:
        calls = partial(our_loss, ours, images, tokens), partial(their_loss, other, images, tokens)
    if compiled:
        torch.compiler.reset()
        calls = tuple(partial(torch.compile(call.func), *call.args) for call in calls)
    if part == "text tower":
        first = ours.text.positional_embedding, other.text_model.embeddings.position_embedding.weight
    else:
        first = ours.image.conv1.weight, other.vision_model.embeddings.patch_embedding.weight
    return tuple(zip(calls, first, strict=True))


def models(batch: int, tiny: bool) -> tuple[nn.Module, nn.Module, torch.Tensor, torch.Tensor]:
    """Ours and the other with the same weights, images, and texts as long as the context."""
    torch.manual_seed(0)
    if tiny:
        text = dict(hidden_size=24, intermediate_size=96, num_hidden_layers=2, num_attention_heads=3, vocab_size=30)
        text |= dict(max_position_embeddings=9, bos_token_id=28, eos_token_id=29, pad_token_id=0)
        vision = dict(hidden_size=32, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, image_size=8)
        config = CLIPConfig(text_config=text, vision_config=vision | dict(patch_size=4), projection_dim=16)
        eyes = VisionTransformer(image=8, patch=4, dim=32, depth=2, heads=4, features=16)
        ours = CLIP(eyes, TextTransformer(vocab=30, context=9, dim=24, depth=2, heads=3, features=16))
        side, vocab, context = 8, 30, 9
    else:
        config = CLIPConfig(text_config=dict(bos_token_id=WORDS - 2, eos_token_id=WORDS - 1))
        ours, side, vocab, context = clip_vit_b_32(), 224, WORDS, 77
    other = CLIPModel(config)
    ours.load_state_dict(from_transformers(other.state_dict()))
    images, tokens = torch.randn(batch, 3, side, side), torch.randint(vocab - 2, (batch, context))
    tokens[:, -1] = vocab - 1
    return ours, other, images, tokens


def image_features(model: CLIPModel, images: torch.Tensor) -> torch.Tensor:
    return model.get_image_features(images).pooler_output


def text_features(model: CLIPModel, tokens: torch.Tensor) -> torch.Tensor:
    return model.get_text_features(tokens).pooler_output


def our_loss(model: CLIP, images: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    return contrastive_loss(*model(images, tokens))


def their_loss(model: CLIPModel, images: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    return model(tokens, images, return_loss=True).loss

"""CLIP's two towers and its loss against transformers, and the loss against one product of matrices."""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import NamedTuple

import torch
from torch import nn
from transformers import CLIPConfig, CLIPModel

from benchmarks.architectures import half_precision
from benchmarks.harness import Pair, against_product, can_compile, count_flops
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
TINY, SMALL, FULL = "two blocks of width 32", "two blocks of width 256", "ViT-B/32"
SIZES = {
    TINY: dict(image=8, patch=4, dim=32, heads=4, text_dim=24, text_heads=3, vocab=30, context=9),
    SMALL: dict(image=64, patch=16, dim=256, heads=4, text_dim=192, text_heads=3, vocab=1000, context=32),
}
BATCH = {TINY: 2, SMALL: 32, FULL: 2}
COMPILED = {"cpu": SMALL, "cuda": FULL}


def pairs(device: torch.device, tiny: bool = False) -> Iterator[Pair]:
    """Forward, and forward and backward, with the same weights on both sides.

    ViT-B/32, on a CPU with 2 pairs in single precision, on a GPU with 256 in bfloat16; then the loss compiled, which takes the
    compiler a minute or two: on a CPU that of a small model.
    """
    runs = [(TINY if tiny else FULL, part, False) for part in ("image tower", "text tower", "loss")]
    if not tiny and can_compile(device):
        runs.append((COMPILED[device.type], "loss", True))
    for name, part, compiled in runs:
        batch = 256 if device.type == "cuda" and not tiny else BATCH[name]
        what = f"{name}, {part}, {batch} pairs{', compiled' * compiled}"
        sides = partial(towers, name, part, batch, device, compiled)
        passes = {"forward": answer, "both ways": gradient}
        for how, run in passes.items():
            ours, other = (partial(run, sides, which, device) for which in (0, 1))
            yield Pair(f"{what}, {how}", AGAINST, ours, other, SAME)
        if part == "loss" and not tiny:
            both = (partial(run, sides, 0, device) for run in passes.values())
            yield from against_product(what, *both, partial(flops, sides), device)


def answer(sides: Callable, which: int, device: torch.device) -> torch.Tensor:
    call, _ = sides().sides[which]
    with torch.no_grad(), half_precision(device):
        return call()


def gradient(sides: Callable, which: int, device: torch.device) -> torch.Tensor:
    """The gradient of the first weights, which depends on all the rest."""
    call, first = sides().sides[which]
    first.grad = None
    with half_precision(device):
        out = call()
    (out if out.ndim == 0 else out.float().square().mean()).backward()
    return first.grad


class Towers(NamedTuple):
    """For each side a function without arguments, and the weights that its input meets first; the flops of the function."""

    sides: tuple[tuple[Callable, nn.Parameter], ...]
    flops: int


def flops(towers: Callable[[], Towers]) -> int:
    return towers().flops


@lru_cache(maxsize=1)
def towers(name: str, part: str, batch: int, device: torch.device, compiled: bool) -> Towers:
    ours, other, images, tokens = (x.to(device) for x in models(name, batch))
    if part == "image tower":
        calls = partial(ours.image, images), partial(image_features, other, images)
    elif part == "text tower":
        calls = partial(ours.text, tokens), partial(text_features, other, tokens)
    else:
        calls = partial(our_loss, ours, images, tokens), partial(their_loss, other, images, tokens)
    count = count_flops(calls[0])
    if compiled:
        torch.compiler.reset()
        calls = tuple(partial(torch.compile(call.func), *call.args) for call in calls)
    if part == "text tower":
        first = ours.text.positional_embedding, other.text_model.embeddings.position_embedding.weight
    else:
        first = ours.image.conv1.weight, other.vision_model.embeddings.patch_embedding.weight
    return Towers(tuple(zip(calls, first, strict=True)), count)


def models(name: str, batch: int) -> tuple[nn.Module, nn.Module, torch.Tensor, torch.Tensor]:
    """Ours and the other with the same weights, images, and texts as long as the context."""
    torch.manual_seed(0)
    if name == FULL:
        side, vocab, context = 224, WORDS, 77
        config = CLIPConfig(text_config=dict(bos_token_id=WORDS - 2, eos_token_id=WORDS - 1))
        ours = clip_vit_b_32()
    else:
        side, patch, dim, heads, text_dim, text_heads, vocab, context = SIZES[name].values()
        text = sizes(text_dim, text_heads) | dict(vocab_size=vocab, max_position_embeddings=context)
        text |= dict(bos_token_id=vocab - 2, eos_token_id=vocab - 1, pad_token_id=0)
        vision = sizes(dim, heads) | dict(image_size=side, patch_size=patch)
        config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
        eyes = VisionTransformer(image=side, patch=patch, dim=dim, depth=2, heads=heads, features=16)
        reader = TextTransformer(vocab=vocab, context=context, dim=text_dim, depth=2, heads=text_heads, features=16)
        ours = CLIP(eyes, reader)
    other = CLIPModel(config)
    ours.load_state_dict(from_transformers(other.state_dict()))
    images, tokens = torch.randn(batch, 3, side, side), torch.randint(vocab - 2, (batch, context))
    tokens[:, -1] = vocab - 1
    return ours, other, images, tokens


def sizes(dim: int, heads: int) -> dict[str, int]:
    """Two blocks, in the words of transformers."""
    return dict(hidden_size=dim, intermediate_size=4 * dim, num_hidden_layers=2, num_attention_heads=heads)


def image_features(model: CLIPModel, images: torch.Tensor) -> torch.Tensor:
    return model.get_image_features(images).pooler_output


def text_features(model: CLIPModel, tokens: torch.Tensor) -> torch.Tensor:
    return model.get_text_features(tokens).pooler_output


def our_loss(model: CLIP, images: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    return contrastive_loss(*model(images, tokens))


def their_loss(model: CLIPModel, images: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    return model(tokens, images, return_loss=True).loss

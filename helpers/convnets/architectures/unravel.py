"""A trained net taken apart: blocks left out, and gradients by depth (Veit, Wilber & Belongie 2016, arXiv:1605.06431)."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import comb

import torch
from jaxtyping import Float
from torch import Tensor, nn

from helpers.convnets.architectures.preactivation import PreBlock
from helpers.convnets.architectures.resnet import Block


def blocks(net: nn.Module) -> dict[str, Block | PreBlock]:
    """The residual (or plain) blocks of a net by their names, in order."""
    modules = net.named_modules()
    return {n: m for n, m in modules if isinstance(m, Block | PreBlock)}


def removable(net: nn.Module) -> list[str]:
    """The blocks that can go without changing a shape: all but a few.

    In a residual net a block that changes the shape can go too, its
    projection stays; but it is left out here, so that residual and plain
    nets lose the same blocks.
    """
    return [n for n, block in blocks(net).items() if keeps_shape(block)]


def keeps_shape(block: Block | PreBlock) -> bool:
    first, *_ = (m for m in block.modules() if isinstance(m, nn.Conv2d))
    convs = [block.conv1, block.conv2, getattr(block, "conv3", block.conv2)]
    same = convs[0].in_channels == convs[-1].out_channels
    return same and all(conv.stride == (1, 1) for conv in convs)


class Removed(nn.Module):
    """What is left of a block without its branch."""

    def __init__(self, block: Block | PreBlock):
        super().__init__()
        self.block = block

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b o p q"]:
        return self.block.skip(x)


@contextmanager
def without(net: nn.Module, *names: str) -> Iterator[nn.Module]:
    """The net with these blocks left out, until the `with` ends.

    A residual block leaves its shortcut behind, a plain one nothing: its
    neighbours are joined. Raises `ValueError` for a name that is no block,
    and for a plain block that changes the shape.
    """
    known = blocks(net)
    for name in names:
        if name not in known:
            raise ValueError(f"{name!r} is no block: {', '.join(known)}")
        block = known[name]
        if not getattr(block, "residual", True) and not keeps_shape(block):
            raise ValueError(
                f"{name!r} changes the shape and has no shortcut: a plain "
                f"net can lose {', '.join(removable(net))}"
            )
    try:
        for name in names:
            net.set_submodule(name, Removed(known[name]))
        yield net
    finally:
        for name in names:
            net.set_submodule(name, known[name])


def path_lengths(blocks: int) -> list[int]:
    """How many of the 2^n paths through n blocks cross 0, 1, … n branches."""
    return [comb(blocks, k) for k in range(blocks + 1)]


def gradient_norms(
    net: nn.Module, loss: Float[Tensor, ""]
) -> dict[str, float]:
    """Norm of the gradient of each convolution and linear layer, in order.

    Divided by the square root of the number of weights, so that layers of
    other widths compare. Raises `ValueError` for layers that the loss does
    not depend on.
    """
    weighted = nn.Conv2d | nn.Linear
    modules = net.named_modules()
    layers = {n: m.weight for n, m in modules if isinstance(m, weighted)}
    weights = list(layers.values())
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    unused = [n for n, g in zip(layers, gradients) if g is None]
    if unused:
        raise ValueError(f"the loss does not depend on {', '.join(unused)}")
    scaled = [g.norm().item() / g.numel() ** 0.5 for g in gradients]
    return dict(zip(layers, scaled))

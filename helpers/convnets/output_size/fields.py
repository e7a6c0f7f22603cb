"""Receptive fields: computed (Araujo, Norris & Sim, Distill 2019) and measured (Luo et al. 2016, arXiv:1701.04128)."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from helpers.convnets.output_size.arithmetic import plain

Layer = Sequence[int]


class Field(NamedTuple):
    """What outputs see of the input, along one dimension.

    `size`: input pixels that one output sees; `jump`: input pixels from
    one output to the next; `start`: the first pixel that output 0 sees.
    Pixels count from 0; negative ones lie in the padding.
    """

    size: int = 1
    jump: int = 1
    start: int = 0

    @property
    def offset(self) -> float:
        """Centre of the field of output 0; pixel 0 has its centre at 0."""
        return self.start + (self.size - 1) / 2

    def extent(self, output: int) -> tuple[int, int]:
        """First and last pixel that this output sees, padding included."""
        first = self.start + output * self.jump
        return first, first + self.size - 1

    def then(
        self,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
    ) -> "Field":
        """The field after one more convolution or pooling layer."""
        _check((kernel, stride, padding, dilation))
        return Field(
            size=self.size + dilation * (kernel - 1) * self.jump,
            jump=self.jump * stride,
            start=self.start - padding * self.jump,
        )


def receptive_field(layers: Iterable[Layer]) -> Field:
    """The field of a chain of layers (kernel, stride, padding, dilation).

    The last entries of a layer may be left out: stride 1, padding 0,
    dilation 1. Raises `ValueError` for settings that no layer has.
    """
    field = Field()
    for layer in layers:
        field = field.then(*_check(layer))
    return field


def union(*paths: Field) -> Field:
    """The field where paths are added or concatenated: all they see together.

    Raises `ValueError` when the paths' strides differ: their outputs would
    not lie on one grid.
    """
    if not paths:
        raise ValueError("no path: give the fields of those that meet")
    jumps = sorted({path.jump for path in paths})
    if len(jumps) != 1:
        raise ValueError(f"paths with jumps {jumps} do not meet on one grid: the products of their strides must agree")
    first = min(path.start for path in paths)
    last = max(path.start + path.size for path in paths)
    return Field(last - first, jumps[0], first)


def input_gradient(
    model: nn.Module,
    image: Float[Tensor, "1 c h w"],
    unit: tuple[int, int],
) -> Float[Tensor, "h w"]:
    """How strongly each pixel moves the outputs at row and column `unit`.

    The gradient of their sum over channels, its absolute values summed
    over the colours of the pixel. Raises `ValueError` for more than one
    image, and for a unit that the output does not have.
    """
    if len(image) != 1:
        raise ValueError(f"{len(image)} images: their gradients do not mix, pass one at a time")
    image = image.detach().requires_grad_()
    row, column = unit
    outputs = model(image)
    rows, columns = outputs.shape[2:]
    if not (0 <= row < rows and 0 <= column < columns):
        raise ValueError(f"unit = {unit}: the output has {rows} rows and {columns} columns, counted from 0")
    output = outputs[0, :, row, column].sum()
    (gradient,) = torch.autograd.grad(output, image)
    return gradient[0].abs().sum(0)


def _check(layer: Layer) -> Layer:
    values = plain(layer) if isinstance(layer, tuple | list) else ()
    if not 1 <= len(values) <= 4 or any(
        not isinstance(value, int) or value < least for value, least in zip(values, (1, 1, 0, 1))
    ):
        raise ValueError(
            f"layer {layer!r}: give (kernel, stride, padding, dilation) as integers, "
            "the padding at least 0, the others at least 1"
        )
    return values

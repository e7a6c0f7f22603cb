"""What one unit does and gets: mixed layers, dead units, biases that keep units alive, and the signs of a unit's gradients."""

from math import isfinite

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class Mixed(nn.Module):
    """Several functions in one layer: the units, the last axis, are cut into as many neighbouring groups as there are functions.

    Groups differ by one unit at most, as `Tensor.tensor_split` cuts. Raises `ValueError` for no function, and for fewer
    units than functions.
    """

    def __init__(self, *functions: nn.Module) -> None:
        super().__init__()
        if not functions:
            raise ValueError("Mixed() has no function: give one or more, as Mixed(ReLU(), Tanh())")
        self.functions = nn.ModuleList(functions)

    def forward(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        if x.shape[-1] < len(self.functions):
            raise ValueError(f"{x.shape[-1]} units for {len(self.functions)} functions: each needs one at least")
        groups = x.tensor_split(len(self.functions), dim=-1)
        return torch.cat([f(group) for f, group in zip(self.functions, groups)], dim=-1)


def dead_units(z: Float[Tensor, "n d"]) -> Bool[Tensor, " d"]:
    """Which units are off for every sample, from their inputs z.

    A ReLU unit with z ≤ 0 for all n samples puts out zero and gets no
    gradient from any of them. Raises `ValueError` for inputs that are not
    finite: such a unit is broken, not dead, and must not count as alive.
    """
    if not z.isfinite().all():
        raise ValueError(
            f"{int((~z.isfinite()).sum())} of {z.numel()} inputs are not "
            "finite: the run has diverged, lower its rate"
        )
    return (z <= 0).all(0)


def fill_biases(model: nn.Module, value: float | int) -> None:
    """Set the bias of every linear layer but the last to `value`.

    In place. Raises `ValueError` for a value that is no finite number,
    and for a model with fewer than two linear layers that have a bias.
    """
    if not isfinite(value):
        raise ValueError(f"value = {value}: a finite number, such as 0.01")
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    if len(linear) < 2 or any(layer.bias is None for layer in linear):
        raise ValueError(
            f"{len(linear)} linear layers: at least two, all with a bias"
        )
    with torch.no_grad():
        for layer in linear[:-1]:
            layer.bias.fill_(value)


def majority_sign(gradient: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
    """The fraction of a unit's d weight gradients, zeros apart, that have the more frequent sign.

    1 when all agree, near one half when signs are as coin tosses; `nan` where every gradient is zero.
    """
    plus, minus = (gradient > 0).sum(-1), (gradient < 0).sum(-1)
    return torch.maximum(plus, minus) / (plus + minus)

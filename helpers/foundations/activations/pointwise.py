"""Functions between two linear layers that act on each number alone, as modules with torch's arguments.

Each is its formula, written so that neither value nor gradient overflows. At zero, where two formulas meet, the gradient is
the one that torch takes: that of the left branch, and 0 for the absolute value.
"""

from math import inf

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Sigmoid(nn.Module):
    """σ(x) = 1 / (1 + exp(-x)), between 0 and 1; slope σ (1 - σ)."""

    def forward(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        # ln σ(x) = -ln(exp(0) + exp(-x)): exp(-x) alone would overflow
        return (-torch.logaddexp(torch.zeros_like(x), -x)).exp()


class Tanh(nn.Module):
    """tanh(x) = (exp(2x) - 1) / (exp(2x) + 1), between -1 and 1.

    Its slope is 1 - tanh². LeCun et al. 1998, "Efficient BackProp".
    """

    def forward(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        # beyond this x the answer rounds to 1, and exp would overflow
        top = 5 if x.dtype == torch.float16 else 20
        e = torch.expm1(2 * x.clamp(max=top))  # exp(2x) - 1
        return e / (e + 2)


class ReLU(nn.Module):
    """max(0, x), the rectified linear unit (Nair & Hinton 2010)."""

    def forward(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        return torch.where(x <= 0, 0.0, x)


class LeakyReLU(nn.Module):
    """x above 0, `negative_slope` times x below (Maas et al. 2013).

    Raises `ValueError` for a slope that is no finite number.
    """

    def __init__(self, negative_slope: float | int = 0.01) -> None:
        super().__init__()
        check_finite(negative_slope=negative_slope)
        self.negative_slope = negative_slope

    def forward(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        return torch.where(x > 0, x, self.negative_slope * x)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class ELU(nn.Module):
    """x above 0, α (exp(x) - 1) below: saturates at -α.

    The exponential linear unit: Clevert et al. 2016, arXiv:1511.07289.
    Raises `ValueError` for an α that is no finite number.
    """

    def __init__(self, alpha: float | int = 1.0) -> None:
        super().__init__()
        check_finite(alpha=alpha)
        self.alpha = alpha

    def forward(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        # `where` computes both branches, and exp(x) must not overflow
        below = torch.where(x > 0, 0.0, x)
        return torch.where(x > 0, x, self.alpha * torch.expm1(below))

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class AbsoluteValue(nn.Module):
    """max(x, -x), as in Jarrett et al. 2009; slope -1 or 1."""

    def forward(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        return x * x.sign()


def slope(f: nn.Module, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """The derivative of `f` at each number of `x`, by autograd.

    `f` acts on each number alone. Raises `ValueError` for an `f` that
    changes the shape.
    """
    x = x.detach().requires_grad_()
    y = f(x)
    if y.shape != x.shape:
        raise ValueError(
            f"f maps {list(x.shape)} to {list(y.shape)}: a slope is that "
            "of a function of each number alone"
        )
    return torch.autograd.grad(y.sum(), x)[0]


def check_finite(**numbers: float | int) -> None:
    """Refuse, by name, what is no finite number."""
    for name, number in numbers.items():
        if not -inf < number < inf:
            raise ValueError(f"{name} = {number}: a finite number")

"""Functions between two linear layers that have weights of their own: PReLU learns a slope, maxout its whole shape."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.foundations.activations.pointwise import check_finite


class PReLU(nn.Module):
    """A leaky ReLU whose negative slope α is learned, by default one.

    With `num_parameters` = d there is one for each of the d channels,
    axis 1 of the input. `weight` holds them, as in torch. He et al.
    2015, arXiv:1502.01852, section 2.1. Raises `ValueError` for a number
    of slopes below 1, or another than the input has channels.
    """

    def __init__(
        self, num_parameters: int = 1, init: float | int = 0.25
    ) -> None:
        super().__init__()
        if num_parameters < 1:
            raise ValueError(
                f"num_parameters = {num_parameters}: 1 for all channels, "
                "or as many as there are channels"
            )
        check_finite(init=init)
        self.num_parameters, self.init = num_parameters, init
        self.weight = nn.Parameter(torch.full((num_parameters,), float(init)))

    def forward(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        alpha = self.weight
        if len(alpha) > 1:
            channels = x.shape[1] if x.ndim > 1 else 1
            if channels != len(alpha):
                raise ValueError(
                    f"num_parameters = {len(alpha)}, but axis 1 of the "
                    f"input {list(x.shape)} has {channels} channels"
                )
            alpha = alpha.view(-1, *[1] * (x.ndim - 2))
        return torch.where(x > 0, x, alpha * x)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class Maxout(nn.Module):
    """A linear layer and its function in one: the largest of k pieces.

    Unit i is max over j = 1 … k of w[i, j] · x + b[i, j], so it has k
    times the parameters of a linear unit. Goodfellow et al. 2013,
    arXiv:1302.4389. `weight` is [units k features], `bias` [units k].
    The arguments are those of `nn.Linear`, and `pieces`, the paper's k.
    Raises `ValueError` for a size below 1.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        pieces: int = 2,
        bias: bool = True,
    ) -> None:
        super().__init__()
        sizes = dict(in_features=in_features, out_features=out_features)
        for name, size in (sizes | dict(pieces=pieces)).items():
            if size < 1:
                raise ValueError(f"{name} = {size}: at least 1")
        self.in_features, self.out_features = in_features, out_features
        self.pieces = pieces
        bound = in_features**-0.5  # as nn.Linear begins
        shape = (out_features, pieces)
        weight = torch.empty(*shape, in_features).uniform_(-bound, bound)
        self.weight = nn.Parameter(weight)
        offset = torch.empty(shape).uniform_(-bound, bound) if bias else None
        self.bias = None if offset is None else nn.Parameter(offset)

    def forward(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n units"]:
        rows = self.weight.flatten(0, 1)  # [units·k features]
        offset = None if self.bias is None else self.bias.flatten()
        z = F.linear(x, rows, offset)
        z = z.unflatten(-1, (self.out_features, self.pieces))
        return z.max(-1).values

    def extra_repr(self) -> str:
        names = ("in_features", "out_features", "pieces")
        sizes = ", ".join(f"{name}={getattr(self, name)}" for name in names)
        return f"{sizes}, bias={self.bias is not None}"

    @classmethod
    def from_linear(
        cls, linear: nn.Linear, negative_slope: float | int = 0.0
    ) -> "Maxout":
        """max(s z, z) of a layer's z = w · x + b: ReLU for a slope s of 0.

        A leaky ReLU for s between 0 and 1, the absolute value for -1.
        Raises `ValueError` for s above 1, where the larger piece is the other.
        """
        s = negative_slope
        if not s <= 1:
            raise ValueError(
                f"negative_slope = {s}: up to 1, for beyond it the "
                "larger piece is the wrong one"
            )
        check_finite(negative_slope=s)
        bias = linear.bias is not None
        made = cls(linear.in_features, linear.out_features, 2, bias)
        made.to(linear.weight)
        with torch.no_grad():
            w = linear.weight
            made.weight.copy_(torch.stack([s * w, w], 1))
            if bias:
                b = linear.bias
                made.bias.copy_(torch.stack([s * b, b], 1))
        return made

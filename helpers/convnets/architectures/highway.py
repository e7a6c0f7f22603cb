"""Highway networks: a gate decides how much of a layer is used (Srivastava, Greff & Schmidhuber 2015, arXiv:1505.00387
and 1507.06228)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

KINDS = ("highway", "residual", "plain")


class Highway(nn.Module):
    """y = T(x) H(x) + (1 - T(x)) x, with T = sigmoid(gate(x)).

    `transform` is H, with its activation; `gate` makes as many numbers as
    H. With `gate=None` both weights are 1, and y = H(x) + x.
    """

    def __init__(self, transform: nn.Module, gate: nn.Module | None):
        super().__init__()
        self.transform, self.gate = transform, gate

    def forward(self, x: Float[Tensor, "b *d"]) -> Float[Tensor, "b *d"]:
        H = self.transform(x)
        if self.gate is None:
            return H + x
        T = torch.sigmoid(self.gate(x))
        return T * H + (1 - T) * x

    def openness(self, x: Float[Tensor, "b *d"]) -> Float[Tensor, "b *d"]:
        """T(x): near 0 the layer carries x on, near 1 it transforms."""
        if self.gate is None:
            raise ValueError("no gate, so no openness: kind = 'highway' has")
        return torch.sigmoid(self.gate(x))


def layer(kind: str, transform: nn.Module, gate: nn.Module) -> nn.Module:
    """One layer of each kind of net, out of the same two maps."""
    if kind not in KINDS:
        raise ValueError(f"kind = {kind!r}: one of {', '.join(KINDS)}")
    if kind == "plain":
        return transform
    return Highway(transform, gate if kind == "highway" else None)


def highway_linear(dim: int, bias: float, kind: str = "highway") -> nn.Module:
    """A fully connected layer whose gate starts with this bias."""
    transform = nn.Sequential(nn.Linear(dim, dim), nn.ReLU())
    gate = nn.Linear(dim, dim)
    nn.init.kaiming_normal_(transform[0].weight, nonlinearity="relu")
    nn.init.zeros_(transform[0].bias)
    nn.init.constant_(gate.bias, bias)
    return layer(kind, transform, gate)


def highway_conv(dim: int, bias: float, kind: str = "highway") -> nn.Module:
    """A 3x3 convolution whose gate, a 3x3 too, starts with this bias."""
    conv = nn.Conv2d(dim, dim, 3, padding=1)
    gate = nn.Conv2d(dim, dim, 3, padding=1)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    nn.init.zeros_(conv.bias)
    nn.init.constant_(gate.bias, bias)
    return layer(kind, nn.Sequential(conv, nn.ReLU()), gate)


def highway_mlp(
    *,
    depth: int = 20,
    width: int = 50,
    bias: float = -2.0,
    kind: str = "highway",
    classes: int = 10,
    channels: int = 3,
    image: int = 32,
) -> nn.Sequential:
    """`depth` layers: a linear one to `width`, highway ones, the logits.

    The paper's optimization study on MNIST: 50 units, depths 10 to 100,
    `bias` the gates' first bias. `kind="plain"` leaves gates and carries
    out, "residual" the gates alone. No norms: the gates do their work.
    """
    if depth < 2:
        raise ValueError(f"depth = {depth}: a first and a last layer are 2")
    first = nn.Sequential(
        nn.Flatten(), nn.Linear(channels * image**2, width), nn.ReLU()
    )
    middle = [highway_linear(width, bias, kind) for _ in range(depth - 2)]
    return nn.Sequential(first, *middle, nn.Linear(width, classes))


def highway_small(
    *,
    depth: int = 11,
    width: int = 16,
    bias: float = -2.0,
    kind: str = "highway",
    classes: int = 10,
    channels: int = 3,
) -> nn.Sequential:
    """A convolution to `width`, three stages of highway layers, the logits.

    A 2x2 pool stands before the second and the third stage; `depth` is
    3n + 2. The options are those of `highway_mlp`.
    """
    n, rest = divmod(depth - 2, 3)
    if rest or n < 1:
        raise ValueError(
            f"depth = {depth}: three stages of n layers between a first and "
            "a last one have 3n + 2, such as 5, 8, 11 or 20"
        )
    layers = [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
    for stage in range(3):
        layers += [nn.MaxPool2d(2)] if stage else []
        layers += [highway_conv(width, bias, kind) for _ in range(n)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)]
    return nn.Sequential(*layers, *head)

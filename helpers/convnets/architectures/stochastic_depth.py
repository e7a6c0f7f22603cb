"""Stochastic depth: blocks that are left out at random while training (Huang et al. 2016, arXiv:1603.09382)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def linear_decay(blocks: int, last: float = 0.5) -> list[float]:
    """Survival probabilities p_l = 1 - l/L (1 - p_L), l = 1 … L (eq. 4).

    Early blocks, on whose features all others build, nearly always survive;
    the last one survives with probability `last`.
    """
    if not 0 <= last <= 1:
        raise ValueError(f"last = {last}: a probability lies in [0, 1]")
    return [1 - l / blocks * (1 - last) for l in range(1, blocks + 1)]


def expected_depth(survival: list[float]) -> float:
    """How many blocks are left on average: the sum of their p_l."""
    return sum(survival)


def is_dropped(survival: float, training: bool) -> bool:
    """Whether a block sits this training step out; decided before it runs.

    Python needs the answer to skip the work, so a compiled training step
    breaks its graph here. With `survival` 1, or in `eval()`, nothing is drawn.
    """
    if not 0 <= survival <= 1:
        raise ValueError(f"survival = {survival}: a probability lies in [0, 1]")
    if not training or survival == 1:
        return False
    return bool(torch.rand(()) >= survival)


def stochastic_depth(
    x: Float[Tensor, "b *rest"],
    p: float,
    mode: str,
    training: bool = True,
) -> Float[Tensor, "b *rest"]:
    """Zero all of `x` ("batch") or some of its rows ("row"); p is dropped.

    What survives is divided by 1 - p while training, so that nothing is left
    to do at test time. The paper scales by 1 - p at test time instead, as
    dropout first did: equal in expectation, and the form of `ResNet` here.
    The arguments are those of `torchvision.ops.stochastic_depth`.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p = {p}: a probability lies in [0, 1]")
    if mode not in ("batch", "row"):
        raise ValueError(f"mode = {mode!r}: 'batch' or 'row'")
    if not training or p == 0:
        return x
    rows = len(x) if mode == "row" else 1
    survives = x.new_empty(rows, *[1] * (x.ndim - 1)).bernoulli_(1 - p)
    if p < 1:
        survives /= 1 - p
    return x * survives


class StochasticDepth(nn.Module):
    """`stochastic_depth` as a layer, to end a residual branch with.

    It draws after the branch is computed, so it regularises but saves no
    time; `is_dropped` draws before.
    """

    def __init__(self, p: float, mode: str):
        super().__init__()
        self.p, self.mode = p, mode

    def forward(self, x: Float[Tensor, "b *rest"]) -> Float[Tensor, "b *rest"]:
        return stochastic_depth(x, self.p, self.mode, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}, mode={self.mode!r}"

"""Teaching by what happens inside: hints and maps of attention."""

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from helpers.efficiency.distillation.targets import Number


class Regressor(nn.Module):
    """From the student's features to the shape of the teacher's.

    A convolution whose kernel is as small as the sizes allow (FitNets,
    Romero et al. 2015, arXiv:1412.6550, section 2.2): 1x1 for equal sizes,
    h - H + 1 for a student's map that is larger. It is thrown away after
    training. Raises `ValueError` where the student's map is smaller.
    """

    def __init__(self, student: Sequence[int], teacher: Sequence[int]):
        super().__init__()
        (c, *size), (o, *goal) = student, teacher
        kernel = [n - m + 1 for n, m in zip(size, goal)]
        if min(kernel) < 1:
            raise ValueError(
                f"features of {tuple(student)} cannot become "
                f"{tuple(teacher)}: hint at a layer of the teacher whose map "
                "is not larger than the student's"
            )
        self.conv = nn.Conv2d(c, o, kernel)

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b o p q"]:
        return self.conv(x)


def hint_loss(
    guess: Float[Tensor, "b o h w"], hint: Float[Tensor, "b o h w"]
) -> Float[Tensor, ""]:
    """½ ‖hint - guess‖² (equation 3 of FitNets), the mean of the batch.

    `guess` is the regressor's output; the hint gets no gradient.
    """
    gap = guess - hint.detach()
    return gap.square().flatten(1).sum(1).mean() / 2


def attention_map(
    features: Float[Tensor, "b c h w"], power: Number = 2.0
) -> Float[Tensor, "b h w"]:
    """Where a layer is active: the channels' sum of abs(A)ᵖ, of length 1.

    Zagoruyko & Komodakis 2017, arXiv:1612.03928, section 3.1. It has no
    channels, so student and teacher may differ in width.
    """
    if not power > 0:
        raise ValueError(f"power = {power}: it is above 0, usually 2")
    energy = features.abs().pow(power).sum(1)
    return F.normalize(energy.flatten(1), dim=1).view_as(energy)


def attention_loss(
    student: Sequence[Float[Tensor, "b _ _ _"]],
    teacher: Sequence[Float[Tensor, "b _ _ _"]],
) -> Float[Tensor, ""]:
    """½ Σ over layers of the squared distance between maps.

    Equation 2 of the paper with the distance squared, as its authors' code
    has it. Maps of other sizes are refused: pick layers that agree.
    """
    if len(student) != len(teacher):
        raise ValueError(
            f"{len(student)} layers of the student and {len(teacher)} of "
            "the teacher: pair them one to one"
        )
    total = 0.0
    for mine, theirs in zip(student, teacher):
        if mine.shape[2:] != theirs.shape[2:]:
            raise ValueError(
                f"maps of {tuple(mine.shape[2:])} and of "
                f"{tuple(theirs.shape[2:])} pixels: pair layers of one size"
            )
        gap = attention_map(mine) - attention_map(theirs.detach())
        total = total + gap.square().flatten(1).sum(1).mean() / 2
    return total

"""Teaching by what happens inside: hints and maps of attention."""

from collections.abc import Sequence
from math import inf

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from helpers.efficiency.distillation.targets import Number, wide


class Regressor(nn.Module):
    """From the student's features to the shape of the teacher's.

    A convolution whose kernel is as small as the sizes allow (FitNets,
    Romero et al. 2015, arXiv:1412.6550, section 2.2): 1x1 for equal sizes,
    h - H + 1 for a student's map that is larger. It is thrown away after
    training. `student` and `teacher` are (c, h, w). Raises `ValueError`
    for other shapes and where the student's map is smaller.
    """

    def __init__(self, student: Sequence[int], teacher: Sequence[int]):
        super().__init__()
        if not len(student) == len(teacher) == 3:
            raise ValueError(
                f"features of {tuple(student)} and {tuple(teacher)}: give "
                "channels, height and width, without the batch"
            )
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

    `guess` is the regressor's output; the hint gets no gradient. Half
    precision is added up in float32. Raises `ValueError` for shapes that
    differ.
    """
    if guess.shape != hint.shape:
        raise ValueError(
            f"a guess of {tuple(guess.shape)} at a hint of "
            f"{tuple(hint.shape)}: build the Regressor for that hint"
        )
    gap = wide(guess) - wide(hint.detach())
    return gap.square().flatten(1).sum(1).mean() / 2


def attention_map(
    features: Float[Tensor, "b c h w"], power: Number = 2.0
) -> Float[Tensor, "b h w"]:
    """Where a layer is active: the channels' sum of abs(A)ᵖ, of length 1.

    Zagoruyko & Komodakis 2017, arXiv:1612.03928, section 3.1. It has no
    channels, so student and teacher may differ in width. Where nothing is
    active it is 0. Half precision gives a map in float32. Raises
    `ValueError` for a power of 0 or below.
    """
    if not 0 < power < inf:
        raise ValueError(f"power = {power}: it is above 0, usually 2")
    if features.ndim != 4:
        raise ValueError(
            f"features of {tuple(features.shape)}: [images, channels, h, w]"
        )
    size = wide(features).abs()
    most = size.detach().amax((1, 2, 3), keepdim=True)
    most = most.clamp(min=torch.finfo(most.dtype).tiny)
    energy = (size / most).pow(power).sum(1)  # neither over- nor underflows
    return F.normalize(energy.flatten(1), dim=1).view_as(energy)


def attention_loss(
    student: Sequence[Float[Tensor, "b _ _ _"]],
    teacher: Sequence[Float[Tensor, "b _ _ _"]],
) -> Float[Tensor, ""]:
    """½ Σ over layers of the squared distance between maps.

    Equation 2 of the paper with the distance squared, as its authors' code
    has it. Maps of other sizes are refused: pick layers that agree.
    Raises `ValueError` for these, and for other or no layers.
    """
    if len(student) != len(teacher) or not student:
        raise ValueError(
            f"{len(student)} layers of the student and {len(teacher)} of "
            "the teacher: pair them one to one"
        )
    total = 0.0
    for mine, theirs in zip(student, teacher):
        if len(mine) != len(theirs):
            raise ValueError(
                f"features of {len(mine)} and of {len(theirs)} images: show "
                "both networks the same"
            )
        if mine.shape[2:] != theirs.shape[2:]:
            raise ValueError(
                f"maps of {tuple(mine.shape[2:])} and of "
                f"{tuple(theirs.shape[2:])} pixels: pair layers of one size"
            )
        gap = attention_map(mine) - attention_map(theirs.detach())
        total = total + gap.square().flatten(1).sum(1).mean() / 2
    return total

"""Soft targets: what a teacher, several, or nobody says about each class
(Hinton, Vinyals & Dean 2015, arXiv:1503.02531)."""

from math import log

import torch
from jaxtyping import Float, Int64
from torch import Tensor

MEANS = ("logits", "probabilities")
Number = int | float


def soft_targets(
    logits: Float[Tensor, "b *seeds k"], temperature: Number = 1.0
) -> Float[Tensor, "b *seeds k"]:
    """softmax(v / T) (equation 1): the higher T, the softer."""
    check_temperature(temperature)
    first = logits.amax(-1, keepdim=True)  # so that no quotient overflows
    return ((logits - first) / temperature).softmax(-1)


def wide(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Half precision as float32; anything else as it is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def smoothed(
    labels: Int64[Tensor, "b *seeds"], *, classes: int, amount: Number
) -> Float[Tensor, "b *seeds k"]:
    """(1 - amount) one-hot + amount / k: a teacher that knows nothing.

    Label smoothing (Szegedy et al. 2016, arXiv:1512.00567). Raises
    `ValueError` for an amount outside 0 … 1 and for labels that name none
    of `classes`.
    """
    if not 0 <= amount <= 1:
        raise ValueError(f"amount = {amount}: 0 keeps the labels, 1 is even")
    check_class_numbers(labels, classes)
    even = torch.full(
        (*labels.shape, classes), amount / classes, device=labels.device
    )
    right = labels[..., None].long()
    try:
        return even.scatter(-1, right, 1 - amount + amount / classes)
    except (IndexError, RuntimeError):
        check_labels(labels, classes)
        raise


def ensemble(
    logits: Float[Tensor, "b members k"], mean: str = "logits"
) -> Float[Tensor, "b k"]:
    """The logits of one teacher that stands for all members.

    The mean of "logits" gives the geometric mean of their answers, at
    every temperature; that of "probabilities" the arithmetic one, at T = 1
    (section 1 of the paper allows both). Raises `ValueError` for another
    mean and for logits without members.
    """
    if logits.ndim != 3 or not logits.shape[1]:
        raise ValueError(
            f"logits of {tuple(logits.shape)}: an ensemble's are [images, "
            "members, classes], with 1 member or more"
        )
    if mean not in MEANS:
        known = " or ".join(map(repr, MEANS))
        raise ValueError(f"mean = {mean!r}: the mean of {known}")
    if mean == "logits":
        return logits.mean(1)
    return logits.log_softmax(2).logsumexp(1) - log(logits.shape[1])


def shuffle_wrong(
    targets: Float[Tensor, "b *seeds k"],
    labels: Int64[Tensor, "b *seeds"],
    *,
    generator: torch.Generator,
) -> Float[Tensor, "b *seeds k"]:
    """Deal the shares of the wrong classes out anew, within each answer.

    The right class keeps its share, so what is left is how sure the
    teacher was; what is gone is which class looks like which. After the
    permuted predictions of Furlanello et al. 2018 (arXiv:1805.04770), who
    keep the teacher's first class in its place. Raises `ValueError` for
    targets that are no distribution and labels that name no class.
    """
    check_targets(targets)
    check_labels(labels, targets.shape[-1])
    chance = torch.rand(targets.shape, generator=generator).to(targets.device)
    right = labels[..., None]
    # Sorting by chance permutes; the right class comes first in both orders.
    there = chance.scatter(-1, right, -1.0).argsort(-1)
    chance = torch.rand(targets.shape, generator=generator).to(targets.device)
    here = chance.scatter(-1, right, -1.0).argsort(-1)
    dealt = targets.gather(-1, there)
    return torch.zeros_like(targets).scatter(-1, here, dealt)


def shift_for_share(
    logits: Float[Tensor, "b *seeds k"], index: int, share: Number
) -> Float[Tensor, "*seeds"]:
    """What to add to a class's logit so that it wins this share of inputs.

    The class wins where its logit exceeds the largest of the others, so
    the answer is a quantile of the gaps. It needs no label: only how
    frequent the class is. Raises `ValueError` for an index or a share that
    is none, and for logits that are no numbers.
    """
    logits, k = wide(logits), logits.shape[-1]
    if logits.ndim < 2 or not len(logits) or k < 2:
        raise ValueError(
            f"logits of {tuple(logits.shape)}: [inputs, classes], 1 input "
            "and 2 classes or more"
        )
    if logits.isnan().any():
        raise ValueError("logits hold nan: ask the network anew")
    if not 0 <= index < k:
        raise ValueError(f"index = {index}: the {k} classes are 0 to {k - 1}")
    if not 0 <= share <= 1:
        raise ValueError(f"share = {share}: it is in 0 … 1, as 0.1 for 10 %")
    others = torch.arange(k, device=logits.device) != index
    gap = logits[..., others].amax(-1) - logits[..., index]
    return gap.quantile(share, dim=0)


def check_temperature(temperature: Number) -> None:
    """Refuse temperatures that turn the answer around or divide by zero."""
    if not isinstance(temperature, Number):
        raise ValueError(
            f"temperature = {temperature!r}: a plain number, as 4.0; of a "
            "tensor take float(temperature)"
        )
    if not 0 < temperature < float("inf"):
        raise ValueError(
            f"temperature = {temperature}: it is above 0; 1 leaves the "
            "answer as it is, 20 is soft, near 0 only the largest remains"
        )


def check_targets(targets: Float[Tensor, "b *seeds k"]) -> None:
    """Refuse soft targets that are no distribution over the classes.

    Sums are taken in float32. They may miss 1 by what rounding of all
    shares to the targets' own precision makes of it, or by 0.001.
    """
    if not targets.is_floating_point():
        raise ValueError(
            f"soft targets of {targets.dtype}: they are shares; labels go "
            "into hard_loss, or through smoothed"
        )
    if not targets.numel():
        return
    shares = wide(targets.detach())
    total = shares.sum(-1)
    off = (total - 1).abs()
    if not off.max() <= slack(targets):  # also refuses nan
        wrong = total.flatten()[off.flatten().argmax()].item()
        raise ValueError(
            f"soft targets sum to {wrong:.3g}, not to 1: divide them by their "
            "sum, or pass logits through soft_targets"
        )
    if shares.min() < 0:
        raise ValueError(
            f"a soft target is {shares.min().item():.3g}: shares are not "
            "negative; pass logits through soft_targets"
        )


def slack(targets: Float[Tensor, "..."]) -> float:
    """How far from 1 the sum of shares of this precision may lie."""
    kind = torch.finfo(targets.dtype)
    rounding = kind.eps * (1 + targets.shape[-1] * kind.smallest_normal)
    return max(1e-3, rounding)


def check_class_numbers(labels: Tensor, classes: int) -> None:
    """Refuse labels that are no integers, and a number of classes below 1."""
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(
            f"labels of {labels.dtype}: they are numbers of classes, as "
            "labels.long(); shares go into soft_loss"
        )
    if classes < 1:
        raise ValueError(f"classes = {classes}: it is at least 1")


def check_labels(labels: Int64[Tensor, "b *seeds"], classes: int) -> None:
    """Refuse labels that name none of the classes."""
    check_class_numbers(labels, classes)
    if not labels.numel():
        return
    low, high = (int(bound) for bound in labels.aminmax())
    if low < 0 or high >= classes:
        raise ValueError(
            f"labels from {low} to {high}: {classes} classes are 0 to "
            f"{classes - 1}"
        )

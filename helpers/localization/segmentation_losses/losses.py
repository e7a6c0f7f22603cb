"""Losses for masks of which nearly every pixel is background.

Weighted cross-entropy (Ronneberger et al. 2015, arXiv:1505.04597), focal loss (Lin et al. 2017, arXiv:1708.02002), soft Dice
(Milletari et al. 2016, arXiv:1606.04797), soft Jaccard, Lovász hinge (Berman et al. 2018, arXiv:1705.08790).
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

Number = float | int
Logits = Float[Tensor, "b *shape"]
Targets = Float[Tensor, "b *shape"] | Int[Tensor, "b *shape"] | Bool[Tensor, "b *shape"]


def pixel_cross_entropy(
    logits: Float[Tensor, "b k *shape"],
    labels: Int[Tensor, "b *shape"],
    weight: Float[Tensor, " k"] | None = None,
) -> Float[Tensor, ""]:
    """Minus the mean of ln p at the right class, over all pixels.

    With `weight`, one number a class, the mean is weighted: the sum of
    w_y · (-ln p_y) over the sum of w_y. Half precision is computed in
    float32. Raises `ValueError` for shapes that do not fit, labels that
    name no class and an empty batch.
    """
    check_classes(logits, labels, weight)
    log_p = wide(logits).log_softmax(1)
    right = log_p.gather(1, labels.long()[:, None])[:, 0]  # [b *shape]
    if weight is None:
        return -right.mean()
    w = weight.to(right)[labels.long()]
    return -(w * right).sum() / w.sum()


def inverse_frequency(
    labels: Int[Tensor, "*shape"], classes: int
) -> Float[Tensor, " classes"]:
    """Weights of classes, n / (k · n_c): rare classes count for more.

    The weighted pixels of each class then sum to n / k. Raises
    `ValueError` for labels that name no class and a class without pixels.
    """
    check_labels(labels, classes)
    counts = labels.long().flatten().bincount(minlength=classes)
    if (counts == 0).any():
        empty = (counts == 0).nonzero()[0].item()
        raise ValueError(
            f"class {empty} has no pixel: count over more images, or give "
            "the weights by hand"
        )
    return counts.sum() / (classes * counts.float())


def weighted_cross_entropy(
    logits: Logits,
    targets: Targets,
    weights: tuple[Number, Number] = (1.0, 1.0),
) -> Float[Tensor, ""]:
    """Binary cross-entropy with weights of background and foreground.

    Minus the weighted mean of g ln p + (1 - g) ln(1 - p), p the sigmoid
    of the logit, the weights being w_1 g + w_0 (1 - g). It equals
    `pixel_cross_entropy` of the two logits (0, z). Half precision is
    computed in float32. Raises `ValueError` for shapes that differ, an
    empty batch, targets outside 0 … 1 (read on a CPU only, outside
    compiled graphs) and weights that are not positive.
    """
    z, g = checked(logits, targets)
    if not all(0 < weight < float("inf") for weight in weights):
        raise ValueError(
            f"weights = {weights}: both are positive, as 1 and 1, or what "
            "inverse_frequency gives"
        )
    w = weights[1] * g + weights[0] * (1 - g)
    loss = -(g * F.logsigmoid(z) + (1 - g) * F.logsigmoid(-z))
    return (w * loss).sum() / w.sum()


def focal_loss(
    logits: Logits,
    targets: Targets,
    alpha: Number | None = 0.25,
    gamma: Number = 2.0,
) -> Float[Tensor, ""]:
    """Mean of -α_t (1 - p_t)^γ ln p_t: sure pixels count for less.

    p_t is the probability of the right answer, α_t is α on foreground and
    1 - α on background (Lin et al. 2017, equations 4 and 5), 1 on both
    for `alpha=None`. It is torchvision's `sigmoid_focal_loss` with the
    reduction "mean". Half precision is computed in float32. Raises
    `ValueError` for gamma below 0, alpha outside 0 … 1, and what
    `weighted_cross_entropy` refuses.
    """
    z, g = checked(logits, targets)
    if not 0 <= gamma < float("inf"):
        raise ValueError(
            f"gamma = {gamma}: it is at least 0, where the loss is the "
            "cross-entropy; 2 is usual"
        )
    if alpha is not None and not 0 <= alpha <= 1:
        raise ValueError(
            f"alpha = {alpha}: the share of the foreground lies in 0 … 1, "
            "or is None for no weights"
        )
    p = z.sigmoid()
    missing = p * (1 - g) + (1 - p) * g  # 1 - p_t
    loss = -(g * F.logsigmoid(z) + (1 - g) * F.logsigmoid(-z))
    if gamma > 0:
        loss = missing**gamma * loss
    if alpha is not None:
        loss = (alpha * g + (1 - alpha) * (1 - g)) * loss
    return loss.mean()


def dice_loss(
    logits: Logits,
    targets: Targets,
    *,
    smooth: Number = 1.0,
    squared: bool = False,
    per_image: bool = True,
) -> Float[Tensor, ""]:
    """1 - (2 Σ p g + smooth) / (Σ p + Σ g + smooth), p the sigmoid.

    For hard masks and smooth = 0 the fraction is the Dice coefficient.
    `squared` takes p² and g² in the denominator, as Milletari et al. 2016
    (section 3) do. Sums run over the pixels of each image, and the mean
    over images; or over the whole batch with `per_image=False`. `smooth`
    decides what an image without foreground costs. Half precision is
    computed in float32. Raises `ValueError` for a negative `smooth` and
    what `weighted_cross_entropy` refuses.
    """
    p, g = probabilities(logits, targets, per_image)
    check_smooth(smooth)
    both = (p * g).sum(1)
    total = p.square() + g.square() if squared else p + g
    return 1 - divide(2 * both + smooth, total.sum(1) + smooth).mean()


def jaccard_loss(
    logits: Logits,
    targets: Targets,
    *,
    smooth: Number = 1.0,
    per_image: bool = True,
) -> Float[Tensor, ""]:
    """1 - (Σ p g + smooth) / (Σ p + Σ g - Σ p g + smooth): soft IoU.

    Reduction, precision and errors as in `dice_loss`.
    """
    p, g = probabilities(logits, targets, per_image)
    check_smooth(smooth)
    both = (p * g).sum(1)
    union = (p + g - p * g).sum(1)
    return 1 - divide(both + smooth, union + smooth).mean()


def prior_logit(share: Number) -> float:
    """The logit of a probability, ln(π / (1 - π)): where to begin.

    A last bias of this size lets an untrained network say the share π of
    the foreground everywhere (Lin et al. 2017, section 4.1, who take 0.01).
    Raises `ValueError` for a share outside 0 … 1.
    """
    if not 0 < share < 1:
        raise ValueError(
            f"share = {share}: it lies between 0 and 1, as 0.01"
        )
    return math.log(share / (1 - share))


def lovasz_hinge(
    logits: Logits, targets: Targets, *, per_image: bool = True
) -> Float[Tensor, ""]:
    """The Lovász extension of 1 - IoU at the hinge errors of the pixels.

    The errors 1 - z · (2 g - 1) are sorted, the largest first; each counts
    by as much as 1 - IoU rises when its pixel joins the wrong ones
    (Berman et al. 2018, algorithm 1). Targets are 0 or 1, others are
    refused (read on a CPU only). Reduction, precision and other errors as
    in `dice_loss`.
    """
    z, g = flat(*checked(logits, targets), per_image)
    check_hard(g)
    errors, order = (1 - z * (2 * g - 1)).sort(1, descending=True)
    rises = lovasz_gradient(g.gather(1, order))
    return (errors.relu() * rises).sum(1).mean()


def lovasz_gradient(
    targets: Float[Tensor, "b n"],
) -> Float[Tensor, "b n"]:
    """By how much 1 - IoU rises as pixel after pixel becomes wrong.

    `targets` (0 or 1) stand in the order in which pixels become wrong. A
    foreground pixel that becomes wrong leaves the intersection, a
    background pixel joins the union.
    """
    foreground = targets.sum(1, keepdim=True)
    both = foreground - targets.cumsum(1)
    union = foreground + (1 - targets).cumsum(1)
    lost = 1 - both / union  # union is 1 or more from the first pixel on
    return lost.diff(dim=1, prepend=torch.zeros_like(lost[:, :1]))


# -- the border --------------------------------------------------------------------------------------------------------


def probabilities(logits: Tensor, targets: Tensor, per_image: bool) -> tuple[Tensor, Tensor]:
    """Sigmoids and targets as rows of pixels, one row an image or one row in all."""
    z, g = flat(*checked(logits, targets), per_image)
    return z.sigmoid(), g


def flat(z: Tensor, g: Tensor, per_image: bool) -> tuple[Tensor, Tensor]:
    if per_image:
        return z.reshape(len(z), -1), g.reshape(len(g), -1)
    return z.reshape(1, -1), g.reshape(1, -1)


def divide(a: Tensor, b: Tensor) -> Tensor:
    """a / b, and 1 where both are zero: an empty mask that is found empty."""
    return torch.where(b > 0, a / b.clamp(min=torch.finfo(b.dtype).tiny), torch.ones_like(a))


def wide(x: Tensor) -> Tensor:
    """Half precision as float32; the rest as it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def checked(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Logits in float32 at least and targets in their dtype, once they fit each other.

    Targets are read on the CPU only, outside compiled graphs; logits never.
    """
    if logits.shape != targets.shape:
        raise ValueError(
            f"logits of shape {list(logits.shape)}, targets of shape {list(targets.shape)}: give one target for "
            "each logit, as targets[:, None] for logits of one channel"
        )
    if not logits.numel():
        raise ValueError(f"logits of shape {list(logits.shape)}: give 1 pixel or more")
    if targets.dtype != torch.bool and targets.is_cpu and not torch.compiler.is_compiling():
        low, high = (bound.item() for bound in targets.aminmax())
        if not (low >= 0 and high <= 1):
            raise ValueError(f"targets from {low:g} to {high:g}: they lie in 0 … 1; masks of 255 are divided by 255")
    z = wide(logits)
    return z, targets.to(z.dtype)


def check_classes(logits: Tensor, labels: Tensor, weight: Tensor | None) -> None:
    """Refuse labels and weights that do not fit the logits; labels are read on the CPU only."""
    if logits.ndim < 2 or logits.shape[:1] + logits.shape[2:] != labels.shape or not labels.numel():
        raise ValueError(
            f"logits of shape {list(logits.shape)}, labels of shape {list(labels.shape)}: give [b k *shape] and "
            "[b *shape], with 1 pixel or more"
        )
    if weight is not None and weight.shape != logits.shape[1:2]:
        raise ValueError(f"weight of shape {list(weight.shape)}: {logits.shape[1]} classes have as many weights")
    if labels.is_cpu and not torch.compiler.is_compiling():
        check_labels(labels, logits.shape[1])


def check_labels(labels: Tensor, classes: int) -> None:
    if not labels.numel():
        raise ValueError(f"labels of shape {list(labels.shape)}: give 1 pixel or more")
    low, high = (int(bound) for bound in labels.aminmax())
    if low < 0 or high >= classes:
        raise ValueError(f"labels from {low} to {high}: {classes} classes are 0 to {classes - 1}")


def check_hard(targets: Tensor) -> None:
    """Refuse targets that are neither 0 nor 1; read on the CPU only, outside compiled graphs."""
    if targets.is_cpu and not torch.compiler.is_compiling() and (soft := (targets > 0) & (targets < 1)).any():
        raise ValueError(f"{int(soft.sum())} targets between 0 and 1: the Lovász hinge wants hard masks, as (targets > 0.5)")


def check_smooth(smooth: Number) -> None:
    if not 0 <= smooth < float("inf"):
        raise ValueError(f"smooth = {smooth}: it is at least 0, often 1")

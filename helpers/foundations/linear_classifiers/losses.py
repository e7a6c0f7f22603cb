"""Two losses on the scores of classes, and their gradients by hand.

The multiclass hinge of a support vector machine: Weston & Watkins 1999
(ESANN). The softmax loss: Bridle 1990 (Neurocomputing, NATO ASI F68).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def svm_loss(
    scores: Float[Tensor, "b k"],
    labels: Int[Tensor, " b"],
    margin: float | int = 1.0,
) -> Float[Tensor, ""]:
    """Mean of Σ max(0, s_j - s_y + margin) over the wrong classes j.

    Zero as soon as the right score s_y leads every other by `margin`. Half
    precision is computed in float32. Raises `ValueError` for labels that
    name no class, an empty batch and a margin that is not above 0.
    """
    scores = checked(scores, labels)
    check_margin(margin)
    return short_of(scores, labels, margin).sum(1).mean()


def svm_gradient(
    scores: Float[Tensor, "b k"],
    labels: Int[Tensor, " b"],
    margin: float | int = 1.0,
) -> Float[Tensor, "b k"]:
    """The gradient of `svm_loss` with respect to the scores.

    1 / b for each wrong class within the margin, and minus their number
    over b for the right one. Errors as there.
    """
    scores = checked(scores, labels)
    check_margin(margin)
    gradient = (short_of(scores, labels, margin) > 0).to(scores.dtype)
    right = labels.long()[:, None]
    gradient.scatter_(1, right, -gradient.sum(1, keepdim=True))
    return gradient / len(scores)


def softmax_loss(
    scores: Float[Tensor, "b k"], labels: Int[Tensor, " b"]
) -> Float[Tensor, ""]:
    """Mean of -ln p_y, where p is the softmax of the scores.

    The largest score is subtracted before the exponential, so that scores
    of 10,000 do not overflow. Half precision is computed in float32. Raises
    `ValueError` for labels that name no class and an empty batch.
    """
    scores = checked(scores, labels)
    shifted = scores - scores.detach().amax(1, keepdim=True)
    log_sum = shifted.exp().sum(1).log()
    right = shifted.gather(1, labels.long()[:, None])[:, 0]
    return (log_sum - right).mean()


def softmax_gradient(
    scores: Float[Tensor, "b k"], labels: Int[Tensor, " b"]
) -> Float[Tensor, "b k"]:
    """The gradient of `softmax_loss` with respect to the scores.

    (p - y) / b, with y the one-hot label. Errors as there.
    """
    scores = checked(scores, labels)
    gradient = scores.softmax(1)
    gradient[torch.arange(len(labels)), labels.long()] -= 1
    return gradient / len(labels)


def short_of(scores: Tensor, labels: Tensor, margin: float | int) -> Tensor:
    """By how much each wrong class comes within the margin; 0 elsewhere."""
    right = labels.long()[:, None]
    short = (scores - scores.gather(1, right) + margin).relu()
    return short.scatter(1, right, 0.0)


def checked(scores: Tensor, labels: Tensor) -> Tensor:
    """The scores in float32 at least, once they fit the labels.

    Labels are read on the CPU only; on a GPU torch itself stops at a label
    that names no class.
    """
    if scores.ndim != 2 or not len(scores) or labels.shape != scores.shape[:1]:
        raise ValueError(
            f"scores of shape {list(scores.shape)}, labels of shape "
            f"{list(labels.shape)}: give [b k] and [b], with b at least 1"
        )
    if labels.is_cpu and not torch.compiler.is_compiling():
        check_labels(labels, scores.shape[1])
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def check_labels(labels: Tensor, classes: int) -> None:
    """Refuse labels that name none of the classes."""
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(
            f"labels of {labels.dtype}: they are numbers of classes, as "
            "labels.long()"
        )
    low, high = (int(bound) for bound in labels.aminmax())
    if low < 0 or high >= classes:
        raise ValueError(
            f"labels from {low} to {high}: {classes} classes are 0 to "
            f"{classes - 1}"
        )


def check_margin(margin: float | int) -> None:
    if not 0 < margin < float("inf"):
        raise ValueError(
            f"margin = {margin}: the lead that is asked for is positive, often 1"
        )

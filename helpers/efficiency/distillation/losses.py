"""The student's loss: hard labels and soft targets, weighed (Hinton,
Vinyals & Dean 2015, arXiv:1503.02531, section 2)."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from helpers.efficiency.distillation.targets import (
    Number,
    check_labels,
    check_targets,
    check_temperature,
    soft_targets,
)
from helpers.training import Batch, Loss

FORMS = ("cross-entropy", "kl")


def soft_loss(
    logits: Float[Tensor, "b *seeds k"],
    targets: Float[Tensor, "b *seeds classes"],
    temperature: Number = 1.0,
    *,
    form: str = "cross-entropy",
    balanced: bool = True,
) -> Float[Tensor, ""]:
    """T² times the cross-entropy of softmax(z / T) with the soft targets.

    `targets` are shares, softened already. The form "kl" subtracts their
    entropy, which has no gradient: 0 is then the best loss. Gradients
    shrink by 1 / T²; the factor undoes that, unless `balanced=False`. The
    mean is over the batch; losses of a crowd's members are added, so that
    each learns as if alone. Raises `ValueError` for a temperature of 0 or
    below, and for targets of other classes or that do not sum to one.
    """
    if form not in FORMS:
        known = " or ".join(map(repr, FORMS))
        raise ValueError(f"form = {form!r}: it is {known}")
    check_temperature(temperature)
    check_same_classes(logits, targets)
    check_targets(targets)
    targets = targets.detach()
    log_q = (logits / temperature).log_softmax(-1)
    loss = -(targets * log_q).sum(-1)  # b *seeds
    if form == "kl":
        loss = loss + torch.xlogy(targets, targets).sum(-1)
    if balanced:
        loss = temperature**2 * loss
    return loss.mean(0).sum()


def hard_loss(
    logits: Float[Tensor, "b *seeds k"], labels: Int64[Tensor, "b *seeds"]
) -> Float[Tensor, ""]:
    """Cross-entropy with the labels; reduced as in `soft_loss`."""
    check_labels(labels, logits.shape[-1])
    right = logits.log_softmax(-1).gather(-1, labels[..., None])
    return -right[..., 0].mean(0).sum()


def distillation_loss(
    logits: Float[Tensor, "b *seeds k"],
    teacher: Float[Tensor, "b *seeds classes"],
    labels: Int64[Tensor, "b *seeds"],
    *,
    temperature: Number,
    weight: Number,
    form: str = "cross-entropy",
    balanced: bool = True,
) -> Float[Tensor, ""]:
    """weight · soft loss at T + (1 - weight) · hard loss at 1.

    `teacher` holds the teacher's logits; nothing flows back into them.
    With weight 1 the labels are not used. Raises `ValueError` for a weight
    outside 0 … 1 and for what `soft_loss` refuses.
    """
    check_weight(weight)
    check_temperature(temperature)
    check_same_classes(logits, teacher)
    targets = soft_targets(teacher.detach(), temperature)
    options = dict(form=form, balanced=balanced)
    soft = soft_loss(logits, targets, temperature, **options)
    return weight * soft + (1 - weight) * hard_loss(logits, labels)


def distilling(
    teacher: nn.Module | None = None,
    *,
    temperature: Number,
    weight: Number,
    form: str = "cross-entropy",
) -> Loss:
    """The loss of a student, for `gradient_update`.

    Batches are (images, labels). Any network that gives logits may teach;
    it answers in evaluation mode and without gradients. Without a teacher
    its logits are the batch's third column: see `answers`. Raises
    `ValueError` for what `distillation_loss` refuses and for a teacher in
    training mode.
    """
    check_temperature(temperature)
    check_weight(weight)
    settings = dict(temperature=temperature, weight=weight, form=form)

    def loss(student: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        if teacher is None:
            images, labels, said = batch
        else:
            images, labels = batch
            check_teaching(teacher)
            with torch.no_grad():
                said = teacher(images)
        return distillation_loss(student(images), said, labels, **settings)

    return loss


@torch.no_grad()
def answers(
    teacher: nn.Module, images: Float[Tensor, "n *any"], batch_size: int = 256
) -> Float[Tensor, "n *k"]:
    """The teacher's logits of a whole set, to be asked once and kept.

    Raises `ValueError` for a teacher in training mode.
    """
    check_teaching(teacher)
    return torch.cat([teacher(part) for part in images.split(batch_size)])


def check_weight(weight: Number) -> None:
    """Refuse weights that would push one of the losses up."""
    if not 0 <= weight <= 1:
        raise ValueError(
            f"weight = {weight}: 0 learns from labels alone, 1 from the "
            "teacher alone, so it lies in 0 … 1"
        )


def check_same_classes(
    student: Float[Tensor, "..."], teacher: Float[Tensor, "..."]
) -> None:
    """Refuse answers that cannot be compared class by class."""
    if student.shape[-1] != teacher.shape[-1]:
        raise ValueError(
            f"the student has {student.shape[-1]} classes and the teacher "
            f"{teacher.shape[-1]}: build both with the same `classes`"
        )


def check_teaching(teacher: nn.Module) -> None:
    """Refuse a teacher that drops units or learns while it answers."""
    if teacher.training:
        raise ValueError(
            "the teacher is in training mode: call teacher.eval() first"
        )

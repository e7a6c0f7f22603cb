"""The student's loss: hard labels and soft targets, weighed (Hinton,
Vinyals & Dean 2015, arXiv:1503.02531, section 2)."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.efficiency.distillation.targets import (
    Number,
    check_class_numbers,
    check_labels,
    check_targets,
    check_temperature,
    wide,
)
from helpers.training import Batch, Loss

FORMS = ("cross-entropy", "kl")
COLDEST, HOTTEST = 1e-3, 1e4  # between them T² times the loss is exact
NEVER = -(2**62)  # no label: torch leaves out the one that it is told


def soft_loss(
    logits: Float[Tensor, "b *seeds k"],
    targets: Float[Tensor, "b *seeds classes"],
    temperature: Number = 1.0,
    *,
    form: str = "cross-entropy",
    balanced: bool = True,
    checked: bool = False,
) -> Float[Tensor, ""]:
    """T² times the cross-entropy of softmax(z / T) with the soft targets.

    `targets` are shares, softened already. The form "kl" subtracts their
    entropy, which has no gradient: 0 is then the best loss. Gradients
    shrink by 1 / T²; the factor undoes that, unless `balanced=False`. The
    mean is over the batch; losses of a crowd's members are added, so that
    each learns as if alone. Half precision is computed in float32. Raises
    `ValueError` for a temperature outside 0.001 … 10,000, for shapes that
    differ and for targets that do not sum to one. These are read for it,
    on a CPU and outside compiled graphs; a training loop whose targets
    went through `check_targets` once says so by `checked`.
    """
    check_answers(logits, targets)
    if not (checked or torch.compiler.is_compiling()) and targets.is_cpu:
        check_targets(targets)
    check_loss_temperature(temperature)
    settings = dict(form=form, balanced=balanced)
    return softly(logits, targets.detach(), temperature, 1.0, **settings)


def softly(
    logits: Tensor,
    targets: Tensor,
    T: Number,
    weight: Number,
    *,
    form: str,
    balanced: bool,
) -> Float[Tensor, ""]:
    """`weight` times `soft_loss` of what is known to be a distribution,
    at a temperature that was checked."""
    if form not in FORMS:
        known = " or ".join(map(repr, FORMS))
        raise ValueError(f"form = {form!r}: it is {known}")
    q, p = wide(logits) / T, wide(targets)
    if q.dtype != p.dtype:
        p = p.to(q.dtype)
    if q.ndim > 2:  # [b · seeds, k]; the seeds' losses are added
        weight = weight * q.shape[1:-1].numel()
        q, p = q.flatten(0, -2), p.flatten(0, -2)
    if form == "kl":
        loss = F.kl_div(q.log_softmax(-1), p, reduction="batchmean")
    else:
        loss = F.cross_entropy(q, p)
    return (weight * T**2 if balanced else weight) * loss


def hard_loss(
    logits: Float[Tensor, "b *seeds k"], labels: Int64[Tensor, "b *seeds"]
) -> Float[Tensor, ""]:
    """Cross-entropy with the labels; reduced as in `soft_loss`.

    Raises `ValueError` for shapes that differ and for labels that name no
    class; on a GPU torch itself stops at these.
    """
    check_same_places(logits, labels)
    z, names, seeds = wide(logits), labels, 0
    if names.dtype != torch.int64:
        names = names.long()
    if z.ndim > 2:
        seeds = z.shape[1:-1].numel()
        z, names = z.flatten(0, -2), names.flatten()
    try:
        loss = F.cross_entropy(z, names, ignore_index=NEVER)
    except IndexError:
        check_labels(labels, logits.shape[-1])
        raise
    return seeds * loss if seeds else loss


def distillation_loss(
    logits: Float[Tensor, "b *seeds k"],
    teacher: Float[Tensor, "b *seeds classes"] | None,
    labels: Int64[Tensor, "b *seeds"] | None,
    *,
    temperature: Number,
    weight: Number,
    form: str = "cross-entropy",
    balanced: bool = True,
) -> Float[Tensor, ""]:
    """weight · soft loss at T + (1 - weight) · hard loss at 1.

    `teacher` holds the teacher's logits; nothing flows back into them.
    With weight 1 the labels are not used, with weight 0 the teacher is
    not, and may be `None`. Shapes are checked, no value is read. Raises
    `ValueError` for a weight outside 0 … 1 and for what `soft_loss` and
    `hard_loss` refuse.
    """
    check_weight(weight)
    check_loss_temperature(temperature)
    loss = 0.0
    if weight > 0:
        check_given(teacher, "teacher's logits", weight)
        check_answers(logits, teacher)
        targets = (wide(teacher.detach()) / temperature).softmax(-1)
        loss = softly(
            logits, targets, temperature, weight, form=form, balanced=balanced
        )
    if weight < 1:
        check_given(labels, "labels", weight)
        loss = loss + (1 - weight) * hard_loss(logits, labels)
    return loss


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
    its logits are the batch's last column: see `answers`. With weight 1
    the labels may be any numbers, or be left out. Raises `ValueError` for
    what `distillation_loss` refuses and for a teacher in training mode.
    """
    check_loss_temperature(temperature)
    check_weight(weight)
    settings = dict(temperature=temperature, weight=weight, form=form)

    def loss(student: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        images, labels, said = columns(batch, teacher, weight)
        if teacher is not None and weight > 0:
            check_teaching(teacher)
            with torch.no_grad():
                said = teacher(images)
        return distillation_loss(student(images), said, labels, **settings)

    return loss


def columns(batch: Batch, teacher: nn.Module | None, weight: Number) -> tuple:
    """Images, labels or None, and the kept answers or None."""
    images, *rest = batch
    said = None
    if teacher is None and rest and (weight > 0 or len(rest) > 1):
        said = rest.pop()
    if len(rest) > 1 or (teacher is None and said is None and weight > 0):
        wanted = "(images, labels"
        wanted += ", the teacher's logits)" if teacher is None else ")"
        raise ValueError(
            f"a batch of {len(batch)} columns: they are {wanted}"
        )
    return images, rest[0] if rest else None, said


@torch.no_grad()
def answers(
    teacher: nn.Module, images: Float[Tensor, "n *any"], batch_size: int = 256
) -> Float[Tensor, "n *k"]:
    """The teacher's logits of a whole set, to be asked once and kept.

    Raises `ValueError` for a teacher in training mode and for answers
    that are not finite: the losses do not look at them again.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size = {batch_size}: it is at least 1")
    check_teaching(teacher)
    said = torch.cat([teacher(part) for part in images.split(batch_size)])
    fine = said.isfinite().flatten(1).all(1)
    if not fine.all():
        first = int(fine.int().argmin())
        raise ValueError(
            f"the teacher's answer to image {first} is not finite: "
            f"{said[first].flatten().tolist()[:3]} …; mend the teacher or "
            "leave the image out"
        )
    return said


def check_weight(weight: Number) -> None:
    """Refuse weights that would push one of the losses up."""
    if not isinstance(weight, Number) or not 0 <= weight <= 1:
        raise ValueError(
            f"weight = {weight}: 0 learns from labels alone, 1 from the "
            "teacher alone, so it lies in 0 … 1"
        )


def check_loss_temperature(temperature: Number) -> None:
    """Refuse temperatures at which the loss is lost to rounding."""
    check_temperature(temperature)
    if not COLDEST <= temperature <= HOTTEST:
        raise ValueError(
            f"temperature = {temperature}: T² times the loss is exact from "
            f"{COLDEST} to {HOTTEST:g}; usual are 1 to 20"
        )


def check_given(part: Tensor | None, name: str, weight: Number) -> None:
    """Refuse a loss of which a part that counts is missing."""
    if part is None:
        other = "0 learns without a teacher, 1 without labels"
        raise ValueError(f"weight = {weight} and no {name}: {other}")


def check_answers(
    student: Float[Tensor, "..."], teacher: Float[Tensor, "..."]
) -> None:
    """Refuse answers that cannot be compared image by image, and class."""
    if student.shape == teacher.shape and student.ndim > 1:
        if student.shape[0]:
            return
        raise ValueError("a batch of 0 images has no mean loss: give 1 or more")
    if student.ndim < 2 or student.shape[:-1] != teacher.shape[:-1]:
        raise ValueError(
            f"answers of {tuple(student.shape)} and of "
            f"{tuple(teacher.shape)}: both are [images, classes]"
        )
    raise ValueError(
        f"the student has {student.shape[-1]} classes and the teacher "
        f"{teacher.shape[-1]}: build both with the same `classes`"
    )


def check_same_places(logits: Tensor, labels: Tensor) -> None:
    """Refuse labels that are no class numbers, one for each answer."""
    check_class_numbers(labels, logits.shape[-1])
    shape = logits.shape
    if len(shape) < 2 or labels.shape != shape[:-1] or not shape[0]:
        raise ValueError(
            f"labels of {tuple(labels.shape)} for answers of "
            f"{tuple(logits.shape)}: one for each image, 1 image or more"
        )


def check_teaching(teacher: nn.Module) -> None:
    """Refuse a teacher that drops units or learns while it answers."""
    if any(module.training for module in teacher.modules()):
        raise ValueError(
            "the teacher is in training mode: call teacher.eval() first"
        )

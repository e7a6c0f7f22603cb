"""What every detector does at its two ends: check what it is given, and keep the best of what it says."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from helpers.localization.detection.backbone import check_labels
from helpers.localization.detection.boxes import Detections, at_hand, check_most, check_scores, check_share
from helpers.localization.detection.nms import suppress

ANY_CLASSES = 2**62  # for a network that asks what is an object, not of which class


def keep_best(
    boxes: Float[Tensor, "n 4"],
    scores: Float[Tensor, "n k"],
    *,
    score: float,
    overlap: float,
    most: int,
    candidates: int | None = None,
) -> Detections:
    """Scores above `score`, less those that a better box of the same class overlaps by more than `overlap`.

    Every box may stand for several classes. Of each class the `candidates` best are considered, and `most` boxes are
    kept in all, best first. Raises `ValueError` for scores that are NaN, as those of a diverged network.
    """
    check_limits(score, overlap, most)
    check_scores(scores.flatten())
    keep = scores > score
    if candidates is not None and candidates < len(scores):
        last = scores.topk(candidates, 0).values[-1]
        keep &= scores >= last
    box, label = keep.nonzero().unbind(1)
    found, sure = boxes[box], scores[box, label]
    best = suppress(found, sure, label, overlap)[:most]
    return Detections(found[best], sure[best], label[best])


def check_limits(score: float, overlap: float, most: int) -> None:
    """Refuse a score or an overlap outside 0…1, and less than one detection."""
    check_share("score", score)
    check_share("overlap", overlap)
    check_most(most)


def check_detecting(model: nn.Module, images: Tensor) -> None:
    """Refuse a model of which any part is in training mode, and what is no batch of images of one size.

    In training mode batch norms look at the batch and move, dropout drops, and the full-size Faster R-CNN proposes
    twice as many regions: what is found would be something else.
    """
    if any(module.training for module in model.modules()):
        raise ValueError("the model is in training mode: call model.eval() before detecting")
    check_batch_of_images(images)


def check_batch_of_images(images: Tensor) -> None:
    """Refuse lists of images, single images, and whole numbers."""
    if isinstance(images, Tensor) and images.ndim == 4:
        if not images.is_floating_point():
            raise ValueError(f"images of type {images.dtype}: give 0 … 1, as images / 255")
        return
    if isinstance(images, Tensor):
        what = f"of shape {list(images.shape)}"
    else:
        what = f"of type {type(images).__name__}"
        if isinstance(images, list | tuple):
            what += f" with the shapes {[list(x.shape) for x in images if isinstance(x, Tensor)]}"
    raise ValueError(
        f"images {what}: give one tensor [b 3 h w] with images of one size; those of several sizes one after another, "
        "each as image[None]"
    )


def check_targets(images: Tensor, boxes: list[Tensor], labels: list[Tensor], classes: int) -> None:
    """Refuse a truth that does not fit: once, where data come in, since this looks at values.

    Raises `ValueError` for lists of other lengths than the batch, labels outside 0 … classes - 1, and boxes that are
    empty, inside out, not finite, or reach beyond the image.
    """
    check_forms(images, boxes, labels)
    check_labels(labels, classes)
    check_boxes(boxes, tuple(images.shape[-2:]))


def check_step(images: Tensor, boxes: list[Tensor], labels: list[Tensor], classes: int) -> None:
    """`check_targets` for every step of a training: nothing waits for a value.

    Values are looked at where they are at hand. On a GPU each would be a wait, under `torch.compile` a break of the
    graph: there call `check_targets` once, before the training, as `experiments.learn` does.
    """
    check_forms(images, boxes, labels)
    if at_hand(*labels):
        check_labels(labels, classes)
    if at_hand(*boxes):
        check_boxes(boxes, tuple(images.shape[-2:]))


def check_forms(images: Tensor, boxes: list[Tensor], labels: list[Tensor]) -> None:
    """Refuse shapes, types and devices that do not fit each other; no value is looked at."""
    check_batch_of_images(images)
    if not len(images) == len(boxes) == len(labels):
        raise ValueError(
            f"{len(images)} images, {len(boxes)} lists of boxes, {len(labels)} of labels: one for each image"
        )
    for i, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        check_form(box, f"boxes of image {i}")
        if label.ndim != 1 or label.dtype != torch.long:
            raise ValueError(
                f"labels of image {i} have the shape {list(label.shape)} and the type {label.dtype}: give [n], whole "
                "numbers as label.long()"
            )
        if len(box) != len(label):
            raise ValueError(f"image {i} has {len(box)} boxes and {len(label)} labels: give one label for each box")
        if not images.device == box.device == label.device:
            raise ValueError(
                f"image {i} lies on {images.device}, its boxes on {box.device} and its labels on {label.device}: move "
                "them, as box.to(images.device)"
            )


def check_form(boxes: Tensor, where: str) -> None:
    """Refuse boxes that are not [n 4]."""
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{where} have the shape {list(boxes.shape)}: it is [n, 4], also for n = 0")


def check_boxes(
    boxes: Sequence[Tensor], size: tuple[int, int], what: tuple[str, str] = ("box", "boxes")
) -> None:
    """Refuse boxes of a batch that are empty, inside out, not finite, or half a pixel beyond an image of `size`."""
    if not boxes:
        return
    h, w = size
    one, many = what
    every = torch.cat(list(boxes)).detach()
    fine = (every[:, 2:] > every[:, :2]).all(1)
    inside = (every >= -0.5) & (every <= every.new_tensor([w, h, w, h]) + 0.5)
    if (fine[:, None] & inside).all():
        return
    for i, box in enumerate(boxes):
        for row in box.tolist():
            x1, y1, x2, y2 = row
            if not (x1 < x2 and y1 < y2):
                raise ValueError(
                    f"image {i} has the {one} {row}: {many} are (x1, y1, x2, y2) with x1 < x2 and y1 < y2; "
                    "leave out what is not to be seen"
                )
            if not (min(row) >= -0.5 and max(x1, x2) <= w + 0.5 and max(y1, y2) <= h + 0.5):
                raise ValueError(f"image {i} has the {one} {row}, but {w} x {h} pixels: clip the {many} to the image")

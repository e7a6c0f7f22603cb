"""What every detector does at its two ends: check the truth that it is taught, and keep the best of what it says."""

from jaxtyping import Float
from torch import Tensor

from helpers.localization.detection.backbone import check_labels
from helpers.localization.detection.boxes import Detections
from helpers.localization.detection.nms import batched_nms


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
    kept in all, best first.
    """
    keep = scores > score
    if candidates is not None and candidates < len(scores):
        last = scores.topk(candidates, 0).values[-1]
        keep &= scores >= last
    box, label = keep.nonzero().unbind(1)
    found, sure = boxes[box], scores[box, label]
    best = batched_nms(found, sure, label, overlap)[:most]
    return Detections(found[best], sure[best], label[best])


def check_targets(images: Tensor, boxes: list[Tensor], labels: list[Tensor], classes: int) -> None:
    """Refuse a truth that does not fit.

    Raises `ValueError` for lists of other lengths than the batch, labels outside 0 … classes - 1, and boxes that are
    empty, inside out, or reach beyond the image.
    """
    if not len(images) == len(boxes) == len(labels):
        raise ValueError(
            f"{len(images)} images, {len(boxes)} lists of boxes, {len(labels)} of labels: one for each image"
        )
    check_labels(labels, classes)
    h, w = images.shape[-2:]
    for i, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        if len(box) != len(label):
            raise ValueError(f"image {i} has {len(box)} boxes and {len(label)} labels: give one label for each box")
        check_boxes(box, (h, w), f"image {i}")


def check_boxes(
    boxes: Float[Tensor, "n 4"], size: tuple[int, int], where: str, what: tuple[str, str] = ("box", "boxes")
) -> None:
    """Refuse boxes that are empty, inside out, or half a pixel beyond an image of `size`, height and width."""
    h, w = size
    one, many = what
    flat = (boxes[:, 2:] <= boxes[:, :2]).any(1)
    if flat.any():
        raise ValueError(
            f"{where} has the {one} {boxes[flat][0].tolist()}: {many} are (x1, y1, x2, y2) with x1 < x2 and y1 < y2; "
            "leave out what is not to be seen"
        )
    off = ((boxes < -0.5) | (boxes > boxes.new_tensor([w, h, w, h]) + 0.5)).any(1)
    if off.any():
        raise ValueError(
            f"{where} has the {one} {boxes[off][0].tolist()}, but {w} x {h} pixels: clip the {many} to the image"
        )

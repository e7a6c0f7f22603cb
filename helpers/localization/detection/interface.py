"""What every detector does at its two ends: check the truth that it is taught, and keep the best of what it says."""

import re
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from helpers.convnets.architectures.weights import published_weights
from helpers.data.downloads import File, data_folder, provide
from helpers.localization.detection.backbone import check_labels
from helpers.localization.detection.boxes import Detections
from helpers.localization.detection.nms import batched_nms

N = TypeVar("N", bound=nn.Module)


def load_coco(network: N, name: str, weights: str | None) -> N:
    """Fill a detector of 90 classes with the weights that torchvision publishes for its `name`.

    `weights` is "coco"; None leaves the network as it is. The file is kept, and checked, as those of
    `helpers.convnets.architectures` are. Raises `ValueError` for another name and for a network with other than 90
    classes, `DataUnavailable` when the file cannot be had.
    """
    if weights is None:
        return network
    if weights != "coco":
        raise ValueError(f"weights = {weights!r}: {name} has 'coco', or None for none")
    if network.classes != 90:
        raise ValueError(f"{name}'s published weights are for classes = 90, this network has {network.classes}")
    url = published_weights(name).COCO_V1.url
    file = url.rpartition("/")[2]
    digest = re.search(r"-([0-9a-f]{8,})\.", file)[1]
    path = provide(
        File((url,), file, f"sha256:{digest}", unpack=False), data_folder() / "weights", f"the file of {name}'s weights"
    )
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network


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
        x1, y1, x2, y2 = box.unbind(1)
        flat = (x2 <= x1) | (y2 <= y1)
        if flat.any():
            raise ValueError(
                f"image {i} has the box {box[flat][0].tolist()}: boxes are (x1, y1, x2, y2) with x1 < x2 and y1 < y2; "
                "leave out objects that are not to be seen"
            )
        off = (x1 < -0.5) | (y1 < -0.5) | (x2 > w + 0.5) | (y2 > h + 0.5)
        if off.any():
            raise ValueError(
                f"image {i} has the box {box[off][0].tolist()}, but {w} x {h} pixels: clip the boxes to the image"
            )

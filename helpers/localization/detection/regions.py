"""What every detector of regions shares: sampling, head, losses, detections.

Fast R-CNN, Faster R-CNN and R-FCN (and R-CNN, whose features come from
crops) differ in where regions and features come from. From the features on
they are one: Girshick 2015, arXiv:1504.08083. Logits and boxes stand in
the order background, class 0, class 1, …
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.localization.detection.boxes import (
    Detections,
    at_hand,
    box_iou,
    check_scores,
    clip_boxes_to_image,
    decode_boxes,
    encode_boxes,
    is_large,
)
from helpers.localization.detection.interface import (
    check_boxes,
    check_form,
    check_limits,
)
from helpers.localization.detection.matching import (
    match,
    of_objects,
    sample_balanced,
)
from helpers.localization.detection.nms import suppress
from helpers.localization.detection.roi import roi_align

Pool = Callable[[list[Tensor], list[Tensor]], Tensor]  # maps, regions


class RegionOutput(NamedTuple):
    """What a head says of regions, those of all images in one row."""

    logits: Float[Tensor, "n k+1"]
    deltas: Float[Tensor, "n k+1 4"]  # in units of 1 / `weights`


class RegionRules(NamedTuple):
    """How regions become examples, and what the deltas are divided by.

    An object's region overlaps it by `foreground`, one of the background
    overlaps every object by less than `background`. Of each image `count`
    regions are learned, at most the share `positive` of them objects.
    """

    foreground: float = 0.5
    background: float = 0.5
    count: int = 512
    positive: float = 0.25
    weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)


class Sample(NamedTuple):
    """The regions of one image to learn from: 0 is the background."""

    regions: Float[Tensor, "n 4"]
    labels: Int[Tensor, " n"]
    objects: Float[Tensor, "n 4"]  # what a region should move onto


class MapPool:
    """Pool regions of one map, by `roi_pool`, `roi_align`, …"""

    def __init__(
        self,
        size: int,
        stride: int,
        *,
        pool: Callable[..., Tensor] = roi_align,
        **options,
    ):
        self.size, self.stride, self.pool = size, stride, pool
        self.options = options

    def __call__(self, maps: list[Tensor], regions: list[Tensor]) -> Tensor:
        scale = 1 / self.stride
        return self.pool(maps[0], regions, self.size, scale, **self.options)


class TwoMLPHead(nn.Module):
    """Pooled features through two layers: nearly all the parameters."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc6 = nn.Linear(dim, hidden)
        self.fc7 = nn.Linear(hidden, hidden)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        return F.relu(self.fc7(F.relu(self.fc6(x.flatten(1)))))


class BoxPredictor(nn.Module):
    """A logit for each class and the background, a box for each."""

    def __init__(self, dim: int, *, classes: int):
        super().__init__()
        self.cls_score = nn.Linear(dim, classes + 1)
        self.bbox_pred = nn.Linear(dim, 4 * (classes + 1))

    def forward(self, x: Float[Tensor, "n d"]) -> RegionOutput:
        deltas = self.bbox_pred(x).unflatten(1, (-1, 4))
        return RegionOutput(self.cls_score(x), deltas)


class RoIHeads(nn.Module):
    """Pool each region of the maps, then two layers and the predictor."""

    def __init__(self, dim: int, *, classes: int, hidden: int, pool: Pool):
        super().__init__()
        self.pool = pool
        self.box_head = TwoMLPHead(dim * pool.size**2, hidden)
        self.box_predictor = BoxPredictor(hidden, classes=classes)

    def forward(
        self, maps: list[Tensor], regions: list[Tensor]
    ) -> RegionOutput:
        return self.box_predictor(self.box_head(self.pool(maps, regions)))


def sample_regions(
    regions: Sequence[Tensor],
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    rules: RegionRules,
    *,
    generator: torch.Generator | None = None,
) -> list[Sample]:
    """Regions to learn from; the true boxes join the proposed ones."""
    samples = []
    for region, box, label in zip(regions, boxes, labels, strict=True):
        box = box.to(region)
        region = torch.cat([region, box])
        overlaps = box_iou(box, region)
        found = match(overlaps, rules.foreground, rules.background)
        chosen = sample_balanced(
            found, rules.count, rules.positive, generator=generator
        )
        chosen = torch.cat(chosen).sort().values
        region, found = region[chosen], found[chosen]
        kind = of_objects(label + 1, found, torch.zeros_like(found))
        samples.append(Sample(region, kind, of_objects(box, found, region)))
    return samples


def region_losses(
    output: RegionOutput,
    samples: Sequence[Sample],
    rules: RegionRules,
    *,
    beta: float = 1 / 9,
) -> dict[str, Tensor]:
    """Losses "class" (cross-entropy) and "box" (smooth L1) per region.

    Only regions of objects have a box to learn, that of their own class.
    Both are 0 where there is no region at all.
    """
    regions = torch.cat([s.regions for s in samples])
    labels = torch.cat([s.labels for s in samples])
    objects = torch.cat([s.objects for s in samples])
    n = max(len(labels), 1)
    at = (labels > 0).nonzero()[:, 0]
    deltas = output.deltas[at, labels[at]]
    aim = encode_boxes(objects[at], regions[at], rules.weights)
    kind = F.cross_entropy(output.logits, labels, reduction="sum")
    box = F.smooth_l1_loss(deltas, aim, beta=beta, reduction="sum")
    return {"class": kind / n, "box": box / n}


def region_detections(
    output: RegionOutput,
    regions: Sequence[Tensor],
    size: tuple[int, int],
    rules: RegionRules,
    *,
    score: float,
    overlap: float,
    most: int,
) -> list[Detections]:
    """Move each region once for each class, then keep the best.

    `size` is the image's height and width, to which boxes are clipped.
    Raises `ValueError` for logits that are NaN.
    """
    check_limits(score, overlap, most)
    check_scores(output.logits.flatten(), "logits")
    check_scores(output.deltas.flatten(), "deltas")
    found = []
    counts = [len(region) for region in regions]
    probabilities = output.logits.softmax(1)[:, 1:].split(counts)
    for region, p, delta in zip(
        regions, probabilities, output.deltas[:, 1:].split(counts)
    ):
        at, label = (p > score).nonzero().unbind(1)
        box = decode_boxes(delta[at, label], region[at], rules.weights)
        box = clip_boxes_to_image(box, size)
        sure = p[at, label]
        keep = is_large(box, 1e-2)
        box, sure, label = box[keep], sure[keep], label[keep]
        keep = suppress(box, sure, label, overlap)[:most]
        found.append(Detections(box[keep], sure[keep], label[keep]))
    return found


def check_regions(images: Tensor, regions: Sequence[Tensor]) -> None:
    """Refuse a list that does not fit the batch and, where values are at
    hand, boxes without area or beyond the image."""
    if len(regions) != len(images):
        raise ValueError(
            f"{len(images)} images and {len(regions)} lists of regions: "
            "give one list for each image, an empty one of shape [0, 4] too"
        )
    for i, region in enumerate(regions):
        check_form(region, f"regions of image {i}")
    if at_hand(*regions):
        size = tuple(images.shape[-2:])
        check_boxes(regions, size, ("region", "regions"))

"""Fast R-CNN: one map for the image, a pooled piece of it for each region.

Girshick 2015 (arXiv:1504.08083). The convolutions run once, whatever the
number of regions; only the head runs for each.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from helpers.localization.detection.boxes import Detections
from helpers.localization.detection.interface import (
    check_detecting,
    check_step,
)
from helpers.localization.detection.regions import (
    MapPool,
    RegionOutput,
    RegionRules,
    RoIHeads,
    check_regions,
    region_detections,
    region_losses,
    sample_regions,
)
from helpers.localization.detection.roi import roi_align

Proposer = Callable[[Tensor], list[Tensor]]  # images to a list of boxes
SMALL = RegionRules(count=16)


class OneMap(nn.Module):
    """A trunk whose only map stands in a list, as a pyramid's do."""

    def __init__(self, trunk: nn.Module):
        super().__init__()
        self.body = trunk

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        return [self.body(images)]


class FastRCNN(nn.Module):
    """Images and regions to logits and boxes for each region."""

    def __init__(
        self,
        backbone: nn.Module,
        roi_heads: nn.Module,
        *,
        classes: int,
        proposer: Proposer,
        rules: RegionRules = SMALL,
    ):
        super().__init__()
        self.backbone, self.roi_heads = backbone, roi_heads
        self.classes, self.rules = classes, rules
        self.proposer = [proposer]  # in a list: not a part of the network

    def forward(
        self, images: Float[Tensor, "b 3 h w"], regions: list[Tensor]
    ) -> RegionOutput:
        check_regions(images, regions)
        return self.roi_heads(self.backbone(images), regions)

    def propose(self, images: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """Regions from outside; nothing is learned of them."""
        with torch.no_grad():
            return self.proposer[0](images)


def fast_rcnn_losses(
    model: nn.Module,
    images: Float[Tensor, "b 3 h w"],
    boxes: list[Tensor],
    labels: list[Tensor],
    *,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Losses "class" and "box" on regions sampled from the proposals."""
    check_step(images, boxes, labels, model.classes)
    samples = sample_regions(
        model.propose(images), boxes, labels, model.rules, generator=generator
    )
    output = model(images, [s.regions for s in samples])
    return region_losses(output, samples, model.rules)


@torch.no_grad()
def fast_rcnn_detect(
    model: nn.Module,
    images: Float[Tensor, "b 3 h w"],
    *,
    score: float = 0.05,
    overlap: float = 0.5,
    most: int = 100,
) -> list[Detections]:
    """Classify and move all proposals, then suppress the duplicates."""
    check_detecting(model, images)
    regions = model.propose(images)
    return region_detections(
        model(images, regions),
        regions,
        images.shape[-2:],
        model.rules,
        score=score,
        overlap=overlap,
        most=most,
    )


def fast_rcnn_small(
    trunk: nn.Module,
    *,
    classes: int,
    proposer: Proposer,
    pool: Callable[..., Tensor] = roi_align,
    hidden: int = 128,
    size: int = 4,
) -> FastRCNN:
    """Over the lecture's trunk, with `roi_pool` or `roi_align`."""
    options = {"sampling_ratio": 2, "aligned": True}
    if pool is not roi_align:
        options = {}
    pooled = MapPool(size, trunk.stride, pool=pool, **options)
    heads = RoIHeads(trunk.dim, classes=classes, hidden=hidden, pool=pooled)
    return FastRCNN(OneMap(trunk), heads, classes=classes, proposer=proposer)

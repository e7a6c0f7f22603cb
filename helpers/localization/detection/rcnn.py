"""R-CNN: cut each region out of the image, warp it, classify it.

Girshick et al. 2014 (arXiv:1311.2524). Every region pays for a pass
through the whole network. The paper trained the network, support vector
machines and box regressors one after the other; here one head learns both.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.localization.detection.boxes import Detections
from helpers.localization.detection.fast_rcnn import (
    SMALL,
    Proposer,
    fast_rcnn_detect,
    fast_rcnn_losses,
)
from helpers.localization.detection.regions import (
    BoxPredictor,
    RegionOutput,
    RegionRules,
    TwoMLPHead,
    check_regions,
)


def warp(
    images: Float[Tensor, "b c h w"],
    regions: list[Tensor],
    size: int,
    *,
    context: float = 0.0,
) -> Float[Tensor, "n c size size"]:
    """Cut out every region and stretch it to `size` x `size` pixels.

    `context` adds that share of the region's sides all around; beyond the
    image its border repeats. Sampled bilinearly at the pixels' centres.
    """
    which = [i for i, region in enumerate(regions) for _ in region]
    x1, y1, x2, y2 = torch.cat(regions).unbind(1)
    h, w = images.shape[-2:]
    at = (torch.arange(size).to(images) + 0.5) / size
    at = at * (1 + 2 * context) - context  # 0 … 1 across the region
    x = x1[:, None] + (x2 - x1)[:, None] * at  # n size, in pixels
    y = y1[:, None] + (y2 - y1)[:, None] * at
    x, y = 2 * x / w - 1, 2 * y / h - 1
    grid = torch.stack([
        x[:, None, :].expand(-1, size, -1),
        y[:, :, None].expand(-1, -1, size),
    ], -1)  # fmt: skip
    return F.grid_sample(
        images[which], grid, padding_mode="border", align_corners=False
    )


class RCNN(nn.Module):
    """A classifier of warped regions, with a box for each class."""

    def __init__(
        self,
        trunk: nn.Module,
        *,
        classes: int,
        proposer: Proposer,
        hidden: int = 128,
        size: int = 32,
        context: float = 0.125,
        rules: RegionRules = SMALL,
    ):
        super().__init__()
        self.trunk, self.classes, self.rules = trunk, classes, rules
        self.size, self.context = size, context
        self.proposer = [proposer]  # in a list: not a part of the network
        dim = trunk.dim * (size // trunk.stride) ** 2
        self.box_head = TwoMLPHead(dim, hidden)
        self.box_predictor = BoxPredictor(hidden, classes=classes)

    def forward(
        self, images: Float[Tensor, "b 3 h w"], regions: list[Tensor]
    ) -> RegionOutput:
        check_regions(images, regions)
        crops = warp(images, regions, self.size, context=self.context)
        return self.box_predictor(self.box_head(self.trunk(crops)))

    def propose(self, images: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """Regions from outside; nothing is learned of them."""
        with torch.no_grad():
            return self.proposer[0](images)


def rcnn_losses(
    model: RCNN,
    images: Float[Tensor, "b 3 h w"],
    boxes: list[Tensor],
    labels: list[Tensor],
    *,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Losses "class" and "box" on regions sampled from the proposals."""
    return fast_rcnn_losses(model, images, boxes, labels, generator=generator)


def rcnn_detect(
    model: RCNN,
    images: Float[Tensor, "b 3 h w"],
    *,
    score: float = 0.05,
    overlap: float = 0.5,
    most: int = 100,
) -> list[Detections]:
    """Classify and move all proposals, then suppress the duplicates."""
    return fast_rcnn_detect(
        model, images, score=score, overlap=overlap, most=most
    )

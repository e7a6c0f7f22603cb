"""R-FCN: a fully convolutional detector with position-sensitive maps.

Dai et al. 2016 (arXiv:1605.06409). One group of maps learns the upper left
of each class, another the middle, and so on; a region reads each of its
bins from that bin's group and takes the mean. After the maps nothing has a
parameter, so that a further region costs next to nothing.
"""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.localization.detection.boxes import Detections
from helpers.localization.detection.fast_rcnn import OneMap
from helpers.localization.detection.faster_rcnn import (
    SMALL_REGIONS,
    FasterRCNN,
    faster_rcnn_detect,
    faster_rcnn_losses,
    small_rpn,
)
from helpers.localization.detection.regions import RegionOutput
from helpers.localization.detection.roi import ps_roi_pool

POOL = partial(ps_roi_pool, whole=True)  # small maps have no row to spare


class PositionSensitiveHead(nn.Module):
    """k² groups of score maps, and k² groups of maps for the box.

    The box is the same for all classes, as in the paper. `pool` takes
    the arguments of `ps_roi_pool`, which rounds regions to whole places:
    `finer` times enlarged maps lose less by that (the paper halves the
    stride of ResNet's last stage for it).
    """

    def __init__(
        self,
        dim: int,
        *,
        classes: int,
        stride: int,
        hidden: int = 128,
        bins: int = 3,
        finer: int = 2,
        pool: Callable[..., Tensor] = POOL,
    ):
        super().__init__()
        self.bins, self.finer, self.pool = bins, finer, pool
        self.scale = finer / stride
        conv = nn.Conv2d(dim, hidden, 3, padding=1)
        self.conv = nn.Sequential(conv, nn.ReLU())
        self.scores = nn.Conv2d(hidden, bins**2 * (classes + 1), 1)
        self.boxes = nn.Conv2d(hidden, bins**2 * 4, 1)

    def forward(
        self, maps: list[Tensor], regions: list[Tensor]
    ) -> RegionOutput:
        logits, deltas = (
            self.pool(x, regions, self.bins, self.scale).mean((2, 3))
            for x in self.score_maps(maps)
        )
        deltas = deltas[:, None].expand(-1, logits.shape[1], -1)
        return RegionOutput(logits, deltas)

    def score_maps(
        self, maps: list[Tensor]
    ) -> tuple[Float[Tensor, "b ks h w"], Float[Tensor, "b kd h w"]]:
        """All that is computed by layers: once for the image."""
        x = self.conv(maps[0])
        if self.finer > 1:
            x = F.interpolate(x, scale_factor=self.finer, mode="bilinear")
        return self.scores(x), self.boxes(x)


class RFCN(FasterRCNN):
    """Faster R-CNN's proposals under a head without layers per region."""


def rfcn_losses(
    model: RFCN,
    images: Float[Tensor, "b 3 h w"],
    boxes: list[Tensor],
    labels: list[Tensor],
    *,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """The four losses of Faster R-CNN."""
    return faster_rcnn_losses(
        model, images, boxes, labels, generator=generator
    )


def rfcn_detect(
    model: RFCN,
    images: Float[Tensor, "b 3 h w"],
    *,
    score: float = 0.05,
    overlap: float = 0.5,
    most: int = 100,
) -> list[Detections]:
    """Propose, vote, move, suppress."""
    return faster_rcnn_detect(
        model, images, score=score, overlap=overlap, most=most
    )


def rfcn_small(
    trunk: nn.Module,
    *,
    classes: int,
    bins: int = 3,
    pool: Callable[..., Tensor] = POOL,
) -> RFCN:
    """Over the lecture's trunk."""
    head = PositionSensitiveHead(
        trunk.dim, classes=classes, stride=trunk.stride, bins=bins, pool=pool
    )
    return RFCN(
        OneMap(trunk),
        small_rpn(trunk.dim),
        head,
        classes=classes,
        rules=SMALL_REGIONS,
    )

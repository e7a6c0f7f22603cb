"""Faster R-CNN: the network proposes its own regions, on the shared map.

Ren et al. 2015 (arXiv:1506.01497). Four losses, two of the proposals and
two of the regions, are trained together, as in torchvision; the paper's
first version alternated. At the end of the file stands the full size.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.convnets.architectures.resnet import resnet50
from helpers.convnets.architectures.weights import (
    check_published,
    published_state,
)
from helpers.localization.detection.backbone import FrozenBatchNorm2d
from helpers.localization.detection.boxes import Detections
from helpers.localization.detection.fast_rcnn import OneMap
from helpers.localization.detection.fpn import PyramidBackbone, PyramidPool
from helpers.localization.detection.interface import (
    check_detecting,
    check_step,
)
from helpers.localization.detection.regions import (
    MapPool,
    RegionOutput,
    RegionRules,
    RoIHeads,
    region_detections,
    region_losses,
    sample_regions,
)
from helpers.localization.detection.roi import roi_align
from helpers.localization.detection.rpn import (
    RPN,
    RegionProposer,
    RPNOutput,
    RPNRules,
    anchor_losses,
    check_finite,
    propose,
)

SMALL_RPN = RPNRules(0.5, 0.3, 64, 0.5, (192, 192), (48, 48), 0.7)
SMALL_REGIONS = RegionRules(count=16)
OLD_CONV = re.compile(r"(fpn\.\w+_blocks\.\d)\.(weight|bias)$")
OLD_HEAD = re.compile(r"(rpn\.head\.conv)\.(weight|bias)$")
SMALL_SIZES = (12, 19, 28)  # of the anchors: small, medium, large things


class FasterRCNNOutput(NamedTuple):
    """Predictions for the anchors, the proposals, those for them.

    Boxes are in pixels of the images as `prepare` resized them, to the
    height and width `size`.
    """

    anchors: RPNOutput
    proposals: list[Tensor]
    regions: RegionOutput
    size: tuple[int, int]


class Prepare(nn.Module):
    """Standardise images and resize them, as torchvision's detectors do.

    The shorter side becomes `least` pixels, or less where the longer one
    would exceed `most`; zeros on the right and below make both a
    multiple of 32.
    """

    def __init__(self, *, least: int, most: int):
        super().__init__()
        self.least, self.most = least, most
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("std", torch.tensor(std), persistent=False)

    def forward(
        self, images: Float[Tensor, "b 3 h w"]
    ) -> tuple[Tensor, tuple[int, int]]:
        """The images, and height and width without the zeros."""
        mean, std = self.mean[:, None, None], self.std[:, None, None]
        x = (images - mean.to(images)) / std.to(images)
        sides = images.shape[-2:]
        scale = min(self.least / min(sides), self.most / max(sides))
        x = F.interpolate(
            x, scale_factor=scale, mode="bilinear", recompute_scale_factor=True
        )
        h, w = x.shape[-2:]
        return F.pad(x, (0, -w % 32, 0, -h % 32)), (h, w)


class FasterRCNN(RegionProposer):
    """A region proposer, and heads for what it proposes."""

    def __init__(
        self,
        backbone: nn.Module,
        rpn: RPN,
        roi_heads: nn.Module,
        *,
        classes: int,
        rules: RegionRules | None = None,
        prepare: nn.Module | None = None,
    ):
        super().__init__(backbone, rpn)
        self.roi_heads, self.classes = roi_heads, classes
        self.rules = rules or RegionRules()
        self.transform = prepare

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> FasterRCNNOutput:
        """Everything before losses or suppression of detections."""
        images, size = self.prepare(images)
        maps = self.backbone(images)
        anchors = self.rpn(maps, images.shape[-2:])
        proposals = propose(
            anchors, size, self.rpn.rules, training=self.training
        )
        regions = self.roi_heads(maps, proposals)
        return FasterRCNNOutput(anchors, proposals, regions, size)

    def prepare(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """What the backbone sees, and the image's height and width in it."""
        if self.transform is None:
            return images, tuple(images.shape[-2:])
        return self.transform(images)


def faster_rcnn_losses(
    model: FasterRCNN,
    images: Float[Tensor, "b 3 h w"],
    boxes: list[Tensor],
    labels: list[Tensor],
    *,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """The four losses: "objectness", "rpn_box", "class" and "box".

    Proposals count as given: no gradient flows through where they lie.
    """
    check_step(images, boxes, labels, model.classes)
    before = tuple(images.shape[-2:])
    images, size = model.prepare(images)
    boxes = resized(boxes, before, size)
    maps = model.backbone(images)
    anchors = model.rpn(maps, images.shape[-2:])
    losses = anchor_losses(
        anchors, boxes, model.rpn.rules, generator=generator
    )
    samples = sample_regions(
        propose(anchors, size, model.rpn.rules, training=True),
        boxes,
        labels,
        model.rules,
        generator=generator,
    )
    output = model.roi_heads(maps, [s.regions for s in samples])
    return losses | region_losses(output, samples, model.rules)


@torch.no_grad()
def faster_rcnn_detect(
    model: FasterRCNN,
    images: Float[Tensor, "b 3 h w"],
    *,
    score: float = 0.05,
    overlap: float = 0.5,
    most: int = 100,
) -> list[Detections]:
    """Propose, classify, move, suppress.

    Raises `ValueError` in training mode, as all that detect.
    """
    check_detecting(model, images)
    output = model(images)
    check_finite(output.anchors)
    before = tuple(images.shape[-2:])
    found = region_detections(
        output.regions,
        output.proposals,
        output.size,
        model.rules,
        score=score,
        overlap=overlap,
        most=most,
    )
    boxes = resized([one.boxes for one in found], output.size, before)
    return [one._replace(boxes=box) for one, box in zip(found, boxes)]


def resized(
    boxes: Sequence[Tensor], before: tuple[int, int], after: tuple[int, int]
) -> list[Tensor]:
    """Boxes of an image that went from one height and width to another."""
    if before == after:
        return list(boxes)
    y, x = (torch.tensor(float(b)) / a for a, b in zip(before, after))
    return [box * torch.stack([x, y, x, y]).to(box) for box in boxes]


def faster_rcnn_small(
    trunk: nn.Module, *, classes: int, hidden: int = 128, size: int = 4
) -> FasterRCNN:
    """Over the lecture's trunk, for things of 12 to 30 pixels."""
    options = {"sampling_ratio": 2, "aligned": True}
    pool = MapPool(size, trunk.stride, pool=roi_align, **options)
    return FasterRCNN(
        OneMap(trunk),
        small_rpn(trunk.dim),
        RoIHeads(trunk.dim, classes=classes, hidden=hidden, pool=pool),
        classes=classes,
        rules=SMALL_REGIONS,
    )


def small_rpn(dim: int) -> RPN:
    """Three square anchors in the middle of each cell."""
    options = dict(ratios=(1.0,), centre=0.5, rules=SMALL_RPN)
    return RPN(dim, sizes=[SMALL_SIZES], **options)


def proposer_small(trunk: nn.Module) -> RegionProposer:
    """An RPN alone, to propose to other detectors: see `rpn_proposals`."""
    return RegionProposer(OneMap(trunk), small_rpn(trunk.dim))


def fasterrcnn_resnet50_fpn(
    *,
    classes: int = 90,
    weights: str | None = None,
    min_size: int = 800,
    max_size: int = 1333,
) -> FasterRCNN:
    """Full size: ResNet-50 with frozen norms, a pyramid of 256 channels.

    Parameters are named as in torchvision's builder, whose state dict it
    takes. The classes are torchvision's without the background: class c
    is its label c + 1. `weights="coco"` loads what torchvision published
    for COCO (its 90 labels). Images are resized to `min_size` pixels on
    the shorter side, at most `max_size` on the longer one.
    """
    body = resnet50(classes=None, norm=FrozenBatchNorm2d)
    for layer in (body.conv1, body.layer1):
        layer.requires_grad_(False)  # edges are edges everywhere
    strides = (4, 8, 16, 32)
    model = FasterRCNN(
        PyramidBackbone(body, dim=256),
        RPN(256, sizes=[(32,), (64,), (128,), (256,), (512,)]),
        RoIHeads(
            256,
            classes=classes,
            hidden=1024,
            pool=PyramidPool(7, strides, sampling_ratio=2),
        ),
        classes=classes,
        prepare=Prepare(least=min_size, most=max_size),
    )
    if weights is not None:
        load_coco(model, weights)
    return model


def load_coco(model: FasterRCNN, weights: str = "coco") -> None:
    """Fill the full-size model with what torchvision published for COCO.

    Those norms divide by the deviation as it stands, without an epsilon.
    Raises `ValueError` for other classes than COCO's 90 labels.
    """
    name = "fasterrcnn_resnet50_fpn"
    check_published(name, weights)
    if model.classes != 90:
        raise ValueError(
            f"classes = {model.classes}: the weights for COCO have 90 labels; "
            "build with classes=90, then put a new BoxPredictor(1024, "
            "classes=…) in the place of roi_heads.box_predictor"
        )
    state = published_state(name, weights)  # from before `conv` had layers
    state = {OLD_CONV.sub(r"\1.0.\2", k): v for k, v in state.items()}
    state = {OLD_HEAD.sub(r"\1.0.0.\2", k): v for k, v in state.items()}
    model.load_state_dict(state)
    for norm in model.modules():
        if isinstance(norm, FrozenBatchNorm2d):
            norm.eps = 0.0

"""The region proposal network: objectness and a box for each anchor.

Ren et al. 2015 (arXiv:1506.01497), section 3.1. A 3x3 convolution slides
over the map; at each place it scores and moves a few anchors.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.localization.detection.anchors import anchors_of_maps
from helpers.localization.detection.boxes import (
    box_iou,
    check_most,
    check_scores,
    clip_boxes_to_image,
    decode_boxes,
    encode_boxes,
    is_large,
)
from helpers.localization.detection.interface import (
    ANY_CLASSES,
    check_detecting,
    check_step,
)
from helpers.localization.detection.matching import match, sample_balanced
from helpers.localization.detection.nms import suppress


class RPNOutput(NamedTuple):
    """Predictions for the anchors of all levels in one row."""

    objectness: Float[Tensor, "b n"]  # logits
    deltas: Float[Tensor, "b n 4"]
    anchors: Float[Tensor, "n 4"]
    levels: list[int]  # how many anchors each map has


class RPNRules(NamedTuple):
    """Which anchors are learned from, and which boxes are proposed.

    As `RegionRules`; of each map the `before` best go into non-maximum
    suppression at `overlap`, and of what is left `after` are proposed.
    Pairs are for training and for detecting.
    """

    foreground: float = 0.7
    background: float = 0.3
    count: int = 256
    positive: float = 0.5
    before: tuple[int, int] = (2000, 1000)
    after: tuple[int, int] = (2000, 1000)
    overlap: float = 0.7


class RPNHead(nn.Module):
    """What slides over every map: the same weights for all of them."""

    def __init__(self, dim: int, *, anchors: int):
        super().__init__()
        block = nn.Sequential(nn.Conv2d(dim, dim, 3, padding=1), nn.ReLU())
        self.conv = nn.Sequential(block)
        self.cls_logits = nn.Conv2d(dim, anchors, 1)
        self.bbox_pred = nn.Conv2d(dim, 4 * anchors, 1)
        for layer in (block[0], self.cls_logits, self.bbox_pred):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b n 4"]]:
        x = self.conv(x)
        logits = self.cls_logits(x)  # b a h w
        deltas = self.bbox_pred(x).unflatten(1, (-1, 4))  # b a 4 h w
        logits = logits.permute(0, 2, 3, 1).flatten(1)
        return logits, deltas.permute(0, 3, 4, 1, 2).flatten(1, 3)


class RPN(nn.Module):
    """The head with its anchors: `sizes` has a tuple for each map.

    A size is the side in pixels of the square anchor; the other `ratios`
    of height to width have the same area. They sit `centre` strides from
    the upper left corner of their cell (0 as in torchvision, 0.5 amid it).
    """

    def __init__(
        self,
        dim: int,
        *,
        sizes: Sequence[Sequence[int]],
        ratios: Sequence[float] = (0.5, 1.0, 2.0),
        centre: float = 0.0,
        rules: RPNRules | None = None,
    ):
        super().__init__()
        self.rules = rules or RPNRules()
        self.centre = centre
        self.sizes = tuple(tuple(map(float, size)) for size in sizes)
        self.ratios = (tuple(ratios),) * len(self.sizes)
        self.head = RPNHead(dim, anchors=len(self.sizes[0]) * len(ratios))

    def forward(
        self, maps: Sequence[Tensor], image: tuple[int, int]
    ) -> RPNOutput:
        """Predictions on `maps` of images of that height and width."""
        logits, deltas = zip(*(self.head(x) for x in maps))
        anchors = anchors_of_maps(
            image,
            [tuple(x.shape[-2:]) for x in maps],
            self.sizes,
            self.ratios,
            centre=self.centre,
            dtype=logits[0].dtype,
            device=logits[0].device,
        )
        return RPNOutput(
            torch.cat(logits, 1),
            torch.cat(deltas, 1),
            torch.cat(anchors),
            [x.shape[1] for x in logits],
        )


class RegionProposer(nn.Module):
    """A backbone, which gives a list of maps, and an RPN on top."""

    def __init__(self, backbone: nn.Module, rpn: RPN):
        super().__init__()
        self.backbone, self.rpn = backbone, rpn

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> RPNOutput:
        return self.rpn(self.backbone(images), images.shape[-2:])


def propose(
    output: RPNOutput,
    size: tuple[int, int],
    rules: RPNRules,
    *,
    training: bool = False,
) -> list[Float[Tensor, "n 4"]]:
    """The most object-like boxes of each image, best first.

    `size` is the image's height and width, to which boxes are clipped.
    No gradient flows into where the boxes lie.
    """
    before = rules.before[0 if training else 1]
    after = rules.after[0 if training else 1]
    logits, deltas = output.objectness.detach(), output.deltas.detach()
    best, level, start = [], [], 0
    for i, part in enumerate(logits.split(output.levels, 1)):
        top = part.topk(min(before, part.shape[1]), dim=1).indices
        best.append(top + start)
        level.append(torch.full_like(top[0], i))
        start += part.shape[1]
    best, level = torch.cat(best, 1), torch.cat(level)
    proposals = []
    for chosen, logit, delta in zip(best, logits, deltas):
        boxes = decode_boxes(delta[chosen], output.anchors[chosen])
        boxes = clip_boxes_to_image(boxes, size)
        keep = is_large(boxes, 1e-3)
        boxes, scores = boxes[keep], logit[chosen].sigmoid()[keep]
        kept = suppress(boxes, scores, level[keep], rules.overlap)
        proposals.append(boxes[kept[:after]])
    return proposals


def anchor_losses(
    output: RPNOutput,
    boxes: Sequence[Tensor],
    rules: RPNRules,
    *,
    beta: float = 1 / 9,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Losses "objectness" and "rpn_box" over the sampled anchors."""
    logits, targets, deltas, aims = [], [], [], []
    for logit, delta, box in zip(output.objectness, output.deltas, boxes):
        box = box.to(delta)
        overlaps = box_iou(box, output.anchors)
        found = match(
            overlaps, rules.foreground, rules.background, force="ties"
        )
        chosen = sample_balanced(
            found, rules.count, rules.positive, generator=generator
        )
        chosen = torch.cat(chosen).sort().values
        logits.append(logit[chosen])
        targets.append((found[chosen] >= 0).to(logit))
        at = chosen[found[chosen] >= 0]
        deltas.append(delta[at])
        aims.append(encode_boxes(box[found[at]], output.anchors[at]))
    logits, targets = torch.cat(logits), torch.cat(targets)
    objectness = F.binary_cross_entropy_with_logits(logits, targets)
    box = F.smooth_l1_loss(
        torch.cat(deltas), torch.cat(aims), beta=beta, reduction="sum"
    )
    return {"objectness": objectness, "rpn_box": box / len(logits)}


def rpn_losses(
    model: RegionProposer,
    images: Float[Tensor, "b 3 h w"],
    boxes: list[Tensor],
    labels: list[Tensor],
    *,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Teach the proposer alone; the classes of the objects are not used."""
    check_step(images, boxes, labels, ANY_CLASSES)
    rules = model.rpn.rules
    return anchor_losses(model(images), boxes, rules, generator=generator)


@torch.no_grad()
def rpn_proposals(
    model: RegionProposer, images: Float[Tensor, "b 3 h w"], *, most: int = 300
) -> list[Float[Tensor, "n 4"]]:
    """The `most` best proposals of each image, best first."""
    check_detecting(model, images)
    check_most(most)
    rules = model.rpn.rules
    rules = rules._replace(after=(most, most))
    size = tuple(images.shape[-2:])
    output = model.rpn(model.backbone(images), size)
    check_finite(output)
    return propose(output, size, rules)


def check_finite(output: RPNOutput) -> None:
    """Refuse predictions that are NaN: no box of theirs would be proposed,
    and an image with objects would seem to be empty."""
    check_scores(output.objectness.flatten(), "objectness")
    check_scores(output.deltas.flatten(), "deltas")

"""Classification with localisation: one network, two heads, one object.

Sermanet et al. 2014 (OverFeat, arXiv:1312.6229). The features of a
classifier feed a second head, which regresses the four numbers of a box
under a squared loss; the two losses are added.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.localization.detection.boxes import Detections, check_scores
from helpers.localization.detection.interface import (
    check_detecting,
    check_limits,
    check_step,
)


class Localizer(nn.Module):
    """One class and one box for each image.

    The class may be anywhere: its head takes the maximum over the map.
    The place would be lost by that, so the other head reads the map
    pooled to `grid` x `grid` cells.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        classes: int,
        hidden: int = 128,
        grid: int = 4,
    ):
        super().__init__()
        self.classes = classes
        self.backbone = backbone
        self.classifier = nn.Linear(backbone.dim, classes)
        self.neck = nn.Sequential(
            nn.AdaptiveAvgPool2d(grid),
            nn.Flatten(),
            nn.Linear(backbone.dim * grid**2, hidden),
            nn.ReLU(),
        )
        self.regressor = nn.Linear(hidden, 4)

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b 4"]]:
        """Logits, and boxes (x1, y1, x2, y2) as shares of the sides."""
        x = self.backbone(images)
        return self.classifier(x.amax((2, 3))), self.regressor(self.neck(x))


def localization_losses(
    model: Localizer,
    images: Float[Tensor, "b c h w"],
    boxes: list[Tensor],
    labels: list[Tensor],
    *,
    weight: float = 10.0,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Cross-entropy, and `weight` times the squared distance of the boxes.

    Nothing is drawn: `generator` is taken because all detectors take it.
    Raises `ValueError` for an image that has not exactly one object.
    """
    check_step(images, boxes, labels, model.classes)
    check_single(boxes)
    logits, predicted = model(images)
    truth = torch.cat(boxes) / sides(images)
    distance = (predicted - truth).square().sum(1)
    return {
        "class": F.cross_entropy(logits, torch.cat(labels)),
        "box": weight * distance.mean(),
    }


@torch.no_grad()
def localization_detect(
    model: Localizer,
    images: Float[Tensor, "b c h w"],
    *,
    score: float = 0.0,
    overlap: float = 0.5,
    most: int = 100,
) -> list[Detections]:
    """The one object of each image, unless its probability is below `score`.

    There is nothing to suppress; `overlap` and `most` are taken because
    all detectors take them.
    """
    check_detecting(model, images)
    check_limits(score, overlap, most)
    logits, predicted = model(images)
    check_scores(logits.flatten(), "logits")
    check_scores(predicted.flatten(), "predicted")
    scores, labels = logits.softmax(1).max(1)
    corners = order_corners(predicted.clamp(0, 1) * sides(images))
    return [
        Detections(corners[[i]], scores[[i]], labels[[i]])
        if scores[i] >= score
        else Detections(corners[:0], scores[:0], labels[:0])
        for i in range(len(images))
    ]


def sides(images: Float[Tensor, "b c h w"]) -> Float[Tensor, "4"]:
    """Width, height, width, height: from shares to pixels."""
    h, w = images.shape[-2:]
    return images.new_tensor([w, h, w, h])


def order_corners(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    """Exchange corners that a regression gave in the wrong order."""
    low = torch.minimum(boxes[..., :2], boxes[..., 2:])
    high = torch.maximum(boxes[..., :2], boxes[..., 2:])
    return torch.cat([low, high], -1)


def check_single(boxes: list[Tensor]) -> None:
    """Refuse images with no object or with several."""
    for i, box in enumerate(boxes):
        if len(box) != 1:
            raise ValueError(
                f"image {i} has {len(box)} boxes: a localizer finds one "
                "object; draw scenes with Rules(count=1)"
            )

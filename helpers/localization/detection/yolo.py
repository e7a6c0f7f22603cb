"""YOLO v1: one look at the image, a grid of cells, a few boxes each.

Redmon et al. 2016 (arXiv:1506.02640). The cell that holds an object's
centre answers for it. Each of the S x S cells predicts B boxes
(x, y, √w, √h, confidence) and one set of class probabilities, all of them
by squared errors: S·S·(5B + C) numbers from one forward pass.
"""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from helpers.localization.detection.boxes import Detections
from helpers.localization.detection.interface import (
    check_detecting,
    check_step,
    keep_best,
)
from helpers.localization.detection.localization import sides

# The 24 convolutions of figure 3: kernel, channels, stride; "pool" halves.
LAYERS = [
    (7, 64, 2), "pool",
    (3, 192, 1), "pool",
    (1, 128, 1), (3, 256, 1), (1, 256, 1), (3, 512, 1), "pool",
    *[(1, 256, 1), (3, 512, 1)] * 4,
    (1, 512, 1), (3, 1024, 1), "pool",
    *[(1, 512, 1), (3, 1024, 1)] * 2,
    (3, 1024, 1), (3, 1024, 2),
    (3, 1024, 1), (3, 1024, 1),
]  # fmt: skip


class Yolo(nn.Module):
    """Features, and a head that gives each cell its 5B + C numbers.

    `image` is the side that the head demands, None where any will do.
    """

    def __init__(
        self,
        features: nn.Module,
        head: nn.Module,
        *,
        classes: int,
        boxes: int = 2,
        image: int | None = None,
    ):
        super().__init__()
        self.features = features
        self.head = head
        self.classes = classes
        self.boxes = boxes
        self.image = image

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b rows columns d"]:
        """Raw numbers: for each box x, y, √w, √h, confidence; then classes.

        x and y run from 0 to 1 across the cell; w and h are shares of
        the image's sides.
        """
        h, w = images.shape[2:]
        if self.image and (h, w) != (self.image, self.image):
            raise ValueError(
                f"images of {h} x {w} pixels: the fully connected layers "
                f"take {self.image} x {self.image}; resize the images"
            )
        return self.head(self.features(images))

    def boxes_of(
        self, y: Float[Tensor, "b rows columns d"]
    ) -> Float[Tensor, "b rows columns n 5"]:
        return y[..., : 5 * self.boxes].unflatten(-1, (self.boxes, 5))

    def classes_of(
        self, y: Float[Tensor, "b rows columns d"]
    ) -> Float[Tensor, "b rows columns k"]:
        return y[..., 5 * self.boxes :]


def yolo_losses(
    model: Yolo,
    images: Float[Tensor, "b c h w"],
    boxes: list[Tensor],
    labels: list[Tensor],
    *,
    place: float = 5.0,
    empty: float = 0.5,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """The five sums of the paper's equation 3, each a mean over the images.

    `place` weighs what says where an object is, `empty` the confidence
    of predictors without one: λ_coord and λ_noobj. The network gives √w
    and √h themselves, so that no root is taken of a negative number.
    Nothing is drawn from `generator`. Raises `ValueError` for labels that
    are no class and for boxes inside out.
    """
    check_step(images, boxes, labels, model.classes)
    y = model(images)  # [b rows columns 5B+C]
    b, rows, columns, _ = y.shape
    shares = [box / sides(images) for box in boxes]
    truth, label = torch.cat(shares), torch.cat(labels)  # of m objects
    cell, first = assign_cells(shares, (rows, columns))

    each = model.boxes_of(y)  # [b rows columns B 5]
    predicted = yolo_boxes(each.detach()).flatten(0, 2)[cell]  # [m B 4]
    target, best = paired_iou(predicted, truth[:, None]).max(1)
    at = model.boxes * cell + best  # the responsible predictors
    mine = each.flatten(0, 3)[at]  # [m 5]
    confidence = each[..., 4].flatten()
    busy = torch.zeros_like(confidence)
    busy = busy.scatter_reduce(0, at, first.to(y.dtype), "amax")

    size = truth[:, 2:] - truth[:, :2]
    centre = (truth[:, :2] + size / 2) * size.new_tensor([columns, rows])
    one_hot = label[:, None] == torch.arange(
        model.classes, device=label.device
    )
    kinds = model.classes_of(y).flatten(0, 2)[cell]
    return {
        "centre": place * squares(first, mine[:, :2], centre % 1) / b,
        "size": place * squares(first, mine[:, 2:4], size.sqrt()) / b,
        "object": squares(first, mine[:, 4:], target[:, None]) / b,
        "empty": empty * ((1 - busy) * confidence.square()).sum() / b,
        "class": squares(first, kinds, one_hot.to(y.dtype)) / b,
    }


def squares(
    which: Bool[Tensor, " m"],
    a: Float[Tensor, "m d"],
    b: Float[Tensor, "m d"],
) -> Float[Tensor, ""]:
    """The sum of squared differences over some of the rows."""
    return (which[:, None] * (a - b).square()).sum()


def assign_cells(
    shares: list[Tensor], grid: tuple[int, int]
) -> tuple[Int64[Tensor, " m"], Bool[Tensor, " m"]]:
    """The cell that holds the centre of each object of all images, and
    whether the object is the first of its cell.

    A cell has one set of class probabilities. Of several objects with
    their centres in one cell it answers for the first of the list. Cells
    are numbered through the batch, row by row; boxes (x1, y1, x2, y2) are
    shares of the sides.
    """
    rows, columns = grid
    box = torch.cat(shares)
    x, y = ((box[:, :2] + box[:, 2:]) / 2).unbind(1)
    column = (x * columns).long().clamp(0, columns - 1)
    row = (y * rows).long().clamp(0, rows - 1)
    order = torch.arange(len(box), device=box.device)
    image = [order.new_full((len(x),), i) for i, x in enumerate(shares)]
    cell = (torch.cat(image) * rows + row) * columns + column
    first = order.new_full((len(shares) * rows * columns,), len(box))
    first = first.scatter_reduce(0, cell, order, "amin")
    return cell, first[cell] == order


def yolo_boxes(
    each: Float[Tensor, "b rows columns n 5"],
) -> Float[Tensor, "b rows columns n 4"]:
    """Boxes (x1, y1, x2, y2), as shares of the sides, of all predictors."""
    _, rows, columns, _, _ = each.shape
    x = torch.arange(columns, device=each.device)[:, None]
    y = torch.arange(rows, device=each.device)[:, None, None]
    cx = (each[..., 0] + x) / columns
    cy = (each[..., 1] + y) / rows
    w, h = each[..., 2:4].square().unbind(-1)
    edges = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
    return torch.stack(edges, -1)


def paired_iou(
    a: Float[Tensor, "m n 4"], b: Float[Tensor, "m 1 4"]
) -> Float[Tensor, "m n"]:
    """Overlap of each box of a row with the one box of that row."""
    low = torch.maximum(a[..., :2], b[..., :2])
    high = torch.minimum(a[..., 2:], b[..., 2:])
    both = (high - low).clamp(min=0).prod(-1)
    one, other = ((x[..., 2:] - x[..., :2]).prod(-1) for x in (a, b))
    return both / (one + other - both).clamp(min=1e-12)


@torch.no_grad()
def yolo_detect(
    model: Yolo,
    images: Float[Tensor, "b c h w"],
    *,
    score: float = 0.05,
    overlap: float = 0.5,
    most: int = 100,
) -> list[Detections]:
    """Confidence times class probability, thresholded and suppressed."""
    check_detecting(model, images)
    y = model(images)
    each = model.boxes_of(y)
    corners = (yolo_boxes(each).clamp(0, 1) * sides(images)).flatten(1, 3)
    sure = each[..., 4, None] * model.classes_of(y)[..., None, :]
    return [
        keep_best(c, s, score=score, overlap=overlap, most=most)
        for c, s in zip(corners, sure.flatten(1, 3), strict=True)
    ]


def yolo_v1(*, classes: int = 20, dropout: float = 0.5) -> Yolo:
    """The network of the paper: 448x448 pixels to 7 x 7 x (10 + classes)."""
    layers, dim = [], 3
    for layer in LAYERS:
        if layer == "pool":
            layers.append(nn.MaxPool2d(2, 2))
            continue
        kernel, out, stride = layer
        conv = nn.Conv2d(dim, out, kernel, stride, kernel // 2)
        layers += [conv, nn.LeakyReLU(0.1)]
        dim = out
    head = nn.Sequential(
        nn.Flatten(),
        nn.Linear(7 * 7 * dim, 4096),
        nn.LeakyReLU(0.1),
        nn.Dropout(dropout),
        nn.Linear(4096, 7 * 7 * (10 + classes)),
        nn.Unflatten(1, (7, 7, 10 + classes)),
    )
    return Yolo(nn.Sequential(*layers), head, classes=classes, image=448)


def yolo_small(
    backbone: nn.Module, *, classes: int, boxes: int = 2, hidden: int = 96
) -> Yolo:
    """A cell for each 16 pixels: 4x4 cells on 64 pixels, on a given trunk.

    In the place of the paper's two fully connected layers stand two
    convolutions, so images of any size fit.
    """
    features = nn.Sequential(
        backbone,
        nn.Conv2d(backbone.dim, hidden, 3, 2, 1),
        nn.LeakyReLU(0.1),
        nn.Conv2d(hidden, hidden, 3, 1, 1),
        nn.LeakyReLU(0.1),
    )
    head = nn.Sequential(nn.Conv2d(hidden, 5 * boxes + classes, 1), Last())
    return Yolo(features, head, classes=classes, boxes=boxes)


class Last(nn.Module):
    """Move the channels behind rows and columns."""

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b h w c"]:
        return x.permute(0, 2, 3, 1)

"""Sliding window: ask a classifier about every place, in several sizes.

Each window is answered with a class or "background". Sermanet et al. 2014
(OverFeat, arXiv:1312.6229): windows overlap, so most of what a layer
computes for one it has computed for its neighbour. A fully connected
layer over a map of s x s cells is a convolution with a kernel of s x s,
and the whole classifier, applied to a whole image, answers for all windows
at once.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.localization.detection.boxes import Detections, box_iou
from helpers.localization.detection.interface import (
    check_detecting,
    check_step,
    keep_best,
)
from helpers.localization.detection.matching import hard_negatives, match

NEITHER = -1
SIZES = (12.0, 18.0, 28.0)  # sides of the windows, in pixels of the image


class WindowClassifier(nn.Module):
    """20x20 pixels to a logit for the background and one for each class.

    No layer pads: what it says of a window depends on that window alone.
    """

    window = 20
    stride = 4

    def __init__(self, *, classes: int, width: int = 32, hidden: int = 96):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 4, 2),  # 9 x 9
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, 2),  # 4 x 4
            nn.ReLU(),
        )
        self.hidden = nn.Linear(2 * width * 4 * 4, hidden)
        self.output = nn.Linear(hidden, classes + 1)

    def forward(
        self, crops: Float[Tensor, "b 3 20 20"]
    ) -> Float[Tensor, "b k"]:
        x = self.features(4 * crops - 2).flatten(1)
        return self.output(F.relu(self.hidden(x)))


def slide(
    classifier: WindowClassifier, images: Float[Tensor, "b 3 h w"]
) -> Float[Tensor, "b k rows columns"]:
    """The logits of all windows, one each 4 pixels, by one convolution.

    The same weights: the rows of the matrix, folded into kernels.
    """
    x = classifier.features(4 * images - 2)
    hidden, output = classifier.hidden, classifier.output
    kernel = hidden.weight.unflatten(1, (-1, 4, 4))
    x = F.relu(F.conv2d(x, kernel, hidden.bias))
    return F.conv2d(x, output.weight[:, :, None, None], output.bias)


class SlidingWindow(nn.Module):
    """A classifier slid over an image pyramid.

    Small things are found by looking at an enlarged image: `sizes` are
    the sides of the windows in pixels of the image as it came.
    """

    def __init__(
        self,
        classifier: WindowClassifier,
        *,
        classes: int,
        sizes: tuple[float, ...] = SIZES,
    ):
        super().__init__()
        self.classifier = classifier
        self.classes = classes
        self.sizes = sizes

    def forward(
        self, images: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, "b n k"]:
        """Logits of all windows of all sizes, in the order of `windows`."""
        levels = [slide(self.classifier, x) for x in self.pyramid(images)]
        return torch.cat([x.flatten(2).mT for x in levels], 1)

    def pyramid(
        self, images: Float[Tensor, "b 3 h w"]
    ) -> list[Float[Tensor, "b 3 _ _"]]:
        """The images once a size, so that the windows have 20 pixels."""
        h, w = images.shape[2:]
        if min(h, w) < max(self.sizes):
            raise ValueError(
                f"images of {h} x {w} pixels are smaller than the window of "
                f"{max(self.sizes):g}: enlarge them or leave out that size"
            )
        scales = [self.classifier.window / size for size in self.sizes]
        return [
            F.interpolate(
                images, size=(round(h * s), round(w * s)),
                mode="bilinear", align_corners=False, antialias=True,
            )
            for s in scales
        ]  # fmt: skip

    def windows(
        self, images: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, "n 4"]:
        """Where the windows lie: boxes in pixels of `images`."""
        h, w = images.shape[2:]
        window, stride = self.classifier.window, self.classifier.stride
        found = []
        for size in self.sizes:
            height, width = (round(side * window / size) for side in (h, w))
            y = torch.arange(0, height - window + 1, stride) * (h / height)
            x = torch.arange(0, width - window + 1, stride) * (w / width)
            corner = torch.cartesian_prod(y, x).flip(1)
            extent = torch.tensor([w / width, h / height]) * window
            found.append(torch.cat([corner, corner + extent], 1))
        return torch.cat(found).to(images)


def sliding_window_losses(
    model: SlidingWindow,
    images: Float[Tensor, "b 3 h w"],
    boxes: list[Tensor],
    labels: list[Tensor],
    *,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Cross-entropy over windows that hold an object, and hard ones.

    A window holds the object that it overlaps by one half and more; it
    is background below 0.4, and nothing is asked of those between. For
    each object three background windows are learned, those that are
    taken for objects most. Nothing is drawn from `generator`.
    """
    check_step(images, boxes, labels, model.classes)
    logits = model(images)
    windows = model.windows(images)
    target = torch.stack(
        [answers(windows, *truth) for truth in zip(boxes, labels, strict=True)]
    )
    loss = F.cross_entropy(
        logits.mT, target, ignore_index=NEITHER, reduction="none"
    )
    positive = target > 0
    chosen = positive | hard_negatives(loss, positive, 3.0)
    total = (loss * chosen).sum()
    return {"class": total / positive.sum().clamp(min=1)}


def answers(
    windows: Float[Tensor, "n 4"],
    boxes: Float[Tensor, "m 4"],
    labels: Int[Tensor, "m"],
) -> Int[Tensor, "n"]:
    """0 for background, 1 + the class, -1 where it is neither."""
    owner = match(box_iou(boxes, windows), 0.5, 0.4)
    labels = torch.cat([labels + 1, labels.new_tensor([NEITHER, 0])])
    return labels[owner]  # IGNORED and BACKGROUND are the last two


@torch.no_grad()
def sliding_window_detect(
    model: SlidingWindow,
    images: Float[Tensor, "b 3 h w"],
    *,
    score: float = 0.05,
    overlap: float = 0.5,
    most: int = 100,
) -> list[Detections]:
    """The windows themselves are the boxes: nothing is regressed."""
    check_detecting(model, images)
    windows = model.windows(images)
    return [
        keep_best(windows, p, score=score, overlap=overlap, most=most)
        for p in model(images).softmax(-1)[..., 1:]
    ]

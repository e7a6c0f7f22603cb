"""SSD: default boxes on maps of several strides, classified and moved.

Liu et al. 2016 (arXiv:1512.02325). Six maps of 38, 19, 10, 5, 3 and 1
cells a side, with 4 or 6 default boxes in each cell, make 8,732 boxes. A
3x3 convolution on each map says of every box what is in it and how to
move it. `ssd300_vgg16` bears torchvision's names and takes its weights.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.convnets.architectures.vgg import vgg16
from helpers.convnets.architectures.weights import (
    check_published,
    published_state,
)
from helpers.localization.detection.anchors import default_boxes
from helpers.localization.detection.boxes import (
    Detections,
    box_iou,
    clip_boxes_to_image,
    decode_boxes,
    encode_boxes,
)
from helpers.localization.detection.interface import (
    check_detecting,
    check_step,
    keep_best,
)
from helpers.localization.detection.localization import sides
from helpers.localization.detection.matching import (
    hard_negatives,
    match,
    of_objects,
)

WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # the codes are near one, not near 1/10


class VGGMaps(nn.Module):
    """VGG-16 to its last pooling, two layers that were fully connected,
    and four more stages: six maps.

    The first map is divided by its length over the channels, times a
    learned scale, since its values are larger than those of the others.
    """

    dims = (512, 1024, 512, 256, 256, 256)

    def __init__(self, features: nn.Sequential):
        super().__init__()
        pools = [
            i for i, x in enumerate(features) if isinstance(x, nn.MaxPool2d)
        ]
        features[pools[2]].ceil_mode = True  # 75 halved is 38
        self.scale_weight = nn.Parameter(torch.full((512,), 20.0))
        self.features = features[: pools[3]]
        dilated = nn.Sequential(
            nn.MaxPool2d(3, 1, 1),
            nn.Conv2d(512, 1024, 3, padding=6, dilation=6),
            nn.ReLU(inplace=True),
            nn.Conv2d(1024, 1024, 1),
            nn.ReLU(inplace=True),
        )
        self.extra = nn.ModuleList([
            nn.Sequential(*features[pools[3] : -1], dilated),
            stage(1024, 256, 512, stride=2, padding=1),
            stage(512, 128, 256, stride=2, padding=1),
            stage(256, 128, 256),
            stage(256, 128, 256),
        ])  # fmt: skip
        for block in (dilated, *self.extra[1:]):
            block.apply(initialise)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        x = self.features(x)
        maps = [self.scale_weight[:, None, None] * F.normalize(x)]
        for block in self.extra:
            x = block(x)
            maps.append(x)
        return maps


class SmallMaps(nn.Module):
    """The map of a given trunk, and two more, each of half the side."""

    def __init__(self, trunk: nn.Module, *, hidden: int = 64):
        super().__init__()
        self.trunk = trunk
        self.dims = (trunk.dim, hidden, hidden)
        self.extra = nn.ModuleList([
            stage(trunk.dim, hidden // 2, hidden, stride=2, padding=1),
            stage(hidden, hidden // 2, hidden, stride=2, padding=1),
        ])  # fmt: skip

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        maps = [self.trunk(x)]
        for block in self.extra:
            maps.append(block(maps[-1]))
        return maps


def stage(dim: int, hidden: int, out: int, **conv) -> nn.Sequential:
    """1x1 to `hidden` channels, then 3x3."""
    return nn.Sequential(
        nn.Conv2d(dim, hidden, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, out, 3, **conv),
        nn.ReLU(inplace=True),
    )


class Scorer(nn.Module):
    """`numbers` for each default box: a 3x3 convolution on every map."""

    def __init__(self, dims, counts, numbers: int):
        super().__init__()
        self.numbers = numbers
        self.module_list = nn.ModuleList(
            nn.Conv2d(dim, count * numbers, 3, padding=1)
            for dim, count in zip(dims, counts, strict=True)
        )
        self.apply(initialise)

    def forward(self, maps: list[Tensor]) -> Float[Tensor, "b n d"]:
        found = [
            conv(x).unflatten(1, (-1, self.numbers)).permute(0, 3, 4, 1, 2)
            for conv, x in zip(self.module_list, maps, strict=True)
        ]  # of [b h w boxes numbers]
        return torch.cat([x.flatten(1, 3) for x in found], 1)


class Head(nn.Module):
    """What is in each default box, and how to move it."""

    def __init__(self, dims, counts, classes: int):
        super().__init__()
        self.classification_head = Scorer(dims, counts, classes + 1)
        self.regression_head = Scorer(dims, counts, 4)


class SSD(nn.Module):
    """Maps, default boxes on them, a head.

    A cell of map i has boxes of the sides scale[i] (of the image) and
    √(scale[i] scale[i+1]), and for each ratio one lying and one standing.
    `steps` are the strides of the maps in pixels, None for sides divided
    by cells. Images are resized to `image` pixels, if it is given.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        classes: int,
        ratios: list[list[float]],
        scales: list[float],
        steps: list[float] | None = None,
        image: int | None = None,
        mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
        std: tuple[float, float, float] = (1.0, 1.0, 1.0),
    ):
        super().__init__()
        self.classes = classes
        self.image = image
        self.steps = steps
        self.ratios = ratios
        self.scales = scales
        counts = [2 + 2 * len(ratio) for ratio in ratios]
        self.backbone = backbone
        self.head = Head(backbone.dims, counts, classes)
        for name, value in (("mean", mean), ("std", std)):
            value = torch.tensor(value)[:, None, None]
            self.register_buffer(name, value, persistent=False)

    def forward(
        self, images: Float[Tensor, "b 3 h w"]
    ) -> tuple[
        Float[Tensor, "b n k"], Float[Tensor, "b n 4"], Float[Tensor, "n 4"]
    ]:
        """Logits (background first), codes, and the default boxes.

        The boxes are in pixels of `images`.
        """
        x = (images - self.mean) / self.std
        if self.image:
            x = F.interpolate(
                x, size=(self.image, self.image), mode="bilinear"
            )
        maps = self.backbone(x)
        logits = self.head.classification_head(maps)
        codes = self.head.regression_head(maps)
        defaults = default_boxes(
            tuple(x.shape[2:]), [tuple(y.shape[2:]) for y in maps],
            self.ratios, self.scales,
            steps=self.steps, dtype=x.dtype, device=x.device,
        )  # fmt: skip
        return logits, codes, defaults * (sides(images) / sides(x))


def ssd_losses(
    model: SSD,
    images: Float[Tensor, "b 3 h w"],
    boxes: list[Tensor],
    labels: list[Tensor],
    *,
    negatives: float | None = 3.0,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Cross-entropy and smooth L1, per matched default box.

    A default box belongs to the object that it overlaps by one half and
    more, and each object has the box that overlaps it most. For each of
    these, `negatives` boxes without an object are learned, those with
    the largest loss; None takes all of them. Nothing is drawn from
    `generator`.
    """
    check_step(images, boxes, labels, model.classes)
    logits, codes, defaults = model(images)
    owner = torch.stack([
        match(box_iou(box, defaults), 0.5, force="best") for box in boxes
    ])  # [b n], -1 for none
    positive = owner >= 0
    n = positive.sum().clamp(min=1)

    own = [of_objects(box, m, defaults) for m, box in zip(owner, boxes)]
    aim = encode_boxes(torch.stack(own), defaults, WEIGHTS)
    far = F.smooth_l1_loss(codes, aim, reduction="none").sum(-1)

    nothing = torch.zeros_like(owner[0])  # the background
    own = [of_objects(x + 1, m, nothing) for m, x in zip(owner, labels)]
    loss = F.cross_entropy(logits.mT, torch.stack(own), reduction="none")
    if negatives is None:
        chosen = torch.ones_like(positive)
    else:
        chosen = positive | hard_negatives(loss, positive, negatives)
    return {
        "class": (loss * chosen).sum() / n,
        "box": (far * positive).sum() / n,
    }


@torch.no_grad()
def ssd_detect(
    model: SSD,
    images: Float[Tensor, "b 3 h w"],
    *,
    score: float = 0.05,
    overlap: float = 0.5,
    most: int = 100,
    candidates: int = 400,
) -> list[Detections]:
    """Move the default boxes, clip them, keep the best of each class."""
    check_detecting(model, images)
    logits, codes, defaults = model(images)
    size = tuple(images.shape[2:])
    found = []
    for code, p in zip(codes, logits.softmax(-1)[..., 1:], strict=True):
        box = decode_boxes(code, defaults, WEIGHTS)
        box = clip_boxes_to_image(box, size)
        found.append(keep_best(
            box, p, score=score, overlap=overlap, most=most,
            candidates=candidates,
        ))  # fmt: skip
    return found


def ssd300_vgg16(*, classes: int = 90, weights: str | None = None) -> SSD:
    """SSD300 on VGG-16: torchvision's, with its names.

    `weights="coco"` loads those that torchvision publishes, for 90
    classes: COCO's numbers less one. Raises `ValueError` for another
    name or number of classes.
    """
    if weights is not None:
        check_published("ssd300_vgg16", weights)
        if classes != 90:
            raise ValueError(
                f"classes = {classes}: the published weights are for 90; "
                "load them, then give the head another classifier"
            )
    net = SSD(
        VGGMaps(vgg16(hidden=1, pooled=1, classes=1).features),
        classes=classes,
        ratios=[[2.0], [2.0, 3.0], [2.0, 3.0], [2.0, 3.0], [2.0], [2.0]],
        scales=[0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],
        steps=[8.0, 16.0, 32.0, 64.0, 100.0, 300.0],
        image=300,
        mean=(0.48235, 0.45882, 0.40784),
        std=(1 / 255, 1 / 255, 1 / 255),
    )
    if weights is not None:
        state = published_state("ssd300_vgg16", weights)
        net.load_state_dict(state)
    return net


def ssd_small(trunk: nn.Module, *, classes: int) -> SSD:
    """8x8, 4x4 and 2x2 cells on 64 pixels, four boxes each: 336 boxes."""
    return SSD(
        SmallMaps(trunk),
        classes=classes,
        ratios=[[2.0], [2.0], [2.0]],
        scales=[0.2, 0.35, 0.5, 0.7],
    )


def initialise(layer: nn.Module) -> None:
    """Xavier's uniform weights and no bias for a convolution."""
    if isinstance(layer, nn.Conv2d):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)

"""What the page on segmentation runs: scenes and their masks, the training of every network alike, what is measured."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from PIL.Image import Image, Resampling
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from torchvision.transforms.functional import pil_to_tensor

from helpers.convnets.architectures.vgg import VGG
from helpers.data.scenes import CLASSES, Rules, make_scenes
from helpers.localization.detection.experiments import CALM, SHAPES
from helpers.localization.segmentation.deeplab import SmallDeepLab
from helpers.localization.segmentation.fcn import fcn_small
from helpers.localization.segmentation.metrics import (
    VOID,
    boundary_iou,
    confusion_matrix,
    mean_boundary_iou,
    mean_iou,
)
from helpers.localization.segmentation.road import LISTING, RoadNet
from helpers.localization.segmentation.segnet import SegNet
from helpers.localization.segmentation.unet import UNet
from helpers.localization.segmentation.upsampling import ResizeConvolution, SubPixel
from helpers.localization.segmentation_losses import iou, pixel_cross_entropy
from helpers.training import train

CLASS_NAMES = ("background", *SHAPES)
K = len(CLASS_NAMES)
WEIGHTS = torch.tensor([1.0, 4.0, 4.0, 4.0, 4.0])  # four pixels of five are background
LAYOUT = torch.channels_last


class Scenes(NamedTuple):
    """Images, and the class of every pixel: 0 is the background."""

    images: Float[Tensor, "n 3 h w"]
    labels: Int[Tensor, "n h w"]


def draw_scenes(
    n: int, side: int, *, seed: int, device: torch.device | str = "cpu"
) -> Scenes:
    """Draw `n` scenes of `side` pixels with one to three of four `SHAPES`."""
    rules = Rules(count=(2, 4), sizes=("medium", "large"), **CALM)
    drawn = make_scenes(n, side, seed=seed, rules=rules)
    table = torch.zeros(1 + len(CLASSES), dtype=torch.long)
    for i, shape in enumerate(SHAPES):
        table[1 + CLASSES.index(shape)] = 1 + i
    return Scenes(drawn.images.to(device), table[drawn.semantic].to(device))


def fcn(finer: int) -> nn.Module:
    return fcn_small(classes=K, finer=finer, depths=(1, 1, 2), width=8, hidden=40)


def segnet(indices: bool) -> nn.Module:
    return SegNet(classes=K, depths=(2, 3), widths=(10, 24), indices=indices)


def unet(skips: bool) -> nn.Module:
    return UNet(channels=3, classes=K, widths=(8, 16, 32), padding=True, norm=True, skips=skips)


def deeplab(dilated: bool) -> nn.Module:
    return SmallDeepLab(classes=K, width=6, dim=16, dilated=dilated)


NETS: dict[str, Callable[[], nn.Module]] = {
    "FCN-8s": partial(fcn, 0),
    "FCN-4s": partial(fcn, 1),
    "FCN-2s": partial(fcn, 2),
    "SegNet": partial(segnet, True),
    "SegNet, bilinear": partial(segnet, False),
    "U-Net": partial(unet, True),
    "U-Net, no skips": partial(unet, False),
    "DeepLab": partial(deeplab, True),
    "DeepLab, strides": partial(deeplab, False),
}


def pixel_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The mean cross-entropy of the pixels, those of things weighted `WEIGHTS`."""
    images, labels = batch
    return pixel_cross_entropy(model(images), labels, WEIGHTS.to(images))


def trained(
    build: Callable[[], nn.Module],
    data: Scenes,
    steps: int,
    *,
    run: int,
    rate: float = 1e-2,
    batch_size: int = 4,
) -> nn.Module:
    """A new network, taught by the book's recipe; `run` seeds weights and batches."""
    torch.manual_seed(run)
    model = build().to(data.images.device, memory_format=LAYOUT)
    train(
        model,
        pixel_loss,
        [data.images.contiguous(memory_format=LAYOUT), data.labels],
        steps,
        rate=rate,
        rise=steps // 10,
        clip=1.0,
        batch_size=batch_size,
        seed=run,
        progress=False,
    )
    return model


class Score(NamedTuple):
    """Mean IoU over all pixels and over those of boundaries; the outlines of things, whatever their class."""

    iou: float
    boundary: float
    outline: float


@torch.no_grad()
def answers(model: nn.Module, images: Float[Tensor, "n 3 h w"]) -> Int[Tensor, "n h w"]:
    """The likeliest class of every pixel."""
    return torch.cat([model(x).argmax(1) for x in images.contiguous(memory_format=LAYOUT).split(32)])


def judge(model: nn.Module, data: Scenes) -> Score:
    """Means over the classes, on pixels of all images together; boundaries are 1 pixel wide."""
    found, truth = answers(model, data.images).cpu(), data.labels.cpu()
    return Score(
        mean_iou(confusion_matrix(found, truth, classes=K)),
        mean_boundary_iou(found, truth, classes=K, distance=1),
        boundary_iou(found > 0, truth > 0, distance=1),
    )


# -- the road ---------------------------------------------------------------------------------------------------------


def road_vgg() -> VGG:
    """Five stages of one convolution each, a kernel of 3 x 3 in layer 6."""
    return VGG(depths=(1,) * 5, widths=(8, 16, 32, 48, 64), norm=True, hidden=64, pooled=3, classes=1)


def train_road(
    head: type[nn.Module], images: Tensor, masks: Tensor, *, run: int, epochs: int
) -> RoadNet:
    """Adam at the listing's rate, batch and dropout; it has 40 epochs, from ImageNet's weights."""
    torch.manual_seed(run)
    model = RoadNet(road_vgg(), head).to(images.device, memory_format=LAYOUT)
    batch = LISTING["batch_size"]
    train(
        model,
        lambda model, batch: pixel_cross_entropy(model(batch[0]), batch[1]),
        [images.contiguous(memory_format=LAYOUT), masks.long()],
        epochs * (len(images) // batch),
        rate=LISTING["rate"],
        end=1.0,
        weight_decay=0.0,
        batch_size=batch,
        seed=run,
        progress=False,
    )
    return model


def road_iou(model: nn.Module, images: Tensor, masks: Tensor) -> float:
    """IoU of the road, on pixels of all images together."""
    return iou(answers(model, images).cpu() == 1, masks.cpu())


# -- the checkerboard -------------------------------------------------------------------------------------------------


UPSAMPLERS: dict[str, Callable[[int, int], nn.Module]] = {
    "transposed, kernel 3": lambda d, o: nn.ConvTranspose2d(d, o, 3, 2, 1, 1),
    "transposed, kernel 4": lambda d, o: nn.ConvTranspose2d(d, o, 4, 2, 1),
    "resize, then convolve": lambda d, o: ResizeConvolution(d, o, 2),
    "sub-pixel": lambda d, o: SubPixel(d, o, 2),
}


class Enlarger(nn.Module):
    """An image in 0 … 1 enlarged four times, by two layers of one kind."""

    def __init__(self, kind: str, *, dim: int = 12):
        super().__init__()
        up = UPSAMPLERS[kind]
        self.layers = nn.Sequential(
            nn.Conv2d(3, dim, 3, padding=1), nn.ReLU(), up(dim, dim), nn.ReLU(), up(dim, 3)
        )

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 oh ow"]:
        return self.layers(4 * images - 2) / 4 + 0.5


def train_enlarger(kind: str, images: Tensor, steps: int, *, run: int) -> Enlarger:
    """Learn to give images back from their means over 4 x 4 pixels, by squared errors."""
    torch.manual_seed(run)
    model = Enlarger(kind).to(images.device)
    if steps:
        train(
            model,
            lambda model, batch: (model(F.avg_pool2d(batch[0], 4)) - batch[0]).square().mean(),
            [images],
            steps,
            rate=1e-2,
            weight_decay=0.0,
            batch_size=8,
            seed=run,
            progress=False,
        )
    return model


@torch.no_grad()
def pattern(model: nn.Module, images: Float[Tensor, "n c h w"]) -> float:
    """How strongly flat places alternate from pixel to pixel: the root mean square of (a - b - c + d) / 2.

    a b / c d are the pixels of each cell of 2 x 2 in which the image itself is the same to 2 %.
    """
    found = model(F.avg_pool2d(images, 4))

    def cells(x: Tensor) -> Tensor:
        return x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).movedim((3, 5), (0, 1))

    truth, ((a, b), (c, d)) = cells(images), cells(found)
    flat = truth.amax((0, 1)) - truth.amin((0, 1)) < 0.02
    return ((a - b - c + d) / 2)[flat].square().mean().sqrt().item()


# -- photographs ------------------------------------------------------------------------------------------------------


def photographs(
    data: Dataset | Sequence[tuple[Image, Image]], side: int, *, trimaps: bool = False
) -> Scenes:
    """Photographs and masks of torchvision's data sets, squeezed into squares of `side` pixels.

    `data` is `VOCSegmentation`, whose masks hold classes, 0 for the background, and 255 for void; or, with `trimaps`,
    `OxfordIIITPet` with the target "segmentation", whose 1, 2 and 3 become class 1, background and void. Masks are
    resized by the nearest pixel, since classes have no means. Raises `ValueError` for a mask of another size than its
    photograph, and for no photograph.
    """
    images, labels = [], []
    for i in range(len(data)):
        photograph, mask = data[i]
        if photograph.size != mask.size:
            raise ValueError(f"a photograph of {photograph.size} pixels with a mask of {mask.size}: give them as they came")
        images.append(pil_to_tensor(photograph.convert("RGB").resize((side, side))) / 255)
        labels.append(pil_to_tensor(mask.resize((side, side), Resampling.NEAREST))[0].long())
    if not images:
        raise ValueError("data: there is no photograph in it")
    stacked = torch.stack(labels)
    if trimaps:
        stacked = torch.tensor([VOID, 1, 0, VOID])[stacked]
    return Scenes(torch.stack(images), stacked)


def photograph_loss(model: Callable, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The mean cross-entropy without void pixels, and half that of an auxiliary head where there is one."""
    images, labels = batch
    scores = model(images)
    if isinstance(scores, Tensor):
        return F.cross_entropy(scores, labels, ignore_index=VOID)
    weights = {"out": 1.0, "aux": 0.5}
    return sum(weights[name] * F.cross_entropy(x, labels, ignore_index=VOID) for name, x in scores.items())

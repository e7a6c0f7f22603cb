"""Roads painted green: an FCN-8 on VGG-16 as a widely used exercise
builds it in TensorFlow 1, line by line, and the paper's order beside it.

The paper is Long et al. 2015 (arXiv:1411.4038).
"""

from collections.abc import Sequence
from pathlib import Path

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torchvision.utils import save_image

from helpers.convnets.architectures.vgg import VGG, vgg16
from helpers.localization.segmentation.fcn import ConvolutionalVGG
from helpers.localization.segmentation.upsampling import Transposed

LISTING = dict(rate=1e-3, keep=0.5, epochs=40, batch_size=16, size=(160, 576))
GREEN = (0.0, 1.0, 0.0)


class RoadHead(nn.Module):
    """The listing: two channels first, widened to 512 and 256 to add.

    TensorFlow's padding SAME makes a transposed convolution of stride s
    exactly s times as large, which is a padding of (kernel - s) / 2 here.
    `dims` are the channels of pool 3, pool 4 and layer 7.
    """

    def __init__(
        self, *, classes: int = 2, dims: Sequence[int] = (256, 512, 4096)
    ):
        super().__init__()
        third, fourth, seventh = dims
        self.conv_1x1 = nn.Conv2d(seventh, classes, 1)
        self.up_to_4 = nn.ConvTranspose2d(classes, fourth, 4, 2, 1)
        self.up_to_3 = nn.ConvTranspose2d(fourth, third, 4, 2, 1)
        self.up_to_1 = nn.ConvTranspose2d(third, classes, 16, 8, 4)
        small_normal(self)

    def forward(
        self,
        third: Float[Tensor, "b _ _ _"],
        fourth: Float[Tensor, "b _ _ _"],
        seventh: Float[Tensor, "b _ _ _"],
    ) -> Float[Tensor, "b k h w"]:
        x = self.conv_1x1(seventh)  # 2 channels
        x = self.up_to_4(x) + fourth  # 512
        x = self.up_to_3(x) + third  # 256
        return self.up_to_1(x)  # 2


class ScoreFirstHead(nn.Module):
    """The paper's order: each map is scored by itself, scores are added.

    Scores begin at zero, enlarging begins as bilinear.
    """

    def __init__(
        self, *, classes: int = 2, dims: Sequence[int] = (256, 512, 4096)
    ):
        super().__init__()
        third, fourth, seventh = dims
        self.score_7 = nn.Conv2d(seventh, classes, 1)
        self.score_4 = nn.Conv2d(fourth, classes, 1)
        self.score_3 = nn.Conv2d(third, classes, 1)
        self.up_to_4 = Transposed(classes, classes, 4, 2, 1)
        self.up_to_3 = Transposed(classes, classes, 4, 2, 1)
        self.up_to_1 = Transposed(classes, classes, 16, 8, 4)
        for score in (self.score_7, self.score_4, self.score_3):
            nn.init.zeros_(score.weight)
            nn.init.zeros_(score.bias)

    def forward(
        self,
        third: Float[Tensor, "b _ _ _"],
        fourth: Float[Tensor, "b _ _ _"],
        seventh: Float[Tensor, "b _ _ _"],
    ) -> Float[Tensor, "b k h w"]:
        x = self.score_7(seventh)
        x = self.up_to_4(x) + self.score_4(fourth)
        x = self.up_to_3(x) + self.score_3(third)
        return self.up_to_1(x)


class RoadNet(nn.Module):
    """A VGG whose layer 6 keeps the size, and one of the two heads.

    Sides of images divide by 32. `dropout` acts behind layers 6 and 7.
    """

    def __init__(
        self,
        vgg: VGG,
        head: type[RoadHead | ScoreFirstHead] = RoadHead,
        *,
        classes: int = 2,
        dropout: float = 1 - LISTING["keep"],
    ):
        super().__init__()
        self.body = ConvolutionalVGG(vgg, same=True)
        self.body.dropout.p = dropout
        *_, third, fourth, _, seventh = self.body.widths
        self.head = head(classes=classes, dims=(third, fourth, seventh))

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k h w"]:
        h, w = images.shape[-2:]
        if h % 32 or w % 32:
            raise ValueError(
                f"images of {h} x {w} pixels: sides divide by 32, as "
                "160 x 576; resize or pad them"
            )
        *_, third, fourth, _, seventh = self.body(images)
        return self.head(third, fourth, seventh)


def road_net(*, weights: str | None = None) -> RoadNet:
    """Full size: VGG-16, with ImageNet's weights if they are named."""
    return RoadNet(vgg16(weights=weights))


def paint_green(
    images: Float[Tensor, "b 3 h w"],
    road: Bool[Tensor, "b h w"] | Float[Tensor, "b h w"],
    opacity: float = 0.5,
) -> Float[Tensor, "b 3 h w"]:
    """Images in 0 … 1 with the road mixed with green.

    `road` is a mask, or a probability that is cut at one half. `opacity`
    0.5 is the listing's alpha of 127 of 255. Raises `ValueError` for an
    opacity outside 0 … 1.
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity = {opacity}: it lies in 0 … 1")
    alpha = opacity * (road > 0.5)[:, None].to(images)
    green = images.new_tensor(GREEN)[:, None, None]
    return (1 - alpha) * images + alpha * green


def save_painted(
    images: Float[Tensor, "b 3 h w"],
    road: Bool[Tensor, "b h w"] | Float[Tensor, "b h w"],
    folder: str | Path,
) -> list[Path]:
    """Write painted images as 000.png, 001.png, …; returns their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for i, image in enumerate(paint_green(images, road)):
        files.append(folder / f"{i:03}.png")
        save_image(image, files[-1])
    return files


def small_normal(head: nn.Module) -> None:
    """Weights N(0, 0.01²), no biases."""
    for p in head.parameters():
        if p.ndim > 1:
            nn.init.normal_(p, std=0.01)
        else:
            nn.init.zeros_(p)

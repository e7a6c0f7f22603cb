"""Small base networks of four families for one detector: VGG, ResNet, Inception, MobileNet, all of stride 8 and one width.

Simonyan & Zisserman 2015 (arXiv:1409.1556), He et al. 2016 (arXiv:1512.03385), Szegedy et al. 2015 (arXiv:1409.4842), Howard et
al. 2017 (arXiv:1704.04861); compared under detectors by Huang et al. 2017 (arXiv:1611.10012).
"""

from jaxtyping import Float
from torch import Tensor, nn

from helpers.convnets.architectures.googlenet import ConvNormReLU, Inception
from helpers.convnets.architectures.mobilenet import Separable
from helpers.convnets.architectures.resnet import BasicBlock, projection
from helpers.convnets.architectures.vgg import stage
from helpers.localization.detection.backbone import WIDTHS, ConvBN, check_images

FAMILIES = ("VGG", "ResNet", "Inception", "MobileNet")


class BaseNetwork(nn.Module):
    """Images in 0 … 1 to one map with `dim` channels and stride 8.

    Four families at the widths of `Trunk`, to be put in its place. Raises
    `ValueError` for a family that is none of `FAMILIES`.
    """

    stride = 8

    def __init__(self, family: str, *, channels: int = 3, widths=WIDTHS):
        super().__init__()
        a, b, c = widths
        stem = ConvBN(channels, a, stride=2)
        if family == "VGG":  # pools after two layers; full size is dear
            layers = [
                *stage(channels, a // 2, 2, True),
                *stage(a // 2, b, 2, True),
                *stage(b, c, 2, True),
            ]
        elif family == "ResNet":
            layers = [stem, residual(a, b, 2), residual(b, c, 2)]
            layers += [residual(c, c, 1)]
        elif family == "Inception":
            layers = [stem, ConvBN(a, b, stride=2), nn.MaxPool2d(2)]
            layers += [mixed(b, c), mixed(c, c)]
        elif family == "MobileNet":
            layers = [stem, Separable(a, b, 2), Separable(b, c, 2)]
            layers += [Separable(c, c, 1), Separable(c, c, 1)]
        else:
            raise ValueError(
                f"family = {family!r}: one of {', '.join(FAMILIES)}"
            )
        self.dim = c
        self.stages = nn.Sequential(*layers)

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b d _ _"]:
        check_images(images, self.stride)
        return self.stages(4 * images - 2)


def residual(inputs: int, outputs: int, stride: int) -> BasicBlock:
    """A basic block, with a projection where the shape changes."""
    block = BasicBlock(inputs, outputs, stride=stride, norm=nn.BatchNorm2d)
    if stride > 1 or inputs != outputs:
        block.downsample = projection(inputs, outputs, stride, nn.BatchNorm2d)
    return block


def mixed(inputs: int, o: int) -> Inception:
    """An Inception module with the shares of GoogLeNet's first, 3a."""
    widths = o // 4, 3 * o // 8, o // 2, o // 16, o // 8, o // 8
    return Inception(inputs, *widths, conv=ConvNormReLU)

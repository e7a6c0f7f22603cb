"""Base networks of four families: sizes, fields, what detectors make of them, bad input."""

from functools import partial

import pytest
import torch
from torch import nn

from helpers.convnets.output_size import multiply_adds
from helpers.localization.detection import FAMILIES, BaseNetwork, Trunk, fast_rcnn_small, faster_rcnn_small, ssd_small
from helpers.localization.detection.backbone import freeze_norms

every = pytest.mark.parametrize("family", FAMILIES)


def conv(i: int, o: int, k: int, groups: int = 1) -> int:
    """Parameters of a convolution without bias and its norm."""
    return i * o * k * k // groups + 2 * o


INCEPTION = (16, 24, 32, 4, 8, 8)  # of 64 channels, as 64, 96, 128, 16, 32, 32 of GoogLeNet's 256
COUNTS = {
    "VGG": sum(conv(i, o, 3) + o for i, o in ((3, 12), (12, 12), (12, 48), (48, 48), (48, 64), (64, 64))),
    "ResNet": conv(3, 24, 3)
    + conv(24, 48, 3) + conv(48, 48, 3) + conv(24, 48, 1)
    + conv(48, 64, 3) + conv(64, 64, 3) + conv(48, 64, 1)
    + 2 * conv(64, 64, 3),
    "Inception": conv(3, 24, 3) + conv(24, 48, 3)
    + sum(
        conv(i, INCEPTION[0], 1) + conv(i, INCEPTION[1], 1) + conv(INCEPTION[1], INCEPTION[2], 3)
        + conv(i, INCEPTION[3], 1) + conv(INCEPTION[3], INCEPTION[4], 5) + conv(i, INCEPTION[5], 1)
        for i in (48, 64)
    ),
    "MobileNet": conv(3, 24, 3)
    + sum(9 * i + 2 * i + conv(i, o, 1) for i, o in ((24, 48), (48, 64), (64, 64), (64, 64))),
}  # fmt: skip


@every
def test_parameter_count(family):
    assert sum(p.numel() for p in BaseNetwork(family).parameters()) == COUNTS[family]


@every
def test_stride_is_eight_and_width_is_that_of_the_trunk(family):
    with torch.device("meta"):
        network, images = BaseNetwork(family), torch.empty(2, 3, 64, 48)
        assert network(images).shape == Trunk()(images).shape == (2, network.dim, 8, 6)
        assert network.stride == Trunk.stride


def test_separable_convolutions_cost_least():
    images = torch.rand(1, 3, 64, 64)
    work = {family: multiply_adds(partial(BaseNetwork(family), images)) for family in FAMILIES}
    assert work["MobileNet"] < work["Inception"] < work["ResNet"] < work["VGG"]


@every
def test_gradients_reach_every_parameter(family):
    torch.manual_seed(0)
    network = BaseNetwork(family)
    network(torch.rand(2, 3, 32, 32)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0 or name.endswith("bias"), name


@every
def test_takes_the_place_of_the_trunk(family):
    torch.manual_seed(0)
    network = freeze_norms(BaseNetwork(family))
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    images = torch.rand(1, 3, 64, 64)
    for make in (faster_rcnn_small, ssd_small):
        assert make(network, classes=4).eval()(images) is not None
    assert fast_rcnn_small(network, classes=4, proposer=lambda image: torch.tensor([[0.0, 0, 9, 9]])) is not None


def test_bad_input():
    with pytest.raises(ValueError, match="family = 'AlexNet': one of VGG, ResNet, Inception, MobileNet"):
        BaseNetwork("AlexNet")
    with pytest.raises(ValueError, match="smaller than the stride 8"):
        BaseNetwork("VGG")(torch.rand(1, 3, 4, 4))

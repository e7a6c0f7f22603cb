"""What only training shows: where dropout stands and how often it drops, and how wide the first weights are."""

import math

import pytest
import torch
import torchvision
from torch import nn

from helpers.convnets.architectures import (
    alexnet,
    densenet,
    fractalnet,
    googlenet,
    inception,
    inception_resnet,
    lenet,
    mobilenet,
    nasnet,
    preactivation,
    resnet,
    squeezenet,
    vgg,
    zfnet,
)
from helpers.convnets.architectures import network_in_network as nin


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def meta(builder, **options):
    with torch.device("meta"):
        return builder(**options)


@pytest.fixture
def uninitialised(monkeypatch):
    """No first values, which on the device meta take most of the time."""
    for name in ("constant_", "kaiming_normal_", "kaiming_uniform_", "normal_", "trunc_normal_", "uniform_"):
        monkeypatch.setattr(nn.init, name, lambda tensor, *_, **__: tensor)


def leaves(net):
    return [module for module in net.modules() if not list(module.children())]


# Dropout


@pytest.mark.parametrize(
    "builder, rates",
    [
        (alexnet.alexnet, [0.3, 0.3]),
        (alexnet.alexnet_2012, [0.3, 0.3]),
        (zfnet.zfnet, [0.3, 0.3]),
        (vgg.vgg16, [0.3, 0.3]),
        (nin.network_in_network, [0.3, 0.3]),
        (nin.network_in_network_imagenet, [0.0, 0.0, 0.3]),
        (googlenet.googlenet_2014, [0.7, 0.7, 0.3]),  # two auxiliary heads
        (googlenet.googlenet, [0.7, 0.7, 0.3]),
        (inception.inception_v2, [0.3]),
        (inception.inception_v3, [0.3]),
        (inception_resnet.inception_resnet_v2, [0.3]),
        (squeezenet.squeezenet1_0, [0.3]),
        (mobilenet.mobilenet_v1, [0.3]),
        (mobilenet.mobilenet_v2, [0.3]),
        (nasnet.nasnetalarge, [0.3]),
        (preactivation.wrn_16_8, 6 * [0.3]),  # one in each block
    ],
)
def test_rates_of_dropout(builder, rates, uninitialised):
    found = [module.p for module in meta(builder, dropout=0.3).modules() if isinstance(module, nn.Dropout)]
    assert found == rates


def test_rates_that_are_not_asked_for(uninitialised):
    """GoogLeNet's table 1 and section 5: 40 % before the last layer, 70 % in the heads; torchvision's others."""
    options = dict(init_weights=False)
    theirs = [meta(torchvision.models.googlenet, **options), meta(torchvision.models.inception_v3, **options)]
    nets = meta(googlenet.googlenet_2014), meta(googlenet.googlenet), meta(inception.inception_v3)
    ours, *rest = [sorted(m.p for m in net.modules() if isinstance(m, nn.Dropout)) for net in (*nets, *theirs)]
    assert ours == [0.4, 0.7, 0.7] and rest[:2] == rest[2:] == [[0.2, 0.7, 0.7], [0.5]]
    for builder in (alexnet.alexnet_2012, zfnet.zfnet):  # 0.5 in both papers
        assert [m.p for m in meta(builder).modules() if isinstance(m, nn.Dropout)] == [0.5, 0.5], builder.__name__


@pytest.mark.parametrize("name", ["alexnet", "vgg16", "vgg13_bn", "squeezenet1_1", "mobilenet_v2"])
def test_layers_stand_in_the_order_of_torchvisions(name, uninitialised):
    family = {"alexnet": alexnet, "squeezenet1_1": squeezenet, "mobilenet_v2": mobilenet}.get(name, vgg)
    heads = [
        [(type(m), getattr(m, "p", None)) for m in leaves(net.classifier)]
        for net in (meta(getattr(family, name)), meta(getattr(torchvision.models, name)))
    ]
    assert heads[0] == heads[1]


@pytest.mark.parametrize("builder", [zfnet.zfnet, alexnet.alexnet_2012])
def test_dropout_stands_before_the_linear_layers_of_the_paper(builder, uninitialised):
    """AlexNet's section 4.2: dropout in the first two fully connected layers, whose outputs zfnet drops, inputs alexnet."""
    kinds = [type(m).__name__ for m in meta(builder).classifier]
    behind = ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    before = ["Dropout", "Linear", "ReLU", "Dropout", "Linear", "ReLU", "Linear"]
    assert kinds == (behind if builder is zfnet.zfnet else before)


def test_dropout_inside_of_blocks():
    """All dropped, a dense layer gives nothing, and a wide block's branch nothing; in evaluation both work."""
    dense = densenet.DenseLayer(4, 3, 2, dropout=1.0)
    wide = preactivation.PreBasic(4, 4, stride=1, first=False, dropout=1.0)
    x = torch.rand(2, 4, 5, 5)
    assert (dense([x]) == 0).all() and torch.equal(wide(x), x)
    assert (dense.eval()([x]) != 0).any() and not torch.equal(wide.eval()(x), x)


# First values


@pytest.mark.parametrize(
    "build, pick, deviation",
    [
        (alexnet.alexnet_small, lambda net: net.features[3], math.sqrt(2 / (16 * 25))),
        (alexnet.alexnet_small, lambda net: net.classifier[4], math.sqrt(2 / 128)),
        (zfnet.zfnet_small, lambda net: net.features[8], math.sqrt(2 / (32 * 9))),
        (vgg.vgg_small, lambda net: net.features[4], math.sqrt(2 / (32 * 9))),  # by outputs
        (nin.network_in_network_small, lambda net: net.features[3][2], math.sqrt(2 / 32)),
        (squeezenet.squeezenet_small, lambda net: net.features[4].expand3x3, math.sqrt(2 / (8 * 9))),
        (squeezenet.squeezenet_small, lambda net: net.classifier[1], 0.01),
        (mobilenet.mobilenet_small, lambda net: net.blocks[2][1].conv_pw, math.sqrt(2 / 128)),
        (mobilenet.mobilenet_small, lambda net: net.classifier, 0.01),
        (resnet.resnet_small, lambda net: net.layer2[0].conv1, math.sqrt(2 / (32 * 9))),  # by outputs, not inputs
        (preactivation.preactivation_small, lambda net: net.stages[1][0][0].conv1, math.sqrt(2 / (32 * 9))),
        (preactivation.preactivation_small, lambda net: net.head.fc, 0.01),
        (densenet.densenet_small, lambda net: net.features.denseblock2.denselayer1.conv2, math.sqrt(2 / (48 * 9))),
        (fractalnet.fractalnet_small, lambda net: net.blocks[1].conv[0], math.sqrt(2 / (24 * 9))),
    ],
)
def test_first_weights_are_as_wide_as_said(build, pick, deviation):
    weight = pick(build()).weight
    assert weight.std().item() == pytest.approx(deviation, rel=5 / math.sqrt(weight.numel()))
    assert weight.mean().item() == pytest.approx(0, abs=5 * deviation / math.sqrt(weight.numel()))


def test_first_weights_of_lenet5_are_uniform_within_the_papers_bounds():
    net = lenet.lenet5()
    fans = {net.c1: 25, net.s2: 4, net.c3.maps[0]: 75, net.c3.maps[15]: 150, net.c5: 400, net.f6: 120, net.s4: 4}
    for layer, fan in fans.items():
        values = torch.cat([p.detach().flatten() for p in layer.parameters()]) * fan / 2.4
        assert values.abs().max() <= 1 and values.abs().max() > 1 - 10 / len(values)
        assert values.min() < 0 < values.max()


def test_the_auxiliary_heads_come_deepest_first(uninitialised):
    """As torchvision's: aux_logits2 is that of the later head."""
    net = meta(googlenet.googlenet)
    for head, classes in ((net.aux1, 5), (net.aux2, 7)):
        head.fc2 = meta(lambda classes=classes: nn.Linear(1024, classes))
    outputs = net.train()(torch.zeros(2, 3, 224, 224, device="meta"))
    assert [logits.shape[1] for logits in outputs] == [1000, 7, 5]
    assert [head.conv.conv.in_channels for head in (net.aux1, net.aux2)] == [512, 528]

"""Fully convolutional networks: reshaped layers, published counts and crops, torchvision's state dicts."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from helpers.convnets.architectures.vgg import VGG, vgg_small
from helpers.localization.segmentation import (
    FCN,
    ConvolutionalVGG,
    SmallDeepLab,
    as_convolution,
    deeplabv3_resnet50,
    fcn8s,
    fcn16s,
    fcn32s,
    fcn_resnet50,
    fcn_resnet101,
    fcn_small,
)

PUBLISHED = {"fcn_resnet50": fcn_resnet50, "fcn_resnet101": fcn_resnet101, "deeplabv3_resnet50": deeplabv3_resnet50}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def bare(monkeypatch):
    """No initialisation, which takes most of the time of a large net."""
    monkeypatch.setattr(nn.init, "kaiming_normal_", lambda tensor, **_: tensor)
    monkeypatch.setattr(nn.init, "normal_", lambda tensor, *_, **__: tensor)
    monkeypatch.setattr(nn.Conv2d, "reset_parameters", lambda self: None)
    monkeypatch.setattr(nn.Linear, "reset_parameters", lambda self: None)


def tiny_vgg(pooled: int = 3, **options) -> VGG:
    options = dict(depths=(1, 1, 1), widths=(4, 5, 6), hidden=8, pooled=pooled, classes=3, dropout=0.0) | options
    return VGG(**options)


def unsettled(net: nn.Module) -> nn.Module:
    """Random values in every parameter and statistic, in float64."""
    net = net.double()
    for name, tensor in net.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif tensor.is_floating_point():
            tensor.normal_(std=0.2 if tensor.ndim < 2 else tensor[0].numel() ** -0.5)
    return net


def test_parameter_count(bare):
    """Of VGG-16's convolutions and its layers 6 and 7, of the scores, and of 21 x 21 kernels for enlarging."""
    body, k = 134_260_544, 21
    with torch.device("meta"):
        nets = fcn32s(), fcn16s(), fcn8s()
        images = torch.empty(1, 3, 500, 375)
        assert [net(images).shape for net in nets] == [(1, k, 500, 375)] * 3
        for name, build in PUBLISHED.items():
            figures = torchvision.models.get_model_weights(name).DEFAULT.meta
            assert sum(p.numel() for p in build().parameters()) == figures["num_params"]
    assert [sum(p.numel() for p in net.parameters()) for net in nets] == [
        body + 4097 * k + 64**2 * k**2,
        body + 4097 * k + 513 * k + (4**2 + 32**2) * k**2,
        body + 4097 * k + 513 * k + 257 * k + (2 * 4**2 + 16**2) * k**2,
    ]
    assert [net.offsets for net in nets] == [[19], [5, 27], [5, 9, 31]]  # those of the authors' nets
    assert nets[2].body.widths == [64, 128, 256, 512, 512, 4096]


def test_linear_layers_are_convolutions():
    linear = nn.Linear(5 * 3 * 4, 7).double()
    conv = as_convolution(linear, (5, 3, 4))
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    assert_close(conv(x)[..., 0, 0], linear(x.flatten(1)))
    large = torch.randn(1, 5, 6, 6, dtype=torch.float64)
    assert conv(large).shape == (1, 7, 4, 3)
    assert_close(conv(large)[0, :, 2, 1], linear(large[:, :, 2:5, 1:5].flatten(1))[0])
    assert as_convolution(nn.Linear(4, 2, bias=False), (1, 2, 2)).bias is None


def test_a_classifier_is_its_convolutional_form():
    """On an image of its own size one answer, the classifier's; on a larger one several."""
    vgg = unsettled(tiny_vgg(pooled=2)).eval()
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    answer = vgg(images)
    last = as_convolution(vgg.classifier[-1], (8, 1, 1))
    body = ConvolutionalVGG(vgg)
    *_, top = body(images)
    assert_close(last(top)[..., 0, 0], answer)
    *_, top = body(torch.randn(1, 3, 40, 24, dtype=torch.float64))
    assert last(top).shape == (1, 3, 4, 2)


@pytest.mark.parametrize("finer", [0, 1, 2])
def test_matches_reference(finer):
    """The published nets' layers, written out for three pools."""
    net = unsettled(FCN(tiny_vgg(), classes=3, finer=finer, padding=7))
    images = torch.randn(2, 3, 20, 28, dtype=torch.float64)
    conv1, _, _, conv2, _, _, conv3, _, _ = net.body.features
    x = F.conv2d(images, conv1.weight, conv1.bias, padding=7).relu()
    one = F.max_pool2d(x, 2, ceil_mode=True)
    two = F.max_pool2d(F.conv2d(one, conv2.weight, conv2.bias, padding=1).relu(), 2, ceil_mode=True)
    three = F.max_pool2d(F.conv2d(two, conv3.weight, conv3.bias, padding=1).relu(), 2, ceil_mode=True)
    x = F.conv2d(three, net.body.layer6.weight, net.body.layer6.bias).relu()
    x = net.scores[0](F.conv2d(x, net.body.layer7.weight, net.body.layer7.bias).relu())
    for i, (map_, offset) in enumerate([(two, 1), (one, 1)][:finer]):
        x = F.conv_transpose2d(x, net.doublings[i].weight, stride=2)
        h, w = x.shape[-2:]
        x = x + net.scores[i + 1](map_)[..., offset : offset + h, offset : offset + w]
    left = 8 >> finer
    x = F.conv_transpose2d(x, net.enlarge.weight, stride=left)
    start = [2, 4, 5][finer]
    assert net.offsets[-1] == start
    assert_close(net(images), x[..., start : start + 20, start : start + 28])


@pytest.mark.parametrize("finer", [0, 1, 2])
def test_outputs_lie_where_their_pixels_are(finer):
    """With weights that mirror, and padding as wide on both sides, a mirrored image has mirrored scores."""
    net = unsettled(FCN(tiny_vgg(), classes=3, finer=finer, padding=13)).eval()
    with torch.no_grad():
        for p in net.parameters():
            if p.ndim == 4:
                p.copy_((p + p.flip(3)) / 2)
    # 13 + 38 + 13 pixels, less the 2 that the first kernel takes, and 2 more that the ceiling would add: 62 is no
    # multiple of 8, so take the width for which nothing is left over.
    images = torch.randn(1, 3, 38, 40, dtype=torch.float64)
    assert (40 + 2 * 13 - 2) % 8 == 0
    assert_close(net(images.flip(3)), net(images).flip(3))


def test_scores_begin_at_zero_and_enlarging_is_bilinear():
    net = fcn_small(classes=4).double()
    assert net(torch.rand(1, 3, 24, 24, dtype=torch.float64)).abs().max() == 0
    coarse = torch.randn(1, 4, 6, 6, dtype=torch.float64)
    expected = F.interpolate(coarse, scale_factor=2, mode="bilinear")
    assert_close(net.enlarge(coarse)[..., 3:-3, 3:-3], expected[..., 2:-2, 2:-2])


@pytest.fixture(scope="module")
def twins():
    """torchvision's nets and ours with the same random values; 101 layers are a matter of 50."""
    torch.manual_seed(0)
    pairs = {}
    for name in ("fcn_resnet50", "deeplabv3_resnet50"):
        reference = unsettled(getattr(torchvision.models.segmentation, name)(
            weights=None, weights_backbone=None, num_classes=4, aux_loss=True))  # fmt: skip
        ours = PUBLISHED[name](classes=4).double()
        ours.load_state_dict(reference.state_dict())
        pairs[name] = reference, ours
    return pairs


@pytest.mark.parametrize("name", ["fcn_resnet50", "deeplabv3_resnet50"])
def test_matches_torchvision(twins, name):
    """Outputs of both heads, all gradients, in training mode (dropout off) and in evaluation."""
    reference, ours = twins[name]
    images = torch.randn(2, 3, 24, 17, dtype=torch.float64)
    for net in (reference, ours):
        net.train()
        for module in net.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        net.zero_grad()
    results = []
    for net in (reference, ours):
        scores = net(images)
        assert list(scores) == ["out", "aux"]
        (scores["out"].square().mean() + 0.5 * scores["aux"].square().mean()).backward()
        results.append({k: v.detach() for k, v in scores.items()})
    assert_close(results[1], results[0], rtol=1e-8, atol=1e-9)
    theirs = dict(reference.named_parameters())
    for key, p in ours.named_parameters():
        scale = theirs[key].grad.abs().max()
        assert scale > 0, key
        assert_close(p.grad / scale, theirs[key].grad / scale, rtol=1e-6, atol=1e-6)
    for net in (reference, ours):
        net.eval()
    with torch.no_grad():
        found, expected = ours(images[:1]), reference(images[:1])
    assert_close(dict(found), dict(expected), rtol=1e-8, atol=1e-9)


def test_state_dicts_of_all_three_fit(bare):
    with torch.device("meta"):
        for name, build in PUBLISHED.items():
            for aux in (True, False):
                theirs = getattr(torchvision.models.segmentation, name)(
                    weights_backbone=None, aux_loss=aux
                ).state_dict()
                ours = build(aux=aux).state_dict()
                assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
        dilations = [
            {key: m.dilation for key, m in net.named_modules() if isinstance(m, nn.Conv2d)}
            for net in (fcn_resnet101(aux=False), torchvision.models.segmentation.fcn_resnet101(weights_backbone=None))
        ]
        assert dilations[0] == dilations[1] and (4, 4) in dilations[0].values()


def test_small_deeplab_is_a_resnet_a_pyramid_and_bilinear():
    """With holes the last map is twice as large, of the same weights; and away from the stride both are one network."""
    net = unsettled(SmallDeepLab(classes=3, width=2, dim=4)).eval()
    twin = SmallDeepLab(classes=3, width=2, dim=4, dilated=False).double().eval()
    twin.load_state_dict(net.state_dict())
    images = torch.randn(1, 3, 24, 20, dtype=torch.float64)
    sides = [list(one.backbone.features(images).values())[-1].shape[-2:] for one in (net, twin)]
    assert sides == [(12, 10), (6, 5)]
    rates = [m.dilation[0] for m in net.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert rates[-6:] == [1, 2, 2, 2, 4, 1] and net.backbone.layer3[0].conv1.stride == (1, 1)
    for one in (net, twin):
        x = one.classifier(list(one.backbone.features(images).values())[-1])
        assert_close(one(images), F.interpolate(x, size=(24, 20), mode="bilinear"))


def test_gradients_reach_every_parameter():
    net = unsettled(fcn_small(classes=3))
    net(torch.randn(2, 3, 24, 32, dtype=torch.float64)).square().sum().backward()
    for name, p in net.named_parameters():
        if name == "enlarge.weight":
            assert p.grad is None  # stays bilinear
        else:
            assert p.grad.abs().sum() > 0, name


def test_device_and_dtype():
    for net in (fcn_small(classes=3), fcn_resnet50(classes=2).eval()):
        images = torch.rand(2, 3, 24, 24)
        with torch.autocast("cpu", torch.bfloat16):
            scores = net(images)
        scores = scores if isinstance(scores, torch.Tensor) else scores["out"]
        assert scores.isfinite().all() and scores.shape[-2:] == (24, 24)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: as_convolution(nn.Linear(10, 2), (3, 2, 2)), "10 inputs does not read a map of 3 x 2 x 2"),
        (lambda: FCN(tiny_vgg(), classes=2, finer=3), "finer = 3: of 3 pools 0 to 2"),
        (lambda: FCN(tiny_vgg(), classes=2, finer=0, padding=1), "padding = 1: maps would meet at -4.0"),
        (lambda: ConvolutionalVGG(tiny_vgg(2), same=True), "kernel of 2 x 2: only an odd"),
        (lambda: ConvolutionalVGG(vgg_small())(torch.zeros(1, 3, 8, 8)), r"images of \[8, 8\] pixels leave a map"),
        (lambda: fcn_small(classes=2)(torch.zeros(1, 3, 41, 48)), "padding is too small for images"),
        (lambda: fcn_resnet50(classes=0), "classes = 0"),
        (lambda: fcn_resnet50(classes=3, weights="COCO_WITH_VOC_LABELS_V1"), "classes = 3, aux = True: the published"),
        (lambda: fcn_resnet50(weights="imagenet"), "weights = 'imagenet': fcn_resnet50 has COCO"),
        (
            lambda: fcn_resnet50(classes=2)(torch.zeros(1, 3, 7, 30)),
            "images of 7 x 30 pixels are smaller than the stride 8",
        ),
    ],
)
def test_bad_input(call, message, unchecked, bare):
    with pytest.raises(ValueError, match=message):
        call()

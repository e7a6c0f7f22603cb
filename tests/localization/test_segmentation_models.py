"""SegNet, the road listing, procedural roads: counts, references by hand, what indices carry."""

import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from torch.testing import assert_close
from torchvision.transforms.functional import pil_to_tensor

from helpers.convnets.architectures.vgg import VGG, vgg16_bn
from helpers.localization.segmentation import (
    RoadHead,
    RoadNet,
    ScoreFirstHead,
    SegNet,
    make_roads,
    paint_green,
    road_net,
    save_painted,
    segnet_small,
)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def bare(monkeypatch):
    monkeypatch.setattr(torch.nn.init, "kaiming_normal_", lambda tensor, **_: tensor)
    monkeypatch.setattr(torch.nn.init, "normal_", lambda tensor, *_, **__: tensor)
    monkeypatch.setattr(torch.nn.Conv2d, "reset_parameters", lambda self: None)
    monkeypatch.setattr(torch.nn.Linear, "reset_parameters", lambda self: None)


def count(net):
    return sum(p.numel() for p in net.parameters())


def tiny(**options) -> SegNet:
    net = SegNet(classes=3, channels=2, depths=(1, 2), widths=(4, 5), **options).double()
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.4)
    return net


def tiny_road(head=RoadHead, **options) -> RoadNet:
    vgg = VGG(depths=(1,) * 5, widths=(2, 3, 4, 5, 6), hidden=7, pooled=3, classes=1)
    return RoadNet(vgg, head, **options).double()


def test_parameter_count(bare):
    with torch.device("meta"):
        net, vgg = SegNet(classes=12), vgg16_bn()
        assert net(torch.empty(1, 3, 352, 480)).shape == (1, 12, 352, 480)
        assert road_net()(torch.empty(1, 3, 160, 576)).shape == (1, 2, 160, 576)
        assert count(RoadHead()) == 2_253_572
        assert [p.numel() for p in RoadHead().parameters()] == [8192, 2, 16_384, 512, 2_097_152, 256, 131_072, 2]
    # 26 convolutions: those of VGG-16, and the same mirrored, of which the last one gives 12 classes, not 3 channels.
    convolutions = 14_714_688
    mirrored = sum(9 * a * b + b for a, b in pairs_of_decoder(12))
    norms = 2 * (2 * 64 + 2 * 128 + 3 * 256 + 6 * 512) + 2 * sum(b for _, b in pairs_of_decoder(12)[:-1])
    assert count(net) == convolutions + mirrored + norms == 29_449_932
    features = {k: v.shape for k, v in vgg.state_dict().items() if k.startswith("features")}
    assert features.items() <= {k: v.shape for k, v in net.state_dict().items()}.items()
    assert count(SegNet(classes=3, depths=(1, 1), widths=(4, 5), indices=False)) == count(
        SegNet(classes=3, depths=(1, 1), widths=(4, 5))
    )


def pairs_of_decoder(classes):
    pairs = [(512, 512)] * 3 + [(512, 512)] * 2 + [(512, 256)] + [(256, 256)] * 2 + [(256, 128)]
    return pairs + [(128, 128), (128, 64), (64, 64), (64, classes)]


@pytest.mark.parametrize("indices", [True, False])
def test_matches_reference(indices):
    net = tiny(indices=indices)
    images = torch.randn(3, 2, 8, 12, dtype=torch.float64)
    w = {name: value.clone() for name, value in net.state_dict().items()}

    def conv(x, name, norm=None):
        x = F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=1)
        if norm is None:
            return x
        return F.batch_norm(x, None, None, w[f"{norm}.weight"], w[f"{norm}.bias"], training=True).relu()

    def back(x, places, size):
        if indices:
            return F.max_unpool2d(x, places, 2, output_size=size)
        return F.interpolate(x, scale_factor=2, mode="bilinear")

    a, first = F.max_pool2d(conv(images, "features.0", "features.1"), 2, return_indices=True)
    x = conv(conv(a, "features.4", "features.5"), "features.7", "features.8")
    b, second = F.max_pool2d(x, 2, return_indices=True)
    x = back(b, second, (4, 6))
    x = conv(conv(x, "decoder.0.0", "decoder.0.1"), "decoder.0.3", "decoder.0.4")
    expected = conv(back(x, first, (8, 12)), "decoder.1.0")
    assert_close(net(images), expected)


def test_gradients_reach_every_parameter():
    for net, channels in ((tiny(), 2), (tiny_road(), 3), (tiny_road(ScoreFirstHead), 3)):
        side = 8 if channels == 2 else 32
        for p in net.parameters():
            torch.nn.init.normal_(p, std=0.4)
        net(torch.randn(2, channels, side, 2 * side, dtype=torch.float64)).square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_indices_carry_where_the_maxima_were():
    """Two images with the same pooled maps, whose maxima lie elsewhere, look alike only without indices."""
    for indices in (True, False):
        net = SegNet(classes=2, channels=1, depths=(1,), widths=(1,), indices=indices).double().eval()
        with torch.no_grad():
            net.features[0].weight.zero_()
            net.features[0].weight[:, :, 1, 1] = 1
        image = torch.rand(1, 1, 6, 6, dtype=torch.float64)
        turned = image.unflatten(2, (3, 2)).flip(3).flatten(2, 3)
        assert torch.allclose(net(image), net(turned)) != indices


def test_small_segnet_learns_a_toy_problem():
    """Bright pixels against dark ones: less than a second."""
    net = segnet_small(classes=2, width=4)
    images = torch.rand(8, 3, 16, 16)
    labels = (F.avg_pool2d(images.mean(1, keepdim=True), 3, 1, 1)[:, 0] > 0.5).long()
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(net(images), labels).backward()
        optimizer.step()
    assert (net(images).argmax(1) == labels).float().mean() > 0.85


# -- roads --


def same_padded_transpose(x, weight, bias, stride):
    """tf.nn.conv2d_transpose with SAME: of the full output, TensorFlow keeps the middle, `stride` times as large."""
    b, _, h, w = x.shape
    _, out, k, _ = weight.shape
    full = torch.zeros(b, out, (h - 1) * stride + k, (w - 1) * stride + k, dtype=x.dtype)
    for i in range(h):
        for j in range(w):
            stamp = torch.einsum("bc,cokl->bokl", x[:, :, i, j], weight)
            full[:, :, i * stride : i * stride + k, j * stride : j * stride + k] += stamp
    first = (k - stride) // 2
    return full[:, :, first : first + h * stride, first : first + w * stride] + bias[:, None, None]


@pytest.mark.parametrize("head", [RoadHead, ScoreFirstHead])
def test_listing_matches_tensorflow_by_hand(head):
    net = head(dims=(4, 5, 6)).double()
    for p in net.parameters():
        torch.nn.init.normal_(p)
    third, fourth, seventh = (torch.randn(1, d, s, 2 * s, dtype=torch.float64) for d, s in ((4, 8), (5, 4), (6, 2)))
    w = dict(net.named_parameters())

    def up(x, name, stride):
        bias = w.get(f"{name}.bias", torch.zeros(1, dtype=torch.float64))  # the paper's enlarging has none
        return same_padded_transpose(x, w[f"{name}.weight"], bias, stride)

    def score(x, name):
        return torch.einsum("bchw,kc->bkhw", x, w[f"{name}.weight"][..., 0, 0]) + w[f"{name}.bias"][:, None, None]

    if head is RoadHead:
        x = up(score(seventh, "conv_1x1"), "up_to_4", 2) + fourth
        x = up(x, "up_to_3", 2) + third
    else:
        x = up(score(seventh, "score_7"), "up_to_4", 2) + score(fourth, "score_4")
        x = up(x, "up_to_3", 2) + score(third, "score_3")
    assert_close(net(third, fourth, seventh), up(x, "up_to_1", 8))


def test_road_net_reads_the_maps_that_it_names():
    net = tiny_road().eval()
    images = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    maps = net.body(images)
    assert [m.shape[-2] for m in maps] == [32, 16, 8, 4, 2, 2]
    assert_close(net(images), net.head(maps[2], maps[3], maps[5]))
    assert net.body.dropout.p == 0.5
    assert tiny_road(dropout=0.25).body.dropout.p == 0.25


def test_roads_are_what_they_say():
    images, masks = make_roads(6, (48, 96), seed=3)
    assert images.shape == (6, 3, 48, 96) and masks.shape == (6, 48, 96)
    assert images.min() >= 0 and images.max() <= 1
    share = masks.float().mean((1, 2))
    assert (share > 0.05).all() and (share < 0.6).all()
    assert not masks[:, :12].any()  # the sky
    again, _ = make_roads(2, (48, 96), seed=3, start=4)
    assert torch.equal(again, images[4:])
    assert not torch.equal(make_roads(1, (48, 96), seed=4)[0], images[:1])
    road = images.movedim(1, -1)[masks].mean(0)
    rest = images.movedim(1, -1)[~masks].mean(0)
    assert (road - rest).abs().max() > 0.05


def test_painted_green(tmp_path):
    images, masks = make_roads(2, (32, 64))
    painted = paint_green(images, masks)
    assert torch.equal(painted.movedim(1, -1)[~masks], images.movedim(1, -1)[~masks])
    green = torch.tensor([0.0, 1.0, 0.0])
    assert_close(painted.movedim(1, -1)[masks], (images.movedim(1, -1)[masks] + green) / 2)
    assert torch.equal(paint_green(images, masks * 0.9), painted)
    assert torch.equal(paint_green(images, masks, 0.0), images)
    files = save_painted(images, masks, tmp_path / "runs")
    assert [f.name for f in files] == ["000.png", "001.png"]
    assert_close(pil_to_tensor(Image.open(files[1])) / 255, painted[1], atol=1 / 255, rtol=0)


def test_device_and_dtype():
    nets = segnet_small(classes=3, width=4), tiny_road().float().eval()
    for net in nets:
        with torch.autocast("cpu", torch.bfloat16):
            assert net(torch.rand(2, 3, 32, 64)).isfinite().all()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: segnet_small(classes=0), "classes = 0"),
        (
            lambda: segnet_small(classes=2)(torch.zeros(1, 3, 20, 24)),
            "20 x 24 pixels: both sides divide by 8, as 24 x 24",
        ),
        (lambda: tiny_road()(torch.zeros(1, 3, 48, 64).double()), "images of 48 x 64 pixels: sides divide by 32"),
        (lambda: make_roads(0), "n = 0"),
        (lambda: make_roads(1, (8, 64)), r"size = \(8, 64\)"),
        (lambda: paint_green(*make_roads(1), 2.0), "opacity = 2.0"),
    ],
)
def test_bad_input(call, message, unchecked):
    with pytest.raises(ValueError, match=message):
        call()

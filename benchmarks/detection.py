"""Boxes, suppression and pooled regions against torchvision.ops."""

from collections.abc import Iterator

import torch
import torchvision.ops as reference

from benchmarks.harness import Pair
from helpers.localization.detection.boxes import box_iou, generalized_box_iou
from helpers.localization.detection.nms import batched_nms, nms
from helpers.localization.detection.roi import ps_roi_pool, roi_align, roi_pool

SCENES = {"spread out": 1000.0, "crowded": 100.0}  # pixels a side, for boxes of up to 50
MAPS = [(16, 63, 8, 256, 3), (2, 98, 38, 256, 7)]  # images, channels, side of the map, regions, cells
SETTLES = (
    "torchvision walks over the pairs in one compiled loop; ours starts some fifteen operations for each block of 128 boxes, a "
    "fixed cost that shows while boxes, or those of one class, are few."
)
BAGS = (
    "A dozen operations on tensors list the places that each cell reads, where torchvision's kernel counts in registers; and the "
    "map is first turned so that its channels lie side by side."
)


def pairs(device: torch.device, tiny: bool = False) -> Iterator[Pair]:
    """Overlaps, suppression with few and many overlaps, and pooling forward and both ways."""
    yield from overlaps(20 if tiny else 1000, device)
    for count in (30, 60) if tiny else (1000, 10_000):
        for scene, side in SCENES.items():
            yield from suppression(count, scene, side, device)
    for shape in [(2, 4, 5, 3, 2)] if tiny else MAPS:
        yield from pooling(*shape, device)


def overlaps(count: int, device: torch.device) -> Iterator[Pair]:
    a, b = (boxes(count, 200.0, device, seed=seed) for seed in (0, 1))
    for ours, other in ((box_iou, reference.box_iou), (generalized_box_iou, reference.generalized_box_iou)):
        name = f"{ours.__name__}, {count} x {count}"
        yield Pair(name, f"torchvision.ops.{ours.__name__}", lambda f=ours: f(a, b), lambda f=other: f(a, b))


def suppression(count: int, scene: str, side: float, device: torch.device) -> Iterator[Pair]:
    """One class, then twenty, on the same boxes."""
    found = boxes(count, side, device)
    chance = torch.Generator().manual_seed(2)
    scores = torch.randperm(count, generator=chance).to(device) / count
    labels = torch.randint(20, (count,), generator=chance).to(device)
    yield Pair(
        f"nms, {count} boxes, {scene}",
        "torchvision.ops.nms",
        lambda: nms(found, scores, 0.5),
        lambda: reference.nms(found, scores, 0.5),
        SETTLES,
    )
    yield Pair(
        f"batched_nms, {count} boxes of 20 classes, {scene}",
        "torchvision.ops.batched_nms",
        lambda: batched_nms(found, scores, labels, 0.5),
        lambda: reference.batched_nms(found, scores, labels, 0.5),
        SETTLES,
    )


def pooling(images: int, channels: int, side: int, regions: int, cells: int, device: torch.device) -> Iterator[Pair]:
    """Regions of a map of stride 8; position-sensitive pooling takes as many channels as fill its cells."""
    chance = torch.Generator().manual_seed(0)
    maps = torch.randn(images, channels, side, side, generator=chance).to(device)
    index = torch.randint(images, (regions, 1), generator=chance).to(device)
    rois = torch.cat([index.to(maps), boxes(regions, 8.0 * side, device, largest=6.0 * side)], 1)
    what = f"{regions} regions, {channels} channels of {side} x {side}, {cells} x {cells} cells"
    for ours, rest in ((roi_pool, (0.125,)), (roi_align, (0.125, 2, True)), (ps_roi_pool, (0.125,))):
        name = ours.__name__
        other = getattr(reference, name)
        use = maps[:, : channels // cells**2 * cells**2] if ours is ps_roi_pool else maps
        arguments = (use, rois, cells, *rest)
        yield Pair(f"{name}, {what}, forward", f"torchvision.ops.{name}", *forward(ours, other, arguments), BAGS)
        if ours is not ps_roi_pool:  # whose gradient in torchvision is not that of its result
            yield Pair(
                f"{name}, {what}, both ways", f"torchvision.ops.{name}", *both_ways(ours, other, arguments), BAGS
            )


def forward(ours, other, arguments):
    def run(function):
        with torch.no_grad():
            return function(*arguments)

    return (lambda: run(ours)), (lambda: run(other))


def both_ways(ours, other, arguments):
    """Functions that return the gradient of the map."""

    def run(function):
        leaf = arguments[0].detach().requires_grad_()
        function(leaf, *arguments[1:]).square().mean().backward()
        return leaf.grad

    return (lambda: run(ours)), (lambda: run(other))


def boxes(count: int, side: float, device: torch.device, *, largest: float = 50.0, seed: int = 0) -> torch.Tensor:
    """Boxes of up to `largest` pixels a side, uniform over an image of `side` pixels."""
    chance = torch.Generator().manual_seed(seed)
    extent = 2 + torch.rand(count, 2, generator=chance) * (largest - 2)
    corner = torch.rand(count, 2, generator=chance) * (side - extent).clamp(min=0)
    return torch.cat([corner, corner + extent], 1).to(device)

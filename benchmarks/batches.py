"""Batches against DataLoader.

One epoch of tensors that already live on the device, against one of `torch.utils.data.DataLoader`.
"""

from collections.abc import Iterator

import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from benchmarks.harness import Pair
from helpers.data import batches, once


def pairs(device: torch.device, tiny: bool = False) -> Iterator[Pair]:
    """Small and larger images, shuffled and in order; the loader's batches go to the device as they come."""
    for side, channels in ((8, 1), (32, 3)):
        count, size = (20, 8) if tiny else (1024, 64)
        x, y = torch.rand(count, channels, side, side), torch.arange(count)
        what = f"{count} images {channels}×{side}×{side}, batches of {size}"
        dataset, on_device = TensorDataset(x, y), (x.to(device), y.to(device))
        pinned = {"pin_memory": device.type == "cuda"}
        shuffled, stream = DataLoader(dataset, size, shuffle=True, **pinned), batches(*on_device, batch_size=size)
        indexed = DataLoader(dataset, None, sampler=BatchSampler(RandomSampler(dataset), size, False), **pinned)
        ordered = DataLoader(dataset, size, **pinned)

        def one_epoch(stream=stream):
            return seen(stream.epoch(), device)

        def one_pass(tensors=on_device, size=size):
            return seen(once(*tensors, batch_size=size), device)

        yield Pair(f"batches: {what}", "DataLoader, shuffled", one_epoch, lambda it=shuffled: seen(it, device))
        yield Pair(f"batches: {what}", "DataLoader, whole batches", one_epoch, lambda it=indexed: seen(it, device))
        yield Pair(f"once: {what}", "DataLoader, in order", one_pass, lambda it=ordered: seen(it, device))


def seen(stream, device: torch.device) -> int:
    """How many samples come to the device."""
    count = 0
    for x, y in stream:
        x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
        count += len(x)
    return count

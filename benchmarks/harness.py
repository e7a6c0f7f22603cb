"""Paired timing: two ways of doing the same thing, turn about in one process and on one thread, as a ratio per pair."""

import gc
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from statistics import median, quantiles
from time import perf_counter, process_time
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

PAIRS, SECONDS, WARM_UP = 41, 0.008, 3
SLOWER = 1.1  # a ratio above it needs a reason
PRODUCT = (
    "The time of one large product over ours is the utilisation: a network also normalises, adds, takes a softmax and moves "
    "tokens about, and many of its products are small."
)


@dataclass(frozen=True)
class Pair:
    """What is done, ours and the other way to do it, and why ours may be slower, in one sentence.

    Both do the same work at each call and return the same result, which the tests compare at the tiny size.
    """

    what: str
    against: str
    ours: Callable[[], Any]
    other: Callable[[], Any]
    reason: str = ""


def clock(device: torch.device) -> float:
    """Seconds: the CPU time of this process, or on a GPU those on the wall when all that was queued there is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return perf_counter()
    return process_time()


def seconds_per_call(function: Callable[[], Any], calls: int, device: torch.device) -> float:
    start = clock(device)
    for _ in range(calls):
        function()
    return (clock(device) - start) / calls


def measure(pair: Pair, device: torch.device, *, pairs: int = PAIRS, seconds: float = SECONDS) -> dict[str, Any]:
    """Time both sides of `pair` alternately: the median and the quartiles of the ratio ours / other over `pairs` pairs.

    Each timing lasts about `seconds` or one call, and every second pair begins with the other side, so that a machine
    that grows slower favours neither. A reason is kept only where it is needed. Raises `ValueError` below 2 pairs.
    """
    if pairs < 2:
        raise ValueError(f"pairs = {pairs}: quartiles need at least 2")
    sides = (pair.ours, pair.other)
    for _ in range(WARM_UP):
        slowest = max(seconds_per_call(side, 1, device) for side in sides)
    calls = max(1, round(seconds / max(slowest, 1e-9)))
    gc.disable()  # as timeit does: a collection would fall on one side of a pair
    try:
        times = []
        for number in range(pairs):
            ours, other = (seconds_per_call(side, calls, device) for side in sides)
            times.append((ours, other) if number % 2 == 0 else (other, ours))
            sides = sides[::-1]
    finally:
        gc.enable()
    low, ratio, high = (round(value, 2) for value in quantiles([ours / other for ours, other in times], n=4))
    return {
        "what": pair.what,
        "against": pair.against,
        "microseconds": [round(1e6 * median(side), 1) for side in zip(*times)],
        "ratio": ratio,
        "quartiles": [low, high],
        "reason": pair.reason if ratio > SLOWER else "",
    }


def against_product(
    what: str, forward: Callable, both_ways: Callable, flops: Callable[[], int], device: torch.device
) -> Iterator[Pair]:
    """A network's passes beside one product of matrices with as many flops: the ratio's inverse is the utilisation.

    `flops` counts those of a forward pass, and is asked when a pair runs; backward has two products for each of forward.
    """
    for how, run, times in (("forward", forward, 1), ("both ways", both_ways, 3)):
        yield Pair(f"{what}, {how}", "one product, as many flops", run, partial(product, flops, times, device), PRODUCT)


def product(flops: Callable[[], int], times: int, device: torch.device) -> torch.Tensor:
    a, b = factors(times * flops(), device)
    return a @ b


@lru_cache(maxsize=1)
def factors(flops: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Matrices whose product takes `flops`, to the nearest row: in bfloat16 on a GPU."""
    side, dtype = (8192, torch.bfloat16) if device.type == "cuda" else (1024, torch.float32)
    rows = max(1, round(flops / (2 * side**2)))
    return tuple(torch.randn(n, side, device=device, dtype=dtype) for n in (rows, side))


def count_flops(forward: Callable) -> int:
    """Two for each multiply-add of all products, those of attention among them."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        forward()
    return counter.get_total_flops()


def can_compile(device: torch.device) -> bool:
    """Whether torch.compile has what it needs: Triton comes with torch for a GPU, a C++ compiler does not for a CPU."""
    return device.type == "cuda" or any(map(shutil.which, ("c++", "g++", "clang++")))

"""What a network costs when it runs: multiply-adds as torch counts them, and seconds."""

from collections.abc import Callable
from statistics import median
from time import perf_counter, process_time

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def multiply_adds(call: Callable[[], object]) -> int:
    """The multiply-adds of the layers and products in a call; two of torch's floating-point operations are one.

    Networks and inputs on the device "meta" are counted without computing anything.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call()
    return counter.get_total_flops() // 2


def inputs_per_second(call: Callable[[Tensor], object], inputs: Float[Tensor, "n *shape"], *, repeats: int = 3) -> float:
    """How many of the `n` images or clips a call does in a second, at the best of `repeats`.

    Processor time on a CPU, wall time on a GPU. Raises `ValueError` for less than one repeat.
    """
    check_repeats(repeats)
    gpu = inputs.device.type == "cuda"
    clock, times = perf_counter if gpu else process_time, []
    for _ in range(repeats):
        start = clock()
        call(inputs)
        if gpu:
            torch.cuda.synchronize()
        times.append(clock() - start)
    return len(inputs) / max(min(times), 1e-9)


def latency(net: nn.Module, images: Tensor, repeats: int = 5) -> float:
    """Median seconds of a forward pass in evaluation mode, after one that does not count.

    Raises `ValueError` for less than one repeat.
    """
    check_repeats(repeats)
    training, times = net.training, []
    net.eval()
    with torch.inference_mode():
        for _ in range(repeats + 1):
            start = perf_counter()
            net(images)
            if images.is_cuda:
                torch.cuda.synchronize()
            times.append(perf_counter() - start)
    net.train(training)
    return median(times[1:])


def check_repeats(repeats):
    if repeats < 1:
        raise ValueError(f"repeats = {repeats}: at least 1")

"""What a network costs when it runs: multiply-adds as torch counts them, and seconds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from statistics import median
from time import perf_counter, process_time

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from helpers.training import evaluation_mode

aten = torch.ops.aten


def multiply_adds(call: Callable[[], object]) -> int:
    """The multiply-adds of the layers and products in a call; two of torch's floating-point operations are one.

    Convolutions, matrix products, attention and recurrent steps count, products with zeros of a padding or a mask too;
    norms, activations, pools and `nn.Bilinear` do not. Networks and inputs on the device "meta" are counted without
    computing anything.
    """
    with counting() as counter:
        call()
    return counter.get_total_flops() // 2


@contextmanager
def counting() -> Iterator[FlopCounterMode]:
    """Torch's counter, without gradients, and with nothing fused that it would miss.

    Fused attention, which some versions of torch do not count, and the fast path of torch's transformer layers are
    written out in products; the recurrent layers of oneDNN and cuDNN get a formula.
    """
    fused = {aten.mkldnn_rnn_layer: one_dnn_flops, aten._cudnn_rnn: cudnn_flops}
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        counter = FlopCounterMode(display=False, custom_mapping=fused)
        with counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
            yield counter
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def one_dnn_flops(steps: tuple, into: tuple, again: tuple, *_: object, **__: object) -> int:
    """One direction of one recurrent layer: both matrices work once at each step of each sequence."""
    return 2 * prod(steps[:-1]) * (prod(into) + prod(again))


def cudnn_flops(steps: tuple, weights: list[tuple], *_: object, **__: object) -> int:
    """All layers and directions of a recurrent network: each matrix works once at each step of each sequence."""
    return 2 * prod(steps[:-1]) * sum(prod(weight) for weight in weights if len(weight) > 1)


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

    Each module has its own mode again afterwards. Raises `ValueError` for less than one repeat.
    """
    check_repeats(repeats)
    times = []
    with evaluation_mode(net), torch.inference_mode():
        for _ in range(repeats + 1):
            start = perf_counter()
            net(images)
            if images.is_cuda:
                torch.cuda.synchronize()
            times.append(perf_counter() - start)
    return median(times[1:])


def check_repeats(repeats):
    if repeats < 1:
        raise ValueError(f"repeats = {repeats}: at least 1")

"""What a student saves when it runs: time in turns, an estimate of energy."""

from statistics import median

from torch import Tensor, nn

from helpers.convnets.output_size import latency, layer_table

# Picojoules for 32-bit floats in 45 nm silicon (Horowitz 2014, ISSCC).
MULTIPLY, ADD, FETCH = 3.7, 0.9, 640.0


def microjoules(multiply_adds: int, fetched: int = 0) -> float:
    """An estimate of the energy of one image, in millionths of a joule.

    Every multiply-add costs a product and a sum; every one of `fetched`
    32-bit numbers a trip to DRAM. Caches, control and idle time are left
    out, so ratios mean more than values.
    """
    if not (multiply_adds >= 0 and fetched >= 0):
        raise ValueError(
            f"multiply_adds = {multiply_adds}, fetched = {fetched}: counts "
            "are not negative"
        )
    return 1e-6 * (multiply_adds * (MULTIPLY + ADD) + fetched * FETCH)


def size(net: nn.Module, image: tuple[int, ...]) -> tuple[int, int]:
    """Parameters, and multiply-adds for one image."""
    rows = layer_table(net, image)
    return (
        sum(row.parameters for row in rows),
        sum(row.multiply_adds for row in rows),
    )


def speed_up(
    slow: nn.Module, fast: nn.Module, images: Tensor, turns: int = 15
) -> float:
    """How often `fast` answers while `slow` does so once.

    Both are timed in turns, and the median of the ratios is taken, so that
    a machine that slows down favours neither.
    """
    if turns < 1:
        raise ValueError(f"turns = {turns}: at least 1")
    times = [
        [latency(net, images, 1) for net in (slow, fast)] for _ in range(turns)
    ]
    return median(one / other for one, other in times)

"""Learning rates over time: pure functions from the step to a factor, and `scheduled`, which applies one to an update.

The first update has step 0. Any function of that kind will do: `lambda step: cosine_decay(50)(step % 50)` restarts.
"""

from collections.abc import Callable
from math import cos, inf, pi

from torch import Tensor
from torch.optim import Optimizer

from helpers.training.history import Metrics
from helpers.training.loop import Batch, Update, check_at_least_one

Schedule = Callable[[int], float]


def constant() -> Schedule:
    """1 at every step."""
    return lambda step: 1.0


def step_decay(every: int, factor: float = 0.1) -> Schedule:
    """Times `factor` after each `every` steps."""
    check_at_least_one(every=every)
    check_not_negative(factor=factor)
    return lambda step: factor ** (step // every)


def exponential_decay(factor: float) -> Schedule:
    """Times `factor` at each step: factorᵗ."""
    check_not_negative(factor=factor)
    return lambda step: factor**step


def inverse_time_decay(rate: float) -> Schedule:
    """1 / (1 + rate t)."""
    check_not_negative(rate=rate)
    return lambda step: 1 / (1 + rate * step)


def linear_decay(steps: int, *, start: float = 1.0, end: float = 0.0) -> Schedule:
    """From `start` to `end` along a straight line within `steps`, then `end`."""
    check_at_least_one(steps=steps)
    return lambda step: start + (end - start) * min(step / steps, 1)


def cosine_decay(steps: int, *, end: float = 0.0) -> Schedule:
    """From 1 to `end` along half a cosine within `steps`, then `end` (Loshchilov & Hutter 2017, arXiv:1608.03983)."""
    check_at_least_one(steps=steps)
    return lambda step: end + (1 - end) * (1 + cos(pi * min(step / steps, 1))) / 2


def warmup(steps: int, then: Schedule, *, start: float = 0.0) -> Schedule:
    """From `start` to 1 along a straight line within `steps`, after which `then` counts from 0 (Goyal et al. 2017)."""
    ramp = linear_decay(steps, start=start, end=1.0)
    return lambda step: ramp(step) if step < steps else then(step - steps)


def scheduled(
    update: Update,
    optimizer: Optimizer,
    schedule: Schedule,
) -> Update:
    """Set each group's rate to its first one times `schedule(step)`.

    Records it (the first group's) as "learning rate". The step and the
    first rates are kept in the optimizer's groups, so that a checkpoint
    of the optimizer holds them. A rate that is a tensor is filled in
    place, as compiled steps need it. Raises `ValueError` for a factor
    below 0 or not finite.
    """
    for group in optimizer.param_groups:
        group["initial_lr"] = float(group.get("initial_lr", group["lr"]))
        group["scheduled_steps"] = 0

    def update_at_rate(batch: Batch) -> Metrics:
        for group in optimizer.param_groups:
            step = group["scheduled_steps"]
            factor = schedule(step)
            check_not_negative(**{f"schedule({step})": factor})
            rate = group["initial_lr"] * factor
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
            group["scheduled_steps"] += 1
        first = optimizer.param_groups[0]["initial_lr"] * factor
        return update(batch) | {"learning rate": (first, 1)}

    return update_at_rate


def check_not_negative(**numbers: float | int) -> None:
    """Refuse a number that is negative or not finite, by name."""
    for name, number in numbers.items():
        if not 0 <= number < inf:
            raise ValueError(f"{name} = {number}: a factor of the learning rate is a finite number, 0 or more")

"""What is put around an update or a loss: clipping, mixed precision, accumulation, averages of the weights."""

from copy import deepcopy

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import Optimizer

from helpers.training.distributed import unwrap
from helpers.training.history import Metrics
from helpers.training.loop import Batch, Loss, Update, check_at_least_one, check_training, measured


def clipped(
    update: Update,
    optimizer: Optimizer,
    *,
    norm: float | None = None,
    value: float | None = None,
) -> Update:
    """Clip the gradient between `backward` and the optimizer's step.

    `norm` shortens the gradient of all parameters together to that
    length and records the length before as "gradient norm" (Pascanu et
    al. 2013, arXiv:1211.5063); `value` cuts every entry to ± value.
    Raises `ValueError` unless exactly one of them is given, above 0.
    """
    limits = [x for x in (norm, value) if x is not None]
    if len(limits) != 1 or limits[0] <= 0:
        raise ValueError(f"norm = {norm}, value = {value}: give one, above 0")
    norms: list = []

    def clip(optimizer: Optimizer, *_) -> None:
        x = [p for group in optimizer.param_groups for p in group["params"]]
        if norm is None:
            clip_grad_value_(x, value)
        else:
            norms.append(clip_grad_norm_(x, norm))

    def clipped_update(batch: Batch) -> Metrics:
        norms.clear()
        hook = optimizer.register_step_pre_hook(clip)
        try:
            metrics = update(batch)
        finally:
            hook.remove()
        if norms:
            metrics |= {"gradient norm": (sum(norms), len(norms))}
        return metrics

    return clipped_update


def accumulated_update(
    model: nn.Module,
    optimizer: Optimizer,
    loss: Loss,
    *,
    parts: int,
) -> Update:
    """`gradient_update` for a batch that does not fit into memory.

    The gradient of the mean is the sum of the parts' gradients, each
    weighted by its share of the samples. Each part has its own batch-norm
    statistics. Raises `ValueError` for more parts than samples.
    """
    check_at_least_one(parts=parts)

    def update(batch: Batch) -> Metrics:
        check_training(model)
        count = len(batch[0])
        if count < parts:
            raise ValueError(f"parts = {parts}: the batch has {count} samples")
        cuts = [i * count // parts for i in range(parts + 1)]
        totals: Metrics = {}
        optimizer.zero_grad()
        for a, b in zip(cuts, cuts[1:]):
            part = tuple(column[a:b] for column in batch)
            value, metrics = measured(loss, model, part)
            (value * ((b - a) / count)).backward()
            for name, (x, n) in metrics.items():
                total, number = totals.get(name, (0, 0))
                totals[name] = total + x, number + n
        optimizer.step()
        return totals

    return update


def autocast(loss: Loss, dtype: torch.dtype = torch.bfloat16) -> Loss:
    """Let `loss` compute where it may in a type of 16 bits (Micikevicius et al. 2018, arXiv:1710.03740).

    Parameters and gradients keep theirs. float16 also needs `float16_update`.
    """

    def loss_in_mixed_precision(model: nn.Module, batch: Batch):
        with torch.autocast(batch[0].device.type, dtype):
            return loss(model, batch)

    return loss_in_mixed_precision


def float16_update(
    model: nn.Module,
    optimizer: Optimizer,
    loss: Loss,
    scaler: torch.amp.GradScaler,
) -> Update:
    """`gradient_update` in float16, whose smallest number is 6e-8.

    The loss is multiplied before `backward`, so that small gradients do
    not become 0; a step whose gradient overflows is left out.
    """
    loss = autocast(loss, torch.float16)

    def update(batch: Batch) -> Metrics:
        check_training(model)
        optimizer.zero_grad()
        value, metrics = measured(loss, model, batch)
        scaler.scale(value).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        return metrics

    return update


def average_of(model: nn.Module) -> nn.Module:
    """A copy of `model` to hold the average of its weights: without gradients, in evaluation mode."""
    return deepcopy(unwrap(model)).requires_grad_(False).eval()


@torch.no_grad()
def move_average(
    average: nn.Module,
    model: nn.Module,
    decay: float,
) -> None:
    """average = decay · average + (1 - decay) · model; buffers are copied."""
    model = unwrap(model)
    for mine, theirs in zip(average.parameters(), model.parameters()):
        mine.lerp_(theirs, 1 - decay)
    for mine, theirs in zip(average.buffers(), model.buffers()):
        mine.copy_(theirs)


def averaged(
    update: Update,
    model: nn.Module,
    average: nn.Module,
    *,
    decay: float,
) -> Update:
    """Let `average`, from `average_of(model)`, follow after each update.

    Evaluate it, sample from it and put it into the checkpoint like any
    model. Raises `ValueError` for a decay outside [0, 1).
    """
    if not 0 <= decay < 1:
        raise ValueError(f"decay = {decay}: it lies in [0, 1), like 0.999")

    def update_and_average(batch: Batch) -> Metrics:
        metrics = update(batch)
        move_average(average, model, decay)
        return metrics

    return update_and_average

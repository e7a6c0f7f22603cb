"""What is put around an update or a loss: clipping, mixed precision, accumulation, averages of the weights."""

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import Optimizer

from helpers.training.distributed import unwrap
from helpers.training.history import Metrics
from helpers.training.loop import (
    Batch,
    Loss,
    Update,
    check_at_least_one,
    check_step,
    check_training,
    mean_loss,
    samples,
)


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
    Raises `ValueError` unless exactly one of them is given, above 0, and
    for a step with a closure, which makes the gradient after this.
    """
    limits = [x for x in (norm, value) if x is not None]
    if len(limits) != 1 or not limits[0] > 0:  # also refuses NaN
        raise ValueError(f"norm = {norm}, value = {value}: give one, above 0")
    norms: list = []

    def clip(optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
        if any(a is not None for a in (*args[1:], kwargs.get("closure"))):
            raise ValueError("a step with a closure: clip within the closure")
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
        check_step(optimizer)
        count = samples(batch)
        if count < parts:
            raise ValueError(f"parts = {parts}: the batch has {count} samples")
        cuts = [i * count // parts for i in range(parts + 1)]
        totals: Metrics = {}
        optimizer.zero_grad()
        for a, b in zip(cuts, cuts[1:]):
            part = tuple(column[a:b] for column in batch)
            value, metrics = mean_loss(loss, model, part)
            (value * ((b - a) / count)).backward()
            for name, (x, n) in metrics.items():
                total, number = totals.get(name, (0, 0))
                totals[name] = total + x, number + n
        optimizer.step()
        return totals

    return update


def autocast(loss: Loss, dtype: torch.dtype = torch.bfloat16) -> Loss:
    """Let `loss` compute where it may in a type of 16 bits (Micikevicius et al. 2018, arXiv:1710.03740).

    Parameters and gradients keep theirs. float16 also needs `float16_update`. Raises `ValueError` for a type of other
    than 16 bits, with which torch would only warn and compute as before.
    """
    if dtype not in (torch.bfloat16, torch.float16):
        raise ValueError(f"dtype = {dtype}: autocast computes in torch.bfloat16 or torch.float16")

    def loss_in_mixed_precision(model: nn.Module, batch: Batch):
        device = next((column.device for column in batch if isinstance(column, Tensor)), None)
        device = device or next(p.device for p in model.parameters())
        with torch.autocast(device.type, dtype):
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
    not become 0; a step whose gradient overflows is left out. Raises
    `ValueError` for parameters of 16 bits.
    """
    loss = autocast(loss, torch.float16)
    for name, p in model.named_parameters():
        if p.requires_grad and p.itemsize < 4:
            message = f"{name} is {p.dtype}: parameters stay float32"
            raise ValueError(f"{message}, call model.float()")

    def update(batch: Batch) -> Metrics:
        check_training(model)
        check_step(optimizer)
        optimizer.zero_grad()
        value, metrics = mean_loss(loss, model, batch)
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
    """average = decay · average + (1 - decay) · model; buffers are copied.

    Raises `ValueError` for a decay outside [0, 1), for models of other
    shapes, and where 1 - decay is too small for the average's type.
    """
    check_decay(decay)
    model = unwrap(model)
    mine, theirs = list(average.parameters()), list(model.parameters())
    kept, new = list(average.buffers()), list(model.buffers())
    check_alike(mine + kept, theirs + new)
    for dtype in {p.dtype for p in mine}:
        if 1 - decay < torch.finfo(dtype).eps / 2:
            message = f"decay = {decay}: {dtype} loses such small steps"
            raise ValueError(f"{message}, keep average_of(model.float())")
    for a, b in zip(mine, theirs):
        a.lerp_(b.to(a.dtype), 1 - decay)
    for a, b in zip(kept, new):
        a.copy_(b)


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
    check_decay(decay)

    def update_and_average(batch: Batch) -> Metrics:
        metrics = update(batch)
        move_average(average, model, decay)
        return metrics

    return update_and_average


def check_decay(decay: float) -> None:
    """Refuse a share of the past outside [0, 1)."""
    if not 0 <= decay < 1:
        raise ValueError(f"decay = {decay}: it lies in [0, 1), like 0.999")


def check_alike(average: list[Tensor], model: list[Tensor]) -> None:
    """Refuse an average that was made of another model."""
    mine, theirs = [list(t.shape) for t in average], [list(t.shape) for t in model]
    if mine != theirs:
        first = next((pair for pair in zip(mine, theirs) if pair[0] != pair[1]), (len(mine), len(theirs)))
        raise ValueError(f"the average has {first[0]} where the model has {first[1]}: make it with average_of(model)")

"""The book's recipe: AdamW on shuffled batches, a warm-up, a cosine, clipping; on one process or several.

AdamW: Loshchilov & Hutter 2019 (arXiv:1711.05101).
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from helpers.data.batches import batches
from helpers.training.distributed import distributed, prepare
from helpers.training.history import History
from helpers.training.loop import Batch, Loss, check_at_least_one, fit, gradient_update
from helpers.training.schedules import cosine_decay, scheduled, warmup
from helpers.training.wrappers import clipped


def train(
    model: nn.Module,
    loss: Loss,
    data: Iterable[Tensor],
    steps: int,
    *,
    rate: float,
    batch_size: int,
    seed: int | torch.Generator,
    rise: int = 0,
    end: float = 0.0,
    clip: float | None = None,
    weight_decay: float = 0.01,
    betas: tuple[float, float] = (0.9, 0.999),
    **options: Any,
) -> History:
    """Train `model` in place on the columns of `data`, on their device.

    `loss` is that of `gradient_update`. The learning rate climbs to `rate`
    within `rise` steps and goes down along a cosine to `end` times `rate`
    (1: it stays). `clip` bounds the norm of the gradient. `seed`, or a
    generator, orders the samples; the rest of an epoch that fills no batch
    is left out. `options` are those of `fit`. The model comes back in
    evaluation mode.

    Started by `torchrun`, each process takes its equal share of every
    batch and the gradients are averaged, whatever part of the model the
    loss calls. What a loss draws at random, and batch norm, are each
    process's own. Raises `ValueError` for `rise` that is not below `steps`
    and what `batches`, `clipped`, `fit` and the schedules refuse.
    """
    check_at_least_one(steps=steps)
    if not 0 <= rise < steps:
        raise ValueError(f"rise = {rise}, steps = {steps}: the rate climbs within fewer steps than there are")
    columns = tuple(data)
    rank, world_size = distributed()
    if not isinstance(seed, torch.Generator):
        seed = torch.Generator().manual_seed(seed)
    stream = batches(
        *columns, batch_size=batch_size, generator=seed, drop_last=True, rank=rank, world_size=world_size
    )
    model.to(columns[0].device).train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = AdamW(parameters, rate, betas, weight_decay=weight_decay, fused=True)
    update = gradient_update(prepare(Objective(model, loss), unused=True), optimizer, objective)
    if clip is not None:
        update = clipped(update, optimizer, norm=clip)
    schedule = cosine_decay(steps - rise, end=end)
    update = scheduled(update, optimizer, warmup(rise, schedule) if rise else schedule)
    try:
        return fit(update, stream, steps, **options)
    finally:
        model.eval()


class Objective(nn.Module):
    """A model and its loss as one module, so that its `forward` is all that DistributedDataParallel must watch."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, *batch: Any) -> Any:
        """The mean over the batch, or that and metrics."""
        return self.loss(self.model, batch)


def objective(model: nn.Module, batch: Batch) -> Any:
    """The loss of an `Objective`."""
    return model(*batch)

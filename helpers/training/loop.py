"""The book's one training loop: an update is a function from a batch to metrics, and `fit` repeats it."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import cycle
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from helpers.training.checkpoints import Checkpoint
from helpers.training.distributed import gather, unwrap
from helpers.training.history import History, Metrics, fetch, mean
from helpers.training.progress import progress_line

Batch = Sequence[Any]  # tensors or lists, each with as many items
Update = Callable[[Batch], Metrics]
Loss = Callable[[nn.Module, Batch], Tensor | tuple[Tensor, Metrics]]
Evaluation = Callable[[], Mapping[str, Any]]  # means or metrics


def gradient_update(
    model: nn.Module,
    optimizer: Optimizer,
    loss: Loss,
) -> Update:
    """One step of `optimizer` down the gradient of `loss(model, batch)`.

    `loss` returns the mean over the batch, or that mean and metrics.
    The update returns the metrics and "loss", counted in samples. It
    raises `ValueError` when the model is in evaluation mode, when the
    batch or the loss is not of that form, and for an optimizer that
    must have a closure.
    """

    def update(batch: Batch) -> Metrics:
        check_training(model)
        check_step(optimizer)
        optimizer.zero_grad()
        value, metrics = mean_loss(loss, model, batch)
        value.backward()
        optimizer.step()
        return metrics

    return update


def fit(
    update: Update,
    batches: Iterable[Batch],
    steps: int,
    *,
    evaluate: Evaluation | Mapping[str, Evaluation] | None = None,
    every: int | None = None,
    checkpoint: Checkpoint | None = None,
    progress: bool = True,
    finite: bool = True,
) -> History:
    """Repeat `update` on `batches`, a stream without end, for `steps`.

    After each `every` steps and the last one, what `evaluate()` returns
    is recorded as "validation …"; a mapping {"test": …} names other sets.
    Where the file of `checkpoint` exists already, training goes on from
    there. Raises `ValueError` for numbers below 1, for `steps` that the
    file has passed already and when the batches end, `TypeError` for an
    update that returns no metrics, and `FloatingPointError` at a loss
    that is not finite (on a GPU up to 50 steps later), unless
    `finite=False`.
    """
    check_at_least_one(steps=steps, every=every)
    if every is not None and not evaluate:
        raise ValueError(f"every = {every} without evaluate: say what")
    if callable(evaluate):
        evaluate = {"validation": evaluate}
    history = History()
    if checkpoint is not None:
        checkpoint.resume(history=history, batches=batches)
        if history.step > steps:
            done = f"{checkpoint.path} is of step {history.step}"
            raise ValueError(f"steps = {steps}: {done}, name another file")
    stream = iter(batches)
    with progress_line(steps, history.step, shown=progress) as show:
        for step in range(history.step + 1, steps + 1):
            history.add(step, update(next_batch(stream, step)))
            last = step == steps
            if evaluate and (last or every and step % every == 0):
                for name, evaluation in evaluate.items():
                    history.add(step, evaluation(), prefix=f"{name} ")
            saves = checkpoint and (last or step % checkpoint.every == 0)
            if last or saves or history.is_due():
                history.settle(finite)
            if saves:
                checkpoint.save(history=history, batches=batches)
            show(step, history)
    return history


def evaluate(
    model: nn.Module,
    measure: Callable[[nn.Module, Batch], Any],
    batches: Iterable[Batch],
) -> dict[str, float]:
    """Means over all samples of what `measure(model, batch)` counts.

    `measure` returns metrics, or what a loss returns: a mean over the
    batch, or that and metrics. Meanwhile the model is in evaluation mode
    and records no gradients; then each module gets its own mode back.
    Several processes add up what each found in its own `batches`. Raises
    `ValueError` for no batch at all, for a stream without end, and for a
    batch or a result of `measure` that is not of that form.
    """
    if hasattr(batches, "epoch"):
        raise ValueError("a stream without end: evaluate its .epoch()")
    if isinstance(batches, cycle):
        raise ValueError("a stream without end: evaluate a list of batches")
    found: dict[str, list] = {}
    with torch.no_grad(), evaluation_mode(unwrap(model)) as model:
        for batch in batches:
            _, metrics = measured(measure, model, batch)
            for name, pair in metrics.items():
                found.setdefault(name, []).append(pair)
    return means(found)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[nn.Module]:
    """The model in evaluation mode within the block.

    Then each of its modules gets its own mode back, after an error too.
    """
    modes = {module: module.training for module in model.modules()}
    try:
        yield model.eval()
    finally:
        for module, training in modes.items():
            module.training = training


def measured(loss: Callable, model: nn.Module, batch: Any) -> tuple[Tensor | None, Metrics]:
    """Call `loss`: the mean over the batch (None where it gives metrics only), and metrics with "loss" among them."""
    count = samples(batch)
    result = loss(model, batch)
    if isinstance(result, Mapping):
        return None, dict(result)
    value, metrics = result if isinstance(result, tuple) and len(result) == 2 else (result, {})
    if not isinstance(value, Tensor) or value.ndim or not isinstance(metrics, Mapping):
        raise ValueError(
            f"the loss is {form(result)}: return the mean over the batch, a tensor without axes, or (mean, metrics)"
        )
    wide = torch.promote_types(value.dtype, torch.float32)  # a sum in float16 may overflow
    return value, {"loss": (value.detach().to(wide) * count, count)} | dict(metrics)


def mean_loss(loss: Callable, model: nn.Module, batch: Any) -> tuple[Tensor, Metrics]:
    """`measured` for training, which needs more than metrics."""
    value, metrics = measured(loss, model, batch)
    if value is None:
        raise ValueError(f"the loss returns metrics alone ({', '.join(metrics)}): return (mean, metrics) to train")
    return value, metrics


def samples(batch: Any) -> int:
    """How many samples a batch holds: the length of each of its columns."""
    if isinstance(batch, Tensor | Mapping) or not isinstance(batch, Sequence) or not batch:
        raise ValueError(f"a batch is {form(batch)}: it is a tuple of columns, (x,) or (x, y), a sample in each row")
    lengths = {len(column) if getattr(column, "ndim", 1) else 0 for column in batch}
    if len(lengths) > 1 or 0 in lengths:
        columns = ", ".join(map(form, batch))
        raise ValueError(f"a batch has the columns {columns}: the first axis of each counts the samples")
    return lengths.pop()


def form(thing: Any) -> str:
    """What something is, for messages: a tensor by its shape, a tuple by its parts, anything else by its type."""
    if isinstance(thing, Tensor):
        return f"a tensor of shape {list(thing.shape)}"
    if isinstance(thing, tuple) and thing:
        return f"({', '.join(map(form, thing))})"
    return f"of type {type(thing).__name__}"


def means(found: dict[str, list]) -> dict[str, float]:
    """The mean under each name, given the pairs (sum, count) that this process found."""
    sums = {name: [sum(fetch(numbers)) for numbers in zip(*pairs)] for name, pairs in found.items()}
    shares = gather(sums)
    names = list(dict.fromkeys(name for share in shares for name in share))
    if not names:
        raise ValueError("there was no batch to evaluate: an iterator that has been read once is empty, a list is not")
    pairs = {name: zip(*(share[name] for share in shares if name in share)) for name in names}
    return {name: mean(sum(totals), sum(counts)) for name, (totals, counts) in pairs.items()}


def next_batch(stream: Iterator[Batch], step: int) -> Batch:
    """The next batch; `ValueError` when there is none."""
    for batch in stream:
        return batch
    raise ValueError(
        f"no batch is left for step {step}: give fit a stream without end, as helpers.data.batches(…) or "
        "itertools.cycle([…]) are"
    )


def check_training(model: nn.Module) -> None:
    """Refuse a model in evaluation mode, where dropout is off and batch norm does not learn."""
    if not model.training:
        raise ValueError("the model is in evaluation mode: call model.train() before training it")


def check_step(optimizer: Optimizer) -> None:
    """Refuse an optimizer whose step cannot do without a closure, such as torch's LBFGS."""
    if needs_closure(type(optimizer)):
        raise ValueError(
            f"{type(optimizer).__name__}.step needs a closure that returns the loss: call it in an update of your own; "
            "gradient_update is for methods that take the gradients as they are"
        )


@cache
def needs_closure(kind: type[Optimizer]) -> bool:
    """Whether `step` of this optimizer has an argument `closure` without a default."""
    closure = inspect.signature(kind.step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty


def check_at_least_one(**numbers: float | int | None) -> None:
    """Refuse a number below 1 or with a fraction, by name; None passes."""
    for name, number in numbers.items():
        if number is not None and not number >= 1:  # also refuses NaN
            raise ValueError(f"{name} = {number}: it is at least 1")
        if number is not None and number != int(number):
            raise ValueError(f"{name} = {number}: it is a whole number")

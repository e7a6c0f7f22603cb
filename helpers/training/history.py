"""Metrics as pairs (sum, count), so that means over uneven batches or several processes are exact."""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite, nan
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from helpers.training.distributed import gather, world_size

Number = Tensor | float | int  # a tensor has no axes, and stays on its device
Metrics = dict[str, tuple[Number, Number]]  # name: (sum, count)

WINDOW = 50  # steps between two transfers from a device


def tally(values: Shaped[Tensor, "*axes"]) -> tuple[Tensor, int]:
    """Sum and count of `values`, as a metric: `{"accuracy": tally(logits.argmax(1) == y)}`.

    Numbers of 16 bits are added in float32: the sum of 1,001 ones is 1,000 in bfloat16, that of 70,000 infinite in
    float16.
    """
    wide = torch.promote_types(values.dtype, torch.float32) if values.is_floating_point() else None
    return values.detach().sum(dtype=wide), values.numel()


def mean(total: float, count: float) -> float:
    """total / count, and nan for nothing at all."""
    return total / count if count else nan


def is_number(thing: Any) -> bool:
    """Whether this is a number, or a tensor that holds a single one, whose value is not looked at."""
    return thing.numel() == 1 if isinstance(thing, Tensor) else isinstance(thing, float | int | np.number | np.bool_)


def is_remote(number: Number) -> bool:
    """Whether reading `number` means waiting for a device."""
    return isinstance(number, Tensor) and not number.is_cpu


def fetch(numbers: Sequence[Number]) -> list[float]:
    """Numbers as Python floats; those of one device and type in one transfer."""
    floats = [0.0 if is_remote(n) else float(n.item() if isinstance(n, Tensor) else n) for n in numbers]
    kinds: dict[Any, list[int]] = {}
    for i, n in enumerate(numbers):
        if is_remote(n):
            kinds.setdefault((n.device, n.dtype), []).append(i)
    for where in kinds.values():
        for i, value in zip(where, torch.stack([numbers[i].detach().reshape(()) for i in where]).tolist()):
            floats[i] = float(value)
    return floats


class History:
    """What was measured, step by step: `history["loss"]` are the means, `history.steps("loss")` the steps, from 1.

    A loss at step s was measured during the s-th update, an evaluation after it. Iterating gives the names.
    """

    def __init__(self) -> None:
        self.step = 0
        self._records: dict[str, list[tuple[int, float]]] = {}
        self._waiting: list[tuple[int, str, Number, Number]] = []

    def __getitem__(self, name: str) -> np.ndarray:
        """The means recorded as `name`, in float64. Raises `KeyError`, which names those that there are."""
        return np.array([value for _, value in self._record(name)], dtype=np.float64)

    def steps(self, name: str) -> np.ndarray:
        """The steps at which `name` was recorded: as many as `history[name]` has values."""
        return np.array([step for step, _ in self._record(name)], dtype=np.int64)

    def __contains__(self, name: object) -> bool:
        return name in self._records

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __repr__(self) -> str:
        return f"History of {self.step} steps: {', '.join(self)}"

    def last(self) -> dict[str, float]:
        """The latest mean of each name."""
        return {name: record[-1][1] for name, record in self._records.items()}

    def add(self, step: int, metrics: Any, prefix: str = "") -> None:
        """Note sums and counts, or finished means, without waiting for a device and without keeping a graph alive.

        Raises `TypeError` where there are no metrics, and `ValueError`, with the name, for one that is no number.
        """
        if not isinstance(metrics, Mapping):
            raise TypeError(
                f"at step {step} came a {type(metrics).__name__}: an update and an evaluation return metrics, "
                "{name: (sum, count)}"
            )
        self.step = step
        for name, pair in metrics.items():
            pair = pair if isinstance(pair, tuple) else (pair, 1)
            if len(pair) != 2 or not all(map(is_number, pair)):
                raise ValueError(f"metric {name!r} is {pair}: give (sum, count), as tally does, or a mean")
            self._waiting.append((step, prefix + name, *(n.detach() if isinstance(n, Tensor) else n for n in pair)))

    def is_due(self) -> bool:
        """Whether to settle: each step where that costs nothing, once in a while on a GPU or with several processes."""
        numbers = [number for row in self._waiting for number in row[2:]]
        costs = world_size() > 1 or any(map(is_remote, numbers))
        return bool(numbers) and (not costs or self.step - self._waiting[0][0] >= WINDOW)

    def settle(self, finite: bool) -> None:
        """Fetch what waits and add up the processes' shares; with `finite`, refuse a loss that is not."""
        waiting, self._waiting = self._waiting, []
        shares = gather([fetch([row[i] for row in waiting]) for i in (2, 3)])
        totals, counts = ([sum(numbers) for numbers in zip(*part)] for part in zip(*shares))
        for (step, name, *_), total, count in zip(waiting, totals, counts):
            value = mean(total, count)
            self._records.setdefault(name, []).append((step, value))
            if finite and name.endswith("loss") and not isfinite(value):
                raise FloatingPointError(
                    f"{name} = {value} at step {step}: training diverged. Lower the learning rate, warm up or clip the "
                    "gradient; fit(…, finite=False) goes on regardless"
                )

    def state_dict(self) -> dict[str, Any]:
        """Steps and means as tensors, for a checkpoint."""
        steps = {name: torch.from_numpy(self.steps(name)) for name in self}
        return {"step": self.step, "steps": steps, "means": {name: torch.from_numpy(self[name]) for name in self}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; `ValueError` or `KeyError`, and no change, where steps and means differ."""
        records = {
            name: list(zip(steps.tolist(), state["means"][name].tolist(), strict=True))
            for name, steps in state["steps"].items()
        }
        self.step, self._waiting, self._records = state["step"], [], records

    def _record(self, name: str) -> list[tuple[int, float]]:
        if name not in self._records:
            raise KeyError(f"nothing is recorded as {name!r}; there is {', '.join(map(repr, self))}")
        return self._records[name]

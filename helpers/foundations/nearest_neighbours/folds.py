"""Cross-validation: each sample is judged once, by a model that has not seen it (Stone 1974)."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor


@runtime_checkable
class Classifier(Protocol):
    """What learns by `train(images, labels)` and answers by `predict`."""

    def train(self, images: Tensor, labels: Tensor) -> object: ...

    def predict(self, images: Tensor) -> Tensor: ...


def folds(
    n: int, count: int, generator: torch.Generator | None = None
) -> Iterator[tuple[Int[Tensor, " train"], Int[Tensor, " held"]]]:
    """Cut `n` samples into `count` parts; each in turn is held out.

    Yields the places of the others and of the part. Parts differ by one
    sample at most. With a generator the order is shuffled first. Raises
    `ValueError` for fewer than 2 parts and more parts than samples.
    """
    if not 2 <= count <= n:
        raise ValueError(
            f"{count} folds of {n} samples: at least 2, and one sample or "
            "more in each"
        )
    order = torch.arange(n)
    if generator is not None:
        order = torch.randperm(n, generator=generator)
    parts = order.tensor_split(count)
    for i, held in enumerate(parts):
        yield torch.cat([*parts[:i], *parts[i + 1 :]]), held


def cross_validate(
    model: Classifier,
    images: Shaped[Tensor, "n *shape"],
    labels: Int[Tensor, " n"],
    count: int = 5,
    generator: torch.Generator | None = None,
) -> Float[Tensor, " folds"]:
    """The share of each held-out part that `model` gets right after it was
    trained on the others. Errors as in `folds` and the model."""
    right = []
    for rest, held in folds(len(images), count, generator):
        model.train(images[rest], labels[rest])
        found = model.predict(images[held])
        right.append((found == labels[held]).double().mean())
    return torch.stack(right)

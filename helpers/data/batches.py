"""Batches of tensors that already live on their device: an endless shuffled stream, or one pass in order."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


class Batches:
    """Endless shuffled batches; each epoch visits every sample once, in an order drawn afresh.

    Each batch is a tuple with one slice of each tensor, on the tensors' device. The order is drawn by a CPU generator,
    so that all devices see the same one. The last batch of an epoch is short when `batch_size` does not divide the
    number of samples; `drop_last` leaves it out. Batches of images with channels last have them last too.

    Data-parallel processes pass their `rank`, the `world_size` and generators of one seed: each gets its equal
    part of every batch, and the parts in order of rank are the batch that a single process would see.
    """

    def __init__(
        self,
        *tensors: Tensor,
        batch_size: int,
        generator: torch.Generator | None = None,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        samples = _samples(tensors, batch_size)
        if drop_last and batch_size > samples:
            raise ValueError(
                f"batch_size = {batch_size} with drop_last leaves no batch of {samples} samples: "
                f"use at most {samples}, or drop_last=False"
            )
        if not 0 <= rank < world_size:
            raise ValueError(f"rank = {rank}, world_size = {world_size}: ranks run from 0 to world_size - 1")
        if batch_size % world_size:
            raise ValueError(f"batch_size = {batch_size} is no multiple of world_size = {world_size}: shards are equal")
        if not drop_last and samples % batch_size % world_size:
            raise ValueError(
                f"the last batch of {samples % batch_size} samples is no multiple of world_size = {world_size}: "
                "pass drop_last=True"
            )
        if generator is None:
            if world_size > 1:
                raise ValueError("generator is None: data-parallel ranks need generators of the same seed")
            generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        if generator.device.type != "cpu":
            raise ValueError(f"generator on {generator.device}: the order is drawn on the CPU, pass torch.Generator()")
        self.tensors = tensors
        self.batch_size = batch_size
        self.generator = generator
        self.drop_last = drop_last
        self.rank = rank
        self.world_size = world_size
        self.samples = samples
        self.epochs = 0  # begun so far
        self.position = 0  # samples of this epoch that all ranks together have seen
        self.order = torch.empty(0, dtype=torch.long)  # none before the first batch

    @property
    def steps_per_epoch(self) -> int:
        full, rest = divmod(self.samples, self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return self

    def __next__(self) -> tuple[Tensor, ...]:
        if self._epoch_is_over():
            self.order = torch.randperm(self.samples, generator=self.generator).to(self.tensors[0].device)
            self.position = 0
            self.epochs += 1
        chosen = self.order[self.position : self.position + self.batch_size]
        self.position += len(chosen)
        chosen = chosen.chunk(self.world_size)[self.rank]
        return tuple(tensor[chosen] for tensor in self.tensors)

    def epoch(self) -> Iterator[tuple[Tensor, ...]]:
        """The batches left in this epoch, or all of the next one when this one is over."""
        yield next(self)
        while not self._epoch_is_over():
            yield next(self)

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands: a stream with this state goes on with the very same batches."""
        return {
            "generator": self.generator.get_state(),
            "order": self.order.cpu(),
            "position": self.position,
            "epochs": self.epochs,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`, with any batch size and number of ranks.

        The generator is set back too, for everything that draws from it. Raises `ValueError`, and changes nothing, when
        the state belongs to data of another size or is none of a stream.
        """
        order, position, epochs = state["order"], state["position"], state["epochs"]
        if len(order) not in (0, self.samples):
            raise ValueError(f"the state orders {len(order)} samples, these tensors hold {self.samples}")
        if not torch.equal(order.sort().values.cpu(), torch.arange(len(order))):
            raise ValueError(f"the state's order names samples twice: it is no order of 0 to {len(order) - 1}")
        if not 0 <= position <= len(order) or epochs < 0:
            raise ValueError(f"position = {position} of {len(order)} samples, epochs = {epochs}: no state of a stream")
        self.generator.set_state(state["generator"].cpu())
        self.order = order.to(self.tensors[0].device)
        self.position, self.epochs = position, epochs

    def _epoch_is_over(self) -> bool:
        return len(self.order) - self.position < (self.batch_size if self.drop_last else 1)


def batches(
    *tensors: Tensor,
    batch_size: int,
    generator: torch.Generator | None = None,
    drop_last: bool = False,
    rank: int = 0,
    world_size: int = 1,
) -> Batches:
    """Endless shuffled batches of `tensors` for `fit`; `.epoch()` gives those of one epoch.

    Without a generator one is seeded from torch's global state. Raises `ValueError` for tensors that differ in length
    or device, for a batch size below one, and for shards that would not be equal.
    """
    return Batches(
        *tensors, batch_size=batch_size, generator=generator, drop_last=drop_last, rank=rank, world_size=world_size
    )


def once(*tensors: Tensor, batch_size: int) -> Iterator[tuple[Tensor, ...]]:
    """One pass in the order of the tensors, for evaluation; the batches are views, and the last may be short."""
    samples = _samples(tensors, batch_size)
    return (tuple(tensor[i : i + batch_size] for tensor in tensors) for i in range(0, samples, batch_size))


def _samples(tensors: tuple, batch_size: int | float) -> int:
    """The number of samples, after a check that `tensors` can be cut into batches together."""
    if not batch_size >= 1 or batch_size != int(batch_size):
        raise ValueError(f"batch_size = {batch_size}: a batch holds a whole number of samples, at least 1")
    for thing in tensors:
        if not isinstance(thing, Tensor):
            raise ValueError(f"a {type(thing).__name__} among the tensors: give tensors, as set.images and set.labels")
    lengths = [len(tensor) if tensor.ndim else None for tensor in tensors]
    if not lengths or None in lengths or len(set(lengths)) > 1 or lengths[0] == 0:
        raise ValueError(f"tensors of lengths {lengths}: give one or more, of one length above 0 in the first axis")
    devices = {str(tensor.device) for tensor in tensors}
    if len(devices) > 1:
        raise ValueError(f"tensors on {' and '.join(sorted(devices))}: move them to one device first")
    return lengths[0]

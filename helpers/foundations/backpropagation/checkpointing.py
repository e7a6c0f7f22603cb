"""Gradient checkpointing: keep the inputs of segments only, and compute a segment again when its gradients are wanted.

Chen, Xu, Zhang & Guestrin 2016 (arXiv:1604.06174).
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


def checkpoint_sequential(
    layers: Iterable[nn.Module], x: Tensor, segments: int
) -> Tensor:
    """The output of `layers`, one after another, whose gradients keep few
    activations in memory.

    The layers are cut into `segments` parts of nearly equal length. All
    but the last keep their input alone; on the way back each runs a second
    time, with the same random numbers. So n layers keep about n / segments
    + segments activations, least at segments = √n, for one more forward
    pass. Layers that count their passes, such as batch norm's running
    mean, count twice. Raises `ValueError` for segments outside 1 … n.
    """
    layers = list(layers)
    if not 1 <= segments <= len(layers):
        raise ValueError(
            f"segments = {segments} of {len(layers)} layers: give 1 to "
            f"{len(layers)}; near the root of their number memory is least"
        )
    cuts = [len(layers) * i // segments for i in range(segments + 1)]
    *kept, last = [layers[a:b] for a, b in zip(cuts, cuts[1:])]
    for part in kept:
        weights = [p for layer in part for p in layer.parameters()]
        x = Segment.apply(part, x, *weights)
    return run(last, x)


class Segment(torch.autograd.Function):
    """A part of the network that keeps its input, and nothing within."""

    @staticmethod
    def forward(ctx, layers, x, *weights):
        ctx.layers, ctx.random = layers, random_state(x.device)
        ctx.cast = torch.is_autocast_enabled(x.device.type)
        ctx.dtype = torch.get_autocast_dtype(x.device.type)
        ctx.save_for_backward(x, *weights)
        return run(layers, x)  # torch records nothing in here

    @staticmethod
    def backward(ctx, upstream):
        x, *weights = ctx.saved_tensors
        again = x.detach().requires_grad_(ctx.needs_input_grad[1])
        kind = x.device.type
        cast = torch.autocast(kind, enabled=ctx.cast, dtype=ctx.dtype)
        with torch.enable_grad(), cast, random_numbers(ctx.random, x.device):
            out = run(ctx.layers, again)
        wanted = [t for t in (again, *weights) if t.requires_grad]
        found = iter(torch.autograd.grad(
            out, wanted, upstream, allow_unused=True))
        gradients = [next(found) if t.requires_grad else None
                     for t in (again, *weights)]
        return None, *gradients


def run(layers: Iterable[Callable], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


def random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Where the random numbers of the CPU and of `device` stand."""
    gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return torch.get_rng_state(), gpu


class random_numbers:
    """Within the block random numbers go on from `state`; afterwards from
    where they stood."""

    def __init__(self, state: tuple[Tensor, Tensor | None], device: torch.device) -> None:
        self.state, self.device = state, device

    def __enter__(self) -> None:
        self.before = random_state(self.device)
        self.set(self.state)

    def __exit__(self, *error: object) -> None:
        self.set(self.before)

    def set(self, state: tuple[Tensor, Tensor | None]) -> None:
        torch.set_rng_state(state[0])
        if state[1] is not None:
            torch.cuda.set_rng_state(state[1], self.device)

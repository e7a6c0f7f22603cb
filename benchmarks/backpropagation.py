"""The tape against torch's automatic differentiation, checkpoints against torch's."""

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint_sequential as torch_checkpoints

from benchmarks.harness import Pair
from helpers.foundations.backpropagation import Tape, checkpoint_sequential
from helpers.foundations.backpropagation.experiments import cross_entropy, deep_network, layers

SIZES = [(64, 64, 32, 10), (256, 784, 256, 10)]  # samples, inputs, hidden units, classes
STACKS = [(64, 64, 32, 8), (64, 512, 256, 8)]  # layers, units, samples, segments
PYTHON = (
    "The tape starts every operation from Python and has NumPy make a new array for each result, as its page shows it."
)
BOOKS = (
    "Ours also restores autocast and the random numbers around each segment, a fixed cost that shows in small layers."
)


def pairs(device: torch.device, tiny: bool = False) -> Iterator[Pair]:
    """Loss and gradients of a classifier by both engines; gradients of a deep stack by both kinds of checkpoints."""
    for n, d, hidden, k in [(3, 4, 5, 2)] if tiny else SIZES:
        what = f"loss and gradients, {n} samples, {d}-{hidden}-{k}"
        yield Pair(what, "torch.autograd, float64 on the CPU", *engines(n, d, hidden, k), PYTHON)
    for depth, width, batch, segments in [(4, 3, 2, 2)] if tiny else STACKS:
        what = f"{depth} layers of {width} units, batch {batch}, {segments} segments, both ways"
        yield Pair(what, "torch.utils.checkpoint", *checkpoints(depth, width, batch, segments, device), BOOKS)


def engines(n: int, d: int, hidden: int, k: int):
    """Both sides return the gradient of the first weights."""
    start = layers(d, hidden, k, 0)
    x, y = torch.randn(n, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64), torch.arange(n) % k
    images, labels = x.numpy(), y.numpy()

    def ours():
        tape = Tape()
        W1, b1, W2, b2 = (tape.variable(w) for w in start)
        tape.backward(cross_entropy((tape.variable(images) @ W1 + b1).relu() @ W2 + b2, labels))
        return torch.from_numpy(W1.grad)

    weights = [torch.tensor(w, requires_grad=True) for w in start]

    def other():
        W1, b1, W2, b2 = weights
        return torch.autograd.grad(F.cross_entropy((x @ W1 + b1).relu() @ W2 + b2, y), weights)[0]

    return ours, other


def checkpoints(depth: int, width: int, batch: int, segments: int, device: torch.device):
    """Both sides return the gradient of the first weights."""
    stack = nn.Sequential(*deep_network(depth, width, 0)).to(device)
    parameters = list(stack.parameters())
    x = torch.randn(batch, width, generator=torch.Generator().manual_seed(0)).to(device)

    def ours():
        return torch.autograd.grad(checkpoint_sequential(stack, x, segments).square().mean(), parameters)[0]

    def other():
        out = torch_checkpoints(stack, segments, x, use_reentrant=False)
        return torch.autograd.grad(out.square().mean(), parameters)[0]

    return ours, other

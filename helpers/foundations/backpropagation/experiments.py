"""What the page runs: errors of differences, gates with faults, a digit classifier on the tape, deep stacks, kept bytes."""

import copy
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.foundations.backpropagation.checkpointing import checkpoint_sequential
from helpers.foundations.backpropagation.differences import gradient_check, numerical_gradient
from helpers.foundations.backpropagation.gates import (
    Add,
    AveragePool,
    Convolve,
    MatMul,
    Max,
    MaxPool,
    Multiply,
    Sigmoid,
)
from helpers.foundations.backpropagation.tape import Node, Tape

# -- differences -------------------------------------------------------------------------------------------------------


def neuron(x: Float[np.ndarray, "5"]) -> float:
    """The squared error of a neuron with two inputs, over its five numbers: w1, x1, w2, x2, b; the label is 1."""
    w1, x1, w2, x2, b = x
    return (1 / (1 + np.exp(-(w1 * x1 + w2 * x2 + b))) - 1) ** 2


def neuron_slope(x: Float[np.ndarray, "5"]) -> Float[np.ndarray, "5"]:
    """The gradient of `neuron`, by the chain rule."""
    w1, x1, w2, x2, b = x
    p = 1 / (1 + np.exp(-(w1 * x1 + w2 * x2 + b)))
    return 2 * (p - 1) * p * (1 - p) * np.array([x1, w1, x2, w2, 1.0])


def difference_errors(
    steps: Sequence[float], form: str, points: Float[np.ndarray, "n 5"]
) -> Float[np.ndarray, " steps"]:
    """The median relative error of numerical gradients of `neuron`, over the points, for each step h."""
    errors = []
    for h in steps:
        gaps = []
        for x in points:
            exact = neuron_slope(x)
            gaps.append(np.linalg.norm(numerical_gradient(neuron, x, h, form) - exact) / np.linalg.norm(exact))
        errors.append(np.median(gaps))
    return np.array(errors)


# -- gates -------------------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """A gate, inputs for it, and the same in torch."""

    gate: Any
    inputs: tuple[np.ndarray, ...]
    reference: Callable[..., Tensor]


def gate_cases(seed: int) -> dict[str, Case]:
    """Every gate of the chapter with random inputs."""
    noise = np.random.default_rng(seed)
    a, b = noise.standard_normal((2, 3, 4))
    images, kernels = noise.standard_normal((2, 3, 7, 6)), noise.standard_normal((4, 3, 3, 2))
    return {
        "add": Case(Add(), (a, b), torch.add),
        "multiply": Case(Multiply(), (a, b), torch.mul),
        "max": Case(Max(), (a, b), torch.maximum),
        "sigmoid": Case(Sigmoid(), (3 * a,), torch.sigmoid),
        "matrix product": Case(MatMul(), (a, b.T.copy()), torch.matmul),
        "convolution": Case(Convolve(), (images, kernels), F.conv2d),
        "max pooling": Case(MaxPool(2), (images,), lambda x: F.max_pool2d(x, 2)),
        "average pooling": Case(AveragePool(2), (images,), lambda x: F.avg_pool2d(x, 2)),
    }


def through(gate: Any, inputs: Sequence[np.ndarray], upstream: np.ndarray | None = None) -> tuple:
    """The output of a gate and the gradients of its inputs; upstream is by default a fixed mixture of signs and sizes."""
    out = gate.forward(*inputs)
    upstream = mixture(out.shape) if upstream is None else upstream
    return out, gate.backward(upstream)


def mixture(shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of both signs, the same for each shape."""
    return np.random.default_rng(99).standard_normal(shape)


def torch_gap(case: Case) -> float:
    """The largest difference of a gate from torch, in outputs and gradients."""
    out, gradients = through(case.gate, case.inputs)
    tensors = [torch.tensor(part, requires_grad=True) for part in case.inputs]
    expected = case.reference(*tensors)
    expected.backward(torch.from_numpy(mixture(out.shape)))
    gaps = [abs(out - expected.detach().numpy()).max()]
    gaps += [abs(g - t.grad.numpy()).max() for g, t in zip(gradients, tensors, strict=True)]
    return float(max(gaps))


def fan_out_gap(u: Float[np.ndarray, " n"], v: Float[np.ndarray, " n"], upstream: Float[np.ndarray, " n"]) -> float:
    """The largest difference from torch of u's gradient in (u + v) · max(u, v), where u is used twice: the sum of both ways."""
    total, top, product = Add(), Max(), Multiply()
    product.forward(total.forward(u, v), top.forward(u, v))
    to_total, to_top = product.backward(upstream)
    added = total.backward(to_total)[0] + top.backward(to_top)[0]
    a, b = (torch.tensor(part, requires_grad=True) for part in (u, v))
    ((a + b) * torch.maximum(a, b)).backward(torch.from_numpy(upstream))
    return float(abs(added - a.grad.numpy()).max())


def check_of(case: Case) -> float:
    """What `gradient_check` says of a gate's backward pass, all inputs together."""
    out, gradients = through(case.gate, case.inputs)
    worst = 0.0
    for i, gradient in enumerate(gradients):

        def weighed(x: np.ndarray, i: int = i) -> float:
            inputs = [x if j == i else part for j, part in enumerate(case.inputs)]
            return float((copy.copy(case.gate).forward(*inputs) * mixture(out.shape)).sum())

        worst = max(worst, gradient_check(weighed, np.array(gradient), case.inputs[i].copy()))
    return worst


def faulty_gates() -> dict[str, Any]:
    """Gates with slips that one makes when deriving a backward pass: what is wrong, and a gate that does it."""

    class MaxToBoth(Max):
        def backward(self, upstream):
            return upstream, upstream

    class SlopeWithoutItsSecondFactor(Sigmoid):
        def backward(self, upstream):
            return (upstream * self.out,)

    class OnePercentOff(Multiply):
        def backward(self, upstream):
            return 1.01 * upstream * self.b, upstream * self.a

    class ForgottenTranspose(MatMul):
        def backward(self, upstream):
            return upstream @ self.B, self.A.T @ upstream

    class KernelNotTurned(Convolve):
        def backward(self, upstream):
            self.kernels = self.kernels[:, :, ::-1, ::-1]
            return super().backward(upstream)

    class SumForMean(AveragePool):
        def backward(self, upstream):
            return super().backward(self.size**2 * upstream)

    return {
        "max": MaxToBoth(), "sigmoid": SlopeWithoutItsSecondFactor(), "multiply": OnePercentOff(),
        "square matrices": ForgottenTranspose(), "convolution": KernelNotTurned(), "average pooling": SumForMean(2),
    }  # fmt: skip


def check_of_faults(seed: int) -> list[float]:
    """What `gradient_check` says of each of the faulty gates."""
    cases, square = gate_cases(seed), np.random.default_rng(seed).standard_normal((2, 3, 3))
    cases["square matrices"] = Case(MatMul(), tuple(square), torch.matmul)
    return [check_of(cases[name]._replace(gate=gate)) for name, gate in faulty_gates().items()]


# -- a classifier on the tape ------------------------------------------------------------------------------------------


def cross_entropy(scores: Node, labels: Int[np.ndarray, " n"]) -> Node:
    """The mean of -ln p_y on the tape; the largest score of each row is subtracted first."""
    shifted = scores - scores.value.max(1, keepdims=True)
    return (shifted.exp().sum(1).log() - shifted.pick(labels)).sum() * (1 / len(labels))


class Layers(NamedTuple):
    """Weights and biases of a network with one hidden layer."""

    W1: Float[np.ndarray, "d hidden"]
    b1: Float[np.ndarray, " hidden"]
    W2: Float[np.ndarray, "hidden k"]
    b2: Float[np.ndarray, " k"]


def layers(d: int, hidden: int, k: int, seed: int) -> Layers:
    """Random weights, scaled to their number of inputs, and biases of zero."""
    noise = np.random.default_rng(seed)
    W1 = noise.standard_normal((d, hidden)) * (2 / d) ** 0.5
    W2 = noise.standard_normal((hidden, k)) * (2 / hidden) ** 0.5
    return Layers(W1, np.zeros(hidden), W2, np.zeros(k))


def train_on_tape(
    images: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"], start: Layers, *, rate: float | int, steps: int, batch: int
) -> tuple[Layers, list[float]]:
    """Gradient descent by the tape, batch after batch in order: the weights at the end, and every loss."""
    weights, losses = start, []
    for step in range(steps):
        rows = np.arange(step * batch, (step + 1) * batch) % len(images)
        tape = Tape()
        W1, b1, W2, b2 = nodes = [tape.variable(w) for w in weights]
        h = (tape.variable(images[rows]) @ W1 + b1).relu()
        loss = cross_entropy(h @ W2 + b2, labels[rows])
        tape.backward(loss)
        weights = Layers(*(node.value - rate * node.grad for node in nodes))
        losses.append(float(loss.value))
    return weights, losses


def train_in_torch(
    images: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"], start: Layers, *, rate: float | int, steps: int, batch: int
) -> tuple[Layers, list[float]]:
    """The same by torch's automatic differentiation, in float64."""
    weights = [torch.tensor(w, requires_grad=True) for w in start]
    x, y, losses = torch.from_numpy(images), torch.from_numpy(labels), []
    for step in range(steps):
        rows = torch.arange(step * batch, (step + 1) * batch) % len(images)
        W1, b1, W2, b2 = weights
        loss = F.cross_entropy((x[rows] @ W1 + b1).relu() @ W2 + b2, y[rows])
        gradients = torch.autograd.grad(loss, weights)
        weights = [(w - rate * g).detach().requires_grad_() for w, g in zip(weights, gradients)]
        losses.append(loss.item())
    return Layers(*(w.detach().numpy() for w in weights)), losses


def answers(weights: Layers, images: Float[np.ndarray, "n d"]) -> Int[np.ndarray, " n"]:
    """The class with the highest score."""
    W1, b1, W2, b2 = weights
    return (np.maximum(images @ W1 + b1, 0) @ W2 + b2).argmax(1)


# -- the price of a reverse sweep --------------------------------------------------------------------------------------


class Price(NamedTuple):
    """Parameters of a network, operations of its loss, and of the loss and all slopes together."""

    parameters: int
    forward: int
    both: int


def price(hidden: int, depth: int = 1, *, n: int = 8, d: int = 64, k: int = 10) -> Price:
    """What torch's own counter sees of matrix products in a network with `depth` hidden layers and `n` samples."""
    from torch.utils.flop_counter import FlopCounterMode

    sizes = [d, *[hidden] * depth, k]
    stack = nn.Sequential()
    for before, after in zip(sizes, sizes[1:]):
        stack.extend([nn.Linear(before, after), nn.ReLU()])
    x, y, counts = torch.ones(n, d), torch.zeros(n, dtype=torch.long), []
    for slopes in (False, True):
        with FlopCounterMode(display=False) as counter:
            loss = F.cross_entropy(stack[:-1](x), y)  # no ReLU on the scores
            if slopes:
                loss.backward()
        counts.append(counter.get_total_flops())
    return Price(sum(p.numel() for p in stack.parameters()), *counts)


def two_layer_loss(weights: Sequence[Tensor], x: Float[Tensor, "n d"], y: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """The cross-entropy of a network with one hidden layer."""
    W1, b1, W2, b2 = weights
    return F.cross_entropy((x @ W1 + b1).relu() @ W2 + b2, y)


def time_ratios(hidden: int, repeats: int, n: int = 512, d: int = 64, k: int = 10) -> list[float]:
    """CPU time of the loss and its gradients over that of the loss alone, in torch: `repeats` pairs, ten calls in each."""
    from time import process_time

    weights = [torch.tensor(w, requires_grad=True) for w in layers(d, hidden, k, 0)]
    x, y = torch.ones(n, d, dtype=torch.float64), torch.zeros(n, dtype=torch.long)

    ratios = []
    for _ in range(repeats):
        begin = process_time()
        with torch.no_grad():
            for _ in range(10):
                two_layer_loss(weights, x, y)
        middle = process_time()
        for _ in range(10):
            torch.autograd.grad(two_layer_loss(weights, x, y), weights)
        ratios.append((process_time() - middle) / (middle - begin))
    return ratios


# -- Jacobians ---------------------------------------------------------------------------------------------------------


def jacobians() -> dict[str, Float[Tensor, "out in"]]:
    """The Jacobians of five operations on eight numbers, by torch."""
    noise = torch.Generator().manual_seed(0)
    x = torch.randn(8, generator=noise, dtype=torch.float64)
    W, kernel = torch.randn(8, 8, generator=noise).double(), torch.tensor([[[1.0, 2.0, -1.0]]]).double()
    operations = {
        "sigmoid": torch.sigmoid,
        "matrix product": lambda v: W @ v,
        "convolution": lambda v: F.conv1d(v[None, None], kernel, padding=1)[0, 0],
        "max pooling": lambda v: F.max_pool1d(v[None, None], 2)[0, 0],
        "softmax": lambda v: v.softmax(0),
    }
    return {name: torch.func.jacrev(operation)(x) for name, operation in operations.items()}


# -- deep stacks -------------------------------------------------------------------------------------------------------


def slopes_by_layer(
    kind: str, depth: int, seed: int, width: int = 64, batch: int = 32
) -> tuple[Float[Tensor, " depth"], Float[Tensor, " depth"]]:
    """The length of the gradient at the input of each layer, first to last, and the largest that the chain rule allows there.

    "sigmoid" with Glorot's deviation √(1 / width), "relu" with He's √(2 / width), "large" with twice that. The bound: the
    gradient behind the last layer times, for each layer between, the spectral norm of its weights and the activation's steepest
    slope (1/4, or 1).
    """
    kinds = {"sigmoid": (torch.sigmoid, 1.0, 0.25), "relu": (torch.relu, 2.0, 1.0), "large": (torch.relu, 8.0, 1.0)}
    act, gain, steepest = kinds[kind]
    noise = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, width, generator=noise, dtype=torch.float64).requires_grad_()
    inputs, norms, h = [], [], x
    for _ in range(depth):
        W = (gain / width) ** 0.5 * torch.randn(width, width, generator=noise, dtype=torch.float64)
        inputs.append(h)
        norms.append(torch.linalg.matrix_norm(W, 2))
        h = act(h @ W)
    up = torch.randn(h.shape, generator=noise, dtype=torch.float64)
    slopes = torch.stack([g.norm() for g in torch.autograd.grad(h, inputs, up)])
    factors = steepest * torch.stack(norms)
    return slopes, up.norm() * factors.flip(0).cumprod(0).flip(0)


# -- checkpointing -----------------------------------------------------------------------------------------------------


def deep_network(depth: int, width: int, seed: int) -> list[nn.Module]:
    """`depth` layers, each a linear map and a ReLU."""
    torch.manual_seed(seed)
    stack = [nn.Sequential(nn.Linear(width, width), nn.ReLU()) for _ in range(depth)]
    for layer in stack:
        nn.init.kaiming_normal_(layer[0].weight)
    return stack


class Kept:
    """Bytes of activations that autograd keeps: now, and the most so far. Parameters do not count; what two operations
    share counts once."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.own = {p.untyped_storage().data_ptr() for p in parameters}
        self.holders: dict[int, int] = {}
        self.now = self.most = 0

    def pack(self, tensor: Tensor) -> "_Held":
        place, size = tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes()
        if place in self.own:
            return _Held(tensor)
        self.holders[place] = self.holders.get(place, 0) + 1
        if self.holders[place] == 1:
            self.now += size
            self.most = max(self.most, self.now)
        held = _Held(tensor)
        weakref.finalize(held, self.drop, place, size)
        return held

    def drop(self, place: int, size: int) -> None:
        self.holders[place] -= 1
        if not self.holders[place]:
            del self.holders[place]
            self.now -= size


class _Held:
    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


@contextmanager
def counting(parameters: Sequence[Tensor]) -> Iterator[Kept]:
    """Count what autograd keeps within the block, backward passes in it included."""
    kept = Kept(parameters)
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda held: held.tensor):
        yield kept


class Trip(NamedTuple):
    """One forward and backward pass: bytes kept at the peak, calls of layers, and the gradients."""

    most: int
    calls: int
    gradients: tuple[Tensor, ...]


def trip(layers: Sequence[nn.Module], x: Float[Tensor, "b d"], segments: int | None) -> Trip:
    """Through `layers` and back, with so many segments; None keeps everything."""
    parameters = [p for layer in layers for p in layer.parameters()]
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        with counting(parameters) as kept:
            if segments is None:
                out = x
                for layer in layers:
                    out = layer(out)
            else:
                out = checkpoint_sequential(layers, x, segments)
            loss = out.square().mean()
            del out
            gradients = torch.autograd.grad(loss, parameters)
    finally:
        for hook in hooks:
            hook.remove()
    return Trip(kept.most, calls, gradients)


def trip_seconds(
    layers: Sequence[nn.Module], x: Float[Tensor, "b d"], segments: int, repeats: int
) -> Float[np.ndarray, " repeats"]:
    """CPU time of a pass with checkpoints over that of one without: `repeats` pairs, five passes in each."""
    from time import process_time

    parameters = [p for layer in layers for p in layer.parameters()]

    def once(segments: int) -> float:
        begin = process_time()
        for _ in range(5):
            torch.autograd.grad(checkpoint_sequential(layers, x, segments).square().mean(), parameters)
        return process_time() - begin

    once(1), once(segments)
    return np.array([once(segments) / once(1) for _ in range(repeats)])


def same(a: Sequence[Tensor], b: Sequence[Tensor]) -> bool:
    """Whether all tensors are equal, bit by bit."""
    return all(torch.equal(first, second) for first, second in zip(a, b, strict=True))


def example() -> tuple[Tape, dict[str, Node]]:
    """The neuron of the page on a tape, and its gradients: w1, x1, w2, x2, b, and the label y."""
    tape = Tape()
    start = {"w₁": 1.0, "x₁": 2.0, "w₂": -1.5, "x₂": 1.0, "b": 0.5, "y": 1.0}
    named = {name: tape.variable(value, name) for name, value in start.items()}
    w1, x1, w2, x2, b, y = named.values()
    named["loss"] = ((w1 * x1 + w2 * x2 + b).sigmoid() - y) ** 2
    tape.backward(named["loss"])
    return tape, named


def kept_activations(depth: int, segments: int) -> int:
    """How many activations are kept at the peak, by counting: the inputs of the segments, and the layers' outputs in one.

    At each moment of the walk back one segment is open: the last from the start, each of the others once it has run again. Then
    the inputs of the segments up to it are kept, and the outputs of its layers.
    """
    cuts = [depth * i // segments for i in range(segments + 1)]
    return max(i + 1 + (b - a) for i, (a, b) in enumerate(zip(cuts, cuts[1:])))

"""What the page runs: a graph of seventeen nodes, one net trained in six ways, TensorFlow's pitfalls, LeNet from text."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.data import ImageSet, digits, mnist
from helpers.foundations.frameworks.caffe_solver import hdf5_batches, learning_rate, write_hdf5
from helpers.foundations.frameworks.differentiation import gradients
from helpers.foundations.frameworks.graph import (
    Graph,
    Session,
    Symbol,
    batch_norm,
    constant,
    conv2d,
    mean,
    placeholder,
    relu,
    square,
)
from helpers.foundations.frameworks.interpreter import Function
from helpers.foundations.frameworks.prototxt import Message
from helpers.foundations.frameworks.two_layer import (
    train_autograd,
    train_graph,
    train_module,
    train_numpy,
    train_tensors,
    train_wrapper,
    two_layer_graph,
)

Array = np.ndarray
Data = tuple[Array, Array, Array, Array]
WAYS = {
    "NumPy, gradients by hand": train_numpy,
    "tensors, gradients by hand": train_tensors,
    "autograd": train_autograd,
    "nn.Module and optimizer": train_module,
    "define-then-run graph": train_graph,
    "Sequential, compile, fit": train_wrapper,
}


# -- the graph of the opening ------------------------------------------------------------------------------------------


def small_graph() -> Function:
    """A convolution, a normalisation with fixed statistics and a ReLU, on one pixel with one filter: numbers to check by eye.

    Somebody also squares the result, and nobody asks for that.
    """
    with Graph() as graph:
        x = placeholder("x", (None, 1, 1, 1))
        w, b = constant(np.full((1, 1, 1, 1), 2.0), "w"), constant(np.full((1, 1, 1), 1.0), "b")
        y = conv2d(x, w, b, name="conv")
        statistics = [constant(value, name) for name, value in
                      {"mean": 5.0, "variance": 3.0, "scale": 4.0, "shift": -1.0}.items()]
        y = relu(batch_norm(y, *statistics, eps=1.0), name="y")
        square(y, name="probe")
    return graph.function([x], [y])


def pixel(value: float | int) -> Float[Array, "1 1 1 1"]:
    """An image of one pixel."""
    return np.full((1, 1, 1, 1), float(value))


def conv_net(seed: int, blocks: int = 3, channels: int = 8) -> Function:
    """Blocks of convolution, normalisation and ReLU with random weights and statistics; each output has a probe that is dead."""
    draw = np.random.default_rng(seed)
    with Graph() as graph:
        x = first = placeholder("x", (None, 3, None, None))
        for i in range(blocks):
            w = draw.normal(size=(channels, channels if i else 3, 3, 3)) / 5
            b, centre, scale, shift = draw.normal(size=(4, channels, 1, 1))
            variance = draw.uniform(0.5, 2, size=(channels, 1, 1))
            x = conv2d(x, w, b, padding=1, name=f"conv_{i}")
            x = relu(batch_norm(x, centre, variance, scale, shift, prefix=f"norm_{i}"), name=f"relu_{i}")
            mean(square(x), name=f"probe_{i}")
    return graph.function([first], [x])


def seconds(work: Callable[[], Any], repeats: int = 5) -> list[float]:
    """What the clock says of each repetition, after one that is not counted."""
    work()
    found = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return found


# -- one net, six ways -------------------------------------------------------------------------------------------------


def two_layer_data(seed: int, samples: int = 200, hidden: int = 32) -> Data:
    """Digits [n 64] with targets [n 10], 1 at the label and 0 elsewhere, and the weights at the start, all in float64."""
    draw, data = np.random.default_rng(seed), digits()
    chosen = draw.permutation(len(data.images))[:samples]
    x = data.images.flatten(1).double().numpy()[chosen]
    t = np.eye(10)[data.labels.numpy()[chosen]]
    w1 = draw.normal(size=(64, hidden)) * (2 / 64) ** 0.5
    w2 = draw.normal(size=(hidden, 10)) * (1 / hidden) ** 0.5
    return x, t, w1, w2


def six_ways(data: Data, rate: float = 0.5, steps: int = 30) -> dict[str, tuple[Float[Array, " steps"], tuple[Array, Array]]]:
    """The losses and the last weights of each of `WAYS`, from the same start."""
    tensors = tuple(map(torch.from_numpy, data))
    found = {}
    for name, way in WAYS.items():
        losses, weights = way(*(data if way in (train_numpy, train_graph) else tensors), rate, steps)
        found[name] = np.array(losses), tuple(np.asarray(w) for w in weights)
    return found


def largest_gap(found: dict[str, tuple[Array, tuple[Array, Array]]], names: Sequence[str]) -> tuple[float, float]:
    """The largest difference of a loss, and of a weight at the end, between `names` and the first way."""
    reference = next(iter(found.values()))
    losses = max(np.abs(found[name][0] - reference[0]).max() for name in names)
    weights = max(np.abs(a - b).max() for name in names for a, b in zip(found[name][1], reference[1]))
    return float(losses), float(weights)


# -- TensorFlow 1's two pitfalls ---------------------------------------------------------------------------------------


def losses_of(data: Data, fetches: Sequence[str], rate: float = 0.5, steps: int = 30) -> list[float]:
    """The loss before each run of `fetches`, of which the first is "loss"."""
    x, t, w1, w2 = data
    session = Session(two_layer_graph(w1, w2, rate))
    return [float(session.run(fetches, {"x": x, "t": t})[0]) for _ in range(steps)]


def weights_fed(data: Data, rate: float = 0.5, steps: int = 30) -> tuple[list[float], int]:
    """The losses when the weights are placeholders, and the bytes that a run copies."""
    x, t, w1, w2 = data
    with Graph() as graph:
        X, T = placeholder("x"), placeholder("t")
        W1, W2 = placeholder("W1"), placeholder("W2")
        loss = mean(square(relu(X @ W1) @ W2 - T), "loss")
        slopes = gradients(loss, [W1, W2])
    session, losses = Session(graph), []
    for _ in range(steps):
        feed = {X: x, T: t, W1: w1, W2: w2}
        value, g1, g2 = session.run([loss, *slopes], feed)
        w1, w2 = w1 - rate * g1, w2 - rate * g2
        losses.append(float(value))
    return losses, session.copied


def weights_kept(data: Data, fetches: Sequence[str], rate: float = 0.5) -> int:
    """The bytes that a run of `fetches` copies when the weights are variables."""
    x, t, w1, w2 = data
    session = Session(two_layer_graph(w1, w2, rate))
    session.run(fetches, {"x": x, "t": t})
    return session.copied


def bytes_per_run(data: Data) -> dict[str, int]:
    """Bytes of weights and gradients that cross in one run, the batch and the loss left out, for three ways to say the update."""
    x, t, *_ = data
    rest = x.nbytes + t.nbytes + 8  # the loss is one number
    return {
        "weights fed, gradients fetched": weights_fed(data, steps=1)[1] - rest,
        "variables, new weights fetched": weights_kept(data, ["loss", "new_W1", "new_W2"]) - rest,
        "variables, dummy node fetched": weights_kept(data, ["loss", "updates"]) - rest,
    }


# -- branches and loops ------------------------------------------------------------------------------------------------


def halvings(x):
    """How often x is halved until it is at most 1."""
    n = x * 0.0
    while x > 1.0:
        x, n = x / 2.0, n + 1.0
    return n


def halvings_graph(inputs: Callable) -> Function:
    """The same with a loop that is a node; `inputs` is `while_loop`."""
    with Graph() as graph:
        x = placeholder("x", ())
        _, n = inputs(lambda x, n: x > 1.0, lambda x, n: (x / 2.0, n + 1.0), x, x * 0.0)
    return graph.function([x], [n])


def refusal(work: Callable[[], Any]) -> str:
    """The kind of the error that `work` ends in, or "none"."""
    try:
        work()
    except Exception as error:
        return type(error).__name__
    return "none"


def torch_refuses_loop() -> dict[str, str]:
    """What torch's two recorders of graphs answer to a loop in Python that looks at its data."""
    import logging
    from contextlib import redirect_stderr
    from io import StringIO

    class Halvings(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return halvings(x)

    logging.disable(logging.CRITICAL)  # torch.export also prints what it raises
    try:
        with redirect_stderr(StringIO()):
            return {
                "torch.fx.symbolic_trace": refusal(lambda: torch.fx.symbolic_trace(Halvings())),
                "torch.export.export": refusal(lambda: torch.export.export(Halvings(), (torch.tensor(20.0),))),
            }
    finally:
        logging.disable(logging.NOTSET)


# -- Caffe -------------------------------------------------------------------------------------------------------------


def write_digits(folder: str | Path, seed: int) -> dict[str, Path]:
    """4,000 digits of MNIST for training and 1,000 for tests as HDF5 files, in an order drawn from `seed`."""
    data: ImageSet = mnist()
    order = torch.randperm(len(data.images), generator=torch.Generator().manual_seed(seed))
    images, labels = data.images[order], data.labels[order]
    files = {"train.h5": slice(0, 4000), "test.h5": slice(4000, 5000)}
    for name, part in files.items():
        write_hdf5(Path(folder) / name, images[part], labels[part])
    return {name: Path(folder) / name for name in files}


def lenet_in_code():
    """LeNet as one writes it in PyTorch."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10))


def train_in_code(net, path, steps):
    """The settings of the solver's text as a loop."""
    velocity = [torch.zeros_like(p) for p in net.parameters()]
    stream = hdf5_batches(path, ["data", "label"], batch_size=64)
    losses = []
    for t in range(steps):
        rate = 0.01 * (1 + 0.0001 * t) ** -0.75
        images, labels = next(stream)
        loss = F.cross_entropy(net(images), labels)
        net.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p, v in zip(net.parameters(), velocity):
                own = rate if p.ndim > 1 else 2 * rate  # biases
                v.mul_(0.9).add_(p.grad + 0.0005 * p, alpha=own)
                p -= v
        losses.append(loss.item())
    return losses


def copy_weights(source: nn.Module, target: nn.Module) -> nn.Module:
    """Give `target` the parameters of `source`, in their order."""
    with torch.no_grad():
        for p, q in zip(target.parameters(), source.parameters(), strict=True):
            p.copy_(q)
    return target


def farthest(net: nn.Module, other: nn.Module) -> float:
    """The largest difference between the parameters of two nets of one order."""
    pairs = zip(net.parameters(), other.parameters(), strict=True)
    return max((p - q).abs().max().item() for p, q in pairs)


def rates_of(settings: dict[str, Any], steps: int) -> Float[Array, " steps"]:
    """The learning rates of a solver with these settings."""
    from helpers.foundations.frameworks.prototxt import Field

    solver = Message([Field(name, value) for name, value in settings.items()])
    return np.array([learning_rate(solver, t) for t in range(steps)])


def two_momenta(rates: Float[Array, " steps"], momentum: float = 0.9) -> dict[str, Float[Array, " steps"]]:
    """The length of each step under a gradient that stays 1: the rate inside the velocity (Caffe) and outside (PyTorch)."""
    w = {name: torch.zeros(1, dtype=torch.float64) for name in ("Caffe", "PyTorch")}
    inside, outside = torch.zeros(1, dtype=torch.float64), nn.Parameter(w["PyTorch"])
    optimizer = torch.optim.SGD([outside], lr=float(rates[0]), momentum=momentum)
    found: dict[str, list[float]] = {name: [] for name in w}
    for rate in rates:
        inside = momentum * inside + rate
        found["Caffe"].append(inside.item())
        optimizer.param_groups[0]["lr"] = float(rate)
        before = outside.item()
        outside.grad = torch.ones_like(outside)
        optimizer.step()
        found["PyTorch"].append(before - outside.item())
    return {name: np.array(steps) for name, steps in found.items()}


def frozen_branch(example: float) -> Function:
    """What an eager graph records of `x * 2 if x > 0 else x * -3` at one example."""
    from helpers.foundations.frameworks.control import record

    def branch(x: Symbol) -> Symbol:
        return x * 2.0 if x > 0.0 else x * -3.0

    return record(branch, example)


def timed_ways(data: Data, rate: float = 0.5, steps: int = 20, repeats: int = 5) -> dict[str, list[float]]:
    """Microseconds a step of each way, over `repeats` trainings."""
    tensors = tuple(map(torch.from_numpy, data))
    found = {}
    for name, way in WAYS.items():
        run = partial(way, *(data if way in (train_numpy, train_graph) else tensors), rate, steps)
        found[name] = [1e6 * value / steps for value in seconds(run, repeats)]
    return found

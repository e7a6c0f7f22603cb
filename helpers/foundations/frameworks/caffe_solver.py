"""A solver out of a text: `solve` trains the net that it names, on data in HDF5 files, without a line of code.

Caffe's stochastic gradient descent and its policies for the learning rate (Jia et al. 2014, arXiv:1408.5093).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from helpers.foundations.frameworks import zoo
from helpers.foundations.frameworks.caffe_net import FILES, CaffeNet, net_from_prototxt
from helpers.foundations.frameworks.prototxt import Message, PrototxtError, check, parse

SOLVER: dict[str, Any] = {
    "net": str, "base_lr": float, "lr_policy": str, "gamma": float, "power": float, "stepsize": int, "momentum": float,
    "weight_decay": float, "max_iter": int, "test_iter": int, "test_interval": int, "random_seed": int, "type": ("SGD",),
    # What is said of these changes no number, and is left to the caller: what to print, what to save, where to compute.
    "display": int, "snapshot": int, "snapshot_prefix": str, "solver_mode": ("CPU", "GPU"),
}
POLICIES = {"fixed": (), "step": ("gamma", "stepsize"), "inv": ("gamma", "power"), "poly": ("power", "max_iter")}
NETS = {"lenet_train.prototxt": zoo.LENET_TRAIN}


@dataclass
class Solution:
    """What a solver leaves: the net, the loss and the rate of each iteration, and (iteration, accuracy, loss) of each test."""

    net: CaffeNet
    losses: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    tests: list[tuple[int, float, float]] = field(default_factory=list)


def learning_rate(solver, t):
    """The learning rate of iteration t, counted from 0, by the policy."""
    rate, policy = solver.get("base_lr"), solver.get("lr_policy")
    if policy == "step":
        return rate * solver.get("gamma") ** (t // solver.get("stepsize"))
    if policy == "inv":
        decay = 1 + solver.get("gamma") * t
        return rate * decay ** -solver.get("power")
    if policy == "poly":
        left = 1 - t / solver.get("max_iter")
        return rate * left ** solver.get("power")
    return rate


def caffe_step(net, velocities, rate, momentum, decay):
    """One step of Caffe's momentum: the rate is inside the velocity.

    v = momentum v + rate (gradient + decay w), then w = w - v, each
    parameter with its own multipliers of rate and decay.
    """
    with torch.no_grad():
        for name, w in net.named_parameters():
            lr_mult, decay_mult = net.multipliers[name]
            g = w.grad + decay * decay_mult * w
            v = velocities.setdefault(name, torch.zeros_like(w))
            v.mul_(momentum).add_(g, alpha=rate * lr_mult)
            w -= v


def solve(
    prototxt: str,
    data: str | Path | Mapping[str, str | Path],
    *,
    nets: Mapping[str, str] | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Solution:
    """Train as a solver's text says.

    `data` is the HDF5 file that every HDF5Data layer reads, or one for each `source` named in the net; a Data layer, too,
    reads such a file in the place of its database, and multiplies by the scale of its `transform_param`. `nets` maps the
    names of nets to their texts; the book's own are known. The fillers draw from `random_seed`, or else from `seed`. Raises
    `PrototxtError`, with line and column, for a text that is broken or lacks a setting, and `ValueError` for data that do
    not fit.
    """
    solver = read_solver(prototxt)
    texts = {**NETS, **(nets or {})}
    name = solver.get("net")
    if name not in texts:
        place = solver.field("net")
        raise PrototxtError(f"net {name!r}: pass nets={{{name!r}: text}}", place.line, place.column)
    start = torch.Generator(device).manual_seed(solver.get("random_seed", seed))
    net, stream = open_phase(texts[name], "TRAIN", data, start, device)
    solution, velocities = Solution(net), {}
    every, last = solver.get("test_interval", 0), solver.get("max_iter")
    for t in range(last):
        if every and t % every == 0:
            solution.tests.append((t, *test(net, texts[name], data, solver.get("test_iter", 1), device)))
        rate = learning_rate(solver, t)
        loss = net(*next(stream))
        net.zero_grad()
        loss.backward()
        caffe_step(net, velocities, rate, solver.get("momentum", 0.0), solver.get("weight_decay", 0.0))
        solution.losses.append(loss.item())
        solution.rates.append(rate)
    if every:
        solution.tests.append((last, *test(net, texts[name], data, solver.get("test_iter", 1), device)))
    return solution


def read_solver(prototxt: str) -> Message:
    """A solver's message, with all that its policy needs."""
    solver = parse(prototxt)
    check(solver, SOLVER, "the solver")
    for need in ("net", "base_lr", "lr_policy", "max_iter"):
        if need not in solver:
            raise PrototxtError(f"the solver has no {need}", 1, 1)
    place, policy = solver.field("lr_policy"), solver.get("lr_policy")
    if policy not in POLICIES:
        raise PrototxtError(f"lr_policy {policy!r}: known are {', '.join(POLICIES)}", place.line, place.column)
    for need in POLICIES[policy]:
        if need not in solver:
            raise PrototxtError(f"lr_policy {policy!r} needs {need}", place.line, place.column)
    for name, least in (("max_iter", 1), ("stepsize", 1), ("test_interval", 1), ("test_iter", 1)):
        if name in solver and solver.get(name) < least:
            place = solver.field(name)
            raise PrototxtError(f"{name} = {solver.get(name)}: at least {least}", place.line, place.column)
    return solver


def open_phase(
    text: str, phase: str, data: Any, generator: torch.Generator | None, device: torch.device | str
) -> tuple[CaffeNet, Iterator[list[Tensor]]]:
    """The net of one phase and the batches that its HDF5Data or Data layer reads."""
    files = data if isinstance(data, Mapping) else None
    source = next(
        (f.value for f in parse(text).fields if f.name == "layer" and f.value.get("type") in FILES
         and phase in ([rule.get("phase") for rule in f.value.all("include")] or [phase])), None,
    )
    if source is None:
        raise ValueError(f"the net has no HDF5Data or Data layer in the phase {phase}: give it one to read from")
    settings = source.get(FILES[source.get("type")], Message())
    name = settings.get("source")
    if files is not None and name not in files:
        raise ValueError(f"source {name!r} is none of the data {', '.join(files)}: pass data={{{name!r}: path}}")
    path, tops = files[name] if files is not None else data, source.all("top")
    net = net_from_prototxt(text, phase=phase, shape=shape_in(path, tops[0]), generator=generator, device=device)
    batches = hdf5_batches(path, tops, settings.get("batch_size"), device)
    scale = source.get("transform_param", Message()).get("scale", 1.0)
    return net, ([scale * images, *labels] for images, *labels in batches)


def test(net: CaffeNet, text: str, data: Any, batches: int, device: torch.device | str) -> tuple[float, float]:
    """Accuracy and loss over so many batches of the TEST phase, with the weights that `net` has."""
    tested, stream = open_phase(text, "TEST", data, None, device)
    tested.load_state_dict(net.state_dict())
    found = []
    with torch.no_grad():
        for _ in range(batches):
            blobs = tested.blobs(*next(stream))
            found.append([blobs[name].item() if name in blobs else float("nan") for name in ("accuracy", "loss")])
    return tuple(sum(column) / batches for column in zip(*found))


# -- HDF5 --------------------------------------------------------------------------------------------------------------


def write_hdf5(path: str | Path, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"]) -> None:
    """Write the two data sets that an HDF5Data layer with the tops "data" and "label" reads."""
    import h5py

    with h5py.File(path, "w") as file:
        file["data"] = images.numpy()
        file["label"] = labels.numpy()


def shape_in(path: str | Path, name: str) -> tuple[int, ...]:
    """The shape of one sample in an HDF5 file."""
    import h5py

    with h5py.File(path) as file:
        if name not in file:
            raise ValueError(f"{Path(path).name} has no data set {name!r}, the layer's top: it has {', '.join(file)}")
        return tuple(file[name].shape[1:])


def hdf5_batches(
    path: str | Path, names: list[str], batch_size: int, device: torch.device | str = "cpu"
) -> Iterator[list[Tensor]]:
    """Batches read from an HDF5 file in its order, again and again; one that ends there goes on with its start, as in Caffe."""
    import h5py

    with h5py.File(path) as file:
        for name in names:
            shape_in(path, name)  # refuses a name that is missing
        sets = [file[name] for name in names]
        lengths = {name: len(file[name]) for name in names}
        if len(set(lengths.values())) != 1 or not len(sets[0]):
            raise ValueError(f"{Path(path).name}: the data sets have the lengths {lengths}; give each sample its label")
        at, n = 0, len(sets[0])
        while True:
            parts: list[list[Tensor]] = [[] for _ in names]
            wanted = batch_size
            while wanted:
                size = min(wanted, n - at)
                for part, values in zip(parts, sets):
                    part.append(torch.from_numpy(values[at : at + size]))
                at, wanted = (at + size) % n, wanted - size
            batch = [torch.cat(part).to(device) for part in parts]
            yield [batch[0].float(), *(labels.flatten().long() for labels in batch[1:])]

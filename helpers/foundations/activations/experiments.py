"""What the page runs: ten networks that differ in one function, many at a time, and what their units do."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn import functional as F

from helpers.data import batches, mnist
from helpers.foundations.activations.learned import Maxout, PReLU
from helpers.foundations.activations.pointwise import ELU, AbsoluteValue, LeakyReLU, ReLU, Sigmoid, Tanh
from helpers.foundations.activations.units import Mixed, dead_units, fill_biases

Number = float | int
FUNCTIONS: dict[str, type[nn.Module]] = {
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "ReLU": ReLU,
    "leaky ReLU": LeakyReLU,
    "PReLU": PReLU,
    "ELU": ELU,
    "maxout": Maxout,
    "absolute value": AbsoluteValue,
}
CONTESTANTS = (*FUNCTIONS, "ReLU, bias 0.01", "mixed")
MIXTURE = ("tanh", "ReLU", "leaky ReLU", "ELU")  # a quarter of each layer's units each


# -- data and networks -------------------------------------------------------------------------------------------------


class Part(NamedTuple):
    """Images as rows of pixels, and their labels."""

    x: Float[Tensor, "n d"]
    y: Int64[Tensor, " n"]


def digits(generator: torch.Generator, size: int = 14, *, centred: bool = True) -> tuple[Part, Part, Part]:
    """MNIST's 5,000 digits at `size` pixels a side: 3,000 to train on, 1,000 to choose by, 1,000 to judge by.

    Pixels minus their mean over the training part, divided by their common standard deviation; without `centred`
    they stay in 0 … 1.
    """
    parts = mnist(size).split(0.6, 0.2, 0.2, generator=generator, stratified=True)
    rows = [part.images.flatten(1) for part in parts]
    if centred:
        mean = rows[0].mean(0)
        deviation = (rows[0] - mean).square().mean().sqrt()
        rows = [(x - mean) / deviation for x in rows]
    return tuple(Part(x, part.labels) for x, part in zip(rows, parts))


def hidden_layer(name: str, inputs: int, units: int) -> list[nn.Module]:
    """A linear layer and the function `name` behind it; maxout is both in one.

    Raises `ValueError` for a name that is none of `CONTESTANTS`.
    """
    if name == "maxout":
        return [Maxout(inputs, units)]
    if name == "mixed":
        return [nn.Linear(inputs, units), Mixed(*(FUNCTIONS[part]() for part in MIXTURE))]
    if name == "PReLU":
        return [nn.Linear(inputs, units), PReLU(units)]  # a slope for each unit
    kind = name.partition(",")[0]
    if kind not in FUNCTIONS:
        raise ValueError(f"name = {name!r}: there is {', '.join(map(repr, CONTESTANTS))}")
    return [nn.Linear(inputs, units), FUNCTIONS[kind]()]


def network(name: str, inputs: int, seed: int, *, hidden: Sequence[int] = (50, 50), classes: int = 10) -> nn.Sequential:
    """Hidden layers with the function `name`, and a linear one that gives the logits.

    Weights are normal with variance 2 / inputs (He et al. 2015), drawn from `seed`, biases zero: the same first draw for
    all functions. "…, bias 0.01" fills the biases of the hidden layers with that number.
    """
    sizes = (inputs, *hidden)
    layers = [layer for i, o in zip(sizes, sizes[1:]) for layer in hidden_layer(name, i, o)]
    model = nn.Sequential(*layers, nn.Linear(sizes[-1], classes))
    draw = torch.Generator().manual_seed(seed)
    for layer in model:
        if isinstance(layer, nn.Linear | Maxout):
            nn.init.normal_(layer.weight, std=(2 / layer.in_features) ** 0.5, generator=draw)
            nn.init.zeros_(layer.bias)
    bias = name.partition(", bias ")[2]
    if bias:
        fill_biases(model, float(bias))
    return model


# -- training ----------------------------------------------------------------------------------------------------------


def train_together(
    models: Sequence[nn.Module],
    rates: Sequence[Number] | Float[Tensor, " runs"],
    seeds: Sequence[int],
    part: Part,
    steps: int,
    *,
    batch_size: int = 32,
    watch: Callable[[nn.Module], float] | None = None,
    every: int = 20,
) -> tuple[Float[Tensor, "runs steps"], Float64[Tensor, "runs times"]]:
    """Train networks of one form in place, all at once, by plain gradient descent: the loss of each batch, what was watched.

    Network i takes its own constant rate and the batches that `seeds[i]` shuffles; none knows of the others. `watch`
    looks at each before the first step, after each `every` steps, and at the end. Raises `ValueError` where rates and
    seeds are not as many as networks.
    """
    runs = len(models)
    if not runs == len(rates) == len(seeds):
        raise ValueError(f"{runs} networks, {len(rates)} rates, {len(seeds)} seeds: one rate and one seed for each")
    streams = {s: batches(*part, batch_size=batch_size, generator=_shuffle(s), drop_last=True) for s in seeds}
    order = list(streams)
    mine = torch.tensor([order.index(s) for s in seeds])
    rate = torch.as_tensor(rates, dtype=torch.float32)
    weights = {name: p.detach() for name, p in stack_module_state(list(models))[0].items()}

    def loss(weights, x, y):
        return F.cross_entropy(functional_call(models[0], weights, (x,)), y)

    step = vmap(grad_and_value(loss))
    losses, seen = [], []
    for t in range(steps):
        if watch and t % every == 0:
            seen.append(_look(models, weights, watch))
        x, y = (torch.stack(columns)[mine] for columns in zip(*(next(streams[s]) for s in order)))
        gradient, value = step(weights, x, y)
        losses.append(value)
        weights = {name: w - rate.view(-1, *[1] * (w.ndim - 1)) * gradient[name] for name, w in weights.items()}
    seen.append(_look(models, weights, watch))
    return torch.stack(losses, 1), torch.tensor(seen, dtype=torch.float64).T


def _shuffle(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def _look(models: Sequence[nn.Module], weights: dict[str, Tensor], watch: Callable | None) -> list[float]:
    """Give each model its weights, and watch it."""
    for i, model in enumerate(models):
        for name, p in model.named_parameters():
            p.copy_(weights[name][i])
    return [float(watch(model)) if watch else 0.0 for model in models]


@torch.no_grad()
def judge(model: nn.Module, part: Part) -> tuple[float, float]:
    """The mean cross-entropy and the accuracy on a part of the data."""
    logits = model(part.x)
    return F.cross_entropy(logits, part.y).item(), (logits.argmax(1) == part.y).float().mean().item()


def steps_to(losses: Float[Tensor, "runs t"], level: Number, window: int = 20) -> Float64[Tensor, " runs"]:
    """The first step at which the mean loss of the last `window` batches is at most `level`; infinite where it never is."""
    if losses.shape[1] < window:
        raise ValueError(f"{losses.shape[1]} steps, window = {window}: a mean needs as many steps as its window")
    reached = losses.double().unfold(1, window, 1).mean(-1) <= level
    first = reached.double().argmax(1) + window
    return torch.where(reached.any(1), first.double(), torch.inf)


class Sweep(NamedTuple):
    """What networks with one function did at each rate and seed; infinite where a run diverged or never got there."""

    validation: Float64[Tensor, "rates seeds"]  # loss at the end
    steps: Float64[Tensor, "rates seeds"]  # to the training loss asked for


def sweep(
    name: str,
    rates: Sequence[Number],
    seeds: Sequence[int],
    train: Part,
    validation: Part,
    steps: int,
    level: Number,
    hidden: Sequence[int] = (50, 50),
) -> Sweep:
    """The validation loss after `steps`, and the steps to the training loss `level`, of `name` at every rate and seed."""
    runs = [(rate, seed) for rate in rates for seed in seeds]
    models = [network(name, train.x.shape[1], seed, hidden=hidden) for _, seed in runs]
    losses, _ = train_together(models, [rate for rate, _ in runs], [seed for _, seed in runs], train, steps)
    ends = torch.tensor([judge(model, validation)[0] for model in models], dtype=torch.float64)
    shape = (len(rates), len(seeds))
    return Sweep(ends.nan_to_num(torch.inf).view(shape), steps_to(losses, level).view(shape))


def best_rate(found: Sweep, rates: Sequence[Number]) -> Number:
    """The rate with the lowest validation loss, in the mean over the seeds."""
    return rates[found.validation.mean(1).argmin()]


def fastest_rate(found: Sweep, rates: Sequence[Number]) -> Number:
    """The rate that needs the fewest steps in the mean over the seeds; the best one where no rate gets there."""
    mean = found.steps.mean(1)
    return rates[mean.argmin()] if mean.isfinite().any() else best_rate(found, rates)


def run(
    name: str,
    rate: Number,
    seeds: Sequence[int],
    train: Part,
    steps: int,
    *,
    hidden: Sequence[int] = (50, 50),
    watch: Callable[[nn.Module], float] | None = None,
    every: int = 20,
) -> tuple[list[nn.Sequential], Float[Tensor, "seeds steps"], Float64[Tensor, "seeds times"]]:
    """One network a seed with the function `name`, trained at one rate: the networks, their losses, what was watched."""
    models = [network(name, train.x.shape[1], seed, hidden=hidden) for seed in seeds]
    return models, *train_together(models, [rate] * len(models), list(seeds), train, steps, watch=watch, every=every)


# -- what units do -----------------------------------------------------------------------------------------------------


@torch.no_grad()
def units(model: nn.Sequential, x: Float[Tensor, "n d"]) -> list[tuple[Float[Tensor, "n u"], Float[Tensor, "n u"]]]:
    """For each hidden layer what goes into its units' function and what comes out; for maxout both are what comes out."""
    found = []
    for layer in model[:-1]:
        if isinstance(layer, nn.Linear):
            z = x = layer(x)
        else:
            x = layer(x)
            found.append((x if isinstance(layer, Maxout) else z, x))
    return found


def mean_output(model: nn.Sequential, x: Float[Tensor, "n d"]) -> float:
    """How far from zero the units' mean outputs over the rows of `x` lie: the mean absolute value over all hidden units."""
    return torch.cat([out.mean(0) for _, out in units(model, x)]).abs().mean().item()


def dead_share(model: nn.Sequential, x: Float[Tensor, "n d"]) -> float:
    """The fraction of all hidden units that are off (z ≤ 0) for every row of `x`."""
    return torch.cat([dead_units(z) for z, _ in units(model, x)]).float().mean().item()


@torch.no_grad()
def recovered(before: nn.Sequential, after: nn.Sequential, x: Float[Tensor, "n d"]) -> float:
    """The fraction of the dead units in the first hidden layer of `before` that are on for some row of `x` in `after`.

    Raises `ValueError` where none is dead.
    """
    dead, still = (dead_units(model[0](x)) for model in (before, after))
    if not dead.any():
        raise ValueError("no unit of the first hidden layer is dead before: there is none to recover")
    return (dead & ~still).sum().item() / dead.sum().item()


def dead_by_layer(bias: Number, seeds: Sequence[int], x: Float[Tensor, "n d"], hidden: Sequence[int]) -> Tensor:
    """The fraction of dead units in each hidden layer of untrained ReLU networks whose biases are `bias`: [seeds layers]."""
    shares = []
    for seed in seeds:
        model = network("ReLU", x.shape[1], seed, hidden=hidden)
        fill_biases(model, bias)
        shares.append([dead_units(z).double().mean() for z, _ in units(model, x)])
    return torch.tensor(shares)


@torch.no_grad()
def noisy_accuracy(model: nn.Module, part: Part, sigma: Number, seed: int) -> float:
    """The accuracy when each input gets Gaussian noise of deviation `sigma`, the same for every model that asks with a seed."""
    noise = torch.randn(part.x.shape, generator=_shuffle(seed))
    return judge(model, Part(part.x + sigma * noise, part.y))[1]


def gaussian_mean(f: nn.Module) -> float:
    """The mean of f(z) over standard normal z, by the trapezoid rule from -12 to 12."""
    z = torch.linspace(-12, 12, 240_001, dtype=torch.float64)
    density = (-z * z / 2).exp() / (2 * torch.pi) ** 0.5
    with torch.no_grad():
        return torch.trapezoid(f(z) * density, z).item()


def layer_gradients(name: str, part: Part, batch_size: int, seed: int) -> Float[Tensor, "units d"]:
    """The gradient of the weights of the second hidden layer, before any training, for one batch drawn by `seed`.

    A row is a unit, whose inputs are what the first layer puts out.
    """
    model = network(name, part.x.shape[1], seed)
    chosen = torch.randperm(len(part.x), generator=_shuffle(seed))[:batch_size]
    loss = F.cross_entropy(model(part.x[chosen]), part.y[chosen])
    second = [layer for layer in model if isinstance(layer, nn.Linear)][1]
    return torch.autograd.grad(loss, second.weight)[0]


def two_weights(
    inputs: Float[Tensor, "t 2"],
    rate: Number,
    *,
    start: Sequence[Number] = (-1.0, 1.0),
    target: Sequence[Number] = (1.0, -1.0),
) -> Float[Tensor, "points 2"]:
    """The path of a linear unit's two weights, that learns y = target · x from one input after the other.

    The loss is (w · x - y)² / 2, the step plain gradient descent.
    """
    w, goal = (torch.tensor(point, dtype=inputs.dtype) for point in (start, target))
    path = [w]
    for x in inputs:
        w = w - rate * ((w - goal) @ x) * x
        path.append(w)
    return torch.stack(path)


def steps_home(
    offset: Number,
    seed: int,
    rates: Sequence[Number],
    *,
    start: Sequence[Number] = (-1.0, 1.0),
    target: Sequence[Number] = (1.0, -1.0),
    steps: int = 400,
) -> tuple[float, Number]:
    """How many steps two weights need to come within 0.1 of their target for good, and the rate that needs fewest.

    Inputs are uniform in a unit square whose corner nearest to minus infinity is (offset, offset).
    """
    inputs = torch.rand(steps, 2, generator=_shuffle(seed), dtype=torch.float64) + offset
    goal = torch.tensor(target, dtype=torch.float64)
    needed = []
    for rate in rates:
        path = two_weights(inputs, rate, start=start, target=target)
        far = ~((path - goal).norm(dim=1) <= 0.1)  # a walk that diverged is no number: far
        needed.append(float(far.nonzero().max()) + 1 if not far[-1] else torch.inf)
    fewest = min(needed)
    return fewest, rates[needed.index(fewest)]

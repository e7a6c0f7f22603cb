"""Optimizers against torch.optim."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import nn, optim
from torch.nn import functional as F

from benchmarks.harness import Pair
from helpers.data import digits
from helpers.foundations.optimizers import LBFGS, SGD, AdaGrad, Adam, AdamW, Momentum, Nesterov, RMSProp

METHODS = {
    SGD: optim.SGD,
    Momentum: partial(optim.SGD, momentum=0.9),
    Nesterov: partial(optim.SGD, momentum=0.9, nesterov=True),
    AdaGrad: optim.Adagrad,
    RMSProp: optim.RMSprop,
    Adam: optim.Adam,
    AdamW: optim.AdamW,
}
FORMS = {
    "for-loop": dict(foreach=False, fused=False),
    "foreach": dict(foreach=True, fused=False),
    "fused": dict(fused=True),
}
FUSED = (
    "The fused form is one compiled kernel that reads and writes each number once; ours is a line of Python for each line of the "
    "formula, which is what the chapter shows, and each line passes over all numbers."
)


def pairs(device: torch.device, tiny: bool = False) -> Iterator[Pair]:
    """All methods on many small tensors, where calls cost most, and Adam on few large ones, where memory does."""
    layers, width = (2, 8) if tiny else (24, 64)
    for method in METHODS:
        yield from forms(method, layers, width, device)
    yield from forms(Adam, 2, 16 if tiny else 768, device)
    data, iterations = digits(), 2 if tiny else 10
    x, y = data.images.flatten(1).to(device), data.labels.to(device)
    ours, other = (partial(regression, method, x, y, iterations) for method in (LBFGS, optim.LBFGS))
    yield Pair(f"LBFGS, {iterations} iterations of softmax regression", "torch.optim.LBFGS", ours, other)


def forms(method: type, layers: int, width: int, device: torch.device) -> Iterator[Pair]:
    """`method` against each form that torch has of it, on the tensors of `layers` linear layers."""
    reference = METHODS[method]
    name = getattr(reference, "func", reference).__name__
    what = f"{method.__name__}, {layers} layers of width {width}"
    for form, settings in FORMS.items():
        if form == "fused" and method is RMSProp:
            continue  # torch has none
        if form == "fused" and method is AdaGrad and device.type == "cuda":
            continue  # torch fuses it on the CPU alone
        settings = settings if method is not RMSProp else {"foreach": settings["foreach"]}
        ours = stepper(method, layers, width, device)
        other = stepper(partial(reference, **settings), layers, width, device)
        yield Pair(what, f"torch.optim.{name}, {form}", ours, other, FUSED if form == "fused" else "")


def stepper(method, layers: int, width: int, device: torch.device):
    """A function that takes a step of `method` on gradients that stay, and returns the parameters.

    torch's Nesterov in its foreach form adds the velocity to them, so there the paths part after one step; the time does not.
    """
    generator = torch.Generator().manual_seed(0)
    x = [torch.randn(shape, generator=generator) for _ in range(layers) for shape in ((width, width), (width,))]
    x = [nn.Parameter(p.to(device)) for p in x]
    for p in x:
        p.grad = torch.randn(p.shape, generator=generator).to(device)
    optimizer = method(x, lr=1e-4)

    def step():
        optimizer.step()
        return x

    return step


def regression(method, x, y, iterations: int):
    """Minimise the cross-entropy of a linear classifier from zero, and return its weights."""
    weights = nn.Parameter(x.new_zeros(10, x.shape[1]))
    optimizer = method([weights], lr=1.0, max_iter=iterations, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(x @ weights.T, y)
        loss.backward()
        return loss

    optimizer.step(closure)
    return weights

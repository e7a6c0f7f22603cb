"""Every builder of the zoo: in the catalogue, with exact counts, every parameter reached by the gradient."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from helpers.convnets import architectures
from helpers.convnets.architectures.catalogue import CATALOGUE, Entry, measured, weighted_layers

pytestmark = pytest.mark.usefixtures("uninitialised")
ROOT = Path(__file__).parents[2]
NO_FAMILY = {"weights", "catalogue", "layout"}


def builders() -> dict[str, object]:
    """The public functions of the families that return a whole network: those that take a number of classes."""
    found = {}
    for module in pkgutil.iter_modules(architectures.__path__):
        if module.name in NO_FAMILY:
            continue
        family = importlib.import_module(f"{architectures.__name__}.{module.name}")
        for name, function in inspect.getmembers(family, inspect.isfunction):
            own = function.__module__ == family.__name__ and not name.startswith("_")
            words = inspect.signature(function).parameters
            if own and ("classes" in words or "weights" in words):
                found[name] = function
    return found


def build(entry: Entry, device="meta", **options) -> nn.Module:
    torch.manual_seed(0)
    with torch.device(device):
        return entry.builder(**options)


def images(entry: Entry, device="meta", n=2) -> torch.Tensor:
    generator = None if device == "meta" else torch.Generator().manual_seed(0)
    return torch.randn(n, entry.channels, entry.image, entry.image, device=device, generator=generator)


@pytest.mark.parametrize("name", CATALOGUE)
def test_parameter_count(name, unchecked, monkeypatch):
    entry = CATALOGUE[name]
    monkeypatch.setattr(
        nn.BatchNorm2d, "forward", lambda self, x: x
    )  # takes half the time there, and counts for nothing
    assert measured(entry) == (entry.layers, entry.parameters, entry.multiply_adds)
    network = build(entry)
    assert sum(p.numel() for p in network.parameters()) == entry.parameters
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(images(entry, n=1))
    assert counter.get_total_flops() == 2 * entry.multiply_adds
    assert not entry.small or entry.parameters < 400_000


def test_every_builder_is_in_the_catalogue():
    assert {name: entry.builder for name, entry in CATALOGUE.items()} == builders()


def test_every_paper_is_in_the_references():
    keys = set(re.findall(r"^@\w+\{(\w+),", (ROOT / "book/references.bib").read_text(), re.MULTILINE))
    assert {entry.paper for entry in CATALOGUE.values()} <= keys


def parameters_behind(outputs: tuple[torch.Tensor, ...]) -> set[int]:
    """The ids of those that autograd's graph leads to."""
    found, seen, waiting = set(), set(), [logits.grad_fn for logits in outputs]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += [before for before, _ in node.next_functions if before is not None]
            if hasattr(node, "variable"):
                found.add(id(node.variable))
    return found


def affine(norm: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
    """The two parameters of a norm, without what takes half the time on the device meta."""
    assert x.shape[1] == norm.num_features
    return torch.addcmul(norm.bias[:, None, None], x, norm.weight[:, None, None])


@pytest.mark.parametrize("name", CATALOGUE)
def test_gradients_reach_every_parameter(name, monkeypatch):
    """Of nets of other classes and channels, which every builder takes."""
    monkeypatch.setattr(nn.BatchNorm2d, "forward", affine)
    entry = CATALOGUE[name]
    network = build(entry, classes=7, channels=2).train()
    outputs = network(images(entry._replace(channels=2)))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    assert all(logits.shape == (2, 7) for logits in outputs)
    found = parameters_behind(outputs)
    assert [key for key, p in network.named_parameters() if id(p) not in found] == []


def test_weighted_layers_takes_the_longest_path():
    class Fork(nn.Module):
        def __init__(self):
            super().__init__()
            self.short, self.long = nn.Conv2d(3, 4, 1), nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1))
            self.head = nn.Linear(4, 2)

        def forward(self, x):
            return self.head((self.short(x) + self.long(x)).mean((2, 3)))

    network = Fork().train()
    assert weighted_layers(network, (3, 4, 4)) == 3 and network.training
    network.requires_grad_(False)
    network.short.eval()
    assert weighted_layers(network, (3, 4, 4)) == 3 and [m.training for m in (network, network.short)] == [True, False]
    network.head = nn.Linear(4, 2, bias=False)
    assert weighted_layers(network, (3, 4, 4)) == 3
    network.long = nn.Identity()
    network.short = nn.Conv2d(3, 3, 1)
    network.head = nn.Linear(3, 2)
    assert weighted_layers(network, (3, 4, 4)) == 2

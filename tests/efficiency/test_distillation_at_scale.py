"""What the chapter does at GPU size begins on any machine: its own cells, on random pictures in the form of CIFAR-10."""

import nbformat
import pytest
import torch
from torch import nn

import helpers.data
from helpers.data import ImageSet
from helpers.runtime import pick_device
from helpers.training import recipe
from tools.notebooks import BOOK

COUNT = 80
LANDMARKS = ["import matplotlib", 'gpu=["cifar10"]']


@pytest.fixture
def names(monkeypatch):
    """The names that the chapter's cells leave at GPU size, training cut to two steps, and what was asked for."""
    cells = nbformat.read(BOOK / "efficiency/distillation.ipynb", 4).cells
    cells = [cell.source for cell in cells if cell.cell_type == "code"]
    asked, real = [], recipe.fit

    def two_steps(update, stream, steps, **settings):
        asked.append((stream, steps))
        return real(update, stream, min(steps, 2), progress=False)

    def load(name, split):
        assert name == "cifar10"
        random = torch.Generator().manual_seed(len(split))
        images = torch.rand(COUNT, 3, 32, 32, generator=random)
        return ImageSet(images, torch.arange(COUNT) % 10, tuple("abcdefghij"))

    monkeypatch.setattr(recipe, "fit", two_steps)
    monkeypatch.setattr(helpers.data, "load", load)
    names = dict(scale="gpu", seed=0, asked=asked)
    for landmark in LANDMARKS:
        (source,) = (cell for cell in cells if landmark in cell)
        exec(source, names)
    torch.use_deterministic_algorithms(False)  # as it was before `seed_everything`
    return names


def test_cifar_10_begins(names, capsys):
    rows = names["rows"]
    assert [row[0] for row in rows] == [
        "cifar10, 8 layers from labels",
        "cifar10, 8 layers from the teacher",
        "cifar10, 56 layers",
    ]
    assert all(0 <= row[1] <= 1 for row in rows)
    assert [steps for _, steps in names["asked"]] == [20_000] * 3
    assert all(stream.tensors[0].device.type == pick_device().type for stream, _ in names["asked"])
    assert len(list(names["deep"].parameters())) > len(list(names["net"].parameters()))
    assert not names["deep"].training


def test_every_second_picture_is_mirrored(names):
    seen = []
    x = torch.arange(24.0).view(4, 1, 2, 3)
    names["mirrored"](lambda model, batch: seen.append(batch) or torch.zeros(()))(nn.Identity(), (x, torch.arange(4)))
    ((mixed, labels),) = seen
    assert (
        torch.equal(mixed[1::2], x[1::2])
        and torch.equal(mixed[::2], x[::2].flip(3))
        and labels.tolist() == [0, 1, 2, 3]
    )
    assert x[0, 0, 0, 0] == 0  # the set itself stays as it was

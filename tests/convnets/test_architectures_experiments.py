"""Shifted images, aliasing, random cells and drawings: what the chapter measures outside the families."""

import math

import matplotlib.pyplot as plt
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from helpers.convnets.architectures import experiments
from helpers.convnets.architectures.experiments import CellNet, CellOf, aliased_share, draw_block, random_cell, shifted

BOTH = [(("sep3", 0), ("avg", 1)), (("same", 2), ("sep5", 1))]  # a cell that reads both inputs


def wave(frequency, n=42):
    """One image whose columns are a cosine; 40 of its pixels hold whole periods."""
    return torch.cos(2 * math.pi * frequency * torch.arange(n)).double().expand(1, 1, n, n)


@pytest.mark.parametrize(
    ("frequency", "stride", "share"), [(0.4, 1, 0), (0.4, 2, 1), (0.2, 2, 0), (0.2, 4, 1), (0.1, 4, 0)]
)
def test_matches_reference_aliasing(frequency, stride, share):
    centre = torch.zeros(2, 1, 3, 3).double()
    centre[:, 0, 1, 1] = 1
    for images in (wave(frequency), wave(frequency).mT):
        assert_close(aliased_share(centre, images, stride), torch.full((2,), float(share)).double())


def test_aliased_share_of_a_mixture():
    centre = torch.zeros(1, 1, 3, 3).double()
    centre[..., 1, 1] = 1
    mixed = 3 * wave(0.1) + 4 * wave(0.4) + 7  # powers 9 and 16; the mean does not count
    assert_close(aliased_share(centre, mixed, 2), torch.tensor([16 / 25]).double())


def test_filters_that_do_not_respond_fold_nothing():
    dead = torch.stack([torch.zeros(1, 3, 3), torch.full((1, 3, 3), 0.1)])
    flat = torch.full((3, 1, 42, 42), 0.7)
    assert aliased_share(dead, flat, 2).tolist() == [0, 0]
    waves = flat + 0.1 * wave(0.4).float()
    assert aliased_share(dead, waves, 2).tolist() == pytest.approx([0, 1], abs=1e-3)


def test_shifted_moves_whole_images():
    images = torch.zeros(200, 1, 9, 7)
    images[:, :, 4, 3] = 1
    moved = shifted(images, 2, torch.Generator().manual_seed(0))
    assert (moved.sum((1, 2, 3)) == 1).all()
    places = moved[:, 0].flatten(1).argmax(1)
    rows, columns = places // 7, places % 7
    assert set(rows.tolist()) == {2, 3, 4, 5, 6}
    assert set(columns.tolist()) == {1, 2, 3, 4, 5}


def test_shifted_lets_zeros_in():
    moved = shifted(torch.ones(50, 2, 6, 6), 3, torch.Generator().manual_seed(0))
    whole = [rows * columns for rows in (3, 4, 5, 6) for columns in (3, 4, 5, 6)]
    assert set(moved[:, 0].sum((1, 2)).int().tolist()) <= set(whole)
    assert_close(moved[:, 0], moved[:, 1])


def test_random_cells_are_reproducible_and_well_formed():
    cells = [random_cell(4, torch.Generator().manual_seed(s)) for s in range(50)]
    assert cells[0] == random_cell(4, torch.Generator().manual_seed(0)) != cells[1]
    for cell in cells:
        for i, node in enumerate(cell):
            assert all(kind in experiments.OPERATIONS and 0 <= source < 2 + i for kind, source in node)
    assert {source for cell in cells for _, source in cell[3]} == {0, 1, 2, 3, 4}


def test_cell_computes_its_genotype():
    cell = CellOf([(("same", 0), ("same", 1)), (("same", 2), ("same", 0))], prev=3, inputs=5, width=4).eval()
    x, prev = torch.randn(2, 5, 6, 6), torch.randn(2, 3, 6, 6)
    a, b = cell.fits[0](x), cell.fits[1](prev)
    assert cell.ends == [3]  # node 2 is read by node 3
    assert_close(cell(x, prev), (a + b) + a)
    loose = CellOf([(("same", 0), ("same", 0)), (("same", 1), ("same", 1))], prev=3, inputs=5, width=4).eval()
    assert_close(loose(x, prev), torch.cat([2 * loose.fits[0](x), 2 * loose.fits[1](prev)], 1))
    assert loose.outputs == 8


def test_each_cell_of_a_net_reads_the_two_before_it():
    """The first of a stage reads the stage's input twice; before the second stage stands a pool."""
    torch.manual_seed(0)
    net = CellNet(BOTH, depth=3, width=4, classes=3, channels=1).eval()
    x = torch.randn(2, 1, 12, 12)
    made = [net.stem(x)]
    for number, cells in enumerate(net.stages):
        made = [nn.functional.max_pool2d(made[-1], 2) if number else made[-1]]
        for cell in cells:
            made.append(cell(made[-1], made[max(len(made) - 2, 0)]))
    assert_close(net(x), net.head(made[-1].relu().mean((2, 3))))


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    net = CellNet(BOTH, depth=2, width=4, classes=3, channels=1)
    net(torch.randn(8, 1, 12, 12)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_learns_toy_problem():
    torch.manual_seed(0)
    net = CellNet(BOTH, depth=1, width=8, classes=2, channels=1)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    y = torch.arange(64) % 2
    stripes = torch.arange(8) % 2 * 1.0
    x = torch.where(y[:, None, None, None] > 0, stripes, stripes[:, None]) + 0.3 * torch.randn(64, 1, 8, 8)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    assert (net.eval()(x).argmax(1) == y).float().mean() > 0.95


def test_drawing_has_every_part_and_arrow():
    fig, ax = plt.subplots()
    draw_block(
        ax, {"in": (0, 0, ""), "a": (0, 1, "3x3"), "+": (0, 2, "+")}, [("in", "a"), ("a", "+"), ("in", "+", 0.5)], "t"
    )
    texts = [t.get_text() for t in ax.texts]
    assert texts.count("") == 3 and {"3x3", "+"} <= set(texts) and ax.get_title() == "t"
    plt.close(fig)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shifted(torch.zeros(1, 1, 4, 4), 4, torch.Generator()), "most = 4: the images measure 4x4"),
        (lambda: experiments.operation("sep7", 4), "kind = 'sep7': one of sep3, sep5"),
        (lambda: aliased_share(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 4, 4), 0), "stride = 0: it is at least 1"),
        (lambda: random_cell(0, torch.Generator()), "nodes = 0: a cell has at least 1"),
        (lambda: draw_block(plt.figure().gca(), {"a": (0, 0, "x")}, [("a", "b")]), "'b' is no part: a"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        call()
    plt.close("all")

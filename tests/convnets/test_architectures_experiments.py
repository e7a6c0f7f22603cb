"""What the page runs and draws: one training and one judge, shifted images, aliasing, random cells, drawings."""

import math

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from helpers.convnets.architectures import alexnet, catalogue, cells, experiments, figures, lenet, resnet, unravel
from helpers.convnets.architectures.cells import CellNet, CellOf, random_cell
from helpers.convnets.architectures.experiments import aliased_share, shifted
from helpers.convnets.architectures.figures import draw_block

matplotlib.use("Agg")

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
    drawn = [random_cell(4, torch.Generator().manual_seed(s)) for s in range(50)]
    assert drawn[0] == random_cell(4, torch.Generator().manual_seed(0)) != drawn[1]
    for cell in drawn:
        for i, node in enumerate(cell):
            assert all(kind in cells.OPERATIONS and 0 <= source < 2 + i for kind, source in node)
    assert {source for cell in drawn for _, source in cell[3]} == {0, 1, 2, 3, 4}


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
    for number, stage in enumerate(net.stages):
        made = [nn.functional.max_pool2d(made[-1], 2) if number else made[-1]]
        for cell in stage:
            made.append(cell(made[-1], made[max(len(made) - 2, 0)]))
    assert_close(net(x), net.head(made[-1].relu().mean((2, 3))))


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    net = CellNet(BOTH, depth=2, width=4, classes=3, channels=1)
    net(torch.randn(8, 1, 12, 12)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def stripes(n=64):
    """Images with stripes along one axis or the other, which are the two classes."""
    y = torch.arange(n) % 2
    pattern = torch.arange(8) % 2 * 1.0
    x = torch.where(y[:, None, None, None] > 0, pattern, pattern[:, None]).clone()
    return experiments.Patches(x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)), y)


def test_learns_toy_problem():
    torch.manual_seed(0)
    net = CellNet(BOTH, depth=1, width=8, classes=2, channels=1)
    losses = experiments.learn(net, stripes(), 40, seed=0, batch_size=32)
    assert losses.shape == (40,) and not net.training
    assert experiments.error(net, stripes()) < 0.05


def test_order_of_learning_comes_from_its_seed():
    nets = []
    for seed in (1, 1, 2):
        torch.manual_seed(0)
        nets.append(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)))
        torch.manual_seed(len(nets))
        experiments.learn(nets[-1], stripes(), 6, seed=seed, batch_size=16)
    first, again, other = (net[1].weight for net in nets)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_error_counts_mistakes_in_evaluation_mode():
    class Judge(nn.Module):
        def forward(self, images):
            assert not self.training
            return torch.stack([1 - images.mean((1, 2, 3)), images.mean((1, 2, 3))], 1)

    images = torch.tensor([0.0, 1.0, 1.0, 0.0])[:, None, None, None].expand(4, 1, 2, 2)
    data = experiments.Patches(images, torch.tensor([0, 1, 0, 0]))
    assert experiments.error(Judge().train(), data) == 0.25


def test_error_without_cuts_and_restores():
    torch.manual_seed(0)
    net = resnet.resnet_small(depth=8, channels=1, classes=2, width=4).eval()
    nn.init.constant_(net.layer1[0].bn2.weight, 50.0)
    images = torch.rand(64, 1, 8, 8)
    with torch.no_grad():
        net.fc.bias -= net(images).median(0).values  # neither class is the answer to all
        with unravel.without(net, "layer1.0"):
            cut = net(images).argmax(1)
        whole = net(images).argmax(1)
    data = experiments.Patches(images, cut)
    assert experiments.error_without(net, ["layer1.0"], data) == 0
    assert experiments.error(net, data) == (whole != cut).double().mean() > 0


def test_steps_to_a_level():
    losses = np.array([2.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    assert experiments.steps_to(losses, level=0.6, window=2) == 4
    assert experiments.steps_to(losses, level=-1.0, window=2) == 6


def test_rank_correlation_asks_for_the_order_alone():
    assert experiments.rank_correlation([0.1, 0.2, 9.0], [1.0, 2.0, 3.0]) == pytest.approx(1)
    assert experiments.rank_correlation([3.0, 2.0, 1.0], [0.1, 0.2, 9.0]) == pytest.approx(-1)
    assert experiments.rank_correlation([1.0, 2.0, 3.0], [2.0, 1.0, 3.0]) == pytest.approx(0.5)
    assert experiments.rank_correlation([1.0, 1.0, 2.0], [1.0, 2.0, 3.0]) == pytest.approx(0.75**0.5)


def test_standardised_input_has_mean_zero_and_deviation_one():
    images = torch.rand(40, 1, 5, 5) * 0.3 + 0.2
    out = experiments.Standardised(nn.Flatten(), images)(images)
    assert_close(torch.stack([out.mean(), out.std()]), torch.tensor([0.0, 1.0]), atol=1e-5, rtol=0)


def test_shifted_digits_differ_by_seed():
    train, test = experiments.shifted_digits(0)
    assert train.images.shape[1:] == (1, 32, 32) and abs(len(train) - 3 * len(test)) <= 3
    again, _ = experiments.shifted_digits(0)
    other, _ = experiments.shifted_digits(1)
    assert torch.equal(train.images, again.images) and not torch.equal(train.images, other.images)


def test_the_rival_of_lenet_is_as_large():
    large, small = (experiments.count(net) for net in (lenet.lenet_small(channels=1), experiments.perceptron()))
    assert 0.98 < small / large < 1


def test_first_weights_suit_the_activation():
    torch.manual_seed(0)
    for activation, expected in ((nn.ReLU, 2.0), (nn.Tanh, 1.0)):
        net = experiments.racing_alexnet(activation)
        square = next(m for m in net.modules() if isinstance(m, nn.Linear) and m.in_features == m.out_features)
        assert square.weight.var().item() * square.in_features == pytest.approx(expected, rel=0.1)
        assert not square.bias.any()
    assert type(alexnet.alexnet_small(channels=1)) is type(net)


def test_patches_are_standardised_pieces_of_their_photograph():
    cut = experiments.patches(30, torch.Generator().manual_seed(0), side=24)
    assert cut.images.shape == (30, 1, 24, 24) and len(cut.labels.unique()) > 5
    assert_close(cut.images.mean((1, 2, 3)), torch.zeros(30), atol=1e-5, rtol=0)
    deviations = cut.images.std((1, 2, 3))
    assert (deviations < 1).all() and deviations.median() > 0.5  # flat ones are not blown up


def test_both_first_layers_feed_maps_of_nearly_equal_size():
    for kernel, stride, side in ((11, 4, 5), (7, 2, 6)):
        net = experiments.net_behind(kernel, stride)
        assert net[:6](torch.zeros(1, 1, 48, 48)).shape[2:] == (side, side)


def test_a_dead_filter_is_the_weakest():
    layer = nn.Conv2d(1, 3, 1, bias=False)
    with torch.no_grad():
        layer.weight[:, 0, 0, 0] = torch.tensor([1.0, 4.0, 2.0])
    assert experiments.weakest_filter(layer, torch.randn(4, 1, 6, 6)) == pytest.approx(0.5)
    with torch.no_grad():
        layer.weight[1] = 0
    assert experiments.weakest_filter(layer, torch.randn(4, 1, 6, 6)) == 0


def test_gradients_are_one_for_each_inner_convolution():
    torch.manual_seed(0)
    net = resnet.resnet_small(depth=8, channels=1, classes=2, width=4)
    found = experiments.gradients_by_layer(net, stripes())
    assert len(found) == 6 and min(found) > 0


def test_accuracy_of_a_cell_is_reproducible():
    runs = [experiments.cell_accuracy(BOTH, stripes(48), stripes(32), 10, depth=1, seed=s) for s in (0, 0)]
    assert runs[0] == runs[1] and runs[0] * 32 == pytest.approx(round(runs[0] * 32))


def test_small_nets_have_their_prices():
    nets = experiments.small_nets(8)
    assert len(nets) == 16
    images = torch.rand(2, 1, 16, 16)
    for net in nets.values():
        assert net.eval()(images).shape == (2, 10)
    parameters, work, milliseconds = experiments.price(nets["LeNet"], images)
    assert parameters == experiments.count(nets["LeNet"]) / 1e3 and work > 0 and milliseconds > 0
    layer = nn.Conv2d(1, 5, 3, padding=1)
    assert experiments.price(layer, torch.rand(2, 1, 4, 4))[1] == pytest.approx(4 * 4 * 5 * 9 / 1e6)
    dropping = resnet.resnet_small(depth=8, width=4, channels=1, survival=0.0)  # in training it leaves blocks out
    rested = experiments.price(dropping.eval(), images).multiply_adds
    assert experiments.price(dropping.train(), images).multiply_adds == rested and dropping.training


def test_faster_nets_have_ratios_above_one():
    images = torch.rand(4, 16, 24, 24)
    slow = nn.Sequential(*[nn.Conv2d(16, 16, 3, padding=1) for _ in range(12)])
    assert np.median(experiments.times_faster(nn.Identity(), slow, images)) > 2
    assert experiments.seconds_to_learn(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), stripes(), 5, seed=0) > 0


def test_work_left_out_is_that_of_the_dropped_blocks():
    sizes = dict(depth=14, width=4, classes=3, channels=1)
    images = torch.rand(2, 1, 8, 8)
    assert experiments.work_left_out(resnet.resnet_small(**sizes), images, 3, seed=0) == 0
    net = resnet.resnet_small(survival=0.0, **sizes)  # six blocks, which survive with 5/6 … 0
    first, last = (getattr(net, f"layer{i}") for i in (1, 3))
    for block in (*first, *net.layer2, *last):
        block.survival = 1.0
    last[-1].survival = 0.0
    inside = experiments.multiply_adds(lambda: last[-1].branch(torch.rand(2, 16, 2, 2)))
    whole = experiments.multiply_adds(lambda: net.eval()(images))
    assert experiments.work_left_out(net, images, 3, seed=0) == pytest.approx(inside / whole)


def test_figures_show_what_they_are_given():
    known = {name: catalogue.CATALOGUE[name] for name in ("vgg16", "resnet34")}
    ax = figures.published(known, {name: (0.0, 0.0) for name in known}).axes[0]
    assert [text.get_text() for text in ax.texts] == ["vgg16", "resnet34"]
    ax = figures.folded_power({"a": torch.tensor([0.3, 0.1])}).axes[0]
    assert ax.lines[0].get_ydata().tolist() == pytest.approx([0.1, 0.3])
    runs = {"8 layers": torch.ones(2, 12), "20 layers": torch.ones(2, 12)}
    left, right = figures.losses_by_depth({"plain": runs, "residual": runs}, window=3).axes
    assert len(left.lines) == 2 and left.get_legend().get_visible() and not right.get_legend().get_visible()
    one = {"plain": [[0.9, 0.8]], "residual": [[0.4, 0.3]]}
    left, right = figures.cut_blocks(one, {"plain": [0.2], "residual": [0.3]}, {0: [0.2, 0.2], 2: [0.5, 0.7]}).axes
    assert left.lines[0].get_ydata().tolist() == [0.9, 0.8]
    assert right.lines[-1].get_ydata().tolist() == pytest.approx([0.2, 0.6])
    ax = figures.proxy_against_target({"seed 0": [0.1, 0.2]}, [0.3, 0.4]).axes[0]
    assert ax.lines[0].get_xydata().tolist() == [[0.1, 0.3], [0.2, 0.4]]
    prices = {name: experiments.Price(*row) for name, row in {"a": (30.0, 2.0, 1.0), "b": (300.0, 1.0, 9.0)}.items()}
    figure = figures.ranked_prices(prices, ["b"])
    figure.draw_without_rendering()
    for ax in figure.axes:
        written = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
        assert not any(a.overlaps(b) for a, b in zip(written, written[1:]))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["b", "a"]
    for drawing, panels in ((figures.one_by_ones, 3), (figures.four_blocks, 4), (figures.three_wirings, 3)):
        assert len(drawing().axes) == panels
    plt.close("all")


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
        (lambda: cells.operation("sep7", 4), "kind = 'sep7': one of sep3, sep5"),
        (lambda: aliased_share(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 4, 4), 0), "stride = 0: it is at least 1"),
        (lambda: random_cell(0, torch.Generator()), "nodes = 0: a cell has at least 1"),
        (lambda: draw_block(plt.figure().gca(), {"a": (0, 0, "x")}, [("a", "b")]), "'b' is no part: a"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        call()
    plt.close("all")

"""What the page on linear classifiers runs: each number against a formula, a loop or the definition."""

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot
from torch.testing import assert_close

from helpers.data import ImageSet, digits
from helpers.foundations.linear_classifiers import experiments, figures, softmax_loss, svm_loss


@pytest.fixture(autouse=True)
def no_figure_is_left():
    with matplotlib.rc_context({"backend": "agg"}):
        yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def data() -> ImageSet:
    return digits().subset(slice(300))


def test_split_leaves_nothing_in_two_parts(data):
    parts = experiments.split(data, 3)
    rows = torch.cat([part.images.flatten(1) for part in parts])
    assert [len(part) for part in parts] == [180, 60, 60]
    assert_close(rows.sort(0).values, data.images.flatten(1).sort(0).values)


@pytest.mark.parametrize("each, clusters", [(1, False), (2, True)])
def test_templates_learn_digits(data, each, clusters):
    model = experiments.learn(data, svm_loss, rate=0.01, seed=0, each=each, clusters=clusters, steps=150)
    assert experiments.score(model, data) > 0.95


def test_clusters_are_those_of_the_class(data):
    model = experiments.Templates(dim=64, classes=10, each=2)
    experiments.begin_at_clusters(model, data, seed=0, gain=1.0)
    x = data.images.flatten(1)
    mine = x[data.labels == 4]
    middles = model.weight[4] + x.mean(0)
    nearest = torch.cdist(mine, middles).argmin(1)
    for i in range(2):  # each middle is the mean of what is nearest to it
        assert_close(middles[i], mine[nearest == i].mean(0), atol=1e-4, rtol=0)


def test_random_search_keeps_the_best(data):
    found, best = experiments.random_search(data, 0.1, 20, seed=1)
    x = data.images.flatten(1)
    noise = torch.Generator().manual_seed(1)
    losses = [softmax_loss(x @ (0.1 * torch.randn(10, 64, generator=noise)).T, data.labels) for _ in range(20)]
    assert_close(found, torch.stack(losses).cummin(0).values)
    assert_close(softmax_loss(x @ best.T, data.labels), found[-1])


def test_slope_is_followed(data):
    losses, walk = experiments.follow_slope(data, 0.5, 3)
    x = data.images.flatten(1)
    W = torch.zeros(10, 64, requires_grad=True)
    for i in range(3):
        loss = softmax_loss(x @ W.T, data.labels)
        assert_close(loss.detach(), losses[i])
        (g,) = torch.autograd.grad(loss, W)
        W = (W - 0.5 * g).detach().requires_grad_()
        assert_close(W.detach(), walk[i + 1])
    along, across = experiments.plane_through(walk, 0).flatten(1)
    assert_close(torch.stack([along @ along, across @ across, along @ across]), torch.tensor([1.0, 1, 0]))
    assert_close((walk[-1] - walk[0]).flatten() @ along, (walk[-1] - walk[0]).norm())
    along, found = experiments.falls(data, walk[1], 20, 0)
    W = walk[1].double().requires_grad_()
    (g,) = torch.autograd.grad(softmax_loss(x.double() @ W.T, data.labels), W)
    noise = torch.Generator().manual_seed(0)
    sides = [torch.randn(W.shape, generator=noise, dtype=torch.float64) for _ in range(20)]
    tilts = torch.tensor(experiments.TILTS).repeat(4)
    ways = torch.stack([tilt * side / side.norm() - g / g.norm() for tilt, side in zip(tilts, sides)])
    cosines = -(ways * g).sum((1, 2)) / ways.flatten(1).norm(dim=1) / g.norm()
    assert_close(found, cosines, atol=1e-3, rtol=0)
    assert abs(along - 1) < 1e-2 and (found < 1).all()


@pytest.mark.parametrize("kind", ["hinge", "softmax"])
def test_descent_without_a_penalty(kind):
    x, labels = experiments.blobs(0)
    run = experiments.descend(kind, x, labels, 0.05, 40)
    W = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    for i in range(40):
        loss = experiments.LOSSES[kind](x @ W.T, labels)
        assert_close(run.loss[i], loss.detach())
        assert_close(run.length[i], W.detach().norm())
        (g,) = torch.autograd.grad(loss, W)
        W = (W - 0.05 * g).detach().requires_grad_()
    assert_close(run.end, W.detach())


def test_letters_in_the_mirror_and_their_means():
    plain, half = (experiments.letters(300, 0, share) for share in (0.0, 0.5))
    turned = half.attributes["mirrored"]
    assert 0.4 < turned.float().mean() < 0.6 and not plain.attributes["mirrored"].any()
    assert_close(half.images[turned].flip(3), plain.images[turned])
    written, mirrored, both = experiments.poses(half)
    k = 3
    assert_close(
        written[k], half.images[(half.labels == k) & ~turned].flatten(1).mean(0) - half.images.flatten(1).mean(0)
    )
    assert_close(both, (written + mirrored) / 2)
    like = experiments.likeness(written, mirrored)
    assert like[k].item() == pytest.approx(np.corrcoef(written[k], mirrored[k])[0, 1], abs=1e-5)


def test_points_are_where_they_should_be():
    points, labels = experiments.ring(1)
    radius = points.norm(dim=1)
    assert radius[labels == 1].max() <= 0.6 and radius[labels == 0].min() >= 0.8 and radius.max() <= 1.0001
    points, labels = experiments.pair_of_clouds(0)
    assert points[labels == 0].norm(dim=1).mean() < points[labels == 1].norm(dim=1).mean()


def test_curvatures_are_those_of_autograd():
    noise = torch.Generator().manual_seed(5)
    x = torch.randn(8, 3, generator=noise, dtype=torch.float64)
    y = (torch.rand(8, generator=noise) < 0.5).double()
    w = 2 * torch.randn(3, generator=noise, dtype=torch.float64)
    for loss in (experiments.cross_entropy_of_sigmoid, experiments.squared_error_of_sigmoid):
        H = torch.autograd.functional.hessian(lambda v, loss=loss: loss(v, x, y), w)
        assert_close(experiments.lowest_curvatures(loss, 1, 5)[0], torch.linalg.eigvalsh(H)[0])


def test_steps_to_turn_are_those_of_a_loop():
    w, steps = -3.0, 0
    while w <= 0:
        p = 1 / (1 + np.exp(-w))
        w, steps = w + 0.5 * (1 - p), steps + 1
    assert experiments.steps_to_turn(experiments.cross_entropy_of_sigmoid, -3.0, 0.5) == steps
    with pytest.raises(ValueError, match="still below one half after 10 steps"):
        experiments.steps_to_turn(experiments.squared_error_of_sigmoid, -20.0, 1.0, most=10)


def test_weights_become_blue_and_red():
    pictures = figures.two_colours(torch.tensor([[[1.0, -1.0], [0.0, 0.5]]]))
    red, _, blue = pictures[0]
    assert blue[0, 0] > red[0, 0] and red[0, 1] > blue[0, 1] and abs(red[1, 0] - blue[1, 0]) < 0.01
    assert figures.two_colours(torch.ones(1, 1, 1), limit=2.0)[0, 0, 0, 0] > pictures[0, 0, 0, 0]


def test_losses_of_a_sigmoid_are_torchs():
    noise = torch.Generator().manual_seed(1)
    x, w = torch.randn(6, 2, generator=noise), torch.randn(2, generator=noise)
    y = (torch.rand(6, generator=noise) < 0.5).float()
    p = (x @ w).sigmoid()
    assert_close(experiments.squared_error_of_sigmoid(w, x, y), torch.nn.functional.mse_loss(p, y) / 2)
    assert_close(experiments.cross_entropy_of_sigmoid(w, x, y), torch.nn.functional.binary_cross_entropy(p, y))

"""What the page on nearest neighbours runs: each number against a formula, a loop or the definition."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from helpers.data import digits
from helpers.foundations.nearest_neighbours import NearestNeighbours, distances, experiments, folds


@pytest.fixture(scope="module")
def sets():
    return experiments.halves(digits(), 0)


def test_more_images_and_more_votes(sets):
    known, test = sets
    one, all_of_it = experiments.by_amount(known, test, [20, len(known)])
    assert one < all_of_it and all_of_it.item() == pytest.approx(
        experiments.right(NearestNeighbours().train(known.images, known.labels), test)
    )
    for k, found in zip((1, 4, 9), experiments.by_k(known, test, (1, 4, 9)), strict=True):
        model = NearestNeighbours(k).train(known.images, known.labels)
        assert found.item() == pytest.approx(experiments.right(model, test))


def test_wrong_labels_are_as_many_as_asked_for(sets):
    known, _ = sets
    wrong = experiments.wrong_labels(known, 0.3, seed=1)
    assert (wrong.labels != known.labels).double().mean().item() == pytest.approx(0.3, abs=0.04)
    assert torch.equal(wrong.images, known.images)
    chance = torch.rand(len(known), generator=torch.Generator().manual_seed(1)) < 0.3
    assert torch.equal(wrong.labels != known.labels, chance)  # never the right one again
    assert torch.equal(experiments.wrong_labels(known, 0.0, seed=1).labels, known.labels)


def test_regions_and_their_border():
    points, labels = experiments.moons(60, 0)
    model = NearestNeighbours(3).train(points, labels)
    grid = experiments.regions(model, side=20)
    corner = model.predict(torch.tensor([[-1.75, -1.5], [2.75, 2.0]]))
    assert grid[0, 0] == corner[0] and grid[-1, -1] == corner[1]
    sides = model.predict(torch.tensor([[2.75, -1.5], [-1.75, 2.0]]))
    assert grid[0, -1] == sides[0] and grid[-1, 0] == sides[1]  # x runs along a row
    assert experiments.border(torch.tensor([[0, 0, 1], [0, 1, 1], [1, 1, 1]])) == 4


def test_bell_errors_are_those_of_the_classifier():
    error, best = experiments.bell_errors(300, 4, queries=500)
    x, labels = experiments.two_bells(300, 4)
    q, truth = experiments.two_bells(500, 1_000_004)
    model = NearestNeighbours().train(x, labels)
    assert error == pytest.approx((model.predict(q) != truth).double().mean().item())
    assert best == pytest.approx(0.15866, abs=1e-4)
    errors = [experiments.bell_errors(20_000, seed)[0] for seed in range(5)]
    assert np.mean(errors) == pytest.approx(experiments.bell_limit(), abs=0.004)


def test_rotations_turn():
    Q = experiments.rotation(5, 1)
    assert_close(Q @ Q.T, torch.eye(5, dtype=torch.float64), atol=1e-12, rtol=0)
    assert all(torch.linalg.det(experiments.rotation(4, seed)) > 0 for seed in range(6))


def test_contrast_is_a_ratio_of_distances():
    noise = torch.Generator().manual_seed(3)
    q, x = torch.rand(20, 4, generator=noise), torch.rand(1000, 4, generator=noise)
    gaps = distances(q, x)
    assert experiments.contrast(4, 3) == pytest.approx((gaps.max(1).values / gaps.min(1).values).median().item())


def test_share_of_same_leaves_the_picture_itself_out():
    views = torch.tensor([[0.0], [0.1], [5.0], [5.1]])
    assert experiments.share_of_same(views, torch.tensor([0, 0, 1, 1]), k=1) == 1
    assert experiments.share_of_same(views, torch.tensor([0, 1, 0, 1]), k=1) == 0


def test_shapes_have_one_class_each():
    data = experiments.shapes(6, seed=0, size=24)
    assert data.images.shape == (6, 3, 24, 24) and len(data.classes) == 8
    assert experiments.as_pixels(data.images).shape == (6, 1728)
    assert experiments.as_gradients(data.images).shape[0] == 6


def test_world_varies_one_thing_at_a_time():
    world = experiments.World(scans=8, size=12)
    same, _ = world.sets("pose", 0.0, 0, n=40, test=10)
    for k in range(10):
        mine = same.images[same.labels == k]
        assert (mine - mine[:1]).abs().max() < 1e-5 if len(mine) else True
    learned, test = world.sets("variation", 1.0, 0, n=200, test=200)
    pool = world.pictures[:4].flatten(0, 1)
    assert distances(learned.images, pool).amin(1).max() < 1e-6
    assert distances(test.images, pool).amin(1).median() > 0.1  # other scans


def test_three_classifiers_learn_what_does_not_vary():
    world = experiments.World(scans=2, size=12)
    found = experiments.three_classifiers(world.sets("light", 0.0, 0, n=150, test=60), 0, steps=60)
    assert (found > 0.95).all()


def test_choices_are_those_of_a_loop():
    data = digits().subset(slice(300))
    gaps = {"a": distances(data.images, data.images), "b": distances(data.images, data.images, "l1")}
    ks = (1, 5)
    first, second = experiments.choices(gaps, data.labels, ks, 2, known=60, test=30)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(2))
    mine, judged, world = order[:60], order[60:90], order[90:]

    def score(kind, k, rows, columns):
        model = NearestNeighbours(k, kind).train(data.images[columns], data.labels[columns])
        return (model.predict(data.images[rows]) == data.labels[rows]).double().mean().item()

    settings = [(kind, k) for kind in ("l2", "l1") for k in ks]
    on_test = [score(*setting, judged, mine) for setting in settings]
    by_folds = [
        np.mean([score(*setting, mine[held], mine[rest]) for rest, held in folds(60, 5)]) for setting in settings
    ]
    for choice, judge in ((first, on_test), (second, by_folds)):
        best = int(np.argmax(judge))
        assert choice.reported == pytest.approx(on_test[best])
        assert choice.true == pytest.approx(score(*settings[best], world, mine))


def test_views_are_of_the_same_images():
    found = experiments.views(torch.rand(3, 1, 8, 8))
    assert {name: view.shape[1] for name, view in found.items()} == {
        "pixels": 64,
        "coarse": 16,
        "blurred": 64,
        "black and white": 64,
    }
    clock = experiments.seconds([10, 20], queries=2, d=5)
    assert list(clock) == [10, 20] and min(sum(clock.values(), ())) >= 0

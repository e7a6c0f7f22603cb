"""Nearest neighbours against scikit-learn and scipy: answers, distances, ties, folds; copies at an equal distance."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from helpers.data import digits
from helpers.foundations.nearest_neighbours import (
    NearestNeighbours,
    covered,
    cross_validate,
    darkened,
    distances,
    folds,
    neighbours,
    shifted,
    spoil,
    vote,
    written_rule,
)


def test_matches_reference(unchecked):
    """scikit-learn's answers on 1,500 random sets: all k, both distances, ties of votes."""
    from sklearn.neighbors import KNeighborsClassifier

    noise = np.random.default_rng(0)
    for _ in range(1500):
        n, d, classes = noise.integers(1, 14), noise.integers(1, 5), noise.integers(1, 5)
        k, distance = int(noise.integers(1, n + 1)), noise.choice(["l1", "l2"])
        x, y, q = noise.standard_normal((n, d)), noise.integers(-2, classes, n), noise.standard_normal((5, d))
        metric = {"l1": "manhattan", "l2": "euclidean"}[distance]
        theirs = KNeighborsClassifier(k, metric=metric, algorithm="brute").fit(x, y)
        ours = NearestNeighbours(k, distance).train(torch.from_numpy(x), torch.from_numpy(y))
        assert ours.predict(torch.from_numpy(q)).tolist() == theirs.predict(q).tolist()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 40), st.sampled_from(["l1", "l2"]))
def test_distances_are_scipys(seed, n, q, kind):
    from scipy.spatial.distance import cdist

    noise = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(rows, 2, 3, generator=noise) for rows in (q, n))
    metric = {"l1": "cityblock", "l2": "euclidean"}[kind]
    expected = cdist(a.flatten(1).double().numpy(), b.flatten(1).double().numpy(), metric)
    assert_close(distances(a, b, kind), torch.from_numpy(expected))


def test_near_duplicates_far_from_the_origin_are_told_apart():
    """Products of matrices lose the digits of 1000 + 1e-5; each picture is nearest to itself all the same."""
    x = 1000 + 1e-5 * torch.randn(60, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for distance in ("l1", "l2"):
        far = NearestNeighbours(1, distance).train(torch.cat([x, x, 0 * x]), torch.arange(180))
        assert far.predict(x).tolist() == list(range(60))  # of two equal ones the first, beside others far away
        assert NearestNeighbours(1, distance).train(x, torch.arange(60)).predict(x).tolist() == list(range(60))


def test_of_equally_near_images_the_earlier_votes():
    x = torch.tensor([[0.0], [2.0], [2.0], [0.0], [1.0]])
    model = NearestNeighbours(3).train(x, torch.tensor([4, 3, 2, 1, 0]))
    assert model.neighbours(torch.tensor([[1.0], [2.0]])).tolist() == [[4, 0, 1], [1, 2, 4]]
    assert NearestNeighbours().train(x, torch.arange(5)).predict(torch.tensor([[2.0]])).tolist() == [1]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(-3, 3), min_size=4, max_size=4), min_size=1, max_size=6))
def test_votes_are_the_smallest_mode(rows):
    from scipy.stats import mode

    assert vote(torch.tensor(rows)).tolist() == mode(rows, axis=1).mode.tolist()


def test_chunks_change_nothing(monkeypatch):
    data = digits()
    model = NearestNeighbours(3).train(data.images[:300], data.labels[:300])
    whole = model.neighbours(data.images[300:400])
    monkeypatch.setattr(neighbours, "CHUNK", 700)  # two queries at a time
    assert torch.equal(model.neighbours(data.images[300:400]), whole)
    monkeypatch.setattr(neighbours, "CHUNK", 1)
    assert torch.equal(model.neighbours(data.images[300:310]), whole[:10])


def test_memory_of_a_prediction_is_bounded():
    """No chunk holds more than CHUNK distances."""
    seen = []
    original = neighbours.distances
    model = NearestNeighbours().train(torch.rand(2000, 2), torch.zeros(2000).long())
    neighbours.distances = lambda a, b, kind: seen.append(len(a) * len(b)) or original(a, b, kind)
    try:
        model.predict(torch.rand(10_000, 2))
    finally:
        neighbours.distances = original
    assert len(seen) == 3 and max(seen) <= neighbours.CHUNK


def test_learns_toy_problem():
    data = digits()
    model = NearestNeighbours().train(data.images[:1200], data.labels[:1200])
    assert (model.predict(data.images[:1200]) == data.labels[:1200]).all()
    assert (model.predict(data.images[1200:]) == data.labels[1200:]).float().mean() > 0.93


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int16, torch.float16, torch.bfloat16, torch.float32, torch.float64]
)
def test_device_and_dtype(dtype):
    x = torch.tensor([[100], [0], [250]]).to(dtype)
    gaps = distances(torch.tensor([[200]]).to(dtype), x, "l1")
    assert gaps.dtype == torch.float64 and gaps.tolist() == [[100, 200, 50]]
    for labels in (torch.tensor([7, 8, 9]), torch.tensor([7, 8, 9], dtype=torch.int32)):
        found = NearestNeighbours().train(x, labels).predict(x)
        assert torch.equal(found, labels) and found.dtype == labels.dtype
    assert NearestNeighbours().train(x, labels).predict(x[:0]).shape == (0,)


@pytest.mark.gpu
def test_device_and_dtype_on_a_gpu():
    data = digits().to("cuda")
    model = NearestNeighbours(3).train(data.images[:500], data.labels[:500])
    here = NearestNeighbours(3).train(data.images[:500].cpu(), data.labels[:500].cpu())
    assert torch.equal(model.predict(data.images[500:600]).cpu(), here.predict(data.images[500:600].cpu()))


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 40), st.integers(2, 12))
def test_folds_are_scikit_learns(n, count):
    from sklearn.model_selection import KFold

    if count > n:
        with pytest.raises(ValueError, match=f"{count} folds of {n} samples: at least 2"):
            next(folds(n, count))
        return
    for (rest, held), (train, test) in zip(folds(n, count), KFold(count).split(np.zeros(n)), strict=True):
        assert rest.tolist() == train.tolist() and held.tolist() == test.tolist()
    parts = [held for _, held in folds(n, count, torch.Generator().manual_seed(0))]
    assert torch.cat(parts).sort().values.tolist() == list(range(n))


def test_cross_validation_is_scikit_learns():
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    data = digits().subset(slice(200))
    x, y = data.images.flatten(1), data.labels
    theirs = cross_val_score(KNeighborsClassifier(3), x.numpy(), y.numpy(), cv=KFold(7))
    np.testing.assert_allclose(cross_validate(NearestNeighbours(3), x, y, 7), theirs)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.5, 3.0))
def test_copies_lie_at_the_distance_asked_for(seed, distance):
    image = torch.rand(3, 12, 10, generator=torch.Generator().manual_seed(seed)).double()
    for copy in (darkened(image, distance), covered(image, distance)):
        assert (copy - image).norm().item() == pytest.approx(distance, rel=1e-9)
        assert copy.min() >= 0 and (copy <= image + 1e-12).all()
    changed = (covered(image, distance) != image).any(0)
    rows, columns = changed.nonzero().T
    assert (
        rows.max() - rows.min() == columns.max() - columns.min() and changed.sum() == (rows.max() - rows.min() + 1) ** 2
    )
    moved = shifted(image, 3)
    assert torch.equal(moved[..., 3:], image[..., :-3]) and torch.equal(moved[..., 0], image[..., 0])


@pytest.mark.parametrize("kind", ["light", "pose", "occlusion"])
def test_nuisances_begin_at_the_picture_and_stay_pictures(kind):
    images = torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    none, some, full = (spoil(images, kind, degree, torch.Generator().manual_seed(1)) for degree in (0.0, 0.3, 1.0))
    inside = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    assert_close(none[inside], images[inside], atol=1e-5, rtol=0)
    assert full.min() >= 0 and full.max() <= 1
    assert (full - images).square().mean() > (some - images).square().mean() > 0


def test_pose_turns_as_scikit_image_does():
    from skimage.transform import rotate

    image = torch.zeros(1, 1, 21, 21)
    image[0, 0, 4:9, 10:17] = 1
    noise = torch.Generator().manual_seed(0)
    swing = torch.zeros(6, 1)
    swing[0] = 0.75  # of 60 degrees
    from helpers.foundations.nearest_neighbours.spoiling import _pose

    expected = rotate(image[0, 0].numpy(), 45, order=1)
    assert abs(_pose(image, swing, swing)[0, 0].numpy() - expected).max() < 0.05
    assert spoil(image, "pose", 1.0, noise).shape == image.shape


def test_written_rule_counts_holes_and_looks_where_they_are():
    images = torch.zeros(6, 1, 28, 28)
    images[0, 0, 4:24, 13:15] = 1  # a bar
    for i, (top, bottom) in enumerate([(4, 24), (14, 24), (4, 14)], 1):  # rings: large, low, high
        images[i, 0, top:bottom, 8:20] = 1
        images[i, 0, top + 2 : bottom - 2, 10:18] = 0
    images[2, 0, 4:14, 8:10] = 1  # a stem above
    images[3, 0, 14:24, 18:20] = 1  # and one below
    images[4] = torch.maximum(images[2], images[3])
    assert written_rule(images[:5]).tolist() == [1, 0, 6, 9, 8]
    assert written_rule(images[5:]).tolist() == [1]  # no ink


def test_bad_input(unchecked):
    x, y = torch.rand(3, 2), torch.tensor([0, 1, 1])
    model = NearestNeighbours(2).train(x, y)
    cases = {
        "k = 0: at least 1 neighbour votes": lambda: NearestNeighbours(0),
        "k = 1.5: at least 1 neighbour votes, a whole number": lambda: NearestNeighbours(1.5),
        "distance = 'cosine': it is 'l1' or 'l2'": lambda: NearestNeighbours(1, "cosine"),
        "k = 4 with 3 training images": lambda: NearestNeighbours(4).train(x, y),
        "images of shape [3, 2], labels of shape [2]": lambda: NearestNeighbours().train(x, y[:2]),
        "images of shape [0, 2], labels of shape [0]": lambda: NearestNeighbours().train(x[:0], y[:0]),
        "nothing was remembered": lambda: NearestNeighbours().predict(x),
        "images of shape [3], trained on [2]": lambda: model.predict(torch.rand(1, 3)),
        "pixels of 1 queries and of no training images are not finite": lambda: model.predict(
            torch.tensor([[math.inf, 0], [0, 0]])
        ),
        "pixels of no queries and of 1 training images are not finite": lambda: (
            NearestNeighbours().train(torch.tensor([[math.nan], [0.0]]), y[:2]).predict(torch.zeros(2, 1))
        ),
        "images of torch.bool: distances are between real numbers": lambda: NearestNeighbours().train(x > 0, y),
        "1 folds of 3 samples": lambda: next(folds(3, 1)),
        "distance = 9: black is only": lambda: darkened(torch.ones(1, 2, 2), 9),
        "distance = 9: the largest square changes only": lambda: covered(torch.ones(1, 2, 2), 9),
        "pixels = 2: a shift keeps some of a picture 2 pixels wide": lambda: shifted(torch.ones(1, 2, 2), 2),
        "kind = 'rain', degree = 0.5: light, pose, occlusion": lambda: spoil(x[:, None, None], "rain", 0.5, None),
        "degree = 2: light": lambda: spoil(x[:, None, None], "light", 2, None),
    }
    for message, call in cases.items():
        with pytest.raises(ValueError) as error:
            call()
        assert message in str(error.value)

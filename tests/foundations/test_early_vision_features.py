"""Grouping, SIFT, histograms and words against brute force, networkx-free enumeration, scikit-learn, scikit-image and OpenCV."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from helpers.foundations.early_vision import experiments, features, grouping, scale_space
from helpers.foundations.early_vision.edges import is_maximum
from helpers.foundations.early_vision.sift import describe, match, orientations, sift

PHOTO = None


def photo():
    global PHOTO
    if PHOTO is None:
        PHOTO = experiments.grey("camera", 128)
    return PHOTO


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


# --- Grouping ---


def two_parts(size=10):
    """A bright square on a dark ground, with noise; and which is which."""
    image = 0.2 + 0.05 * noise(1, size, size)
    inside = torch.zeros(size, size, dtype=torch.bool)
    inside[3:7, 3:7] = True
    image[:, inside] += 0.6
    return image, inside


def test_affinities_match_a_naive_loop():
    image = noise(3, 5, 6).double()
    ours = grouping.affinities(image, radius=2, colour=0.3, space=1.5).toarray()
    flat = image.flatten(1).T
    for i, j in product(range(30), repeat=2):
        apart = math.hypot(i // 6 - j // 6, i % 6 - j % 6)
        like = (flat[i] - flat[j]).square().sum() / 0.3**2
        expected = math.exp(-like - (apart / 1.5) ** 2) if apart <= 2 else 0
        assert abs(ours[i, j] - expected) < 1e-12


def test_second_eigenvector_solves_the_generalised_problem():
    from scipy.linalg import eigh

    weights = grouping.affinities(0.3 * two_parts(10)[0])
    y = grouping.second_eigenvector(weights).numpy()  # 100 nodes: the sparse way
    W = weights.toarray()
    D = np.diag(W.sum(1))
    values, vectors = eigh(D - W, D)
    assert np.allclose((D - W) @ y, values[1] * D @ y, atol=1e-5)
    assert abs(y @ D @ vectors[:, 1]) / math.sqrt(y @ D @ y) > 1 - 1e-6
    small = grouping.second_eigenvector(weights[:50, :50])  # and the dense one
    D = np.diag(W[:50, :50].sum(1))
    values = eigh(D - W[:50, :50], D, eigvals_only=True)
    rest = (D - W[:50, :50]) @ small.numpy() - values[1] * D @ small.numpy()
    assert abs(rest).max() < 1e-9


def test_parts_without_any_edge_between_them_are_separated():
    """Then λ = 0 comes twice, and a search that starts from one vector would miss the second."""
    image, inside = two_parts(10)
    image = inside[None].double() * 10
    for weights in (grouping.affinities(image), grouping.affinities(image[:, 2:9, 1:9])):
        y = grouping.second_eigenvector(weights)
        part = (inside if len(y) == 100 else inside[2:9, 1:9]).flatten()
        assert y[part].std() < 1e-6 * y.abs().max() and y[~part].std() < 1e-6 * y.abs().max()
        assert y[part].mean() * y[~part].mean() < 0


def test_cut_is_the_best_of_all_on_a_small_graph():
    """Ten pixels in a row: 2^9 - 1 cuts, of which the eigenvector finds the smallest."""
    row = torch.tensor([0.1, 0.2, 0.1, 0.15, 0.8, 0.9, 0.8, 0.85, 0.9, 0.8]).reshape(1, 1, 10)
    cut = grouping.normalised_cut(row, radius=4, colour=0.4)
    weights = grouping.affinities(row, radius=4, colour=0.4)
    parts = [torch.tensor([False, *bits]) for bits in product((False, True), repeat=9)][1:]
    best = min(grouping.cut_value(weights, part) for part in parts)
    assert abs(cut.value - best) < 1e-12
    part = cut.part.flatten()
    W, inside = weights.toarray(), part.numpy()
    between = W[inside][:, ~inside].sum()
    assert abs(cut.value - between * (1 / W[inside].sum() + 1 / W[~inside].sum())) < 1e-12


def test_cut_agrees_with_scikit_learn_and_scikit_image():
    from skimage.graph import RAG, cut_normalized
    from sklearn.cluster import SpectralClustering

    image, inside = two_parts()
    figure = grouping.figure_of(grouping.normalised_cut(image).part)
    assert (figure == inside).all()
    weights = grouping.affinities(image)
    labels = SpectralClustering(2, affinity="precomputed", random_state=0).fit_predict(weights.toarray())
    labels = torch.from_numpy(labels.reshape(10, 10))
    assert (labels == labels[0, 0]).ne(inside).all()
    graph = RAG()
    rows, columns = weights.nonzero()
    for i in range(100):
        graph.add_node(i, labels=[i])
    for i, j in zip(rows.tolist(), columns.tolist()):
        graph.add_edge(i, j, weight=weights[i, j])
    labels = cut_normalized(
        np.arange(100).reshape(10, 10), graph, thresh=grouping.cut_value(weights, inside.flatten()) * 1.01, num_cuts=30
    )
    assert len(np.unique(labels)) == 2 and (torch.from_numpy(labels) == labels[0, 0]).ne(inside).all()


def test_segments_and_crops():
    images, masks = experiments.shapes_anywhere(6, seed=1)
    assert images.images.shape == (6, 3, 32, 32) and masks.any(1).any(1).all()
    crops = experiments.cropped(masks)
    assert crops.shape == (6, 1, 32, 32)
    filled = (crops[:, 0] > 0.5).any(1).sum(1)  # columns that the shape reaches
    assert filled.max() <= 28 and (crops[:, 0] > 0.5).any(2).sum(1).max() >= 24
    assert experiments.cropped(torch.zeros(1, 8, 8, dtype=torch.bool)).eq(0).all()
    assert experiments.segments(images.images[:2]).shape == (2, 32, 32)


def test_grouping_trial_reports_shares():
    result = experiments.grouping_trial(3, train=16, held=8, more=2)
    whole = {"whole picture, HOG", "whole picture, visual words"}
    more = {f"{name}, 2 times the training pictures" for name in whole}
    assert set(result) == {*whole, *more, "segment", "true silhouette", "segments right"}
    assert all(0 <= value <= 1 for value in result.values()) and result["true silhouette"] > 0.2


# --- SIFT ---


def test_blurs_of_an_octave_add_up():
    octaves = scale_space.gaussian_octaves(photo())
    assert [octave.pixel for octave in octaves] == [0.5 * 2**i for i in range(len(octaves))]
    assert all(octave.gaussians.shape[0] == 6 for octave in octaves)
    start = octaves[0].gaussians[0].double()
    direct = scale_space.smooth(start, math.sqrt((2 * 1.6) ** 2 - 1.6**2))
    inner = slice(24, -24)  # away from the border, which each blur repeats
    assert_close(octaves[0].gaussians[3].double()[inner, inner], direct[inner, inner], atol=1e-4, rtol=0)


def test_refinement_finds_the_top_of_a_quadratic():
    s, r, c = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in (5, 9, 9)), indexing="ij")
    top = torch.tensor([2.2, 4.3, 3.6], dtype=torch.float64)
    d = 1 - 0.05 * (s - top[0]) ** 2 - 0.02 * (r - top[1]) ** 2 - 0.04 * (c - top[2]) ** 2
    at, offset, height, ratio = scale_space.refine(d, torch.tensor([[2, 4, 4], [1, 3, 5]]))
    for i in range(2):  # the second starts at a neighbour and walks
        assert_close((at + offset)[i], top)
    assert_close(height, torch.ones(2, dtype=torch.float64))
    assert_close(ratio, torch.full((2,), 0.06**2 / (0.02 * 0.04), dtype=torch.float64))


def test_of_equal_neighbours_one_is_the_maximum():
    stack = torch.zeros(3, 6, 7)
    stack[1, 2:4, 3:5] = 1  # a plateau of four, as a blob between four pixels makes it
    assert is_maximum(stack).nonzero().tolist() == [[1, 2, 3]]
    found = [
        len(scale_space.find_keypoints(scale_space.gaussian_octaves(blob(x, y))).places) for x in PLACES for y in PLACES
    ]
    assert found == [1] * len(PLACES) ** 2


PLACES = (30.0, 30.25, 30.5, 30.75)


def blob(x: float, y: float) -> torch.Tensor:
    column, row = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="xy")
    return 0.2 + 0.6 * torch.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * 4.0**2))


def test_a_blob_is_found_at_its_place_and_scale():
    found = scale_space.find_keypoints(scale_space.gaussian_octaves(blob(30.25, 35.5)))
    assert len(found.places) == 1
    assert_close(found.places[0], torch.tensor([30.25, 35.5]), atol=0.1, rtol=0)
    # G(s) with the blob's own variance: the difference G(ks) - G(s) is largest near s = 4 / sqrt(k).
    assert abs(found.sigmas[0] - 4 / 2 ** (1 / 6)) < 0.3


def test_edges_are_rejected():
    image = torch.zeros(64, 64)
    image[:, 32:] = 1
    assert len(scale_space.find_keypoints(scale_space.gaussian_octaves(image)).places) == 0
    x, y = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="xy")
    streak = 0.2 + 0.6 * torch.exp(-((x - 48) ** 2) / (2 * 2.5**2) - (y - 48) ** 2 / (2 * 14.0**2))
    octaves = scale_space.gaussian_octaves(streak)
    assert len(scale_space.find_keypoints(octaves).places) == 0  # it curves thirty times as much across as along
    assert len(scale_space.find_keypoints(octaves, edge=200.0).places) > 0


def test_orientation_is_that_of_a_ramp():
    for degrees in (0, 40, 200):
        a = math.radians(degrees)
        x, y = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="xy")
        image = 0.5 + 0.005 * ((x - 32) * math.cos(a) + (y - 32) * math.sin(a))
        octaves = scale_space.gaussian_octaves(image)
        point = scale_space.Keypoints(
            torch.tensor([[32.0, 32.0]]), torch.tensor([2.0]), torch.tensor([1]), torch.tensor([1])
        )
        which, angle = orientations(octaves, point)
        assert len(which) == 1 and abs((angle[0].item() - a + math.pi) % math.tau - math.pi) < math.radians(3)
        cells = describe(octaves, point, angle).reshape(16, 8)
        assert cells.argmax(1).eq(0).all()  # relative to the orientation every gradient points along it
        assert_close(cells.square().sum(), torch.tensor(1.0))


def test_descriptors_turn_with_the_picture():
    """A quarter turn moves pixels onto pixels: the same keypoints with the same descriptors."""
    image = photo()
    first, second = sift(image), sift(image.rot90(-1).contiguous())  # clockwise
    places = torch.stack([127 - first.places[:, 1], first.places[:, 0]], 1)
    gap = torch.cdist(places, second.places)
    turn = (second.angles[None] - first.angles[:, None] - math.pi / 2 + math.pi) % math.tau - math.pi
    pair = gap + 10 * turn.abs()
    near = pair.amin(1) < 0.5
    assert near.float().mean() > 0.9
    alike = (first.descriptors[near] * second.descriptors[pair.argmin(1)[near]]).sum(1)
    assert alike.median() > 0.99


def test_light_does_not_matter():
    image = 0.6 * photo() + 0.1
    octaves = scale_space.gaussian_octaves(photo())
    brighter = scale_space.gaussian_octaves(image)
    points = scale_space.find_keypoints(octaves)
    angles = torch.zeros(len(points.places))
    assert_close(describe(octaves, points, angles), describe(brighter, points, angles), atol=1e-4, rtol=0)


def test_matching_is_near_the_references_and_patches_fail():
    results = experiments.matching_table(30, photographs=("chelsea",), size=160)
    ours, raw = results["SIFT"][0], results["raw patches"][0]
    for name in ("scikit-image's SIFT", "OpenCV's SIFT"):
        reference = results[name][0]
        assert ours.repeatability > reference.repeatability - 0.1 and ours.score > reference.score - 0.12
        assert 0.7 < ours.keypoints / reference.keypoints < 1.4
    assert ours.precision > 0.9 and raw.precision < 0.5 < results["raw patches, turned"][0].precision


def test_places_of_opencv_are_ours():
    """The same convention of pixels: half of OpenCV's keypoints have one of ours within a quarter of a pixel."""
    ours, theirs = sift(photo()), experiments.opencv_sift(photo())
    gap = torch.cdist(theirs.places, ours.places).amin(1)
    assert gap.median() < 0.25


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**20), n=st.integers(1, 8), m=st.integers(2, 8), ratio=st.floats(0.3, 1))
def test_ratio_test_matches_a_loop(seed, n, m, ratio):
    ours, theirs = noise(n, 5, seed=seed), noise(m, 5, seed=seed + 1)
    expected = []
    for i in range(n):
        distance = [(ours[i] - other).norm().item() for other in theirs]
        best, second = sorted(distance)[:2]
        if best < ratio * second * (1 - 1e-5):
            expected.append([i, distance.index(best)])
    found = match(ours, theirs, ratio).tolist()
    assert all(pair in found for pair in expected) and len(found) <= len(expected) + 1


def test_turned_places_follow_the_picture():
    image = torch.zeros(64, 64)
    image[10:13, 40:43] = 1
    x, y = experiments.turned_places(torch.tensor([[41.0, 11.0]]), 30, 64)[0].tolist()
    copy = experiments.turned(image, 30)
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    assert abs((copy * columns).sum() / copy.sum() - x) < 0.1 and abs((copy * rows).sum() / copy.sum() - y) < 0.1


# --- Whole pictures ---


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**20), bins=st.integers(1, 5))
def test_colour_histogram_matches_numpy(seed, bins):
    images = noise(2, 3, 7, 6, seed=seed)
    ours = features.colour_histogram(images, bins)
    for image, histogram in zip(images, ours):
        expected, _ = np.histogramdd(image.flatten(1).T.numpy(), bins=bins, range=[(0, 1)] * 3)
        assert_close(histogram.reshape(bins, bins, bins), torch.from_numpy(expected / 42).float())


def test_words_are_counted():
    images = experiments.objects(12, seed=0).images
    words = features.VisualWords(5, seed=0).fit(images)
    counts = words(images)
    found = features.dense_descriptors(images)
    assert counts.shape == (12, 5) and found.shape == (12, 81, 128)
    assert_close(counts.sum(1), torch.ones(12))
    nearest = (found[3, :, None] - words.centres).norm(dim=2).argmin(1)
    assert_close(counts[3], torch.bincount(nearest, minlength=5) / 81)
    lengths = found.norm(dim=2)
    assert ((lengths - 1).abs() < 1e-4).logical_or(lengths == 0).all()


def test_learns_toy_problem():
    """Two kinds of picture that differ in the direction of their edges: HOG and words tell them apart, colours cannot."""
    x = torch.arange(24.0)
    phase = 6.28 * noise(60)
    stripes = 0.5 + 0.4 * torch.sin(x + phase[:, None])
    grey = torch.stack([stripes[i].expand(24, 24) if i % 2 else stripes[i][:, None].expand(24, 24) for i in range(60)])
    images = grey[:, None].expand(-1, 3, -1, -1).contiguous()
    labels = torch.arange(60) % 2
    words = features.VisualWords(4, seed=0).fit(images[40:])
    assert experiments.split_accuracy(experiments.fine_hog(images), labels, 20) == 1
    assert experiments.split_accuracy(words(images), labels, 20) == 1
    assert experiments.split_accuracy(features.colour_histogram(images), labels, 20) < 0.8


def test_size_trials_have_the_right_form():
    scores = experiments.size_trials({16: 2, 24: 2}, range(2, 4), held=8)
    assert set(scores) == {*experiments.FEATURES, "visual words + colour", "ConvNet"}
    assert all(values.shape == (2, 2) and (values >= 0).all() and (values <= 1).all() for values in scores.values())


def test_convnet_parameter_count():
    """(3 · 9 + 1) 16 + (16 · 9 + 1) 32 + (32 · 9 + 1) 64, two numbers a channel of batch norm, (64 + 1) classes."""
    network = experiments.small_convnet(8)
    assert sum(p.numel() for p in network.parameters()) == 28 * 16 + 145 * 32 + 289 * 64 + 2 * 112 + 65 * 8


def test_colours_of_objects_overlap_between_classes():
    data = experiments.objects(40, seed=5)
    assert data.images.shape == (40, 3, 24, 24) and len(data.labels.unique()) > 5
    assert_close(experiments.objects(10, seed=5).images, data.images[:10])


# --- Bad input ---


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: grouping.affinities(torch.zeros(1, 4, 4), radius=0.5), "radius = 0.5, .*the radius 1 or more"),
        (lambda: grouping.second_eigenvector(np.array([[1.0, 2], [0, 1]])), "those of i and j are those of j and i"),
        (lambda: grouping.second_eigenvector(np.array([[1.0, -1], [-1, 1]])), "affinities are not negative"),
        (
            lambda: scale_space.gaussian_octaves(torch.zeros(12, 40)),
            "a picture of 12 x 40 pixels: the scale space wants 16",
        ),
        (lambda: sift(255 * torch.rand(32, 32)), "scale the picture into 0 … 1"),
        (lambda: match(torch.zeros(3, 2), torch.zeros(1, 2)), "ratio = 0.8, 1 descriptions"),
        (lambda: match(torch.zeros(3, 2), torch.zeros(4, 2), 1.5), "the ratio lies between 0 and 1"),
        (lambda: features.colour_histogram(2 + torch.zeros(1, 3, 2, 2)), "values in 0 … 1"),
        (lambda: features.colour_histogram(torch.zeros(1, 3, 2, 2), 0), "bins = 0"),
        (lambda: features.VisualWords(1), "words = 1: a vocabulary has two words or more"),
        (
            lambda: features.VisualWords(4).fit(torch.zeros(1, 1, 24, 24)),
            "0 descriptors for 4 words: give more pictures",
        ),
        (lambda: features.dense_descriptors(torch.zeros(1, 1, 7, 24)), "pictures of 7 x 24 pixels"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()

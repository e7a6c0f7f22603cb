"""Measures of labellings: against scikit-learn, scipy and naive loops; void labels and absent classes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from sklearn.metrics import confusion_matrix as sklearn_confusion
from sklearn.metrics import jaccard_score
from torch.testing import assert_close

from helpers.localization.segmentation import (
    VOID,
    boundary_f,
    boundary_iou,
    class_iou,
    confusion_matrix,
    inner_boundary,
    mean_boundary_iou,
    mean_iou,
    pixel_accuracy,
)

seeds = st.integers(0, 2**20)


def labellings(seed: int, classes: int, shape=(2, 7, 6)):
    noise = torch.Generator().manual_seed(seed)
    truth = torch.randint(classes, shape, generator=noise)
    found = torch.where(torch.rand(shape, generator=noise) < 0.5, truth, torch.randint(classes, shape, generator=noise))
    truth[torch.rand(shape, generator=noise) < 0.2] = VOID
    return found, truth


def blobs(seed: int, shape=(3, 12, 10)):
    noise = np.random.default_rng(seed).normal(size=shape)
    smooth = ndimage.gaussian_filter(noise, (*[0] * (len(shape) - 2), 1.5, 1.5))
    return torch.from_numpy(smooth > 0.05)


@settings(max_examples=25, deadline=None)
@given(seed=seeds, classes=st.integers(2, 6))
def test_matches_sklearn(seed, classes):
    found, truth = labellings(seed, classes)
    table = confusion_matrix(found, truth, classes=classes)
    counts = truth != VOID
    pair = truth[counts].numpy(), found[counts].numpy()
    assert table.tolist() == sklearn_confusion(*pair, labels=range(classes)).tolist()
    present = sorted(set(pair[0]) | set(pair[1]))
    expected = jaccard_score(*pair, labels=present, average=None, zero_division=0)
    assert_close(class_iou(table)[present], torch.from_numpy(expected))
    assert mean_iou(table) == pytest.approx(expected.mean())
    assert pixel_accuracy(table) == pytest.approx((pair[0] == pair[1]).mean())


@settings(max_examples=25, deadline=None)
@given(seed=seeds, classes=st.integers(2, 5))
def test_matches_a_naive_loop(seed, classes):
    found, truth = labellings(seed, classes, (1, 4, 3))
    table = [[0] * classes for _ in range(classes)]
    for f, t in zip(found.flatten().tolist(), truth.flatten().tolist()):
        if t != VOID:
            table[t][f] += 1
    assert confusion_matrix(found, truth, classes=classes).tolist() == table


def test_absent_classes_and_void():
    truth = torch.tensor([[0, 0, 1, VOID]])
    found = torch.tensor([[0, 1, 1, 3]])
    table = confusion_matrix(found, truth, classes=4)
    assert table.sum() == 3  # the void pixel is no pixel
    values = class_iou(table)
    assert values[:2].tolist() == [0.5, 0.5] and values[2:].isnan().all()
    assert mean_iou(table) == 0.5  # not 0.25: classes 2 and 3 do not occur
    wrong = confusion_matrix(torch.tensor([[2, 1]]), torch.tensor([[0, 1]]), classes=4)
    assert mean_iou(wrong) == pytest.approx(1 / 3)  # class 2 occurs in the answer: it counts, as 0
    assert math.isnan(mean_iou(torch.zeros(3, 3, dtype=torch.long)))
    both = confusion_matrix(found, truth, classes=4) + wrong
    assert both.sum() == 5


@settings(max_examples=25, deadline=None)
@given(seed=seeds, distance=st.integers(1, 4))
def test_boundaries_match_erosion(seed, distance):
    """scipy's erosion, so many times; beyond the image is outside."""
    masks = blobs(seed)
    square = np.ones((3, 3))
    for mask, found in zip(masks.numpy(), inner_boundary(masks, distance).numpy(), strict=True):
        inside = ndimage.binary_erosion(mask, square, iterations=distance, border_value=0)
        assert (found == (mask & ~inside)).all()
    one = inner_boundary(masks[0], distance)
    assert one.shape == masks[0].shape and (one == inner_boundary(masks, distance)[0]).all()


@settings(max_examples=25, deadline=None)
@given(seed=seeds, distance=st.integers(1, 3))
def test_boundary_iou_matches_a_naive_loop(seed, distance):
    found, truth = blobs(seed, (2, 8, 7)), blobs(seed + 1, (2, 8, 7))

    def near(mask, y, x):
        for j in range(y - distance, y + distance + 1):
            for i in range(x - distance, x + distance + 1):
                if not (0 <= j < 8 and 0 <= i < 7) or not mask[j, i]:
                    return True
        return False

    both = either = 0
    for a, b in zip(found, truth, strict=True):
        for y in range(8):
            for x in range(7):
                p, q = bool(a[y, x]) and near(a, y, x), bool(b[y, x]) and near(b, y, x)
                both, either = both + (p and q), either + (p or q)
    assert boundary_iou(found, truth, distance=distance) == pytest.approx(both / either if either else 1.0)


def test_a_wide_boundary_is_the_whole_mask():
    found, truth = blobs(3), blobs(4)
    expected = (found & truth).sum() / (found | truth).sum()
    assert boundary_iou(found, truth, distance=12) == pytest.approx(expected.item())
    assert boundary_iou(~found & found, ~found & found, distance=1) == 1


def test_boundaries_see_what_iou_does_not():
    """A square of 20 pixels a side, found one pixel too small all around."""
    truth = torch.zeros(32, 32, dtype=torch.bool)
    truth[6:26, 6:26] = True
    found = torch.zeros_like(truth)
    found[7:25, 7:25] = True
    assert boundary_iou(found, truth, distance=32) == pytest.approx(0.81)
    assert boundary_iou(found, truth, distance=1) == 0
    assert boundary_iou(found, truth, distance=2) == pytest.approx(68 / (76 + 68 + 60), rel=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_mean_boundary_iou_is_that_of_each_class(seed):
    found, truth = labellings(seed, 3)
    clean = truth.where(truth != VOID, 0)
    values = [boundary_iou(found == k, clean == k, distance=1) for k in range(3)]
    assert mean_boundary_iou(found, clean, classes=3, distance=1) == pytest.approx(sum(values) / 3)
    assert mean_boundary_iou(found, clean, classes=7, distance=1) == pytest.approx(sum(values) / 3)
    everything = torch.full_like(truth, VOID)
    assert math.isnan(mean_boundary_iou(found, everything, classes=3, distance=1))


@settings(max_examples=20, deadline=None)
@given(seed=seeds, distance=st.integers(1, 2))
def test_mean_boundary_iou_leaves_void_pixels_out(seed, distance):
    """A loop over pixels: boundaries first, as the labels stand, then only pixels that are not void."""
    found, truth = labellings(seed, 3)
    ones = torch.ones(1, 1, 2 * distance + 1, 2 * distance + 1)

    def boundary(mask):
        whole = torch.nn.functional.conv2d(mask[:, None].float(), ones, padding=distance)[:, 0] == ones.sum()
        return mask & ~whole

    values = []
    for k in range(3):
        a, b = boundary(found == k), boundary(truth == k)
        both = either = 0
        for p, q, t in zip(a.flatten().tolist(), b.flatten().tolist(), truth.flatten().tolist(), strict=True):
            if t != VOID:
                both, either = both + (p and q), either + (p or q)
        if either:
            values.append(both / either)
    expected = sum(values) / len(values)
    assert mean_boundary_iou(found, truth, classes=3, distance=distance) == pytest.approx(expected)


@settings(max_examples=20, deadline=None)
@given(seed=seeds, tolerance=st.integers(0, 3))
def test_boundary_f_matches_distances(seed, tolerance):
    found, truth = blobs(seed, (10, 9)), blobs(seed + 1, (10, 9))
    if not found.any() or not truth.any():
        return
    ours, theirs = (inner_boundary(m, 1).numpy() for m in (found, truth))
    far = [ndimage.distance_transform_cdt(~m, "chessboard") for m in (ours, theirs)]
    precision, recall = (far[1][ours] <= tolerance).mean(), (far[0][theirs] <= tolerance).mean()
    expected = 2 * precision * recall / (precision + recall) if precision + recall else 0
    assert boundary_f(found, truth, tolerance=tolerance) == pytest.approx(expected)


def test_boundary_f_of_empty_masks():
    empty, full = torch.zeros(4, 4, dtype=torch.bool), torch.ones(4, 4, dtype=torch.bool)
    assert boundary_f(empty, empty, tolerance=1) == 1
    assert boundary_f(empty, full, tolerance=1) == boundary_f(full, empty, tolerance=1) == 0


ZEROS = torch.zeros(2, 4, 4, dtype=torch.long)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: confusion_matrix(ZEROS[:, :2], ZEROS[:, :3], classes=2), r"shape \[2, 2, 4\] for a truth"),
        (lambda: confusion_matrix(ZEROS, ZEROS + 2, classes=2), "label 2 in the truth: .* 0 to 1 or 255"),
        (lambda: confusion_matrix(ZEROS, ZEROS + 255, classes=2, void=None), "label 255 in the truth: .* 0 to 1$"),
        (lambda: confusion_matrix(ZEROS - 1, ZEROS, classes=2), "labels from -1 to -1 were found"),
        (lambda: confusion_matrix(ZEROS, ZEROS, classes=0), "classes = 0"),
        (lambda: inner_boundary(ZEROS > 0, 0), "distance = 0"),
        (lambda: boundary_f(ZEROS > 0, ZEROS > 0, tolerance=-1), "tolerance = -1"),
        (lambda: mean_boundary_iou(ZEROS, ZEROS + 9, classes=2, distance=1), "label 9"),
    ],
)
def test_bad_input(call, message, unchecked):
    with pytest.raises(ValueError, match=message):
        call()

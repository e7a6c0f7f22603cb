"""Selective search: its measures by hand, its hierarchy against a loop, its recall against chance."""

import numpy as np
import pytest
import torch

from helpers.data.scenes import Rules, make_scenes
from helpers.localization.detection import proposals
from helpers.localization.detection.proposals import (
    FAST,
    MEASURES,
    QUALITY,
    Regions,
    Strategy,
    describe,
    first_regions,
    hierarchy,
    neighbours,
    random_windows,
    recall,
    selective_search,
    similarity,
    sliding_windows,
)

RULES = Rules(shapes=("disk", "square", "triangle", "star", "cross"), count=(1, 4))


def pixels_of(seed, size=32):
    return make_scenes(1, size, seed=seed, rules=RULES).images[0].double().permute(1, 2, 0).numpy()


def pair_similarity(regions, i, j, area, measures):
    """The four equations, written for two regions."""
    total = 0.0
    if "colour" in measures:
        total += sum(min(a, b) for a, b in zip(regions.colours[i], regions.colours[j]))
    if "texture" in measures:
        total += sum(min(a, b) for a, b in zip(regions.textures[i], regions.textures[j]))
    if "size" in measures:
        total += 1 - (regions.sizes[i] + regions.sizes[j]) / area
    if "fill" in measures:
        (a, b, c, d), (e, f, g, h) = regions.boxes[i], regions.boxes[j]
        hull = (max(c, g) - min(a, e)) * (max(d, h) - min(b, f))
        total += 1 - (hull - regions.sizes[i] - regions.sizes[j]) / area
    return total


@pytest.mark.parametrize("measures", [MEASURES, ("colour",), ("texture", "size"), ("fill",)])
def test_similarity_matches_a_loop(measures):
    regions, touch = first_regions(pixels_of(0), Strategy())
    area = regions.sizes.sum()
    i, j = touch.nonzero()
    expected = [pair_similarity(regions, a, b, area, measures) for a, b in zip(i, j)]
    np.testing.assert_allclose(similarity(regions, i, j, area, measures), expected)
    np.testing.assert_allclose(similarity(regions, int(i[0]), j[:1], area, measures), expected[:1])
    assert min(expected) >= 0 and max(expected) <= len(measures)


def slow_hierarchy(pixels, ids, measures):
    """Join regions in the image itself and describe it anew each time."""
    ids, boxes = ids.copy(), list(describe(pixels, ids).boxes)
    area = ids.size
    while ids.max() > 0:
        regions, touch = describe(pixels, ids), neighbours(ids)
        pairs = np.argwhere(np.triu(touch))
        values = [pair_similarity(regions, i, j, area, measures) for i, j in pairs]
        i, j = pairs[int(np.argmax(values))]
        ids[ids == j] = i
        ids[ids > j] -= 1
        y, x = np.nonzero(ids == i)
        boxes.append([x.min(), y.min(), x.max() + 1, y.max() + 1])
    return np.array(boxes, float)


@pytest.mark.parametrize("measures", [MEASURES, ("texture", "size", "fill")])
def test_hierarchy_matches_a_loop(measures):
    from skimage.segmentation import felzenszwalb

    for seed in range(6):
        pixels = pixels_of(seed)
        ids = felzenszwalb(pixels, 20, sigma=0.8, min_size=8)
        assert ids.max() > 4
        found = hierarchy(describe(pixels, ids), neighbours(ids), measures)
        np.testing.assert_array_equal(found, slow_hierarchy(pixels, ids, measures))


def test_hierarchy_ends_in_the_whole_image():
    regions, touch = first_regions(pixels_of(3), Strategy("rgb", 20.0, 8))
    before = [part.copy() for part in regions]
    boxes = hierarchy(regions, touch)
    assert len(boxes) == 2 * len(touch) - 1
    assert boxes[-1].tolist() == [0, 0, 32, 32]
    for part, old in zip(regions, before):
        np.testing.assert_array_equal(part, old)  # the first regions serve the next measures too


def test_descriptions_by_hand():
    ids = np.array([[0, 0, 1], [0, 0, 1], [2, 2, 2]])
    pixels = np.zeros((3, 3, 3))
    pixels[ids == 1] = 0.999
    regions = describe(pixels, ids)
    assert regions.sizes.tolist() == [4, 2, 3]
    assert regions.boxes.tolist() == [[0, 0, 2, 2], [2, 0, 3, 2], [0, 2, 3, 3]]
    assert neighbours(ids).tolist() == [[False, True, True], [True, False, True], [True, True, False]]
    np.testing.assert_allclose(regions.colours.sum(1), 1)
    np.testing.assert_allclose(regions.textures.sum(1), 1)
    first, last = np.zeros(75), np.zeros(75)
    first[[0, 25, 50]] = last[[24, 49, 74]] = 1 / 3
    np.testing.assert_allclose(regions.colours, [first, last, first])


def test_texture_knows_directions():
    """A ramp to the right and one to the left have other histograms; a flat region has only the lowest bins."""
    ramp = np.repeat(np.linspace(0, 0.96, 4)[None, :, None], 3, axis=2).repeat(4, axis=0)
    ids = np.zeros((4, 4), int)
    right, left, flat = (describe(x, ids).textures[0].reshape(3, 8, 10) for x in (ramp, ramp[:, ::-1], 0 * ramp))
    assert np.minimum(right, left).sum() < 0.5
    assert right[0, 0, 6] == pytest.approx(1 / 24) and left[0, 4, 6] == pytest.approx(1 / 24)  # slope 0.32
    np.testing.assert_allclose(flat[..., 0], 1 / 24)


@pytest.mark.parametrize("space", ["rgb", "lab", "hsv"])
def test_colour_spaces_fill_their_ranges(space):
    """Black, white, and the corners between: in 0 … 1, but for the b of blue, which is below -100."""
    corners = np.array([[[r, g, b] for r in (0.0, 1) for g in (0.0, 1) for b in (0.0, 1)]])
    found = proposals._in_space(corners, space)
    assert found.shape == corners.shape and found.min() > -0.04 and found.max() < 1 + 1e-9
    assert (np.ptp(found, axis=1) > 0.5).all()
    if space == "lab":  # lightness in hundredths, and a and b from -100 to 100
        from skimage.color import lab2rgb

        lightness, a, b = np.moveaxis(found, -1, 0)
        back = lab2rgb(np.stack([100 * lightness, 200 * a - 100, 200 * b - 100], -1))
        np.testing.assert_allclose(back, corners, atol=1e-3)


def test_regions_that_do_not_touch_are_not_joined():
    regions = Regions(np.ones(2), np.eye(2, 4), np.ones((2, 1)), np.ones((2, 1)))
    assert len(hierarchy(regions, np.zeros((2, 2), bool))) == 2


def test_proposals_are_boxes_of_the_image():
    image = make_scenes(1, 64, seed=1, rules=RULES).images[0]
    boxes = selective_search(image)
    assert boxes.dtype == image.dtype and len(boxes.unique(dim=0)) == len(boxes) > 50
    assert (boxes[:, :2] >= 0).all() and (boxes <= 64).all()
    assert ((boxes[:, 2:] - boxes[:, :2]) >= 4).all()
    assert torch.equal(boxes, selective_search(image)) and torch.equal(boxes[:20], selective_search(image, most=20))
    assert not torch.equal(boxes, selective_search(image, seed=1))  # another order
    assert torch.equal(boxes.unique(dim=0), selective_search(image, seed=1).unique(dim=0))
    assert (
        len(selective_search(image, strategies=QUALITY))
        > len(boxes)
        > len(selective_search(image, strategies=FAST[:1]))
    )


def test_likely_boxes_come_first(monkeypatch):
    """The a-th from the end of a hierarchy comes before the b-th, b > a, of the same or another with the chance 1 - a/2b.

    So it is for products of the place and a number drawn evenly: P(a u < b v). In 2,000 orders a share deviates from it
    by four standard deviations, 0.045 at most, once in 16,000 times; where all orders are alike it would be one half.
    """
    n, seeds, rows = 6, 2000, {"size": 10, "fill": 30}

    def hierarchy(regions, touch, measures):
        return np.array([[0.0, 0, 10 + place, rows[measures[0]]] for place in range(n, 0, -1)])  # the first is the last

    monkeypatch.setattr(proposals, "first_regions", lambda *_: (None, None))
    monkeypatch.setattr(proposals, "hierarchy", hierarchy)
    strategies, image = [Strategy(measures=(name,)) for name in rows], torch.zeros(3, 64, 64)
    ranks = np.empty((seeds, 2, n))
    for seed in range(seeds):
        boxes = selective_search(image, strategies=strategies, seed=seed)
        ranks[seed, (boxes[:, 3] == 30).long().numpy(), boxes[:, 2].long().numpy() - 11] = range(2 * n)
    for first in range(2):
        for second in range(2):
            for a in range(1, n):
                for b in range(a + 1, n + 1):
                    share = (ranks[:, first, a - 1] < ranks[:, second, b - 1]).mean()
                    assert abs(share - (1 - a / (2 * b))) < 0.045
    assert abs((ranks[:, 0] < ranks[:, 1]).mean() - 0.5) < 0.02  # no strategy is likelier than another


def test_large_boxes_come_first_in_scenes():
    """Late regions are large: of 20 orders of a scene's boxes, those at the first tenth are larger than the others."""
    for scene in range(3):
        image = make_scenes(1, 64, seed=scene, rules=RULES).images[0]
        found = [selective_search(image, strategies=FAST[:1], seed=seed) for seed in range(20)]
        areas = torch.stack([(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in found])  # the same boxes in 20 orders
        tenth = areas.shape[1] // 10
        assert areas[:, :tenth].mean() > 2 * areas[:, tenth:].mean()


def test_learns_toy_problem():
    """On scenes far fewer proposals than windows reach a higher recall; a window count gives away nothing by chance."""
    batch = make_scenes(20, 64, seed=0, rules=RULES)
    found = [selective_search(image) for image in batch.images]
    chance = torch.Generator().manual_seed(0)
    windows = [random_windows(300, (64, 64), generator=chance) for _ in batch.images]
    for most in (50, 100, 300):
        assert recall(found, batch.boxes, most=most) > recall(windows, batch.boxes, most=most) + 0.2
    assert recall(found, batch.boxes, most=50) > 0.85
    assert recall(windows, batch.boxes, most=50) < 0.4


def test_recall_by_hand():
    boxes = [torch.tensor([[0.0, 0, 4, 4], [10, 10, 14, 14]]), torch.zeros(0, 4), torch.tensor([[0.0, 0, 2, 2]])]
    found = [torch.tensor([[50.0, 50, 60, 60], [0, 0, 4, 2]]), torch.zeros(0, 4), torch.zeros(0, 4)]
    assert recall(found, boxes) == pytest.approx(1 / 3)  # an overlap of 0.5 is enough
    assert recall(found, boxes, 0.51) == 0
    assert recall(found, boxes, most=1) == 0
    assert np.isnan(recall(found[1:2], boxes[1:2]))


def test_windows():
    chance = torch.Generator().manual_seed(0)
    windows = random_windows(2000, (40, 60), generator=chance)
    sides = windows[:, 2:] - windows[:, :2]
    assert (windows[:, :2] >= 0).all() and (windows[:, 2:] <= torch.tensor([60.0, 40]) + 1e-4).all()
    assert sides.min() >= 4 and sides[:, 0].max() > 55 and 35 < sides[:, 1].max() < 40.1
    shares = (sides - 4) / torch.tensor([56.0, 36])  # each side is drawn by itself, evenly, and so is its place
    free = windows[:, :2] / (torch.tensor([60.0, 40]) - sides)
    for x in (*shares.T, *free.T):
        assert abs(x.mean() - 0.5) < 0.03 and abs(x.std() - 12**-0.5) < 0.02
    drawn = torch.cat([shares, free], 1).T.corrcoef().fill_diagonal_(0)
    assert drawn.abs().max() < 0.1
    sliding = sliding_windows(27, (64, 64), shares=(0.25, 0.5, 1))
    assert sliding.shape == (27, 4)
    assert sliding[0].tolist() == [0, 0, 16, 16] and sliding[8].tolist() == [48, 48, 64, 64]
    assert len(sliding_windows(2, (64, 64))) == 2 and len(sliding_windows(100, (64, 64))) <= 100


def test_refused():
    image = torch.rand(3, 16, 16)
    with pytest.raises(ValueError, match="image from 0.* to .*: give 0…1"):
        selective_search(image * 255)
    with pytest.raises(ValueError, match="space = 'luv': it is one of"):
        selective_search(image, strategies=[Strategy("luv")])
    with pytest.raises(ValueError, match="measure 'shape': one of"):
        selective_search(image, strategies=[Strategy(measures=("shape",))])
    with pytest.raises(ValueError, match="most = 0: propose at least 1 box"):
        selective_search(image, most=0)
    with pytest.raises(ValueError, match="count = 0: at least 1 window"):
        random_windows(0, (8, 8))
    with pytest.raises(ValueError, match=r"size = \(2, 8\): windows have sides of 4"):
        random_windows(3, (2, 8))
    with pytest.raises(ValueError, match="share = 2: it lies"):
        sliding_windows(3, (8, 8), shares=(2,))
    with pytest.raises(ValueError, match="1 lists of proposals for 2 images"):
        recall([torch.zeros(0, 4)], [torch.zeros(0, 4)] * 2)
    with pytest.raises(ValueError, match="overlap = 5: it lies"):
        recall([], [], 5)

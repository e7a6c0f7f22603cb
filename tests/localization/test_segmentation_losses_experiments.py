"""What the page on losses of masks runs: its pictures, the networks that learn on them, and what is read off."""

import pytest
import torch
from torch.testing import assert_close

from helpers.localization.segmentation_losses import dice_loss, experiments, weighted_cross_entropy
from helpers.localization.segmentation_losses.experiments import (
    Scratched,
    finder,
    iou_by_threshold,
    learn,
    pull_on_one_pixel,
    recall_by_size,
    reliefs,
    score,
    scratched,
    teach_pixels,
)


@pytest.fixture(scope="module")
def data() -> Scratched:
    return scratched(48, seed=3)


@pytest.fixture(scope="module")
def bodies() -> experiments.Reliefs:
    return reliefs(24, seed=3)


def test_one_pixel_in_a_hundred_is_foreground(data):
    assert 0.006 < data.masks.float().mean() < 0.02
    assert torch.equal(data.masks, data.faults > 0)
    assert torch.equal(scratched(2, seed=3).images, scratched(2, seed=3).images)


def test_faults_are_darker_than_what_lies_around_them(data):
    """Beside the mask, two pixels away, the picture is brighter by more than the noise."""
    grey, mask = data.images.mean(1), data.masks
    around = torch.nn.functional.max_pool2d(mask[:, None].float(), 7, 1, 3)[:, 0].bool()
    near = torch.nn.functional.max_pool2d(mask[:, None].float(), 3, 1, 1)[:, 0].bool()
    assert grey[around & ~near].mean() - grey[mask].mean() > 0.05


def test_normals_have_length_one_and_face_the_eye(bodies):
    assert_close(bodies.normals.norm(dim=1), torch.ones(24, 48, 48))
    assert (bodies.normals[:, 2] > 0).all()
    flat = bodies.parts != 2  # ground and tops, but for the pixels beside a rim
    inner = -torch.nn.functional.max_pool2d((~flat)[:, None].float(), 3, 1, 1)[:, 0] > -0.5
    assert_close(bodies.normals[:, 2][inner], torch.ones(int(inner.sum())))


def test_lit_rims_are_brighter_than_shaded_ones(bodies):
    """The light comes from the upper left: rims that face there are brighter than those of the lower right."""
    grey, rim = bodies.images.mean(1), bodies.parts == 2
    towards = bodies.normals[:, 0] + bodies.normals[:, 1]
    assert grey[rim & (towards < -0.5)].mean() > 1.5 * grey[rim & (towards > 0.5)].mean()


def test_rims_face_outwards(bodies):
    """On the left rim of a body normals point left, on its upper rim up; y grows downwards."""
    ground, (right, down) = bodies.parts == 0, bodies.normals[:, :2].unbind(1)
    left_rim, upper_rim = ground[:, :, :-1] & ~ground[:, :, 1:], ground[:, :-1] & ~ground[:, 1:]
    assert right[:, :, 1:][left_rim].mean() < -0.3 and down[:, 1:][upper_rim].mean() < -0.3


def test_edges_lie_between_different_things(bodies):
    ground = bodies.parts == 0
    assert not bodies.edges[:, :-1, :-1][ground[:, :-1, :-1] & ground[:, 1:, :-1] & ground[:, :-1, 1:]].any()
    step = ground[:, :, :-1] != ground[:, :, 1:]
    assert bodies.edges[:, :, :-1][step].all()


def test_a_finder_begins_where_it_is_told():
    torch.manual_seed(0)
    model = finder(bias=-4.0).eval()
    with torch.no_grad():
        z = model(torch.rand(4, 3, 16, 16))
    assert z.shape == (4, 16, 16) and abs(z.median() + 4) < 0.5


def test_a_finder_sees_17_pixels():
    torch.manual_seed(0)
    model, images = finder().eval(), torch.rand(1, 3, 32, 32).requires_grad_()
    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.weight.data.abs_()  # no path is switched off
    model(images)[0, 16, 16].backward()
    rows = images.grad[0, 0].any(1).nonzero().flatten().tolist()
    assert (rows[0], rows[-1]) == (16 - 8, 16 + 8)


def test_a_finder_learns_and_is_scored(data):
    torch.set_num_threads(1)
    model, path = learn(weighted_cross_entropy, data, 60, run=0, bias=-4.4, watch=data.first(8), every=30)
    result = score(model, data, data)
    assert len(path) == 2 and path[1] > path[0]
    assert result.best >= result.iou and result.best == pytest.approx(max(iou_by_threshold(model, data)))
    assert result.best > 0.25


def test_pull_is_the_gradient_of_the_loss():
    p = torch.tensor([0.2, 0.7])
    pulls = pull_on_one_pixel(weighted_cross_entropy, p, others=0.1, foreground=2, pixels=10)
    assert_close(pulls, torch.stack([p - 1, p], 1), check_dtype=False)
    pulls = pull_on_one_pixel(dice_loss, p, others=0.1, foreground=2, pixels=10)
    assert (pulls[:, 0] < 0).all() and (pulls[:, 1] > 0).all()


def test_recall_by_size_counts_faults_alike():
    faults = torch.zeros(1, 4, 8, dtype=torch.long)
    faults[0, 0, :2], faults[0, 2, :6] = 1, 2
    data = Scratched(torch.zeros(1, 3, 4, 8), faults > 0, faults)
    found = torch.zeros(1, 4, 8, dtype=torch.bool)
    found[0, 0, 0] = found[0, 2, :6] = True
    assert recall_by_size(found, data, [1, 3, 10]) == [0.5, 1.0]


@pytest.mark.parametrize("task", experiments.TASKS)
def test_pixels_are_taught(bodies, task):
    model = teach_pixels(task, bodies, 115, 6, run=0)
    said = experiments.answer(model, bodies.images)
    assert said.shape == (24, 2304, experiments.TASKS[task])
    if task == "normals":
        assert 0 < experiments.degrees_off(model, bodies) < 90
    else:
        assert 0 <= experiments.mean_iou(model, bodies, task) <= 1


def test_losses_of_a_pixel_and_itself_are_alike(bodies):
    model = teach_pixels("parts", bodies, 115, 6, run=0)
    near, far = (experiments.loss_correlation(model, bodies, 12)[i] for i in (0, 11))
    assert 1 >= near > far

"""What the chapter does with all detectors alike: scenes, learning, finding, work, time, pairs in one cell."""

from copy import deepcopy
from functools import partial
from math import cos, pi

import pytest
import torch
from PIL import Image
from torch import nn
from torch.testing import assert_close

from helpers.data import VOC_CLASSES
from helpers.data.scenes import CLASSES, Rules, make_scenes
from helpers.localization import detection
from helpers.localization.detection import Detections, experiments
from helpers.localization.detection.experiments import (
    SHAPES,
    Remembered,
    Scenes,
    both_found,
    draw_scenes,
    find,
    learn,
    near_pairs,
    photographs,
    windows_of,
)
from helpers.training import recipe


def test_scenes_are_those_of_the_book_with_labels_from_zero():
    ours = draw_scenes(12, 32, seed=3, count=(1, 3), sizes=("medium",))
    rules = Rules(
        shapes=SHAPES,
        count=(1, 3),
        materials=("plain",),
        backgrounds=("plain", "gradient", "clouds"),
        sizes=("medium",),
    )
    theirs = make_scenes(12, 32, seed=3, rules=rules)
    assert_close(ours.images, theirs.images)
    names = [[CLASSES[k] for k in label] for label in theirs.labels]
    assert [[SHAPES[k] for k in label] for label in ours.labels] == names
    assert len({name for row in names for name in row}) == 4
    for box, other in zip(ours.boxes, theirs.boxes, strict=True):
        assert_close(box, other)


def test_first_scenes():
    few = draw_scenes(5, 32, seed=0).first(2)
    assert isinstance(few, Scenes) and [len(column) for column in few] == [2, 2, 2]


def thing(name, corners, difficult="0"):
    return dict(name=name, difficult=difficult, bndbox=dict(zip(("xmin", "ymin", "xmax", "ymax"), map(str, corners))))


@pytest.fixture
def voc(monkeypatch):
    """Three photographs of 40 x 20 pixels, as `load` gives them; the last holds nothing but a difficult thing."""
    things = [
        [thing("dog", (1, 1, 20, 10)), thing("person", (5, 5, 9, 9), "1")],
        [thing("car", (11, 6, 40, 20)), thing("cat", (1, 1, 10, 5))],
        [thing("cat", (1, 1, 10, 10), "1")],
    ]
    rows = [
        (Image.new("RGB", (40, 20), (255, 0, 51 * i)), dict(annotation=dict(object=row)))
        for i, row in enumerate(things)
    ]
    monkeypatch.setattr(experiments, "load", lambda name, split: {("voc2007", "trainval"): rows}[name, split])


def test_photographs_are_squeezed_with_their_boxes(voc):
    (images, boxes, labels), marks = photographs("trainval", 8, difficult=False)
    assert images.shape == (2, 3, 8, 8)
    assert_close(images[:, :, 3, 5], torch.tensor([[1.0, 0, 0], [1, 0, 0.2]]))
    assert_close(boxes[0], torch.tensor([[0.0, 0, 4, 4]]))
    assert_close(boxes[1], torch.tensor([[2.0, 2, 8, 8], [0, 0, 2, 2]]))
    assert [[VOC_CLASSES[k] for k in label] for label in labels] == [["dog"], ["car", "cat"]]
    assert [mark.tolist() for mark in marks] == [[False], [False, False]]


def test_a_judge_is_told_what_is_difficult(voc):
    """A detection of the difficult person is no error, and the cat that is one need not be found."""
    scenes, marks = photographs("trainval", 8, difficult=True)
    assert [[VOC_CLASSES[k] for k in label] for label in scenes.labels] == [["dog", "person"], ["car", "cat"], ["cat"]]
    assert [mark.tolist() for mark in marks] == [[False, True], [False, False], [True]]
    found = [
        Detections(box, torch.ones(len(box)), label) for box, label in zip(scenes.boxes, scenes.labels, strict=True)
    ]
    found[2] = Detections(*(x[:0] for x in found[2]))
    rules = dict(classes=20, thresholds=(0.5,), points=11, rule="voc")
    result = detection.evaluate_detections(found, *scenes[1:], ignored=marks, **rules)
    assert result.mean == 1 and result.precision[:, 0].isfinite().sum() == 3  # dog, car, cat
    assert detection.evaluate_detections(found, *scenes[1:], **rules).mean < 1


def test_photographs_are_learned_and_judged(monkeypatch):
    """What the lecture passes over, with eight images and three steps."""
    asked = []

    def some(split, side, *, difficult, device):
        asked.append((split, side, difficult))
        drawn = draw_scenes(8, side, seed=0, device=device)
        drawn = drawn._replace(labels=[label + 16 for label in drawn.labels])
        return drawn, [label == 16 for label in drawn.labels]

    monkeypatch.setattr(experiments, "photographs", some)
    for name in ("Faster R-CNN", "SSD"):
        assert 0 <= experiments.learn_photographs(name, detection.Trunk(), 64, 3, 0, device="cpu") <= 1
    assert asked == [("trainval", 64, False), ("test", 64, True)] * 2


def regions(images):
    return [image.new_tensor([[0.0, 0, 30, 30], [20, 20, 60, 60]]) for image in images]


@pytest.mark.parametrize("name", [*experiments.DETECTORS, "Fast, RoI pooling", "SSD, all negatives"])
def test_every_detector_is_trained_and_judged(name):
    scenes, trunk = draw_scenes(8, 64, seed=0), detection.Trunk()
    before = deepcopy(trunk.state_dict())
    one = experiments.train_detector(name, trunk, scenes, scenes, 0, steps=1, proposer=regions)
    assert_close(trunk.state_dict(), before)  # it learned with a copy
    assert len(one.found) == 8 and 0 <= one.result.mean <= 1
    if name in experiments.DETECTORS:
        again = experiments.detect(name, one.model, scenes.images)
        assert all(torch.equal(a.scores, b.scores) for a, b in zip(again, one.found, strict=True))
    assert experiments.precision_of({(name, 0): one, ("other", 0): one}, name).tolist() == [
        pytest.approx(one.result.mean)
    ]
    assert experiments.precision_of({(name, 0): one}, name, 0.5).tolist() == [pytest.approx(one.result.at(0.5))]
    with pytest.raises(ValueError, match="no detector called 'DETR'"):
        experiments.precision_of({(name, 0): one}, "DETR")


def test_variants_differ_where_their_names_say():
    trunk = detection.Trunk()
    rounded = experiments.build("Fast R-CNN", trunk, side=64, proposer=regions, pool=detection.roi_pool)
    assert rounded.roi_heads.pool.pool is detection.roi_pool
    windows = experiments.build("sliding window", trunk, side=128)
    assert windows.sizes == (24.0, 36.0, 56.0)
    assert experiments.build("Faster R-CNN", trunk, side=128).rpn.sizes[0] == (24, 38, 56)
    scenes = draw_scenes(2, 64, seed=0)
    ssd = experiments.build("SSD", trunk, side=64).train()
    mined, whole = (losses(ssd, *scenes)["class"] for losses in (detection.ssd_losses, experiments.ssd_losses_of_all))
    assert whole > mined
    with pytest.raises(ValueError, match="R-CNN proposes nothing itself"):
        experiments.build("R-CNN", trunk, side=64)
    with pytest.raises(ValueError, match="'DETR': one of sliding window, R-CNN"):
        experiments.build("DETR", trunk, side=64)


def test_a_lone_object_is_judged_by_class_and_overlap(monkeypatch):
    scenes = draw_scenes(16, 64, seed=0, count=1)

    def half_right(model, images):
        labels = [label if i < 8 else (label + 1) % 4 for i, label in enumerate(scenes.labels)]
        return [Detections(box, torch.ones(1), label) for box, label in zip(scenes.boxes, labels)]

    monkeypatch.setattr(experiments, "localization_detect", half_right)
    assert experiments.lone_object(detection.Trunk(), scenes, scenes, 0, steps=1) == (0.5, pytest.approx(1.0))


def test_recall_in_thirds_and_by_number():
    boxes = [torch.tensor([[0.0, 0, 10, 10]])] * 6
    proposed = [torch.tensor([[50.0, 50, 60, 60], [0, 0, 10, 10]])] * 6
    proposed[1] = proposed[1][:1]
    assert experiments.recall_in_thirds(proposed, boxes, 2) == [1.0, 0.5, 1.0]
    assert experiments.recall_by_number(proposed, boxes, [1, 2], 0.5) == [0.0, pytest.approx(5 / 6)]


def test_fewer_proposals_leave_the_model_as_it_is():
    scenes = draw_scenes(2, 64, seed=0)
    model = experiments.build("Faster R-CNN", detection.Trunk(), side=64).eval()
    one, accuracy = experiments.with_proposals(model, 1, scenes)
    with torch.no_grad():
        assert [len(model(scenes.images).proposals[0]), len(one(scenes.images).proposals[0])] == [48, 1]
    assert 0 <= accuracy <= 1


def test_proposals_are_made_anew_when_speed_is_measured():
    seen = []
    remembered = Remembered(lambda image: seen.append(1) or regions([image])[0])
    scenes = draw_scenes(2, 64, seed=0)
    model = experiments.build("Fast R-CNN", detection.Trunk(), side=64, proposer=remembered).eval()
    assert experiments.images_per_second("Fast R-CNN", model, scenes.images, remembered) > 0
    assert len(seen) > 2


def test_surer_detections_and_scenes_by_their_errors():
    scenes = draw_scenes(6, 64, seed=0, count=3)
    right = [Detections(box, torch.full((3,), 0.9), label) for box, label in zip(scenes.boxes, scenes.labels)]
    right[0] = right[0]._replace(scores=torch.tensor([0.9, 0.2, 0.1]))
    found = experiments.surer(right, 0.5)
    assert [len(d.scores) for d in found] == [1, 3, 3, 3, 3, 3]
    assert experiments.by_errors(found, scenes) == [1, 2, 3, 4, 5, 0]


class Guess(nn.Module):
    """One number for all images; it should become the mean of the labels."""

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(0.0))

    def forward(self, images):
        return self.value.expand(len(images))


def guess_losses(model, images, boxes, labels, *, generator, seen=None):
    assert model.training
    labels = torch.cat(labels)
    assert_close(images[:, 0, 0, 0].long(), labels)  # the truth of these images, not of others
    assert_close(torch.cat(boxes)[:, 0].long(), labels)
    if seen is not None:
        seen.append((labels.tolist(), torch.rand((), generator=generator).item()))
    return {"to": (model(images) - labels).square().mean(), "past": (model(images) - labels - 1).square().mean()}


def labelled(values):
    return Scenes(
        torch.tensor(values).float()[:, None, None, None].expand(-1, 3, 8, 8),
        [torch.tensor([[v, 0.0, v + 1.0, 1.0]]) for v in values],
        [torch.tensor([v]) for v in values],
    )


def test_learns_toy_problem_from_the_sum_of_all_losses():
    model = learn(Guess(), guess_losses, labelled([1, 2, 3, 4] * 8), 200, run=0, rate=0.1)
    assert model.value.item() == pytest.approx(3.0, abs=0.2)  # one loss alone would lead to 2.5 or 3.5
    assert not model.training


@pytest.mark.parametrize("steps", [1, 2, 9])
def test_learns_for_few_steps(steps):
    seen = []
    learn(Guess(), partial(guess_losses, seen=seen), labelled([1, 2, 3, 4] * 8), steps, run=0)
    assert len(seen) == steps


def test_the_rate_rises_over_a_tenth_and_ends_near_nothing(monkeypatch):
    """And gradients of more than 10 are cut to that length."""
    made, rates, lengths = [], [], []

    class Watched(torch.optim.AdamW):
        def __init__(self, *given, **options):
            super().__init__(*given, **options)
            made.append(self)

        def step(self, *given, **options):
            rates.append(self.param_groups[0]["lr"])
            lengths.append(self.param_groups[0]["params"][0].grad.norm().item())
            return super().step(*given, **options)

    monkeypatch.setattr(recipe, "AdamW", Watched)
    learn(Guess(), guess_losses, labelled([1, 2, 3, 4] * 8), 100, run=0, rate=0.2)
    assert len(made) == 1 and len(rates) == 100
    assert rates[:10] == pytest.approx([0.02 * i for i in range(10)]) and rates[10] == 0.2
    cosine = [0.1 * (1 + cos(pi * i / 90)) for i in range(90)]
    assert rates[10:] == pytest.approx(cosine) and rates[-1] < 1e-4
    assert max(lengths) == pytest.approx(10, rel=1e-4)  # the first, of some 12


def test_a_run_decides_the_order_and_what_is_drawn():
    runs = []
    for run in (0, 0, 1):
        learn(Guess(), partial(guess_losses, seen=(seen := [])), labelled([1, 2, 3, 4] * 8), 20, run=run)
        runs.append(list(zip(*seen, strict=True)))
    assert runs[0] == runs[1]
    assert runs[0][0] != runs[2][0] and runs[0][1] != runs[2][1]


def test_find_keeps_the_order_and_passes_options():
    images = torch.arange(120.0)[:, None, None, None].expand(-1, 3, 4, 4)
    sizes = []

    def detect(model, x, *, score):
        sizes.append(len(x))
        return [Detections(i.new_zeros(1, 4), i[:1, 0, 0] + score, torch.zeros(1).long()) for i in x]

    found = find(nn.Identity(), detect, images, score=0.5)
    assert sizes == [50, 50, 20]
    assert [d.scores.item() for d in found] == [i + 0.5 for i in range(120)]


def test_remembered_proposer_sees_each_image_once():
    seen = []

    def proposer(image):
        seen.append(image.mean().item())
        return image.new_tensor([[0.0, 0.0, 1.0 + image.mean(), 2.0]])

    remembered = Remembered(proposer)
    images = torch.tensor([0.25, 0.75])[:, None, None, None].expand(-1, 3, 4, 4)
    first = remembered(images)
    again = remembered(images.flip(0))
    assert seen == [0.25, 0.75]
    assert_close(torch.cat(again), torch.cat(first).flip(0))
    remembered.known.clear()
    remembered(images[:1])
    assert seen == [0.25, 0.75, 0.25]


CORNERS = torch.tensor([[0.0, 0, 6, 6], [8, 8, 14, 14], [14, 8, 22, 14]])  # centres (3, 3), (11, 11), (18, 11)


def found_of(*which, label):
    return Detections(CORNERS[list(which)], torch.ones(len(which)), torch.tensor(label))


def test_pairs_are_told_by_the_cell_of_their_centres():
    labels = torch.tensor([0, 1, 2])  # 0 and 1 share a cell of 16 pixels; 1 and 2 do not; 0 and 2 are 17 apart
    whole, misnamed = found_of(0, 1, 2, label=[0, 1, 2]), found_of(0, 1, 2, label=[0, 1, 1])
    pairs = near_pairs([whole, misnamed], [CORNERS] * 2, [labels] * 2, cell=16)
    assert pairs == {
        (0, 0, 1): (True, True),
        (0, 1, 2): (False, True),
        (1, 0, 1): (True, True),
        (1, 1, 2): (False, False),
    }
    without_first = found_of(1, 2, label=[1, 2])
    assert [pair.found for pair in near_pairs([without_first], [CORNERS], [labels], cell=16).values()] == [False, True]
    assert list(near_pairs([whole], [CORNERS], [torch.tensor([0, 0, 1])], cell=16)) == [(0, 1, 2)]  # one class: no pair


def test_pairs_must_overlap_their_things():
    labels = torch.tensor([0, 1, 2])
    moved = Detections(CORNERS + 4, torch.ones(3), labels)  # overlap 1/14 … : below one half
    assert not any(pair.found for pair in near_pairs([moved], [CORNERS], [labels], cell=16).values())
    low = near_pairs([moved], [CORNERS], [labels], cell=16, overlap=0.01)
    assert all(pair.found for pair in low.values())


def test_windows_move_boxes_with_the_image():
    images = torch.arange(3 * 6 * 6.0).view(1, 3, 6, 6)
    scenes = Scenes(images, [torch.tensor([[1.0, 2, 5, 6]])], [torch.tensor([3])])
    view = windows_of(scenes, 4, 2)
    assert torch.equal(view.images, images[:, :, 2:, 2:])
    assert view.boxes[0].tolist() == [[-1, 0, 3, 4]] and view.labels is scenes.labels


def test_the_same_pairs_are_counted_in_both_views():
    """Shifted by half a cell the first pair is torn, and the second one comes to share a cell."""
    scenes = Scenes(torch.zeros(1, 3, 24, 24), [CORNERS], [torch.tensor([0, 1, 2])])
    views = [windows_of(scenes, 16, at) for at in (0, 2)]
    assert [view.boxes[0][1].tolist() for view in views] == [[8, 8, 14, 14], [6, 6, 12, 12]]
    # The third thing is cut by the first view, the first thing by the second: no pair is whole in both.
    seen = [[Detections(view.boxes[0], torch.ones(3), view.labels[0])] for view in views]
    with pytest.raises(ValueError, match="no pair shares a cell of 16 pixels in one view only"):
        both_found(seen, views, cell=16)
    scenes = Scenes(torch.zeros(1, 3, 40, 40), [CORNERS + 8], [torch.tensor([0, 1, 2])])
    views = [windows_of(scenes, 32, at) for at in (0, 8)]  # centres 11, 19, 26 and 3, 11, 18 in x
    seen = [[Detections(view.boxes[0], torch.ones(3), view.labels[0])] for view in views]
    assert both_found(seen, views, cell=16) == (1.0, 1.0)
    lost = Detections(*(x[1:] for x in seen[1][0]))  # the first thing, where it shares a cell with the second
    assert both_found([seen[0], [lost]], views, cell=16) == (0.5, 1.0)
    lost = Detections(*(x[:2] for x in seen[0][0]))  # the third, where it shares a cell with the second
    assert both_found([[lost], seen[1]], views, cell=16) == (0.5, 1.0)
    lost = Detections(*(x[:2] for x in seen[1][0]))
    assert both_found([seen[0], [lost]], views, cell=16) == (1.0, 0.5)

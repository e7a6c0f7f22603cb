"""What the chapter does with all detectors alike: scenes, learning, finding, work, time, pairs in one cell."""

from copy import deepcopy
from functools import partial
from typing import NamedTuple

import nbformat
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
    photographs,
)
from helpers.notebook import table
from tools.notebooks import BOOK


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
    images, boxes, labels = photographs("trainval", 8)
    assert images.shape == (2, 3, 8, 8)
    assert_close(images[:, :, 3, 5], torch.tensor([[1.0, 0, 0], [1, 0, 0.2]]))
    assert_close(boxes[0], torch.tensor([[0.0, 0, 4, 4]]))
    assert_close(boxes[1], torch.tensor([[2.0, 2, 8, 8], [0, 0, 2, 2]]))
    assert [[VOC_CLASSES[k] for k in label] for label in labels] == [["dog"], ["car", "cat"]]


def test_page_learns_photographs_at_scale(capsys):
    """The cell that the lecture passes over, with four images and ten steps."""
    cells = nbformat.read(BOOK / "localization/detection.ipynb", 4).cells
    (cell,) = (cell.source for cell in cells if "photographs(split" in cell.source)
    (method,) = (cell.source for cell in cells if "class Method" in cell.source)
    (scaled,) = (cell.source for cell in cells if "def scaled" in cell.source)
    (ssd,) = (cell.source for cell in cells if 'kit["SSD"] =' in cell.source)
    asked = []

    def some(split, side, device):
        asked.append((split, side))
        drawn = draw_scenes(4, side, seed=0, device=device)
        return drawn._replace(labels=[label + 16 for label in drawn.labels])

    names = dict(seed=0, size=64, device="cpu", k=4, longer=1, trunk=detection.Trunk(), photographs=some, nn=nn)
    names |= dict(od=detection, partial=partial, NamedTuple=NamedTuple, deepcopy=deepcopy, table=table, torch=torch)
    names |= dict(by_scale=lambda _, *, lecture, gpu: gpu, scale="gpu", Scenes=Scenes, find=find, train=None)
    names["learn"] = lambda *given, run, rate, batch_size: learn(*given[:3], 10, run=run, rate=rate, batch_size=2)
    names["study"] = lambda *given: None
    exec(method.partition("longer =")[0] + "\nkit = {}", names)
    exec(scaled.partition("study(")[0] + ssd.partition("for name")[0], names)
    exec(cell, names)
    assert asked == [("trainval", 64), ("test", 64)]
    assert [row[0] for row in names["rows"]] == ["Faster R-CNN", "SSD"]
    assert "| Faster R-CNN | 0." in capsys.readouterr().out


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


def test_pairs_are_counted_by_the_cell_of_their_centres():
    labels = torch.tensor([0, 1, 2])  # 0 and 1 share a cell of 16 pixels; 1 and 2 do not, 0 and 2 neither
    whole = found_of(0, 1, 2, label=[0, 1, 2])
    assert both_found([whole], [CORNERS], [labels], cell=16) == (1.0, 1.0)
    without_first = found_of(1, 2, label=[1, 2])
    assert both_found([without_first], [CORNERS], [labels], cell=16) == (0.0, 1.0)  # the pair (0, 2) is 17 apart
    misnamed = found_of(0, 1, 2, label=[0, 1, 1])
    assert both_found([misnamed], [CORNERS], [labels], cell=16) == (1.0, 0.0)
    assert both_found([whole, misnamed], [CORNERS] * 2, [labels] * 2, cell=16) == (1.0, 0.5)


def test_pairs_of_one_class_do_not_count():
    labels = torch.tensor([0, 0, 1])
    with pytest.raises(ValueError, match="no pair of things in one cell of 16 pixels"):
        both_found([found_of(0, label=[0])], [CORNERS], [labels], cell=16)


def test_pairs_must_overlap_their_things():
    labels = torch.tensor([0, 1, 2])
    moved = Detections(CORNERS + 4, torch.ones(3), labels)  # overlap 1/14 … : below one half
    assert both_found([moved], [CORNERS], [labels], cell=16) == (0.0, 0.0)
    assert both_found([moved], [CORNERS], [labels], cell=16, overlap=0.01) == (1.0, 1.0)

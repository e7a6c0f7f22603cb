"""The figures of the page on detection show what they are given."""

import matplotlib
import pytest
import torch

from helpers.localization import detection
from helpers.localization.detection import Detections, figures
from helpers.localization.detection.experiments import DETECTORS, draw_scenes

matplotlib.use("Agg")

SCENES = draw_scenes(4, 64, seed=0, count=3)
SCENE, TRUTH, LABELS = SCENES.images[:1], SCENES.boxes[0], SCENES.labels[0]


def boxes_in(ax) -> int:
    return sum(patch.get_linewidth() == 2 for patch in ax.patches)  # without the frames of pictures


def titles(figure) -> list[str]:
    return [ax.get_title() for ax in figure.axes]


def test_pictures_of_the_scene_have_their_boxes():
    assert [boxes_in(ax) for ax in figures.scenes(SCENES, [0, 1, 2, 3]).axes] == [3] * 4
    assert [boxes_in(ax) for ax in figures.one_cell(SCENE, TRUTH, torch.ones(64, 64), step=8).axes] == [3, 0]
    levels = [torch.rand(5, 5)] * 3
    assert [boxes_in(ax) for ax in figures.windows(SCENE, levels, (12.0, 18.0, 28.0), TRUTH).axes] == [0, 0, 0, 3]
    many = TRUTH.repeat(20, 1)
    assert [boxes_in(ax) for ax in figures.proposals(SCENE, many, TRUTH).axes] == [30, 3]
    assert [boxes_in(ax) for ax in figures.proposing(SCENE, torch.rand(8, 8), many).axes] == [0, 16]
    assert [boxes_in(ax) for ax in figures.responsible(SCENE, TRUTH, many, cell=16).axes] == [0, 60]
    fates = figures.matching(SCENE, [TRUTH, TRUTH[:1]], ["object", "nothing"], TRUTH)
    assert [boxes_in(ax) for ax in fates.axes] == [6, 4] and titles(fates) == ["3 object", "1 nothing"]
    figures.roi_pooling(SCENE, torch.rand(1, 4, 8, 8), TRUTH[:1], step=8)
    figures.score_maps(SCENE, torch.rand(9, 8, 8), "disk")


def test_all_detectors_stand_beside_the_truth():
    found = {
        name: Detections(TRUTH[:n], torch.ones(n), LABELS[:n]) for n, name in zip((0, 1, 2, 3, 0, 1, 2), DETECTORS)
    }
    figure = figures.all_detectors(SCENE, TRUTH, LABELS, found)
    assert [boxes_in(ax) for ax in figure.axes] == [3, 0, 1, 2, 3, 0, 1, 2]
    assert titles(figure) == ["the truth", *DETECTORS]


def test_curves_have_a_line_for_each_run():
    figure = figures.recalls([5, 300], {0.5: {"a": [[0.1, 0.2]] * 3, "b": [[0.3, 0.4]]}, 0.7: {"a": [[0, 1]]}})
    assert [len(ax.lines) for ax in figure.axes] == [4, 1]
    rates = {name: 10.0 * 2**i for i, name in enumerate(DETECTORS)}
    heights = {name: torch.tensor([0.1, 0.2, 0.3]) for name in DETECTORS}
    (ax,) = figures.speed_and_accuracy(rates, heights, {"half": ("SSD", [(10.0, 0.1), (20.0, 0.05)])}).axes
    assert len(ax.lines) == 8 and {text.get_text() for text in ax.texts} == {*DETECTORS, "half"}
    line = torch.tensor([1.0, 0.5]), torch.tensor([0.5, 1.0])
    figure = figures.precision_and_recall({0.5: {"SSD": line, "YOLO": line}, 0.75: {"SSD": line}}, "disks")
    assert [len(ax.lines) for ax in figure.axes] == [2, 1]
    values = {"SSD": torch.tensor([0.1, 0.2]), "YOLO": torch.tensor([0.3, 0.4])}
    figures.sheet(values, {"SSD": 100.0, "YOLO": 200.0}, ["a", "b"])


def test_steps_of_suppression_and_errors_are_counted():
    raw = Detections(TRUTH[[0, 0, 1]], torch.tensor([0.9, 0.8, 0.7]), LABELS[[0, 0, 1]])
    steps = list(detection.nms_steps(raw.boxes, raw.scores, 0.5))
    shown = [titles(figures.suppression(SCENE, raw, steps, frame))[0] for frame in range(3)]
    assert shown == ["3 boxes", "kept 1, struck out 1", "kept 2, struck out 0"]
    sorted_out = detection.sort_errors([raw], [TRUTH], [LABELS])
    (ax,) = figures.errors({"SSD": sorted_out}, 3).axes
    widths = dict(zip([*detection.KINDS, "missed"], (bar.get_width() for bar in ax.patches)))
    assert widths["missed"] == pytest.approx(1 / 3) and widths[detection.KINDS[0]] == pytest.approx(2 / 3)
    found = [Detections(box, torch.ones(len(box)), label) for box, label in zip(SCENES.boxes, SCENES.labels)]
    assert [boxes_in(ax) for ax in figures.gallery(SCENES, found, [0, 1, 2, 3] * 2).axes] == [6] * 8

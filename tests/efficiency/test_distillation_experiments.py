"""What the page on distillation runs and draws: one recipe for teachers and students, judges, likeness, figures."""

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch
from torch import nn

from helpers.data import ImageSet
from helpers.efficiency import distillation as kd
from helpers.efficiency.distillation import experiments, figures
from helpers.training.classification import accuracy

matplotlib.use("Agg")

FEW = 60


@pytest.fixture
def data() -> ImageSet:
    """Three classes of 8x8 images, each bright in rows of its own."""
    labels = torch.arange(FEW) % 3
    images = 0.3 * torch.rand(FEW, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for k in range(3):
        images[labels == k, :, 2 * k : 2 * k + 3] += 0.7
    return ImageSet(images.clamp(0, 1), labels, tuple("abc"))


def test_students_learn_from_labels_and_from_targets(data):
    seeds = [3, 4]
    i = experiments.draw(FEW, torch.arange(FEW), seeds)
    logits = torch.full((FEW, 10), -20.0)
    logits[torch.arange(FEW), data.labels] = 0.0
    columns = [data.images[i], data.labels[i], logits[i]]
    for loss in (
        experiments.label_loss,
        experiments.smoothed_label_loss(0.1),
        kd.distilling(temperature=2, weight=1),
    ):
        crowd = experiments.students(loss, columns, 40, seeds, hidden=16)
        assert not crowd.training and crowd.seeds == 2
        assert (experiments.crowd_accuracy(crowd, data) > 0.9).all()
        assert accuracy(crowd.member(0), data.images, data.labels) == experiments.crowd_accuracy(crowd, data)[0]


def test_target_loss_reads_the_third_column_at_its_temperature():
    logits = torch.randn(4, 5, dtype=torch.float64)
    targets = torch.rand(4, 5, dtype=torch.float64).softmax(1)
    loss = experiments.target_loss(3)(nn.Identity(), (logits, torch.zeros(4), targets))
    torch.testing.assert_close(loss, kd.soft_loss(logits, targets, 3))
    mixed = experiments.smoothed_label_loss(0.2)(nn.Identity(), (logits, torch.arange(4)))
    torch.testing.assert_close(mixed, nn.functional.cross_entropy(logits, torch.arange(4), label_smoothing=0.2))


def test_teachers_differ_by_seed_and_repeat(data):
    first, second = experiments.teachers(data, experiments.label_loss, 3, [0, 1])
    (again,) = experiments.teachers(data, experiments.label_loss, 3, [0])
    assert all(map(torch.equal, first.parameters(), again.parameters()))
    assert not torch.equal(next(first.parameters()), next(second.parameters()))


def test_draws_are_nested_and_differ_by_seed():
    positions = torch.tensor([2, 3, 5, 7, 11, 13])
    small, large = (experiments.draw(n, positions, [0, 1, 2]) for n in (3, 6))
    assert torch.equal(small, large[:3])
    assert all(sorted(column) == positions.tolist() for column in large.T.tolist())
    assert len({tuple(column) for column in large.T.tolist()}) > 1


def test_share_right_counts_each_member():
    logits = torch.eye(3)[torch.tensor([[0, 1], [1, 1], [2, 0], [2, 2]])]  # n, seeds, k
    assert experiments.share_right(logits, torch.tensor([0, 1, 2, 0])).tolist() == [0.75, 0.25]


def test_likeness_follows_images(data):
    said, pixels = experiments.likeness(data, torch.zeros(FEW, 3))
    torch.testing.assert_close(said, torch.full((3, 3), 1 / 3))
    torch.testing.assert_close(pixels.diagonal(), torch.ones(3))
    assert pixels[0, 1] > pixels[0, 2]  # rows 0 to 2 and 2 to 4 overlap, 4 to 6 do not
    assert experiments.agreement(pixels.exp(), pixels) == pytest.approx(1)
    assert experiments.agreement((-pixels).exp(), pixels) == pytest.approx(-1)


def test_every_second_image_is_mirrored(data):
    seen = []
    loss = experiments.mirrored(lambda model, batch: seen.append(batch) or torch.zeros(()))
    before = data.images.clone()
    loss(nn.Identity(), (data.images, data.labels))
    ((images, labels),) = seen
    assert torch.equal(images[::2], before[::2].flip(3)) and torch.equal(images[1::2], before[1::2])
    assert torch.equal(data.images, before) and labels is data.labels


def test_figures_show_what_they_are_given(data):
    logits = torch.tensor([3.0, 1.0, 0.0])
    axes = figures.temperatures(data.images[0], logits, 1, (1, 2)).axes
    heights = [bar.get_height() for bar in axes[1].patches]
    assert heights == pytest.approx(logits.softmax(0).tolist()) and len(axes) == 3
    assert axes[1].patches[1].get_facecolor() != axes[1].patches[0].get_facecolor()
    ax = figures.accuracy_by_size(
        [10, 20], {"labels": torch.tensor([[0.2, 0.4], [0.4, 0.6]])}, 0.9, what="digits"
    ).axes[0]
    assert ax.lines[0].get_ydata().tolist() == pytest.approx([0.3, 0.5])
    assert set(ax.lines[-1].get_ydata()) == {0.9} and ax.get_xlabel() == "training digits"
    left, right = figures.likeness_maps(torch.eye(3), torch.rand(3, 3)).axes[:2]
    assert (left.get_title(), right.get_title()) == ("soft targets", "pixels")
    (ax,) = figures.teacher_and_student().axes
    assert {"teacher, fixed", "student", "soft loss", "hard loss"} <= {text.get_text() for text in ax.texts}
    plt.close("all")

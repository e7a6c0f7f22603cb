"""What the page on vision transformers runs and draws: its data, its losses, and what it measures."""

from math import log2

import matplotlib
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers.data import ImageSet, mnist
from helpers.transformers.vision_transformers import attention_distance, experiments, figures, vit_small
from helpers.transformers.vision_transformers.vit import patches

matplotlib.use("Agg")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed))


def few_digits(n: int, side: int) -> ImageSet:
    """Ten classes that one pixel tells apart."""
    labels = torch.arange(n) % 10
    images = 0.1 * torch.rand(n, 1, side, side, generator=generator())
    images.flatten(1)[torch.arange(n), 5 * labels] = 1.0
    return ImageSet(images, labels, tuple("0123456789"))


def test_crops_have_no_mean_and_come_from_all_photographs():
    found = experiments.crops(12, 16, generator())
    assert found.shape == (12, 1, 16, 16) and found.mean((2, 3)).abs().max() < 1e-5 < found.std()
    with pytest.raises(ValueError, match="n = 10: give a multiple of 6"):
        experiments.crops(10, 16, generator())


def test_covered_squares_are_blank_and_the_others_as_they_were():
    images = 1 + torch.rand(5, 1, 16, 16, generator=generator())
    hidden, seen = experiments.cover(images, generator())
    assert 0.3 < hidden.double().mean() < 0.7
    cut = patches(seen, 2)
    assert (cut[hidden] == 0).all() and torch.equal(cut[~hidden], patches(images, 2)[~hidden])
    model = vit_small(image=16, patch=2, depth=1, dim=8, heads=2, channels=1, classes=4)  # it answers 0
    loss = experiments.hidden_loss(model, (images,), generator())
    torch.testing.assert_close(loss, patches(images, 2)[hidden].square().mean())
    half, filled, whole = experiments.fill(model, images, 0)
    assert torch.equal(half, seen) and torch.equal(whole, images)
    torch.testing.assert_close(filled, seen)


def test_a_filler_learns_and_keeps_its_start():
    pictures = torch.ones(64, 1, 16, 16)
    model, start = experiments.train_filler(pictures, 0, steps=20)
    torch.manual_seed(0)
    fresh = vit_small(image=16, patch=2, depth=2, dim=32, channels=1, classes=4)
    assert torch.equal(start, fresh.encoder.pos_embedding[0, 1:])
    assert not torch.equal(start, model.encoder.pos_embedding[0, 1:])
    assert experiments.hidden_loss(model, (pictures[:8],), generator(1)) < 0.5 < 1


def test_likeness_of_a_grid_finds_rows_and_columns():
    line = torch.arange(8)
    row, column = torch.cartesian_prod(line, line).T
    one_hot = torch.cat([F.one_hot(row, 8), F.one_hot(column, 8)], 1).double()
    found = experiments.likeness(experiments.cosines(one_hot), 8)
    torch.testing.assert_close(torch.tensor(found[2:]), torch.tensor([0.5, 0.0]))
    assert found.neighbours == pytest.approx(0.5) and 0 < found.far < 0.3
    away = experiments.grid_offsets(8)
    by_distance = experiments.likeness((-away.double().norm(dim=2)).exp(), 8)  # knows nothing of rows
    assert by_distance.on_line == pytest.approx(by_distance.off_line)
    assert away[0, 63].tolist() == [7, 7] and away[9, 2].tolist() == [1, 1]


def test_distances_of_heads_are_in_squares():
    model, images = vit_small(image=16, patch=2, depth=2, dim=8, heads=2, channels=1), noise(2, 1, 16, 16)
    found = experiments.distances_of_heads(model.eval(), images)
    uniform = torch.full((1, 2, 65, 65), 1 / 65)
    assert found.shape == (2, 2)
    torch.testing.assert_close(found, attention_distance(uniform, 1).expand(2, 2), rtol=0.1, atol=0)


def test_mixup_blends_pictures_and_labels_alike():
    """A linear model on one-hot pictures: the loss is that of the blend by hand."""
    images, labels = noise(6, 1, 2, 2), torch.tensor([0, 1, 2, 0, 1, 2])
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    draw = generator(3)
    share = torch.rand(6, generator=draw)
    other = torch.randperm(6, generator=draw)
    blend = torch.stack([(1 - s) * images[i] + s * images[j] for i, (s, j) in enumerate(zip(share, other))])
    target = (1 - share)[:, None] * F.one_hot(labels, 3) + share[:, None] * F.one_hot(labels[other], 3)
    torch.testing.assert_close(
        experiments.mixup_loss(model, (images, labels), generator(3)), F.cross_entropy(model(blend), target)
    )


def test_small_digits_are_means_of_squares():
    whole, small = mnist(), experiments.small_digits(12)
    assert small.images.shape == (5000, 1, 12, 12) and torch.equal(small.labels, whole.labels)
    torch.testing.assert_close(small.images[:, 0, 3, 5], whole.images[:, 0, 8:10, 12:14].mean((1, 2)))
    with pytest.raises(ValueError, match="side = 10: give a divisor of 24"):
        experiments.small_digits(10)


@pytest.mark.parametrize("kind", ["ViT", "ResNet"])
def test_readers_of_digits_learn_and_are_of_like_size(kind):
    digits = few_digits(600, 8)
    found = experiments.accuracy_on_digits(kind, digits, 150, 0, steps=60)
    assert found > 0.6
    counts = [sum(p.numel() for p in experiments.digit_reader(kind).parameters()) for kind in ("ResNet", "ViT")]
    assert 0.8 * counts[1] < counts[0] < counts[1]
    with pytest.raises(ValueError, match="at most 153, since 447 of 600 digits"):
        experiments.accuracy_on_digits(kind, digits, 154, 0, steps=60)
    with pytest.raises(ValueError, match="'ViT' or 'ResNet'"):
        experiments.digit_reader("VGG")


def test_windows_and_whole_are_timed_in_turns():
    found = experiments.seconds_of_both(14, times=2)
    assert found.shape == (2, 2) and (found > 0).all()


def test_a_moved_partition_has_nine_parts():
    assert experiments.partition(8, 4, 0).unique(return_counts=True)[1].tolist() == [16] * 4
    moved = experiments.partition(8, 4, 2)
    assert sorted(moved.unique(return_counts=True)[1].tolist()) == [4] * 4 + [8] * 4 + [16]
    assert (moved[2:6, 2:6] == moved[3, 3]).all() and moved[1, 2] != moved[2, 2]


def test_stripes_show_across_windows_only():
    pictures, labels = experiments.stripes()
    assert patches(pictures, 2).var(2).max() == 0 and labels.tolist() == [0, 1, 0, 1]
    without = experiments.logits_on_stripes(0, 0, steps=20)
    assert (without[0] - without[1]).abs().max() < 1e-4
    assert torch.equal(experiments.logits_on_stripes(1, 0).argmax(1), labels)


def test_three_senses_have_64_inputs():
    sets = [
        experiments.pixel_sets(few_digits(6, 8), generator()),
        experiments.clouds(generator(), 6),
        experiments.whistles(generator(), 6),
    ]
    for inputs, labels in sets:
        assert inputs.shape[:2] == (6, 64) and inputs.shape[2] <= experiments.FEATURES and labels.shape == (6,)
    with pytest.raises(ValueError, match="one of images, points, sounds"):
        experiments.perceiver_accuracy("smells", few_digits(20, 8), 0, steps=1)


def test_points_lie_on_their_solids():
    """Distances from the centre do not turn with the solid: 1 on a sphere, at most √3 times 0.8 on a box."""
    inputs, labels = experiments.clouds(generator(), 40)
    far = 1.2 * inputs[..., :3].norm(dim=2)
    torch.testing.assert_close(far[labels == 0], torch.ones_like(far[labels == 0]))
    assert far[labels == 1].min() > 0.79 and far[labels == 1].max() < 0.8 * 3**0.5 + 1e-4
    assert far[labels == 2].min() > 0.69 and far[labels == 3].max() < 1.01


def test_greys_and_their_histogram():
    images = torch.tensor([0.0, 0.24, 0.26, 1.0]).view(1, 1, 2, 2)
    assert experiments.greys(images).tolist() == [[0, 0, 1, 3]]
    fair = torch.tensor([[0, 1], [1, 1], [2, 1], [3, 1]])
    found = experiments.histogram_bits(fair, torch.tensor([[2, 1]]))
    assert found == pytest.approx((2 - log2(1.001 / 1.004)) / 2)
    copies = torch.tensor([[0, 0], [1, 1], [2, 2], [3, 3]])  # the second is known once the first is
    alone, in_pairs = (experiments.histogram_bits(copies, torch.tensor([[2, 2]]), back=back) for back in ((), (1,)))
    assert alone == pytest.approx(2) and in_pairs == pytest.approx((2 - log2(0.251 / 0.254)) / 2)


def test_a_histogram_may_know_the_pixel_above():
    """The last of four pixels in rows of two is the sum of the one before and the one above."""
    one, other = torch.tensor([[a, b] for a in (0, 1) for b in (0, 1)]).T
    known = torch.stack([torch.zeros(4), other, one, one + other], 1).long()
    before, above, both = (experiments.histogram_bits(known, known, back=back) for back in ((1,), (2,), (1, 2)))
    assert before == pytest.approx(3 / 4, abs=0.02) and above == pytest.approx(3 / 4, abs=0.02)
    assert both == pytest.approx(2 / 4, abs=0.02)  # the two that are drawn, and nothing for their sum


def test_hidden_squares_are_judged_against_grey_and_their_neighbours():
    truth = torch.ones(1, 1, 16, 16)
    truth[..., 8:] = 3.0
    seen = truth.clone()
    seen[..., 2:4, 2:4] = 0.0  # among ones
    seen[..., 2:4, 8:10] = 0.0  # five of the eight around are threes, three are ones
    half = torch.where(seen == truth, truth, truth / 2)
    found = experiments.hidden_errors(seen, half, truth)
    assert found["network"] == pytest.approx(0.25)
    assert found["mean of the visible squares around"] == pytest.approx((3 - 18 / 8) ** 2 * 4 / (4 * 1 + 4 * 9))


def test_writers_learn_and_are_judged_in_bits():
    pixels = torch.arange(4).repeat(64, 4)  # 0 1 2 3 0 1 …
    writer = experiments.train_writer("next pixel", pixels, 0, steps=30)
    assert experiments.written_bits(writer, pixels[:3]) < 0.5
    features = experiments.features_by_block(writer, pixels[:3], causal=True)
    assert [tuple(block.shape) for block in features] == [(3, 48)] * 4
    filler = experiments.train_writer("hidden pixels", pixels, 0, steps=30)
    loss = experiments.filling_loss(filler, (pixels,), generator(1))
    assert loss < 0.7  # log 4 untrained
    with pytest.raises(ValueError, match="'next pixel' or 'hidden pixels'"):
        experiments.train_writer("last pixel", pixels, 0, steps=1)


def test_a_probe_separates_what_lies_apart():
    labels = torch.arange(40) % 10
    features = 3 * F.one_hot(labels, 12).float() + 0.1 * noise(40, 12)
    assert experiments.probe_accuracy(features[:20], labels[:20], features[20:], labels[20:]) == 1
    assert experiments.probe_accuracy(features[:20], labels[:20], features[20:], (labels[20:] + 1) % 10) == 0


def test_figures_are_drawn():
    photo = torch.rand(1, 3, 224, 224, generator=generator())
    axes = figures.words_of_a_picture(photo, asking=15).axes
    (mark,) = (patch for patch in axes[2].patches if patch.get_linewidth() == 2)
    assert mark.get_xy() == (32, 64) and [ax.get_title() for ax in axes[:3]][1] == "49 words"
    figures.position_maps(noise(64, 4), noise(64, 4, seed=1))
    found = figures.looks_of_squares(noise(1, 1, 16, 16), torch.rand(65, 65, generator=generator()), (9, 27, 52))
    assert found.axes[1].lines[0].get_xydata().tolist() == [[1, 1]]
    counts = [len(ax.images[0].get_array().flatten().tolist()) for ax in figures.partitions().axes]
    assert counts == [64] * 3

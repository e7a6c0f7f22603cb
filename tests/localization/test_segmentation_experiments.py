"""What the page on segmentation runs and draws: data, the training of each network, measures, figures."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torchvision import datasets

from helpers.localization.segmentation import (
    RoadHead,
    ScoreFirstHead,
    UNet,
    experiments,
    figures,
    make_roads,
    paint_green,
)
from helpers.localization.segmentation.experiments import NETS, UPSAMPLERS, K


@pytest.fixture(scope="module")
def scenes():
    return experiments.draw_scenes(12, 48, seed=3)


def test_parameter_count():
    """Networks that are compared differ by a quarter at most, and twins not at all."""
    torch.manual_seed(0)
    counts = {name: sum(p.numel() for p in build().parameters()) for name, build in NETS.items()}
    assert max(counts.values()) < 1.26 * min(counts.values())
    for name, twin in (("SegNet", "bilinear"), ("U-Net", "no skips"), ("DeepLab", "strides")):
        assert counts[name] == counts[f"{name}, {twin}"]


def test_scenes_name_the_classes(scenes):
    assert scenes.images.shape == (12, 3, 48, 48) and scenes.labels.shape == (12, 48, 48)
    assert set(scenes.labels.unique().tolist()) == set(range(K))
    background = (scenes.labels == 0).float().mean()
    assert 0.6 < background < 0.95
    assert torch.equal(experiments.draw_scenes(3, 48, seed=3).labels, scenes.labels[:3])


@pytest.mark.parametrize("name", NETS)
def test_every_network_takes_a_step(name, scenes):
    net = experiments.trained(NETS[name], scenes, 2, run=0, batch_size=4)
    again = experiments.trained(NETS[name], scenes, 2, run=0, batch_size=4)
    with torch.no_grad():
        assert net(scenes.images[:2]).shape == (2, K, 48, 48)
        assert torch.equal(net(scenes.images[:2]), again(scenes.images[:2]))
    assert not net.training


def test_twins_begin_alike():
    for name, twin in (("SegNet", "bilinear"), ("U-Net", "no skips"), ("DeepLab", "strides")):
        states = []
        for key in (name, f"{name}, {twin}"):
            torch.manual_seed(5)
            states.append(NETS[key]().state_dict())
        assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


class Oracle(nn.Module):
    """Says the truth, for the images it was given."""

    def __init__(self, scenes, shift=0):
        super().__init__()
        self.scenes, self.shift = scenes, shift

    def forward(self, images):
        labels = self.scenes.labels[: len(images)].roll(self.shift, 2)
        return F.one_hot(labels, K).movedim(3, 1).float()


def test_judge(scenes):
    assert experiments.judge(Oracle(scenes), scenes) == (1, 1, 1)
    moved = experiments.judge(Oracle(scenes, 1), scenes)
    assert 0.6 < moved.iou < 0.95 and moved.boundary < moved.iou and moved.outline < moved.iou
    mixed = experiments.Scenes(scenes.images, torch.where(scenes.labels > 0, 1 + scenes.labels % 4, 0))
    wrong = experiments.judge(Oracle(mixed), scenes)  # right outlines, all classes mistaken
    assert wrong.outline == 1 and wrong.iou < 0.3


def test_a_network_learns_the_scenes():
    data = experiments.draw_scenes(60, 48, seed=0)
    net = experiments.trained(
        lambda: UNet(channels=3, classes=K, widths=(8, 16), padding=True, norm=True), data, 40, run=0
    )
    found = experiments.answers(net, data.images)
    assert ((found > 0) == (data.labels > 0)).float().mean() > 0.9  # background alone is 0.8


def test_roads_are_learned():
    images, masks = make_roads(32, (32, 64), seed=0)
    net = experiments.train_road(RoadHead, images, masks, run=0, epochs=40)
    assert experiments.road_iou(net, images, masks) > 0.5
    assert net.body.dropout.p == 0.5 and not net.training
    other = experiments.train_road(ScoreFirstHead, images, masks, run=0, epochs=1)
    assert isinstance(other.head, ScoreFirstHead)


@pytest.mark.parametrize("kind", UPSAMPLERS)
def test_enlargers(kind, scenes):
    net = experiments.train_enlarger(kind, scenes.images, 2, run=0)
    few = F.avg_pool2d(scenes.images, 4)
    assert net(few).shape == scenes.images.shape
    begun = experiments.train_enlarger(kind, scenes.images, 0, run=0)
    value = experiments.pattern(begun, scenes.images)
    assert value < 1e-6 if kind == "sub-pixel" else value > 1e-4


def test_pattern_counts_what_alternates():
    class Board(nn.Module):
        def forward(self, x):
            y = F.interpolate(x, scale_factor=4)
            y[..., ::2, ::2] += 0.1
            return y

    flat = torch.full((2, 3, 16, 16), 0.5)
    # a - b - c + d = 0.1, half of it is 0.05
    assert experiments.pattern(Board(), flat) == pytest.approx(0.05, abs=1e-6)
    assert experiments.pattern(nn.Upsample(scale_factor=4), flat) == 0


def voc2012(root):
    """Two photographs in the folders of VOC 2012; masks are PNGs with a palette, 255 where nobody could say."""
    home = root / "VOCdevkit/VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (home / folder).mkdir(parents=True)
    (home / "ImageSets/Segmentation/train.txt").write_text("2007_000032\n2007_000039\n")
    for i, name in enumerate(("2007_000032", "2007_000039")):
        Image.new("RGB", (20, 12 + i), (200, 30, 60)).save(home / f"JPEGImages/{name}.jpg")
        mask = np.zeros((12 + i, 20), np.uint8)
        mask[4:, 10:] = 15
        mask[3, :] = 255
        picture = Image.fromarray(mask).convert("P")
        picture.putdata(mask.flatten().tolist())
        picture.save(home / f"SegmentationClass/{name}.png")
    return datasets.VOCSegmentation(root, year="2012", image_set="train")


def pets(root):
    """One photograph in the folders of the Oxford pets: trimaps of 1 (pet), 2 (background), 3 (edge)."""
    home = root / "oxford-iiit-pet"
    (home / "images").mkdir(parents=True)
    (home / "annotations/trimaps").mkdir(parents=True)
    (home / "annotations/trainval.txt").write_text("Abyssinian_1 1 1 1\n")
    Image.new("RGB", (8, 8), (10, 20, 30)).save(home / "images/Abyssinian_1.jpg")
    mask = np.full((8, 8), 2, np.uint8)
    mask[2:6, 2:6], mask[3:5, 3:5] = 3, 1
    Image.fromarray(mask).save(home / "annotations/trimaps/Abyssinian_1.png")
    return datasets.OxfordIIITPet(root, split="trainval", target_types="segmentation")


def test_photographs_in_the_real_formats(tmp_path):
    data = experiments.photographs(voc2012(tmp_path), 24)
    assert data.images.shape == (2, 3, 24, 24) and set(data.labels.unique().tolist()) == {0, 15, 255}
    assert data.images[:, 0].mean() > 0.7 > data.images[:, 1].mean()
    assert (data.labels[0, 8:, 12:] == 15).all() and (data.labels[0, :6] == 0).all()
    animals = experiments.photographs(pets(tmp_path), 8, trimaps=True)
    assert animals.labels[0, 3, 3] == 1 and animals.labels[0, 2, 2] == 255 and animals.labels[0, 0, 0] == 0
    with pytest.raises(ValueError, match="there is no photograph"):
        experiments.photographs([], 8)
    wrong = [(Image.new("RGB", (8, 8)), Image.new("L", (8, 9)))]
    with pytest.raises(ValueError, match=r"photograph of \(8, 8\) pixels with a mask of \(8, 9\)"):
        experiments.photographs(wrong, 8)


def test_photograph_loss_leaves_void_out():
    labels = torch.tensor([[[0, 1], [255, 2]]])
    scores = torch.randn(1, 3, 2, 2)
    kept = torch.stack([scores[0, :, 0, 0], scores[0, :, 0, 1], scores[0, :, 1, 1]])
    expected = F.cross_entropy(kept, torch.tensor([0, 1, 2]))
    torch.testing.assert_close(experiments.photograph_loss(lambda _: scores, (scores, labels)), expected)
    both = experiments.photograph_loss(lambda _: {"out": scores, "aux": scores}, (scores, labels))
    torch.testing.assert_close(both, 1.5 * expected)


def test_figures(scenes):
    images, masks = make_roads(2, (32, 64))
    small = {"a": torch.arange(16.0).view(4, 4) / 2, "b": torch.zeros(4, 4)}
    scores = {name: {"mean IoU": [0.1, 0.2], "boundary IoU": [0.2, 0.3]} for name in ("x", "y")}
    with torch.device("meta"):
        sizes = UNet(channels=1, classes=2).sizes(572)
    drawn = [
        figures.labelled(scenes.images[:2], {"truth": scenes.labels[:2]}),
        figures.coverage([(3, 2), (4, 2)]),
        figures.enlarged(small),
        figures.artefacts({"a": scenes.images[:2], "b": scenes.images[:2]}, ["1", "2"]),
        figures.unet_drawing((64, 128, 256, 512, 1024), sizes, 572, 2),
        figures.fcn_drawing(),
        figures.fields([0, 2, 4], 9),
        figures.pairs(scores, ["mean IoU", "boundary IoU"]),
        figures.roads(images, {"truth": masks}),
        figures.edges(scenes.images[0, :, :4, :4], small),
    ]
    assert all(isinstance(figure, Figure) for figure in drawn)
    texts = {text.get_text() for text in drawn[4].axes[0].texts}
    assert {"572²" in text for text in texts} and {"copy the middle 392²", "copy the middle 56²", "388²"} <= texts
    counts = [text.get_text() for text in drawn[1].axes[0].texts if text.get_position()[1] < 0]
    assert counts == list("11212121211")
    colours = figures.painted(scenes.labels[:1])
    assert colours.shape == (1, 3, 48, 48) and paint_green(images, masks).shape == images.shape

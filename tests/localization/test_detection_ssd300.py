"""SSD: the full network against torchvision's, the small one by itself."""

from copy import deepcopy

import pytest
import torch
import torchvision
from torch.nn import functional as F
from torch.testing import assert_close
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

from helpers.convnets.architectures import weights as published
from helpers.localization.detection.backbone import Trunk, freeze_norms
from helpers.localization.detection.ssd import ssd300_vgg16, ssd_detect, ssd_losses, ssd_small


@pytest.fixture(scope="module")
def pair():
    """torchvision's SSD300 with random weights, and ours with the same."""
    torch.manual_seed(0)
    theirs = torchvision.models.detection.ssd300_vgg16(weights=None, weights_backbone=None, num_classes=7)
    with torch.no_grad():  # else all probabilities are 0 or 1, and boxes of one score have no order
        for layer in theirs.head.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight *= 0.02
    ours = ssd300_vgg16(classes=6)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def truth(n=2):
    """Boxes and labels for images of 120 x 160 pixels."""
    boxes = [torch.tensor([[8.0, 10, 60, 90], [50, 20, 150, 110], [100, 100, 112, 115]]), torch.zeros(0, 4)]
    labels = [torch.tensor([0, 5, 3]), torch.zeros(0, dtype=torch.long)]
    return boxes[:n], labels[:n]


def small(classes=3):
    torch.manual_seed(0)
    return ssd_small(freeze_norms(Trunk()), classes=classes)


def test_parameter_count():
    with torch.device("meta"):
        model = ssd300_vgg16()
        logits, codes, defaults = model(torch.zeros(1, 3, 300, 300))
    weights = torchvision.models.detection.SSD300_VGG16_Weights.COCO_V1
    assert sum(p.numel() for p in model.parameters()) == weights.meta["num_params"] == 35_641_826
    assert logits.shape == (1, 8732, 91) and codes.shape == (1, 8732, 4) and defaults.shape == (8732, 4)
    cells = [38, 19, 10, 5, 3, 1]
    assert sum(n * n * k for n, k in zip(cells, [4, 6, 6, 6, 4, 4])) == 8732
    with torch.device("meta"):
        maps = model.backbone(torch.zeros(1, 3, 300, 300))
    assert [tuple(x.shape[1:]) for x in maps] == [
        (d, n, n) for d, n in zip((512, 1024, 512, 256, 256, 256), cells, strict=True)
    ]


def test_state_dict_has_torchvisions_names(pair):
    theirs, ours = (model.state_dict() for model in pair)
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


def test_matches_reference(pair):
    """Detections of random weights, on images of another size."""
    theirs, ours = (model.eval() for model in pair)
    images = torch.rand(2, 3, 120, 160)
    with torch.no_grad():
        expected = theirs([*images])
    found = ssd_detect(ours, images, score=0.01, overlap=0.45, most=200)
    for a, b in zip(found, expected, strict=True):
        assert len(a.boxes) == 200
        assert_close(a.scores, b["scores"])
        assert_close(a.labels, b["labels"] - 1)
        assert_close(a.boxes, b["boxes"], rtol=1e-5, atol=1e-3)


def test_losses_and_gradients_match_reference(pair):
    theirs, ours = (model.train() for model in pair)
    images = torch.rand(1, 3, 120, 160)
    boxes, labels = truth(1)
    target = [dict(boxes=boxes[0].clone(), labels=labels[0] + 1)]
    expected = theirs([*images], target)
    found = ssd_losses(ours, images, boxes, labels)
    assert_close(found["class"], expected["classification"])
    assert_close(found["box"], expected["bbox_regression"])
    for model, values in ((theirs, expected), (ours, found)):
        model.zero_grad()
        sum(values.values()).backward()
    names = "backbone.scale_weight", "backbone.features.0.weight", "head.regression_head.module_list.2.weight"
    for name in names:
        assert_close(ours.get_parameter(name).grad, theirs.get_parameter(name).grad, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("size", [(64, 64), (64, 96), (80, 48)])
def test_default_boxes_of_the_small_model_match_reference(size):
    model, images = small(), torch.rand(1, 3, *size)
    logits, _, defaults = model(images)
    maps = model.backbone(images)
    reference = DefaultBoxGenerator(model.ratios, scales=model.scales)
    expected = reference(ImageList(images, [size]), maps)[0]
    assert_close(defaults, expected)
    assert len(expected) == logits.shape[1]
    assert size != (64, 64) or len(expected) == 4 * (8 * 8 + 4 * 4 + 2 * 2)


def test_logits_stand_beside_their_boxes():
    """The logits of a default box follow the image around its middle."""
    model, images = small(), torch.rand(1, 3, 64, 64, requires_grad=True)
    logits, _, defaults = model(images)
    for i in (0, 4 * 37 + 1, 255):  # on the 8x8 map
        (g,) = torch.autograd.grad(logits[0, i, 1], images, retain_graph=True)
        weight = g[0].abs().sum(0)
        y, x = (weight.sum(1 - a) @ torch.arange(64.0) / weight.sum() for a in (0, 1))
        middle = (defaults[i, :2] + defaults[i, 2:]) / 2
        assert (torch.stack([x, y]) - middle).abs().max() < 16


def naive_losses(model, images, boxes, labels, ratio):
    logits, codes, defaults = model(images)
    total_class = total_box = 0.0
    count = 0
    for logit, code, box, label in zip(logits, codes, boxes, labels, strict=True):
        overlap = box_iou(box, defaults)
        owner = {}
        for n in range(len(defaults)):
            if len(box) and overlap[:, n].max() >= 0.5:
                owner[n] = overlap[:, n].argmax().item()
        for g in range(len(box)):
            owner[overlap[g].argmax().item()] = g
        for n, g in owner.items():
            w, h = defaults[n, 2:] - defaults[n, :2]
            bw, bh = box[g, 2:] - box[g, :2]
            shift = ((box[g, :2] + box[g, 2:]) - (defaults[n, :2] + defaults[n, 2:])) / 2
            aim = torch.stack([10 * shift[0] / w, 10 * shift[1] / h, 5 * (bw / w).log(), 5 * (bh / h).log()])
            total_box = total_box + F.smooth_l1_loss(code[n], aim, reduction="sum")
            total_class = total_class + F.cross_entropy(logit[n], label[g] + 1)
        others = [F.cross_entropy(logit[n], label.new_tensor(0)) for n in range(len(defaults)) if n not in owner]
        keep = len(others) if ratio is None else int(ratio * len(owner))
        total_class = total_class + sum(sorted(others, reverse=True)[:keep])
        count += len(owner)
    return {"class": total_class / count, "box": total_box / count}


@pytest.mark.parametrize("ratio", [3.0, 1.0, None])
def test_hard_negatives_match_reference(ratio):
    model, images = small(6), torch.rand(2, 3, 120, 160)
    expected = naive_losses(model, images, *truth(), ratio)
    found = ssd_losses(model, images, *truth(), negatives=ratio)
    for name in expected:
        assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_parameter(pair):
    model = small(6)
    images = torch.rand(4, 3, 64, 64)
    boxes = [torch.tensor([[4.0, 4, 16, 16], [8, 8, 40, 40], [0, 8, 60, 62]])] * 4
    sum(ssd_losses(model, images, boxes, [torch.tensor([0, 5, 2])] * 4).values()).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    full = pair[1]  # has gradients from the comparison above, or gets them here
    full.zero_grad()
    boxes, labels = truth(1)
    sum(ssd_losses(full, torch.rand(1, 3, 300, 300), boxes, labels).values()).backward()
    assert [n for n, p in full.named_parameters() if p.grad is None] == []


def test_learns_toy_problem():
    """Bright squares and wide bars on black: found, and told apart."""
    g = torch.Generator().manual_seed(0)
    images, boxes, labels = torch.zeros(16, 3, 64, 64), [], []
    for image in images:
        wide = int(torch.randint(2, (), generator=g))
        w, h = (28, 14) if wide else (18, 18)
        x, y = (int(torch.randint(64 - side, (), generator=g)) for side in (w, h))
        image[:, y : y + h, x : x + w] = torch.rand(3, 1, 1, generator=g) / 2 + 0.5
        boxes.append(torch.tensor([[x, y, x + w, y + h]], dtype=torch.float))
        labels.append(torch.tensor([wide]))
    torch.manual_seed(0)
    model = ssd_small(freeze_norms(Trunk()), classes=2)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(60):
        optimizer.zero_grad()
        sum(ssd_losses(model, images, boxes, labels).values()).backward()
        optimizer.step()
    found = ssd_detect(model.eval(), images, score=0.3)
    best = [(box_iou(box, d.boxes[:1]), d.labels[:1] == label) for d, box, label in zip(found, boxes, labels)]
    assert sum(bool(len(same) and same and iou > 0.6) for iou, same in best) >= 15


def test_device_and_dtype():
    model, images = small(6).eval(), torch.rand(2, 3, 120, 160)
    twin = deepcopy(model)
    twin.load_state_dict(model.state_dict())
    assert "mean" not in model.state_dict()
    assert_close(ssd_detect(twin, images)[0].boxes, ssd_detect(model, images)[0].boxes)
    with torch.autocast("cpu", torch.bfloat16):
        assert all(value.isfinite() for value in ssd_losses(model, images, *truth()).values())
    boxes, labels = truth()
    wide = ssd_losses(model.double(), images.double(), [box.double() for box in boxes], labels)
    assert all(value.dtype == torch.float64 for value in wide.values())
    if torch.cuda.is_available():
        model = model.float().cuda()
        found = ssd_losses(model, images.cuda(), [box.cuda() for box in boxes], [label.cuda() for label in labels])
        assert all(value.is_cuda for value in found.values())


def test_published_weights_fit(monkeypatch, tmp_path):
    """The file that torchvision's list names is looked for, and loaded."""
    source = ssd300_vgg16()
    torch.save(source.state_dict(), tmp_path / "ssd.pth")
    asked = []
    monkeypatch.setattr(published, "provide", lambda file, *_: asked.append(file) or tmp_path / "ssd.pth")
    model = ssd300_vgg16(weights="coco")
    assert_close(model.backbone.features[0].weight, source.backbone.features[0].weight)
    url = torchvision.models.detection.SSD300_VGG16_Weights.COCO_V1.url
    assert asked[0].urls == (url,) and asked[0].checksum == "sha256:b556d3b4"


def test_refuses_what_does_not_fit():
    model, (boxes, labels) = small(), truth(1)
    images = torch.rand(1, 3, 120, 160)
    with pytest.raises(ValueError, match="label 5, but classes = 3"):
        ssd_losses(model, images, boxes, labels)
    with pytest.raises(ValueError, match="with x1 < x2"):
        ssd_losses(model, images, [boxes[0][:1, [2, 1, 0, 3]]], [labels[0][:1]])
    with pytest.raises(ValueError, match="smaller than the stride"):
        model(torch.rand(1, 3, 4, 64))
    with pytest.raises(ValueError, match="weights = 'imagenet': ssd300_vgg16 has coco"), torch.device("meta"):
        ssd300_vgg16(weights="imagenet")
    with pytest.raises(ValueError, match="classes = 20: the published weights are for 90"), torch.device("meta"):
        ssd300_vgg16(classes=20, weights="coco")

"""Localization, sliding windows and YOLO."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close
from torchvision.ops import box_iou, nms

from helpers.convnets.output_size import conv_parameters
from helpers.data.scenes import CLASSES, Rules, make_scenes
from helpers.localization.detection.backbone import Trunk, freeze_norms, pretrain
from helpers.localization.detection.interface import keep_best
from helpers.localization.detection.localization import Localizer, localization_detect, localization_losses
from helpers.localization.detection.sliding_window import (
    SlidingWindow,
    WindowClassifier,
    slide,
    sliding_window_detect,
    sliding_window_losses,
)
from helpers.localization.detection.yolo import (
    LAYERS,
    assign_cells,
    yolo_boxes,
    yolo_detect,
    yolo_losses,
    yolo_small,
    yolo_v1,
)

SHAPES = ("disk", "ring", "cross")
PLAIN = dict(shapes=SHAPES, materials=("plain",), backgrounds=("plain",))


def scenes(n, count=(1, 3), seed=0, size=64, **rules):
    """Images, boxes, labels; classes counted from 0 among three shapes."""
    drawn = make_scenes(n, size, seed=seed, rules=Rules(count=count, **PLAIN | rules))
    place = torch.tensor([SHAPES.index(name) if name in SHAPES else -1 for name in CLASSES])
    return drawn.images, drawn.boxes, [place[label] for label in drawn.labels]


@pytest.fixture(scope="module")
def trunk():
    torch.manual_seed(0)
    trunk = Trunk()
    images, _, labels = scenes(400, count=1, size=40, sizes=("medium", "large"))
    pretrain(trunk, images, torch.cat(labels), classes=3, steps=60)
    return trunk


def localizer(trunk=None):
    return Localizer(trunk or freeze_norms(Trunk()), classes=3)


def slider(_=None):
    return SlidingWindow(WindowClassifier(classes=3), classes=3)


def yolo(trunk=None):
    return yolo_small(trunk or freeze_norms(Trunk()), classes=3)


ALL = {
    "localizer": (localizer, localization_losses, localization_detect),
    "sliding window": (slider, sliding_window_losses, sliding_window_detect),
    "yolo": (yolo, yolo_losses, yolo_detect),
}


def learn(model, losses, data, steps, rate=3e-3):
    optimizer = torch.optim.AdamW(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        sum(losses(model, *data).values()).backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def recall(found, boxes, labels, overlap=0.5):
    """The share of objects that a detection of their class overlaps enough."""
    hits = total = 0
    for d, box, label in zip(found, boxes, labels, strict=True):
        right = (box_iou(box, d.boxes) >= overlap) & (label[:, None] == d.labels)
        hits += right.any(1).sum().item()
        total += len(box)
    return hits / total


# Counts


def test_parameter_count():
    convs = [layer for layer in LAYERS if layer != "pool"]
    with torch.device("meta"):
        model = yolo_v1()
        y = model(torch.zeros(2, 3, 448, 448))
    assert len(convs) == 24 and LAYERS.count("pool") == 4
    assert y.shape == (2, 7, 7, 30) and y[0].numel() == 1470
    assert yolo_boxes(model.boxes_of(y))[0].shape == (7, 7, 2, 4)
    assert 7 * 7 * 2 == 98
    dims = [3, *(out for _, out, _ in convs)]
    table = sum(conv_parameters(dim, out, kernel) for dim, (kernel, out, _) in zip(dims, convs))
    dense = (7 * 7 * 1024 + 1) * 4096 + (4096 + 1) * 1470
    assert sum(p.numel() for p in model.parameters()) == table + dense == 271_703_550


def test_layers_of_yolo_v1():
    """Leaky ReLUs of slope 0.1 behind all but the last, and dropout between the two dense layers (section 2.2)."""
    with torch.device("meta"):
        model = yolo_v1(dropout=0.3)
    layers = [*model.features, *model.head]
    weighted = [i for i, layer in enumerate(layers) if list(layer.parameters())]
    assert len(weighted) == 26
    for i in weighted[:-1]:
        assert isinstance(layers[i + 1], nn.LeakyReLU) and layers[i + 1].negative_slope == 0.1
    assert [i for i, layer in enumerate(layers) if isinstance(layer, nn.Dropout)] == [weighted[-1] - 1]
    assert layers[weighted[-1] - 1].p == 0.3


def test_small_models_have_the_shapes_that_they_promise():
    images = torch.rand(2, 3, 64, 64)
    assert yolo()(images).shape == (2, 4, 4, 13)
    assert yolo()(torch.rand(1, 3, 96, 64)).shape == (1, 6, 4, 13)
    logits, boxes = localizer()(images)
    assert logits.shape == (2, 3) and boxes.shape == (2, 4)
    model = slider()
    assert model(images).shape == (2, len(model.windows(images)), 4)
    for make in (localizer, slider, yolo):
        assert sum(p.numel() for p in make().parameters()) < 400_000


# Localization


def test_localization_losses_match_reference():
    torch.manual_seed(0)
    model = localizer().double()
    images, boxes, labels = scenes(4, count=1)
    images, boxes = images.double(), [box.double() for box in boxes]
    logits, predicted = model(images)
    found = localization_losses(model, images, boxes, labels, weight=3.0)
    nll = [-logits[i].log_softmax(0)[labels[i][0]] for i in range(4)]
    distance = [((predicted[i] * 64 - boxes[i][0]) / 64).pow(2).sum() for i in range(4)]
    assert_close(found["class"], sum(nll) / 4)
    assert_close(found["box"], 3 * sum(distance) / 4)


def test_localizer_gives_pixels_of_images_that_are_not_square():
    model = localizer().eval()
    nn.init.zeros_(model.regressor.weight)
    model.regressor.bias.data = torch.tensor([0.75, 0.5, 0.25, 1.5])
    (d,) = localization_detect(model, torch.rand(1, 3, 64, 96))
    assert_close(d.boxes, torch.tensor([[24.0, 32.0, 72.0, 64.0]]))  # ordered, clipped
    assert len(localization_detect(model, torch.rand(1, 3, 64, 96), score=0.999)[0].boxes) == 0


def test_the_class_may_be_anywhere_and_the_place_may_not():
    """One bright cell, moved: the same logits, another box; and the cells around it change no logit."""
    model = localizer().eval()
    maps = torch.zeros(2, 64, 8, 8)
    maps[0, :, 1, 2], maps[1, :, 6, 5] = 1.0, 1.0
    maps[1, :, :3] = 0.5
    model.backbone.forward = lambda images: maps
    logits, boxes = model(torch.rand(2, 3, 64, 64))
    assert_close(logits[0], logits[1])
    assert not torch.allclose(boxes[0], boxes[1])


# Sliding window


def test_sliding_is_the_classifier_at_every_place():
    """One convolution equals a loop over crops, in float64."""
    torch.manual_seed(0)
    model = slider().double()
    images = torch.rand(2, 3, 52, 64, dtype=torch.float64)
    dense = slide(model.classifier, images)
    assert dense.shape == (2, 4, 9, 12)
    for row in range(9):
        for column in range(12):
            crop = images[:, :, 4 * row : 4 * row + 20, 4 * column : 4 * column + 20]
            assert_close(dense[..., row, column], model.classifier(crop))


def test_windows_lie_where_the_logits_come_from():
    """The gradient of each logit lives in its window, and reaches its corners."""
    model = SlidingWindow(WindowClassifier(classes=3), classes=3, sizes=(20.0,))
    images = torch.rand(1, 3, 40, 48, requires_grad=True)
    logits, windows = model(images)[0], model.windows(images)
    assert len(logits) == len(windows) == 6 * 8
    for i in (0, 7, 21, 47):
        (g,) = torch.autograd.grad(logits[i, 0], images, retain_graph=True)
        rows, columns = g[0].abs().amax(0).nonzero().unbind(1)
        x1, y1, x2, y2 = windows[i].tolist()
        assert x1 <= columns.min() and columns.max() + 1 <= x2
        assert y1 <= rows.min() and rows.max() + 1 <= y2
        assert (x2 - x1, y2 - y1) == (20, 20)


def test_windows_of_all_sizes_cover_the_image():
    model, images = slider(), torch.rand(1, 3, 64, 80)
    windows = model.windows(images)
    sides = (windows[:, 2:] - windows[:, :2]).mean(1)
    for size in model.sizes:
        mine = windows[(sides - size).abs() < 0.3]
        assert mine[:, :2].min() == 0
        assert (mine[:, 2] <= 80 + 1e-3).all() and (mine[:, 3] <= 64 + 1e-3).all()
        assert mine[:, 2].max() > 80 - 4 * size / 20 - 0.3 and mine[:, 3].max() > 64 - 4 * size / 20 - 0.3
    assert len(windows) == len(model(images)[0])


def test_windows_of_an_image_that_is_not_square():
    """The pyramid rounds height and width by themselves: 64 x 81 pixels become 46 x 58 for windows of 28."""
    model = SlidingWindow(WindowClassifier(classes=3), classes=3, sizes=(28.0,))
    images = torch.rand(1, 3, 64, 81)
    (level,) = model.pyramid(images)
    assert level.shape[2:] == (46, 58)
    windows = model.windows(images)
    assert len(windows) == 7 * 10
    expected = torch.tensor([36 * 81 / 58, 24 * 64 / 46, 56 * 81 / 58, 44 * 64 / 46])
    assert_close(windows[-1], expected)
    assert_close(windows[1] - windows[0], torch.tensor([4 * 81 / 58, 0, 4 * 81 / 58, 0]))


def test_pyramid_does_not_alias():
    """Shrunk to 40 of 64 pixels, one column in three is white: each new column sees some white, and none sees white alone."""
    model = SlidingWindow(WindowClassifier(classes=3), classes=3, sizes=(32.0,))
    images = torch.zeros(3, 3, 64, 64)
    for i in range(3):
        images[i, :, :, i::3] = 1
    (level,) = model.pyramid(images)
    assert level.shape[2:] == (40, 40)
    inner = level[..., 2:-2]
    assert inner.min() > 0.04 and inner.max() < 0.8


def test_sliding_window_losses_match_reference():
    torch.manual_seed(0)
    model = slider()
    images, boxes, labels = scenes(3)
    windows, logits = model.windows(images), model(images)
    total, count = 0.0, 0
    for i in range(3):
        overlap = box_iou(windows, boxes[i])
        positive = [n for n in range(len(windows)) if overlap[n].max() >= 0.5]
        negative = [n for n in range(len(windows)) if overlap[n].max() < 0.4]
        nll = -logits[i].log_softmax(1)
        total = total + sum(nll[n, labels[i][overlap[n].argmax()] + 1] for n in positive)
        worst = sorted((nll[n, 0] for n in negative), reverse=True)[: 3 * len(positive)]
        total, count = total + sum(worst), count + len(positive)
    assert_close(sliding_window_losses(model, images, boxes, labels)["class"], total / count, rtol=1e-4, atol=1e-5)


# YOLO


def naive_yolo(y, boxes, labels, h, w, classes, n=2):
    """The paper's equation 3, object by object, without autograd tricks."""
    b, rows, columns, _ = y.shape
    parts = dict.fromkeys(("centre", "size", "object", "empty", "class"), 0.0)
    for i in range(b):
        taken = {}
        for box, label in zip(boxes[i], labels[i]):
            x, y_ = (box[0] + box[2]) / 2 / w, (box[1] + box[3]) / 2 / h
            cell = int(y_ * rows), int(x * columns)
            if cell in taken:
                continue
            out = y[i][cell]
            overlaps = []
            for k in range(n):
                cx, cy = (out[5 * k] + cell[1]) / columns * w, (out[5 * k + 1] + cell[0]) / rows * h
                ww, hh = out[5 * k + 2] ** 2 * w, out[5 * k + 3] ** 2 * h
                mine = torch.stack([cx - ww / 2, cy - hh / 2, cx + ww / 2, cy + hh / 2])[None]
                overlaps.append(box_iou(mine, box[None])[0, 0].item())
            k = overlaps.index(max(overlaps))
            taken[cell] = k
            px, py, pw, ph, sure = out[5 * k : 5 * k + 5]
            parts["centre"] += 5 * ((px - (x * columns - cell[1])) ** 2 + (py - (y_ * rows - cell[0])) ** 2)
            parts["size"] += 5 * (pw - ((box[2] - box[0]) / w).sqrt()) ** 2
            parts["size"] += 5 * (ph - ((box[3] - box[1]) / h).sqrt()) ** 2
            parts["object"] += (sure - overlaps[k]) ** 2
            parts["class"] += (out[5 * n :] - F.one_hot(label, classes)).pow(2).sum()
        for row in range(rows):
            for column in range(columns):
                for k in range(n):
                    if taken.get((row, column)) != k:
                        parts["empty"] += 0.5 * y[i, row, column, 5 * k + 4] ** 2
    return {name: value / b for name, value in parts.items()}


def test_yolo_losses_match_reference():
    torch.manual_seed(1)
    model = yolo().double()
    images, boxes, labels = scenes(6, count=(1, 4))
    images, boxes = images.double(), [box.double() for box in boxes]
    images, boxes = images[:, :, :48], [box.clamp(max=48) for box in boxes]  # not square
    keep = [(box[:, 2:] - box[:, :2] > 1).all(1) for box in boxes]
    boxes, labels = ([x[k] for x, k in zip(xs, keep)] for xs in (boxes, labels))
    boxes[2], labels[2] = boxes[2][:0], labels[2][:0]  # nothing there
    theirs = naive_yolo(model(images), boxes, labels, 48, 64, 3)
    ours = yolo_losses(model, images, boxes, labels)
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert_close(ours[name], theirs[name])
    weights = list(model.parameters())
    for a, b in zip(
        torch.autograd.grad(sum(ours.values()), weights),
        torch.autograd.grad(sum(theirs.values()), weights),
        strict=True,
    ):
        assert_close(a, b)


def test_a_cell_of_yolo_answers_for_its_first_object():
    shares = [torch.tensor([[0.1, 0.1, 0.3, 0.3], [0.05, 0.05, 0.4, 0.4], [0.5, 0.5, 1.0, 1.0]])]
    shares += [torch.zeros(0, 4), torch.tensor([[0.6, 0.1, 0.8, 0.3]])]
    cell, first = assign_cells(shares, (2, 2))
    assert cell.tolist() == [0, 0, 3, 9]
    assert first.tolist() == [True, False, True, True]


def test_yolo_boxes_undo_the_targets():
    each = torch.zeros(1, 2, 4, 1, 5)
    each[0, 1, 2, 0] = torch.tensor([0.5, 0.25, 0.5, 1.0, 0.0])
    box = yolo_boxes(each)[0, 1, 2, 0]  # cx 2.5/4, cy 1.25/2, w 1/4, h 1
    assert_close(box, torch.tensor([0.5, 0.125, 0.75, 1.125]))


def test_yolo_scores_are_confidence_times_class():
    model = yolo().eval()
    y = torch.zeros(1, 4, 4, 13)
    y[0, 1, 2] = torch.tensor([0.5, 0.5, 0.5, 0.5, 0.9, 0.5, 0.5, 0.5, 0.5, 0.2, 0.1, 0.8, 0.0])
    model.forward = lambda images: y
    (d,) = yolo_detect(model, torch.rand(1, 3, 64, 64))
    # Both predictors have one box; of each class the surer one stays.
    assert_close(d.scores, torch.tensor([0.72, 0.09]))
    assert d.labels.tolist() == [1, 0]
    assert_close(d.boxes[0], torch.tensor([32.0, 16.0, 48.0, 32.0]))


def test_yolo_boxes_end_at_the_border():
    model = yolo().eval()
    y = torch.zeros(1, 4, 4, 13)
    y[0, 0, 3, :5] = torch.tensor([0.5, 0.5, 1.0, 0.8, 0.9])  # as wide as the image, from the last cell
    y[0, 0, 3, 10] = 1.0
    model.forward = lambda images: y
    (d,) = yolo_detect(model, torch.rand(1, 3, 48, 64))
    assert_close(d.boxes, torch.tensor([[24.0, 0, 64, 21.36]]))


# For all


def test_keep_best_matches_reference():
    g = torch.Generator().manual_seed(0)
    boxes = torch.rand(300, 2, generator=g) * 50
    boxes = torch.cat([boxes, boxes + 5 + 20 * torch.rand(300, 2, generator=g)], 1)
    scores = torch.rand(300, 3, generator=g)
    found = keep_best(boxes, scores, score=0.2, overlap=0.4, most=60, candidates=100)
    rows = []
    for k in range(3):
        order = scores[:, k].argsort(descending=True)[:100]
        order = order[scores[order, k] > 0.2]
        rows += [(scores[order[i], k].item(), order[i].item(), k) for i in nms(boxes[order], scores[order, k], 0.4)]
    rows = sorted(rows, reverse=True)[:60]
    assert found.labels.tolist() == [k for _, _, k in rows]
    assert_close(found.boxes, boxes[[i for _, i, _ in rows]])
    assert_close(found.scores, torch.tensor([s for s, _, _ in rows]))


@pytest.mark.parametrize("name", ALL)
def test_gradients_reach_every_parameter(name):
    make, losses, _ = ALL[name]
    torch.manual_seed(0)
    model = make()
    sum(losses(model, *scenes(8, count=1)).values()).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("name", ALL)
def test_learns_toy_problem(name, trunk):
    """Sixteen scenes by heart: nearly all objects found, in their class."""
    make, losses, detect = ALL[name]
    torch.manual_seed(0)
    model = make(deepcopy(trunk))
    count = 1 if name == "localizer" else (1, 2)
    data = scenes(8, count=count, seed=5, sizes=("medium", "large"))
    before = recall(detect(model.eval(), data[0], score=0.1), *data[1:])
    learn(model, losses, data, {"localizer": 40, "sliding window": 40, "yolo": 100}[name], 5e-3)
    after = recall(detect(model, data[0], score=0.1), *data[1:])
    assert before < 0.3 and after > 0.8


@pytest.mark.parametrize("name", ALL)
def test_device_and_dtype(name):
    make, losses, detect = ALL[name]
    torch.manual_seed(0)
    data = scenes(3, count=1)
    model, twin = make().eval(), make().eval()
    twin.load_state_dict(model.state_dict())
    for a, b in zip(detect(model, data[0], score=0.0), detect(twin, data[0], score=0.0), strict=True):
        assert_close(a.boxes, b.boxes)
        assert a.labels.dtype == torch.long
    with torch.autocast("cpu", torch.bfloat16):
        found = losses(model, *data)
    assert all(value.isfinite() for value in found.values())
    wide = losses(model.double(), data[0].double(), [box.double() for box in data[1]], data[2])
    assert all(value.dtype == torch.float64 for value in wide.values())
    if torch.cuda.is_available():
        images, boxes, labels = data[0].cuda(), [box.cuda() for box in data[1]], [label.cuda() for label in data[2]]
        found = losses(model.float().cuda(), images, boxes, labels)
        assert all(value.is_cuda for value in found.values())
        assert all(d.boxes.is_cuda for d in detect(model, images))


@pytest.mark.parametrize("name", ALL)
def test_refuses_truth_that_does_not_fit(name):
    make, losses, _ = ALL[name]
    model, images = make(), torch.rand(1, 3, 64, 64)
    box, label = torch.tensor([[8.0, 8.0, 24.0, 24.0]]), torch.tensor([2])
    losses(model, images, [box], [label])
    with pytest.raises(ValueError, match="label 3, but classes = 3"):
        losses(model, images, [box], [label + 1])
    with pytest.raises(ValueError, match=r"box \[24.0, 8.0, 8.0, 24.0\]: boxes are \(x1, y1, x2, y2\) with x1 < x2"):
        losses(model, images, [box[:, [2, 1, 0, 3]]], [label])
    with pytest.raises(ValueError, match="64 x 64 pixels: clip the boxes"):
        losses(model, images, [box + 48], [label])
    with pytest.raises(ValueError, match="1 boxes and 2 labels"):
        losses(model, images, [box], [torch.tensor([0, 1])])
    with pytest.raises(ValueError, match="1 images, 2 lists of boxes"):
        losses(model, images, [box, box], [label])


def test_refuses_images_that_are_too_small():
    with pytest.raises(ValueError, match="smaller than the stride"):
        yolo()(torch.rand(1, 3, 4, 64))
    with pytest.raises(ValueError, match="20 x 64 pixels are smaller than the window of 28"):
        slider()(torch.rand(1, 3, 20, 64))
    with torch.device("meta"), pytest.raises(ValueError, match="take 448 x 448"):
        yolo_v1()(torch.zeros(1, 3, 224, 224))
    with pytest.raises(ValueError, match="image 0 has 2 boxes: a localizer finds one"):
        box = torch.tensor([[1.0, 1, 9, 9], [2, 2, 9, 9]])
        localization_losses(localizer(), torch.rand(1, 3, 64, 64), [box], [torch.tensor([0, 1])])

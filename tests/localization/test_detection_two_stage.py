"""The small detectors of regions: R-CNN, Fast R-CNN, Faster R-CNN, R-FCN, and the trunk that they share."""

import copy
import time

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close
from torchvision.ops import box_iou as reference_iou
from torchvision.ops import roi_align as reference_align

from helpers.convnets.output_size import layer_table, receptive_field
from helpers.data.scenes import SHAPES, Rules, make_scenes
from helpers.localization.detection import backbone, fast_rcnn, faster_rcnn, rcnn, regions, rfcn, rpn
from helpers.localization.detection.roi import roi_align, roi_pool

CLASSES = 4
RULES = dict(shapes=SHAPES[:CLASSES])


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def windows(images: torch.Tensor) -> list[torch.Tensor]:
    """Squares of three sizes around the cells of an 8x8 grid, cut at the border: 192 for each image."""
    c = torch.arange(4.0, 64, 8)
    y, x = (z.flatten() for z in torch.meshgrid(c, c, indexing="ij"))
    boxes = [torch.stack([x - s / 2, y - s / 2, x + s / 2, y + s / 2], 1) for s in (12, 19, 28)]
    return [torch.cat(boxes).clamp(0, 64).to(images)] * len(images)


def build(name: str, seed: int = 0, frozen: bool = True, proposer=windows, **options) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        trunk = backbone.Trunk()
        if frozen:
            backbone.freeze_norms(trunk)
        if name == "rcnn":
            return rcnn.RCNN(trunk, classes=CLASSES, proposer=proposer, **options)
        if name == "fast":
            return fast_rcnn.fast_rcnn_small(trunk, classes=CLASSES, proposer=proposer, **options)
        if name == "faster":
            return faster_rcnn.faster_rcnn_small(trunk, classes=CLASSES, **options)
        return rfcn.rfcn_small(trunk, classes=CLASSES, **options)


NAMES = ("rcnn", "fast", "faster", "rfcn")
LOSSES = dict(
    rcnn=rcnn.rcnn_losses, fast=fast_rcnn.fast_rcnn_losses, faster=faster_rcnn.faster_rcnn_losses, rfcn=rfcn.rfcn_losses
)
DETECT = dict(
    rcnn=rcnn.rcnn_detect, fast=fast_rcnn.fast_rcnn_detect, faster=faster_rcnn.faster_rcnn_detect, rfcn=rfcn.rfcn_detect
)


@pytest.fixture(scope="module")
def few():
    return make_scenes(4, 64, seed=5, rules=Rules(count=(1, 3), **RULES))


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_parameter_count():
    a, b, c = backbone.WIDTHS
    convolutions = 9 * (3 * a + a * b + b * c + 2 * c * c)
    assert count(backbone.Trunk()) == convolutions + 2 * (a + b + 3 * c) == 112_920
    maps = backbone.Trunk()(torch.rand(2, 3, 64, 64))
    assert maps.shape == (2, c, 8, 8)

    head = c * 16 * 128 + 128 + 128 * 128 + 128 + 5 * (CLASSES + 1) * (128 + 1)
    proposals = 9 * c * c + c + 3 * 5 * (c + 1)
    maps = 9 * c * 128 + 128 + 9 * (CLASSES + 1 + 4) * (128 + 1)
    assert count(build("rcnn")) == count(build("fast")) == convolutions + head
    assert count(build("faster")) == convolutions + head + proposals
    assert count(build("rfcn")) == convolutions + proposals + maps


def test_a_cell_of_the_trunk_sees_47_pixels():
    """By the arithmetic of strides, by the gradient of one cell, and in the docstring."""
    trunk = backbone.freeze_norms(backbone.Trunk()).double()
    layers = [m for m in trunk.modules() if isinstance(m, nn.Conv2d)]
    field = receptive_field((m.kernel_size[0], m.stride[0], m.padding[0]) for m in layers)
    assert (field.size, field.jump) == (47, trunk.stride) == (47, 8)
    for m in layers:  # all positive, so that no path is cut by a ReLU
        m.weight.data.abs_()
    images = torch.rand(1, 3, 128, 128, dtype=torch.float64) / 2 + 0.5
    images.requires_grad_()
    trunk(images)[0, :, 8, 7].sum().backward()
    rows, columns = (images.grad[0].abs().sum(0).sum(i).nonzero()[:, 0] for i in (1, 0))
    assert len(rows) == len(columns) == 47
    assert rows[0] == field.start + 8 * field.jump and columns[0] == field.start + 7 * field.jump
    assert "47 x 47 pixels" in backbone.Trunk.__doc__


def test_the_trunk_sees_an_image_and_its_negative_alike(few):
    """0 … 1 is centred: no bias, so the first maps of the negative are the negatives of the first maps."""
    trunk, seen = backbone.Trunk(), []
    trunk.stages[0][0].register_forward_hook(lambda *given: seen.append(given[-1]))
    trunk(few.images), trunk(1 - few.images)
    assert_close(seen[0], -seen[1], rtol=1e-4, atol=1e-5)
    assert seen[0].abs().max() > 0.1


def test_outputs_have_a_row_for_each_region(few):
    boxes = [b[: i + 1] for i, b in enumerate(windows(few.images))]
    for name in ("rcnn", "fast"):
        output = build(name)(few.images, boxes)
        assert output.logits.shape == (10, CLASSES + 1) and output.deltas.shape == (10, CLASSES + 1, 4)
    for name in ("faster", "rfcn"):
        output = build(name).eval()(few.images)
        n = sum(map(len, output.proposals))
        assert output.anchors.objectness.shape == (4, 192) and output.regions.logits.shape == (n, CLASSES + 1)


def test_matches_reference(few):
    """What a region's head is fed is torchvision's RoI align; a warped crop is a bilinear loop."""
    model = build("fast")
    boxes = [b[::40] for b in windows(few.images)]
    features = model.backbone(few.images)[0]
    pooled = reference_align(features, boxes, 4, 1 / 8, 2, aligned=True)
    expected = model.roi_heads.box_predictor(model.roi_heads.box_head(pooled))
    assert_close(model(few.images, boxes).logits, expected.logits, rtol=1e-4, atol=1e-5)

    image = torch.rand(1, 2, 9, 11, generator=random(), dtype=torch.float64)
    box = torch.tensor([[2.25, 1.5, 8.0, 7.75]], dtype=torch.float64)
    for context in (0.0, 0.25):
        crop = rcnn.warp(image, [box], 4, context=context)
        x1, y1, x2, y2 = box[0].tolist()
        for i in range(4):
            for j in range(4):
                v = y1 + (y2 - y1) * ((i + 0.5) / 4 * (1 + 2 * context) - context) - 0.5
                u = x1 + (x2 - x1) * ((j + 0.5) / 4 * (1 + 2 * context) - context) - 0.5
                u, v = min(max(u, 0), 10), min(max(v, 0), 8)
                r, s = min(int(v), 7), min(int(u), 9)
                q, p = v - r, u - s
                part = image[0, :, r : r + 2, s : s + 2]
                by_hand = (1 - q) * ((1 - p) * part[:, 0, 0] + p * part[:, 0, 1])
                by_hand = by_hand + q * ((1 - p) * part[:, 1, 0] + p * part[:, 1, 1])
                assert_close(crop[0, :, i, j], by_hand)


def test_warping_a_whole_image_changes_nothing(few):
    whole = [few.images.new_tensor([[0, 0, 64, 64]])] * 4
    assert_close(rcnn.warp(few.images, whole, 64), few.images)


def test_crops_have_their_surroundings(few):
    """What the head of R-CNN says of a region is what it says of the crop with an eighth more on each side."""
    model, boxes = build("rcnn"), [b[::40] for b in windows(few.images)]
    crops = rcnn.warp(few.images, boxes, 32, context=0.125)
    expected = model.box_predictor(model.box_head(model.trunk(crops)))
    assert_close(model(few.images, boxes).logits, expected.logits)
    bare = rcnn.warp(few.images, boxes, 32)
    assert not torch.allclose(crops, bare, atol=1e-2)


def test_votes_are_read_where_the_region_lies():
    """Score maps that hold their own column, in pixels of the image: a region's mean is its middle."""
    head = rfcn.PositionSensitiveHead(4, classes=1, stride=8, finer=2)
    across = (torch.arange(16.0) * 4 + 2).expand(1, 1, 16, 16)
    head.score_maps = lambda maps: (across.expand(-1, 9 * 2, -1, -1), across.expand(-1, 9 * 4, -1, -1))
    output = head([torch.zeros(1, 4, 8, 8)], [torch.tensor([[16.0, 16, 40, 40], [0, 8, 24, 32]])])
    assert_close(output.logits, torch.tensor([[28.0] * 2, [12.0] * 2]))


def test_anchors_sit_amid_the_cells(few):
    anchors = build("faster").eval()(few.images[:1]).anchors.anchors
    middle = (anchors[:, :2] + anchors[:, 2:]) / 2
    assert middle[:4, 0].tolist() == [4, 4, 4, 12] and middle[-1].tolist() == [60, 60]
    assert (anchors[:3, 2] - anchors[:3, 0]).tolist() == [12, 20, 28]  # 19 rounded to whole pixels on both sides


def test_sampled_regions_have_the_right_labels(few):
    rules = regions.RegionRules(count=24)
    samples = regions.sample_regions(windows(few.images), few.boxes, few.labels, rules, generator=random())
    for sample, boxes, labels in zip(samples, few.boxes, few.labels):
        overlap, owner = reference_iou(sample.regions, boxes).max(1)
        assert torch.equal(sample.labels > 0, overlap >= 0.5)
        positive = sample.labels > 0
        assert torch.equal(sample.labels[positive], labels[owner[positive]] + 1)
        assert torch.equal(sample.objects[positive], boxes[owner[positive]])
        assert len(sample.labels) == 24 and 1 <= positive.sum() <= 6


def test_losses_by_hand():
    """Two regions, one an object moved by half its width to the right: a smooth L1 of one number."""
    rules = regions.RegionRules(weights=(10.0, 10.0, 5.0, 5.0))
    box = torch.tensor([[0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]])
    sample = regions.Sample(box, torch.tensor([2, 0]), box + torch.tensor([5.0, 0, 5, 0]))
    logits = torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]])
    deltas = torch.zeros(2, 3, 4)
    deltas[0, 1] = 99.0  # another class's box: not learned
    losses = regions.region_losses(regions.RegionOutput(logits, deltas), [sample], rules)
    assert_close(losses["box"], torch.tensor((5.0 - 1 / 18) / 2))
    assert_close(losses["class"], F.cross_entropy(logits, torch.tensor([2, 0])))
    deltas[0, 2, 0] = 5.0
    assert regions.region_losses(regions.RegionOutput(logits, deltas), [sample], rules)["box"] == 0


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name, few):
    model = build(name)
    with torch.no_grad():  # the score of an anchor starts at nearly 0
        for p in model.parameters():
            if p.ndim > 1:
                p.mul_(2)
    sum(LOSSES[name](model, few.images, few.boxes, few.labels, generator=random()).values()).backward()
    for key, p in model.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 0, key


def test_each_loss_teaches_its_own_part(few):
    model = build("faster")
    losses = LOSSES["faster"](model, few.images, few.boxes, few.labels, generator=random())
    assert list(losses) == ["objectness", "rpn_box", "class", "box"]
    parts = dict(
        objectness=model.rpn.head.cls_logits,
        rpn_box=model.rpn.head.bbox_pred,
        **{"class": model.roi_heads.box_predictor.cls_score},
        box=model.roi_heads.box_predictor.bbox_pred,
    )
    for name, loss in losses.items():
        for other, part in parts.items():
            (grad,) = torch.autograd.grad(loss, part.weight, retain_graph=True, allow_unused=True)
            assert (grad is not None and bool(grad.abs().max() > 0)) == (name == other)


@pytest.mark.parametrize("name", NAMES)
def test_order_of_proposals_does_not_matter(name, few):
    model = build(name).eval()
    boxes = [b[::3] for b in windows(few.images)]
    order = [torch.randperm(len(b), generator=random(i)) for i, b in enumerate(boxes)]
    shuffled = [b[o] for b, o in zip(boxes, order)]
    if name in ("rcnn", "fast"):
        one, other = model(few.images, boxes), model(few.images, shuffled)
    else:
        maps = model.backbone(few.images)
        one, other = model.roi_heads(maps, boxes), model.roi_heads(maps, shuffled)
    counts = [len(b) for b in boxes]
    for a, b, o in zip(one.logits.split(counts), other.logits.split(counts), order):
        assert_close(a[o], b, rtol=1e-4, atol=1e-6)
    for a, b, o in zip(one.deltas.split(counts), other.deltas.split(counts), order):
        assert_close(a[o], b, rtol=1e-4, atol=1e-6)
    keep = dict(score=0.0, overlap=0.5, most=1000)
    found = regions.region_detections(one, boxes, (64, 64), model.rules, **keep)
    again = regions.region_detections(other, shuffled, (64, 64), model.rules, **keep)
    for a, b in zip(found, again):
        assert_close(a.scores, b.scores, rtol=1e-4, atol=1e-6)
        assert len(a.boxes) == len(b.boxes) > 5


def head_cost(model, images, boxes) -> int:
    """Multiply-adds of all convolutions and linear layers that run for these regions."""
    total = 0

    def add(module, inputs, output):
        nonlocal total
        places = output[0, 0].numel() if isinstance(module, nn.Conv2d) else 1
        total += len(output) * places * module.weight.numel()

    hooks = [m.register_forward_hook(add) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    if hasattr(model, "rpn"):
        model.roi_heads(model.backbone(images), boxes)
    else:
        model(images, boxes)
    for hook in hooks:
        hook.remove()
    return total


def test_cost_by_number_of_regions(few):
    image = few.images[:1]
    many = windows(image)[0]
    cost = {n: [head_cost(build(n), image, [many[:k]]) for k in (10, 20, 100)] for n in ("rcnn", "fast", "rfcn")}
    trunk = sum(row.multiply_adds for row in layer_table(backbone.Trunk(), (3, 64, 64)))
    crop = sum(row.multiply_adds for row in layer_table(backbone.Trunk(), (3, 32, 32)))
    head = 64 * 16 * 128 + 128 * 128 + 5 * (CLASSES + 1) * 128
    assert crop * 4 == trunk
    assert cost["rcnn"] == [n * (crop + head) for n in (10, 20, 100)]  # everything for every region
    assert cost["fast"] == [trunk + n * head for n in (10, 20, 100)]  # the trunk once
    assert len(set(cost["rfcn"])) == 1  # nothing at all
    assert crop > 15 * head


def test_time_by_number_of_regions(few):
    image = few.images[:1]
    many = windows(image)[0]

    def seconds(model, k) -> float:
        best = float("inf")
        with torch.no_grad():
            for _ in range(5):
                start = time.thread_time()
                model(image, [many[:k]])
                best = min(best, time.thread_time() - start)
        return best

    grown = {name: seconds(m, 192) / seconds(m, 8) for name, m in ((n, build(n).eval()) for n in ("rcnn", "fast"))}
    assert grown["rcnn"] > 2 * grown["fast"]


@pytest.mark.parametrize("pool", [roi_pool, roi_align])
def test_fast_rcnn_takes_either_pooling(pool, few):
    model = build("fast", pool=pool)
    losses = LOSSES["fast"](model, few.images, few.boxes, few.labels, generator=random())
    sum(losses.values()).backward()
    assert model.backbone.body.stages[0][0].weight.grad.abs().max() > 0


def train(name, model, scenes, steps: int, rate: float = 1e-3) -> None:
    optimizer = torch.optim.AdamW(model.train().parameters(), rate, fused=True)
    generator = random()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * min(1, 2 - 2 * step / steps)
        chosen = torch.randint(len(scenes), (8,), generator=generator).tolist()
        boxes, labels = [scenes.boxes[i] for i in chosen], [scenes.labels[i] for i in chosen]
        losses = LOSSES[name](model, scenes.images[chosen], boxes, labels, generator=generator)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    model.eval()


def hits(found, scenes) -> tuple[float, float]:
    """Of the true boxes, how many are the best-scored detection of a scene; with the right class too."""
    places = kinds = 0
    for one, boxes, labels in zip(found, scenes.boxes, scenes.labels):
        if len(one.boxes):
            right = reference_iou(one.boxes[:1], boxes)[0, 0] > 0.5
            places += int(right)
            kinds += int(right and one.labels[0] == labels[0])
    return places / len(found), kinds / len(found)


@pytest.fixture(scope="module")
def easy():
    """Disks (0) and stars (3), one large thing before a plain ground."""
    kinds = dict(shapes=("disk", "star"), sizes=("large",), backgrounds=("plain",), materials=("plain",))
    return make_scenes(64, 64, seed=1, rules=Rules(count=1, **kinds))


@pytest.fixture(scope="module")
def pretrained(easy):
    """A trunk that tells the two classes apart, and the accuracy over its training."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        trunk = backbone.Trunk()
    return trunk, backbone.pretrain(trunk, easy.images, torch.cat(easy.labels), classes=CLASSES, steps=60)


@pytest.mark.parametrize("name", NAMES)
def test_learns_toy_problem(name, easy, pretrained, unchecked):
    trunk = copy.deepcopy(pretrained[0])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if name == "rcnn":
            model = rcnn.RCNN(trunk, classes=CLASSES, proposer=windows)
        elif name == "fast":
            model = fast_rcnn.fast_rcnn_small(trunk, classes=CLASSES, proposer=windows)
        elif name == "faster":
            model = faster_rcnn.faster_rcnn_small(trunk, classes=CLASSES)
        else:
            model = rfcn.rfcn_small(trunk, classes=CLASSES)
    model.rules = model.rules._replace(count=12)
    train(name, model, easy, 60)
    parts = easy.images[:32].split(8)  # 1,536 crops at a time
    found = [one for images in parts for one in DETECT[name](model, images)]
    places, kinds = hits(found, easy)
    assert places > 0.8 and kinds > 0.65  # a guess is right half of the time


def test_pretraining_learns_and_freezes(easy, pretrained):
    trunk, history = pretrained
    assert sum(history["accuracy"][-10:]) / 10 > 0.9
    assert not any(isinstance(m, nn.BatchNorm2d) for m in trunk.modules())
    assert len([m for m in trunk.modules() if isinstance(m, backbone.FrozenBatchNorm2d)]) == 5
    alone, together = trunk(easy.images[:1]), trunk(easy.images[:8])[:1]
    assert_close(alone, together, rtol=1e-4, atol=1e-5)  # neither the batch nor the mode matters
    assert_close(copy.deepcopy(trunk).eval()(easy.images[:1]), alone)


def test_classifiers_look_for_the_largest_on_the_map():
    """One bright place out of 64 counts as much as all of them."""
    model = backbone.Classifier(backbone.Trunk(), classes=3)
    maps = torch.zeros(2, model.trunk.dim, 8, 8)
    maps[0, :, 3, 5] = maps[1] = 2.0
    model.trunk.forward = lambda images: maps
    expected = model.head(torch.full((2, model.trunk.dim), 2.0))
    assert_close(model(torch.rand(2, 3, 64, 64)), expected)


def test_freezing_keeps_what_evaluation_gives():
    torch.manual_seed(0)
    trunk = backbone.Trunk()
    trunk(torch.rand(8, 3, 64, 64))  # moves the running statistics
    x = torch.rand(2, 3, 64, 64)
    expected = trunk.eval()(x)
    assert_close(backbone.freeze_norms(trunk).train()(x), expected, rtol=1e-4, atol=1e-5)


def test_freezing_keeps_the_epsilon():
    norm = nn.Sequential(nn.BatchNorm2d(3, eps=0.5))
    norm[0].running_var.fill_(0.1)
    x = torch.rand(2, 3, 4, 4)
    expected = norm.eval()(x)
    assert_close(backbone.freeze_norms(norm)(x), expected)


@pytest.mark.parametrize("name", NAMES)
def test_device_and_dtype(name, few):
    model = build(name, seed=1).eval()
    other = build(name, seed=2).eval()
    other.load_state_dict(model.state_dict())
    one, two = (DETECT[name](m, few.images, score=0.1) for m in (model, other))
    assert all(torch.equal(a.boxes, b.boxes) and torch.equal(a.labels, b.labels) for a, b in zip(one, two))
    with torch.autocast("cpu", torch.bfloat16):
        losses = LOSSES[name](model, few.images, few.boxes, few.labels, generator=random())
    assert all(loss.isfinite() for loss in losses.values())


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_on_a_gpu(name, few):
    model = build(name).eval().cuda()
    expected = DETECT[name](build(name).eval(), few.images, score=0.0, most=5)
    found = DETECT[name](model, few.images.cuda(), score=0.0, most=5)
    for a, b in zip(found, expected):
        assert_close(a.scores.cpu(), b.scores, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_without_objects_trains(name, few):
    boxes, labels = list(few.boxes), list(few.labels)
    boxes[1], labels[1] = torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)
    model = build(name)
    losses = LOSSES[name](model, few.images, boxes, labels, generator=random())
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    none = [torch.zeros(0, 4)] * 4, [torch.zeros(0, dtype=torch.long)] * 4
    losses = LOSSES[name](model, few.images, *none, generator=random())
    assert losses["box"] == 0 and losses["class"] > 0 and losses["class"].isfinite()


@pytest.mark.parametrize("name", ("rcnn", "fast"))
def test_without_proposals(name, few):
    def nothing(images):
        return [images.new_zeros(0, 4)] * len(images)

    model = build(name, proposer=nothing)
    assert [len(one.boxes) for one in DETECT[name](model.eval(), few.images)] == [0] * 4
    losses = LOSSES[name](model, few.images, few.boxes, few.labels, generator=random())
    assert losses["class"] > 0  # the true boxes are learned from all the same
    none = [torch.zeros(0, 4)] * 4, [torch.zeros(0, dtype=torch.long)] * 4
    losses = LOSSES[name](model, few.images, *none, generator=random())
    sum(losses.values()).backward()
    assert losses["class"] == losses["box"] == 0


@pytest.mark.parametrize("name", NAMES)
def test_bad_input(name, few):
    model, losses = build(name), LOSSES[name]
    with pytest.raises(ValueError, match=r"label 4, but classes = 4: labels run from 0 to 3"):
        losses(model, few.images, few.boxes, [torch.full_like(x, CLASSES) for x in few.labels])
    inside_out = [box.flip(1) for box in few.boxes]
    with pytest.raises(ValueError, match=r"image 0 has the box .* with x1 < x2 and y1 < y2"):
        losses(model, few.images, inside_out, few.labels)
    with pytest.raises(ValueError, match=r"image 0 has the box .*, but 64 x 64 pixels: clip the boxes"):
        losses(model, few.images, [box + 60 for box in few.boxes], few.labels)
    with pytest.raises(ValueError, match=r"4 images, 3 lists of boxes, 4 of labels"):
        losses(model, few.images, few.boxes[:3], few.labels)
    if name in ("faster", "rfcn"):
        with pytest.raises(ValueError, match="images of 6 x 7 pixels are smaller than the stride 8: enlarge"):
            model(few.images[:, :, :6, :7])


def test_bad_regions(few):
    model = build("fast")
    boxes = [b[:3].clone() for b in windows(few.images)]
    with pytest.raises(ValueError, match="4 images and 3 lists of regions: give one list for each image"):
        model(few.images, boxes[:3])
    with pytest.raises(ValueError, match=r"regions of image 1 have the shape \[0\]: it is \[n, 4\], also for n = 0"):
        model(few.images, [boxes[0], torch.zeros(0), *boxes[2:]])
    with pytest.raises(ValueError, match=r"image 2 has the region .* x1 < x2 and y1 < y2"):
        model(few.images, [*boxes[:2], boxes[2].flip(1), boxes[3]])
    with pytest.raises(ValueError, match=r"image 3 has the region .*, but 64 x 64 pixels: clip the regions"):
        model(few.images, [*boxes[:3], boxes[3] + 60])


def test_proposals_are_few_and_lie_in_the_image(few):
    model = build("faster").eval()
    for most in (10, 48):
        boxes = rpn.rpn_proposals(model, few.images, most=most)
        assert len(boxes) == 4 and all(len(b) <= most for b in boxes)
        assert all(b.min() >= 0 and b.max() <= 64 and not b.requires_grad for b in boxes)
        for b in boxes:
            overlaps = reference_iou(b, b).fill_diagonal_(0)
            assert overlaps.max() <= model.rpn.rules.overlap + 1e-6

"""The full-size Faster R-CNN against torchvision's: parameters, detections, the four losses and their gradients."""

import hashlib

import pytest
import torch
from torch.testing import assert_close
from torchvision.models.detection import FasterRCNN as Reference
from torchvision.models.detection import faster_rcnn as published
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from helpers.convnets.architectures.resnet import resnet50
from helpers.localization.detection import faster_rcnn, fpn
from helpers.localization.detection.backbone import FrozenBatchNorm2d

SIZES = dict(min_size=128, max_size=192)
NAMES = dict(
    objectness="loss_objectness", rpn_box="loss_rpn_box_reg", **{"class": "loss_classifier"}, box="loss_box_reg"
)


@pytest.fixture(scope="module")
def pair():
    """torchvision's model with random weights under which it detects something, and ours with its state dict."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, trainable_layers=3)
        few = dict(rpn_pre_nms_top_n_train=300, rpn_post_nms_top_n_train=60, rpn_post_nms_top_n_test=200)
        all_of_them = dict(rpn_batch_size_per_image=10**6, box_batch_size_per_image=10**6)
        reference = Reference(backbone, 91, **SIZES, **few, **all_of_them)
    random = torch.Generator().manual_seed(1)
    for name, value in reference.state_dict().items():
        if name.endswith("running_mean"):
            value.copy_(torch.randn(value.shape, generator=random) / 10)
        if name.endswith("running_var"):
            value.copy_(torch.rand(value.shape, generator=random) + 0.5)
        if name.endswith("bn3.weight"):
            value.fill_(0.3)  # else the features grow from block to block
        if name.endswith(("cls_score.weight", "cls_logits.weight")):
            value.mul_(20)
        if name.endswith("bbox_pred.weight"):
            value.mul_(3)
    ours = faster_rcnn.fasterrcnn_resnet50_fpn(**SIZES)
    ours.load_state_dict(reference.state_dict())
    rules = ours.rpn.rules
    ours.rpn.rules = rules._replace(count=10**6, before=(300, rules.before[1]), after=(60, 200))
    ours.rules = ours.rules._replace(count=10**6)
    return ours, reference


@pytest.fixture(scope="module")
def images():
    smooth = torch.rand(2, 3, 12, 15, generator=torch.Generator().manual_seed(2))
    return torch.nn.functional.interpolate(smooth, size=(120, 150), mode="bilinear")


def truth(random: torch.Generator, counts=(3, 2)):
    boxes, labels = [], []
    for n in counts:
        corner = torch.rand(n, 2, generator=random) * torch.tensor([80.0, 50.0])
        boxes.append(torch.cat([corner, corner + 20 + 50 * torch.rand(n, 2, generator=random)], 1))
        labels.append(torch.randint(90, (n,), generator=random))
    return boxes, labels


def test_parameter_count(pair):
    ours, reference = pair
    count = sum(p.numel() for p in ours.parameters())
    assert count == published.FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["num_params"] == 41_755_286
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in reference.state_dict().items()}
    trained = {name for name, p in reference.named_parameters() if p.requires_grad}
    assert {name for name, p in ours.named_parameters() if p.requires_grad} == trained


def test_matches_reference(pair, images):
    ours, reference = (model.eval() for model in pair)
    with torch.no_grad():
        expected = reference(list(images))
    found = faster_rcnn.faster_rcnn_detect(ours, images)
    for one, other in zip(found, expected, strict=True):
        assert len(one.boxes) == 100 and len(one.labels.unique()) > 1  # `most`, and not all of one class
        assert_close(one.boxes, other["boxes"], rtol=0, atol=1e-4)
        assert_close(one.scores, other["scores"], rtol=0, atol=1e-5)
        assert torch.equal(one.labels + 1, other["labels"])


@pytest.mark.parametrize("counts", [(3, 2), (0, 4)], ids=["objects in both images", "none in the first"])
def test_losses_match_reference(pair, images, counts):
    ours, reference = (model.train() for model in pair)
    boxes, labels = truth(torch.Generator().manual_seed(3), counts)
    targets = [{"boxes": box, "labels": label + 1} for box, label in zip(boxes, labels)]
    expected = reference(list(images), targets)
    losses = faster_rcnn.faster_rcnn_losses(ours, images, boxes, labels)
    assert losses.keys() == NAMES.keys()
    for name, loss in losses.items():
        assert loss > 0 and loss.isfinite()
        assert_close(loss, expected[NAMES[name]], rtol=1e-5, atol=0)
    if counts == (3, 2):
        for model, parts in ((ours, losses), (reference, expected)):
            model.zero_grad()
            sum(parts.values()).backward()
        theirs = dict(reference.named_parameters())
        for name, p in ours.named_parameters():
            if p.requires_grad:
                scale = theirs[name].grad.abs().max().item()
                assert scale > 0, name
                assert_close(p.grad, theirs[name].grad, rtol=0, atol=1e-4 * scale, msg=lambda m, n=name: f"{n}: {m}")


def test_images_without_any_object_train(pair, images):
    ours, reference = (model.train() for model in pair)
    none = [torch.zeros(0, 4)] * 2, [torch.zeros(0, dtype=torch.long)] * 2
    expected = reference(list(images), [{"boxes": box, "labels": label} for box, label in zip(*none)])
    losses = faster_rcnn.faster_rcnn_losses(ours, images, *none)
    for name, loss in losses.items():
        assert_close(loss, expected[NAMES[name]])
    assert losses["box"] == losses["rpn_box"] == 0 and losses["class"] > 0


def test_pyramid_matches_reference():
    from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
    from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

    random = torch.Generator().manual_seed(4)
    reference = FeaturePyramidNetwork([4, 8, 16], 6, LastLevelMaxPool()).double()
    ours = fpn.FeaturePyramid([4, 8, 16], 6).double()
    ours.load_state_dict(reference.state_dict())
    maps = [torch.randn(2, 4 * 2**i, 50 // 2**i, 75 // 2**i, generator=random).double() for i in range(3)]
    expected = reference({str(i): x for i, x in enumerate(maps)})
    smooth = ours(maps)
    for one, other in zip(smooth, expected.values(), strict=True):
        assert_close(one, other, rtol=0, atol=1e-12)
    sides = torch.tensor([10.0, 111.9, 112.0, 223.9, 224.0, 447.9, 448.0, 2000.0])
    corner = torch.zeros(8, 2)
    boxes = torch.cat([corner, sides[:, None].expand(-1, 2)], 1).double()
    regions = [boxes, boxes[:0], boxes[2:4] + 1]
    maps = [torch.randn(3, 5, 512 // s, 512 // s, generator=random).double() for s in (4, 8, 16, 32)]
    names = list("0123")
    aligned = MultiScaleRoIAlign(names, 7, 2)(dict(zip(names, maps)), regions, [(512, 512)] * 3)
    pool = fpn.PyramidPool(7, (4, 8, 16, 32), sampling_ratio=2)
    assert pool.levels(boxes).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert_close(pool(maps, regions), aligned, rtol=0, atol=1e-12)


def test_frozen_norms_match_reference():
    from torchvision.ops import FrozenBatchNorm2d as Frozen

    torch.manual_seed(5)
    state = {k: torch.rand(6) + 0.1 for k in ("weight", "bias", "running_mean", "running_var")}
    ours, reference = FrozenBatchNorm2d(6), Frozen(6)
    ours.load_state_dict(state | {"num_batches_tracked": torch.tensor(3)})  # as a batch norm's
    reference.load_state_dict(state)
    x = torch.randn(2, 6, 5, 4)
    assert_close(ours(x), reference(x))
    assert not list(ours.parameters())


def test_published_weights_are_translated(tmp_path, monkeypatch):
    """The file of 2019 has older names; a small one with the same keys stands in its place."""
    monkeypatch.setenv("DLE_DATA", str(tmp_path))
    with torch.device("meta"):
        model = faster_rcnn.fasterrcnn_resnet50_fpn()
    old = {}
    for i, (name, value) in enumerate(model.state_dict().items()):
        for new, before in ((".conv.0.0.", ".conv."), ("_blocks.", "_blocks.")):
            name = name.replace(new, before)
        if "_blocks" in name:
            name = name.replace(".0.weight", ".weight").replace(".0.bias", ".bias")
        old[name] = torch.tensor(float(i)).expand(value.shape)
    assert "rpn.head.conv.weight" in old and "backbone.fpn.layer_blocks.3.bias" in old
    (tmp_path / "weights").mkdir()
    torch.save(old, tmp_path / "weights/x.pth")
    digest = hashlib.sha256((tmp_path / "weights/x.pth").read_bytes()).hexdigest()[:8]
    (tmp_path / "weights/x.pth").rename(tmp_path / f"weights/frcnn-{digest}.pth")
    entry = published.FasterRCNN_ResNet50_FPN_Weights.COCO_V1.value
    monkeypatch.setattr(entry, "url", f"http://127.0.0.1:1/frcnn-{digest}.pth")
    filled = faster_rcnn.fasterrcnn_resnet50_fpn(weights="coco")
    for i, (name, value) in enumerate(filled.state_dict().items()):
        assert value.flatten()[0] == i and value.flatten()[-1] == i, name
    assert {m.eps for m in filled.modules() if isinstance(m, FrozenBatchNorm2d)} == {0.0}


def test_bad_input():
    with torch.device("meta"):
        with pytest.raises(
            ValueError, match="classes = 20: the weights for COCO have 90 labels; build with classes=90"
        ):
            faster_rcnn.fasterrcnn_resnet50_fpn(classes=20, weights="coco")
        with pytest.raises(ValueError, match="weights = 'imagenet': fasterrcnn_resnet50_fpn has coco, COCO_V1"):
            faster_rcnn.fasterrcnn_resnet50_fpn(weights="imagenet")
        body = resnet50(classes=None)
    assert list(body.widths.values()) == [256, 512, 1024, 2048]

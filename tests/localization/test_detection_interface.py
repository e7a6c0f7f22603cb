"""What all detectors refuse alike, and that no step of a training waits for a check."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from helpers.data.scenes import SHAPES, Rules, make_scenes
from helpers.localization.detection import (
    RCNN,
    Localizer,
    SlidingWindow,
    Trunk,
    WindowClassifier,
    fast_rcnn_detect,
    fast_rcnn_losses,
    fast_rcnn_small,
    faster_rcnn_detect,
    faster_rcnn_losses,
    faster_rcnn_small,
    freeze_norms,
    interface,
    localization_detect,
    localization_losses,
    proposer_small,
    rcnn_detect,
    rcnn_losses,
    regions,
    rfcn_detect,
    rfcn_losses,
    rfcn_small,
    roi,
    rpn_losses,
    rpn_proposals,
    sliding_window_detect,
    sliding_window_losses,
    ssd_detect,
    ssd_losses,
    ssd_small,
    yolo_detect,
    yolo_losses,
    yolo_small,
)
from helpers.localization.detection.experiments import Scenes, learn
from helpers.localization.detection.matching import match, of_objects


def windows(images):
    """Twenty squares on a diagonal, for every image."""
    corner = torch.linspace(0, 28, 20)[:, None].expand(-1, 2)
    return [torch.cat([corner, corner + 20], 1).to(images)] * len(images)


def region_nets(make):
    return lambda trunk: make(trunk, classes=4, proposer=windows)


ALL = {
    "localizer": (lambda trunk: Localizer(trunk, classes=4), localization_losses, localization_detect),
    "sliding window": (
        lambda trunk: SlidingWindow(WindowClassifier(classes=4), classes=4),
        sliding_window_losses,
        sliding_window_detect,
    ),
    "R-CNN": (region_nets(RCNN), rcnn_losses, rcnn_detect),
    "Fast R-CNN": (region_nets(fast_rcnn_small), fast_rcnn_losses, fast_rcnn_detect),
    "Faster R-CNN": (lambda trunk: faster_rcnn_small(trunk, classes=4), faster_rcnn_losses, faster_rcnn_detect),
    "R-FCN": (lambda trunk: rfcn_small(trunk, classes=4), rfcn_losses, rfcn_detect),
    "proposer": (proposer_small, rpn_losses, lambda *given, **unused: rpn_proposals(*given)),
    "YOLO": (lambda trunk: yolo_small(trunk, classes=4), yolo_losses, yolo_detect),
    "SSD": (lambda trunk: ssd_small(trunk, classes=4), ssd_losses, ssd_detect),
}
SINGLE_STAGE = ("localizer", "sliding window", "YOLO", "SSD")


def build(name):
    torch.manual_seed(0)
    return ALL[name][0](freeze_norms(Trunk()))


@pytest.fixture(scope="module")
def data():
    """One thing in each of four images, so that the localizer can take part."""
    drawn = make_scenes(4, 64, seed=5, rules=Rules(shapes=SHAPES[:4], count=1))
    return Scenes(drawn.images, drawn.boxes, drawn.labels)


@pytest.mark.parametrize("name", ALL)
def test_detecting_wants_the_evaluation_mode(name, data):
    detect = ALL[name][2]
    model = build(name).eval()
    found = detect(model, data.images)
    assert len(found) == 4
    for part in (model, next(m for m in model.modules() if isinstance(m, nn.Conv2d))):
        with pytest.raises(ValueError, match=r"training mode: call model.eval\(\) before detecting"):
            detect(model.eval() and part.train() and model, data.images)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.usefixtures("unchecked")
def test_images_are_one_tensor_of_one_size(name, data):
    _, losses, detect = ALL[name]
    model = build(name).eval()
    several = [torch.rand(3, 64, 64), torch.rand(3, 48, 72)]
    truth = data.boxes[:2], data.labels[:2]
    for call in (lambda x: detect(model, x), lambda x: losses(model, x, *truth)):
        with pytest.raises(
            ValueError, match=r"of type list with the shapes \[\[3, 64, 64\], \[3, 48, 72\]\]: .* one size"
        ):
            call(several)
        with pytest.raises(ValueError, match=r"images of shape \[3, 64, 64\]: give one tensor \[b 3 h w\]"):
            call(several[0])
        with pytest.raises(ValueError, match=r"images of type torch.uint8: give 0 … 1, as images / 255"):
            call(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))
    assert [len(detect(model, image[None])) for image in several] == [1, 1]  # what the message advises


@pytest.mark.parametrize("name", [name for name in ALL if name != "proposer"])
def test_limits_of_detections(name, data):
    detect, model = ALL[name][2], build(name).eval()
    with pytest.raises(ValueError, match="score = 1.5: it lies between 0 and 1"):
        detect(model, data.images, score=1.5)
    with pytest.raises(ValueError, match="overlap = -0.1: it lies between 0 and 1"):
        detect(model, data.images, overlap=-0.1)
    with pytest.raises(ValueError, match="most = 0: keep at least 1"):
        detect(model, data.images, most=0)


@pytest.mark.parametrize("name", [name for name in ALL if name != "proposer"])
def test_a_diverged_network_finds_nothing_in_silence(name, data):
    """Its scores are NaN, which no threshold passes: an error, not an empty list."""
    detect, model = ALL[name][2], build(name).eval()
    last = [p for p in model.parameters() if p.ndim > 1][-1]
    for p in (last, *model.parameters()):
        with torch.no_grad():
            p.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"nan: no order has a place for it; a network that gives it has diverged"):
        detect(model, data.images)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.usefixtures("unchecked")
def test_forms_of_the_truth(name, data):
    losses, model = ALL[name][1], build(name)
    images, boxes, labels = data
    with pytest.raises(ValueError, match=r"labels of image 0 .* torch.int32: give \[n\], whole numbers as label.long"):
        losses(model, images, boxes, [label.int() for label in labels])
    with pytest.raises(ValueError, match=r"labels of image 0 have the shape \[1, 1\]"):
        losses(model, images, boxes, [label[None] for label in labels])
    with pytest.raises(ValueError, match=r"boxes of image 0 have the shape \[4\]: it is \[n, 4\]"):
        losses(model, images, [box[0] for box in boxes], labels)
    with pytest.raises(ValueError, match=r"its boxes on meta and its labels on cpu: move them"):
        losses(model, images, [box.to("meta") for box in boxes], labels)
    bad = [boxes[0].clone(), *boxes[1:]]
    bad[0][0, 2] = torch.nan
    with pytest.raises(ValueError, match=r"image 0 has the box .*nan.* with x1 < x2"):
        losses(model, images, bad, labels)


class Looks(TorchDispatchMode):
    """Counts the values that are fetched from tensors."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default)
        return function(*args, **kwargs or {})


@pytest.fixture
def far_away(monkeypatch):
    """As on a GPU: values are not at hand."""
    for module in (interface, regions, roi):
        monkeypatch.setattr(module, "at_hand", lambda *tensors: False)


@pytest.mark.parametrize("name", ALL)
def test_a_step_waits_for_no_check(name, data, far_away):
    losses, model = ALL[name][1], build(name)
    with Looks() as looks:
        sum(losses(model, *data).values()).backward()
    assert looks.count == 0
    with Looks() as looks:  # what the border does; so the counter counts
        interface.check_targets(*data, 4)
    assert looks.count > 0


def test_values_are_looked_at_where_they_are_at_hand(data):
    """On the CPU a wrong label has its own error in every call, not that of a kernel."""
    for name in ALL:
        if name != "proposer":
            with pytest.raises(ValueError, match="label 4, but classes = 4"):
                ALL[name][1](build(name), data.images, data.boxes, [label * 0 + 4 for label in data.labels])


def test_learning_looks_at_all_targets_once_before_any_step(data, far_away):
    model, steps = build("YOLO"), []

    def losses(model, *given, generator):
        steps.append(1)
        return yolo_losses(model, *given)

    wrong = data._replace(labels=[*data.labels[:3], data.labels[3] * 0 + 4])
    with pytest.raises(ValueError, match="label 4, but classes = 4: labels run from 0 to 3"):
        learn(model, losses, wrong, 3, run=0, batch_size=1)
    inside_out = data._replace(boxes=[*data.boxes[:3], data.boxes[3][:, [2, 1, 0, 3]]])
    with pytest.raises(ValueError, match="image 3 has the box .* with x1 < x2"):
        learn(model, losses, inside_out, 3, run=0, batch_size=1)
    assert not steps
    learn(model, losses, data, 3, run=0, batch_size=1)
    assert len(steps) == 3


@pytest.mark.parametrize("name", SINGLE_STAGE)
@pytest.mark.usefixtures("unchecked")
def test_losses_compile_without_a_graph_break(name, data):
    losses, model = ALL[name][1], build(name)
    found = torch.compile(losses, backend="eager", fullgraph=True)(model, *data)
    for key, value in losses(model, *data).items():
        torch.testing.assert_close(found[key], value)


def test_regions_of_no_image_give_no_numbers_where_nobody_looks(far_away):
    """On a GPU a check would be a wait: such a region is NaN, its neighbours are as ever."""
    x = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    good = torch.tensor([[0, 0.2, 0.7, 4.1, 3.9], [1, 1, 1, 5, 4]])
    rois = torch.cat([good[:1], torch.tensor([[2.0, 0, 0, 4, 4], [0, 0, torch.inf, 4, 4]]), good[1:]])
    for pool in (roi.roi_pool, roi.ps_roi_pool, roi.roi_align, lambda *given: roi.roi_align(*given, 1.0, 2)):
        found = pool(x, rois, 2)
        assert found[1:3].isnan().all()
        torch.testing.assert_close(found[[0, 3]], pool(x, good, 2))


def test_values_of_objects():
    matches = torch.tensor([1, -1, 0, -2])
    otherwise = torch.tensor([[9.0], [8], [7], [6]])
    assert of_objects(torch.tensor([[1.0], [2]]), matches, otherwise).tolist() == [[2], [8], [1], [6]]
    assert torch.equal(of_objects(torch.zeros(0, 1), matches, otherwise), otherwise)


def test_an_overlap_that_is_no_number_is_none():
    """Two boxes without area have 0/0: the object keeps the anchor that it does overlap."""
    overlaps = torch.tensor([[torch.nan, 0.6, 0.2]])
    assert match(overlaps, 0.5, 0.3).tolist() == [-1, 0, -1]
    assert match(overlaps, 0.9, 0.3, force="ties").tolist() == [-1, 0, -1]

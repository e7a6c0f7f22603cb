"""What the page on detection runs: scenes, the training of every detector
alike, and what is measured on them."""

import hashlib
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.transforms.functional import pil_to_tensor

from helpers.convnets.output_size import inputs_per_second
from helpers.data import load, voc_boxes
from helpers.data.scenes import CLASSES, Rules, make_scenes
from helpers.localization.detection.average_precision import (
    Evaluation,
    evaluate_detections,
)
from helpers.localization.detection.boxes import Detections, Number, box_iou
from helpers.localization.detection.errors import sort_errors
from helpers.localization.detection.fast_rcnn import (
    fast_rcnn_detect,
    fast_rcnn_losses,
    fast_rcnn_small,
)
from helpers.localization.detection.faster_rcnn import (
    faster_rcnn_detect,
    faster_rcnn_losses,
    faster_rcnn_small,
)
from helpers.localization.detection.interface import ANY_CLASSES, check_targets
from helpers.localization.detection.localization import (
    Localizer,
    localization_detect,
    localization_losses,
)
from helpers.localization.detection.proposals import random_windows, recall
from helpers.localization.detection.rcnn import RCNN, rcnn_detect, rcnn_losses
from helpers.localization.detection.rfcn import (
    rfcn_detect,
    rfcn_losses,
    rfcn_small,
)
from helpers.localization.detection.roi import roi_pool
from helpers.localization.detection.sliding_window import (
    SlidingWindow,
    WindowClassifier,
    sliding_window_detect,
    sliding_window_losses,
)
from helpers.localization.detection.ssd import (
    ssd_detect,
    ssd_losses,
    ssd_small,
)
from helpers.localization.detection.yolo import (
    yolo_detect,
    yolo_losses,
    yolo_small,
)
from helpers.training import Batch, train

SHAPES = ("disk", "ring", "cross", "moon")  # the classes 0 … 3
CALM = {
    "shapes": SHAPES,
    "materials": ("plain",),
    "backgrounds": ("plain", "gradient", "clouds"),
}


class Scenes(NamedTuple):
    """Images with the boxes, in pixels, and the labels of their things."""

    images: Float[Tensor, "n 3 h w"]
    boxes: list[Tensor]  # of [m 4]
    labels: list[Tensor]  # of [m]

    def first(self, n: int) -> "Scenes":
        """The first `n` of them."""
        return Scenes(*(column[:n] for column in self))


def draw_scenes(
    n: int,
    side: int,
    *,
    seed: int,
    count: int | tuple[int, int] = (1, 4),
    device: torch.device | str = "cpu",
    **rules,
) -> Scenes:
    """Draw `n` scenes of `side` pixels with things of four `SHAPES`.

    `count` and `rules` are those of `helpers.data.scenes.Rules`.
    """
    rules = Rules(count=count, **(CALM | rules))
    drawn = make_scenes(n, side, seed=seed, rules=rules)
    places = torch.tensor([CLASSES.index(shape) for shape in SHAPES])
    labels = [(x[:, None] == places).int().argmax(1) for x in drawn.labels]
    return Scenes(
        drawn.images.to(device),
        [box.to(device) for box in drawn.boxes],
        [label.to(device) for label in labels],
    )


def photographs(
    split: str,
    side: int,
    *,
    difficult: bool,
    device: torch.device | str = "cpu",
) -> tuple[Scenes, list[Tensor]]:
    """The photographs of VOC 2007, each squeezed into a square, and the marks
    "difficult" of their things.

    `split` is one of `load("voc2007")`, such as "trainval" or "test". The
    labels index `VOC_CLASSES`. Without `difficult`, as for training, the
    things so marked are left out, and photographs of nothing else; a judge
    has to know of them, since VOC leaves what detects them out of the count.
    """
    squares, boxes, labels, marks = [], [], [], []
    for photograph, annotation in load("voc2007", split):
        box, label, mark = voc_boxes(annotation)
        if not difficult:
            box, label, mark = box[~mark], label[~mark], mark[~mark]
            if not len(box):
                continue
        shrink = side / torch.tensor(2 * photograph.size)  # of x, y, x, y
        squares.append(pil_to_tensor(photograph.resize((side, side))) / 255)
        boxes.append((box * shrink).to(device))
        labels.append(label.to(device))
        marks.append(mark.to(device))
    scenes = Scenes(torch.stack(squares).to(device), boxes, labels)
    return scenes, marks


def learn(
    model: nn.Module,
    losses: Callable[..., dict[str, Tensor]],
    data: Scenes,
    steps: int,
    *,
    run: int,
    rate: float = 3e-3,
    batch_size: int = 16,
) -> nn.Module:
    """Teach any detector by the sum of its named losses.

    `run` seeds what is drawn on the way. Comes back ready to detect.
    Raises `ValueError` for a truth that does not fit, before any step.
    """
    check_targets(*data, getattr(model, "classes", ANY_CLASSES))
    images = data.images.contiguous(memory_format=torch.channels_last)
    model = model.to(images.device, memory_format=torch.channels_last)
    random = torch.Generator(images.device).manual_seed(run)

    def total(model: nn.Module, batch: Batch) -> Tensor:
        i = batch[0].tolist()
        boxes, labels = [data.boxes[j] for j in i], [data.labels[j] for j in i]
        parts = losses(model, images[i], boxes, labels, generator=random)
        return sum(parts.values())

    numbers = torch.arange(len(images), device=images.device)
    train(
        model,
        total,
        [numbers],
        steps,
        rate=rate,
        batch_size=batch_size,
        seed=run,
        rise=steps // 10,
        clip=10.0,
        progress=False,
    )
    return model


def find(
    model: nn.Module,
    detect: Callable[..., list[Detections]],
    images: Float[Tensor, "n 3 h w"],
    **options,
) -> list[Detections]:
    """What `detect` finds in many images, 50 at a time."""
    chunks = images.contiguous(memory_format=torch.channels_last).split(50)
    return [d for x in chunks for d in detect(model, x, **options)]


class Remembered:
    """A proposer that sees every image once and then knows its boxes."""

    def __init__(self, proposer: Callable[[Tensor], Tensor]):
        self.proposer = proposer
        self.known: dict[bytes, Tensor] = {}

    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        found = []
        for image in images:
            pixels = image.cpu().contiguous().numpy().tobytes()
            key = hashlib.sha256(pixels).digest()
            if key not in self.known:
                self.known[key] = self.proposer(image).to(image.device)
            found.append(self.known[key])
        return found


def lone_object(
    trunk: nn.Module, data: Scenes, unseen: Scenes, run: int, *, steps: int
) -> tuple[float, float]:
    """Train two heads on scenes with one object each; on unseen ones, how
    many get the right class, of all, and the mean overlap of the boxes."""
    torch.manual_seed(run)
    model = Localizer(deepcopy(trunk), classes=len(SHAPES))
    learn(model, localization_losses, data, steps, run=run)
    found = find(model, localization_detect, unseen.images)
    right = torch.cat([d.labels for d in found]) == torch.cat(unseen.labels)
    box = torch.cat([d.boxes for d in found])
    overlap = box_iou(box, torch.cat(unseen.boxes)).diagonal()
    return right.float().mean().item(), overlap.mean().item()


DETECTORS = (
    "sliding window",
    "R-CNN",
    "Fast R-CNN",
    "Faster R-CNN",
    "R-FCN",
    "YOLO",
    "SSD",
)
LOSSES = {
    "sliding window": sliding_window_losses,
    "R-CNN": rcnn_losses,
    "Fast R-CNN": fast_rcnn_losses,
    "Faster R-CNN": faster_rcnn_losses,
    "R-FCN": rfcn_losses,
    "YOLO": yolo_losses,
    "SSD": ssd_losses,
}
DETECT = {
    "sliding window": sliding_window_detect,
    "R-CNN": rcnn_detect,
    "Fast R-CNN": fast_rcnn_detect,
    "Faster R-CNN": faster_rcnn_detect,
    "R-FCN": rfcn_detect,
    "YOLO": yolo_detect,
    "SSD": ssd_detect,
}
SIDES = (12.0, 18.0, 28.0)  # of windows, in images of 64 pixels


def build(
    name: str,
    trunk: nn.Module,
    *,
    side: int,
    classes: int = len(SHAPES),
    proposer: Callable[[Tensor], list[Tensor]] | None = None,
    pool: Callable[..., Tensor] | None = None,
) -> nn.Module:
    """One of `DETECTORS` on a copy of the backbone, for images of `side`.

    Windows and anchors grow with the images. `proposer` gives R-CNN and
    Fast R-CNN their regions, `pool` replaces RoIAlign in the latter.
    Raises `ValueError` for another name and a missing proposer.
    """
    trunk = deepcopy(trunk)
    if name in ("R-CNN", "Fast R-CNN") and proposer is None:
        raise ValueError(f"{name} proposes nothing itself: give a proposer")
    if name == "sliding window":
        sizes = tuple(size * side / 64 for size in SIDES)
        window = WindowClassifier(classes=classes, hidden=48)
        return SlidingWindow(window, classes=classes, sizes=sizes)
    if name == "R-CNN":
        return RCNN(trunk, classes=classes, proposer=proposer)
    if name == "Fast R-CNN":
        given = {} if pool is None else {"pool": pool}
        return fast_rcnn_small(
            trunk, classes=classes, proposer=proposer, **given
        )
    if name in ("Faster R-CNN", "R-FCN"):
        make = rfcn_small if name == "R-FCN" else faster_rcnn_small
        model = make(trunk, classes=classes)
        model.rpn.sizes = tuple(
            tuple(size * side / 64 for size in sizes)
            for sizes in model.rpn.sizes
        )
        return model
    if name == "YOLO":
        return yolo_small(trunk, classes=classes)
    if name == "SSD":
        return ssd_small(trunk, classes=classes)
    raise ValueError(f"name = {name!r}: one of {', '.join(DETECTORS)}")


class Trained(NamedTuple):
    """A detector, what it finds in scenes that it has not seen, and how
    good that is."""

    model: nn.Module
    found: list[Detections]
    result: Evaluation


def train_detector(
    name: str,
    trunk: nn.Module,
    data: Scenes,
    unseen: Scenes,
    run: int,
    *,
    steps: int,
    proposer: Callable[[Tensor], list[Tensor]] | None = None,
) -> Trained:
    """Train one of `DETECTORS`, eight scenes a step, and judge it.

    Two variants have names, too: "Fast, RoI pooling" rounds to cells, and
    "SSD, all negatives" learns every background box.
    """
    torch.manual_seed(run)
    kind, pool, losses = name, None, LOSSES.get(name)
    if name == "Fast, RoI pooling":
        kind, pool, losses = "Fast R-CNN", roi_pool, fast_rcnn_losses
    if name == "SSD, all negatives":
        kind, losses = "SSD", ssd_losses_of_all
    side = data.images.shape[-1]
    model = build(kind, trunk, side=side, proposer=proposer, pool=pool)
    learn(model, losses, data, steps, run=run, rate=2e-3, batch_size=8)
    found = find(model, DETECT[kind], unseen.images)
    return Trained(model, found, judge(found, unseen))


def detect(
    name: str, model: nn.Module, images: Float[Tensor, "n 3 h w"]
) -> list[Detections]:
    """What one of `DETECTORS` finds, 50 images at a time."""
    return find(model, DETECT[name], images)


def ssd_losses_of_all(*given, **options) -> dict[str, Tensor]:
    """`ssd_losses` without hard-negative mining: all background counts."""
    return ssd_losses(*given, negatives=None, **options)


def judge(found: Sequence[Detections], truth: Scenes, **options) -> Evaluation:
    """COCO's average precision; `options` of `evaluate_detections`."""
    boxes, labels = truth.boxes, truth.labels
    classes = len(SHAPES)
    return evaluate_detections(found, boxes, labels, classes=classes, **options)


def precision_of(
    trained: dict[tuple[str, int], Trained],
    name: str,
    threshold: Number | None = None,
) -> Float[Tensor, " runs"]:
    """Of all runs of a detector the mean average precision, at one
    threshold of overlap or over 0.5, 0.55, …, 0.95."""
    results = [one.result for (kind, _), one in trained.items() if kind == name]
    if not results:
        raise ValueError(f"no detector called {name!r} is trained: train it")
    if threshold is None:
        return torch.tensor([result.mean for result in results])
    return torch.tensor([result.at(threshold) for result in results])


def throw(
    n: int, side: int, generator: torch.Generator, device: torch.device | str
) -> Float[Tensor, "n 4"]:
    """`n` random windows of a square image."""
    windows = random_windows(n, (side, side), generator=generator)
    return windows.to(device)


def recall_in_thirds(
    proposed: Sequence[Tensor], boxes: Sequence[Tensor], most: int
) -> list[float]:
    """Recall at overlap 0.5 of the `most` first proposals of every image, in
    three thirds of the images."""
    return [recall(proposed[i::3], boxes[i::3], most=most) for i in range(3)]


def recall_by_number(
    proposed: Sequence[Tensor],
    boxes: Sequence[Tensor],
    numbers: Sequence[int],
    overlap: Number,
) -> list[float]:
    """Recall of as many first proposals of every image as each of `numbers`."""
    return [recall(proposed, boxes, overlap, most=n) for n in numbers]


def images_per_second(
    name: str,
    model: nn.Module,
    images: Float[Tensor, "n 3 h w"],
    proposer: "Remembered",
) -> float:
    """How many images a detector does, its proposals made anew."""

    def once(images: Float[Tensor, "b 3 h w"]) -> None:
        proposer.known.clear()  # proposals are work, too
        DETECT[name](model, images)

    return inputs_per_second(once, images)


def with_proposals(
    model: nn.Module, n: int, unseen: Scenes
) -> tuple[nn.Module, float]:
    """A copy of a Faster R-CNN that looks at `n` proposals an image, and its
    mean average precision."""
    model = deepcopy(model)
    model.rpn.rules = model.rpn.rules._replace(after=(48, n))
    found = find(model, faster_rcnn_detect, unseen.images)
    return model, judge(found, unseen).mean


def surer(
    found: Sequence[Detections], limit: Number = 0.3
) -> list[Detections]:
    """The detections above a confidence."""
    return [Detections(*(part[d.scores > limit] for part in d)) for d in found]


def by_errors(found: Sequence[Detections], truth: Scenes) -> list[int]:
    """Scenes with more than two objects, those with fewest errors first: a
    box that is wrong, or an object that is missed."""
    errors = sort_errors(found, truth.boxes, truth.labels)
    wrong = [
        int((kinds != 0).sum() + missed.sum())
        for kinds, missed in zip(errors.kinds, errors.missed, strict=True)
    ]
    several = [i for i, box in enumerate(truth.boxes) if len(box) > 2]
    return sorted(several, key=wrong.__getitem__)


def learn_photographs(
    name: str,
    trunk: nn.Module,
    side: int,
    steps: int,
    run: int,
    *,
    device: torch.device | str,
) -> float:
    """Train a detector on the photographs of VOC 2007, squeezed into
    squares; its mAP by the rules of that year."""
    known, _ = photographs("trainval", side, difficult=False, device=device)
    new, hard = photographs("test", side, difficult=True, device=device)
    model = build(name, trunk, side=side, classes=20)
    learn(model, LOSSES[name], known, steps, run=run, rate=2e-3, batch_size=8)
    rules = dict(thresholds=(0.5,), points=11, rule="voc", ignored=hard)
    found = find(model, DETECT[name], new.images)
    return evaluate_detections(found, *new[1:], classes=20, **rules).mean


class Pair(NamedTuple):
    """Two different things near each other: whether their centres share a
    cell, and whether both are found."""

    shared: bool
    found: bool


def near_pairs(
    found: Sequence[Detections],
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    *,
    cell: Number,
    overlap: Number = 0.5,
) -> dict[tuple[int, int, int], Pair]:
    """All pairs of things with different labels whose centres are less than
    a `cell` apart, in pixels; keys are the image and the two things.

    A thing is found if a detection of its class overlaps it by `overlap`.
    """
    pairs = {}
    images = zip(found, boxes, labels, strict=True)
    for image, (d, box, label) in enumerate(images):
        hits = box_iou(box, d.boxes) >= overlap
        hit = (hits & (label[:, None] == d.labels)).any(1)
        centre = (box[:, :2] + box[:, 2:]) / 2
        place = (centre / cell).long()
        for i, j in torch.combinations(torch.arange(len(box))).tolist():
            near = (centre[i] - centre[j]).norm() < cell
            if near and label[i] != label[j]:
                shared = bool((place[i] == place[j]).all())
                both = bool(hit[i] and hit[j])
                pairs[image, i, j] = Pair(shared, both)
    return pairs


def windows_of(scenes: Scenes, side: int, at: int) -> Scenes:
    """The square of `side` pixels from (`at`, `at`) of every scene.

    Boxes move with it, and keep their places in the lists even where they
    are cut or lie outside.
    """
    end = at + side
    cut = scenes.images[:, :, at:end, at:end]
    return scenes._replace(images=cut, boxes=[box - at for box in scenes.boxes])


def both_found(
    seen: Sequence[Sequence[Detections]],
    views: Sequence[Scenes],
    *,
    cell: Number,
) -> tuple[float, float]:
    """How often both things of a pair are found where they share a cell,
    and how often where they do not: the same pairs in two `views`.

    `seen` are the detections in each view. Counted are pairs that share a
    cell in one of the views and not in the other, and lie wholly in both.
    Raises `ValueError` where there is none.
    """
    sides = [view.images.shape[-1] for view in views]
    whole = [
        torch.stack([((box >= 0) & (box <= side)).all(1) for box, side in zip(boxes, sides, strict=True)]).all(0)
        for boxes in zip(*(view.boxes for view in views), strict=True)
    ]
    first, second = (
        near_pairs(found, view.boxes, view.labels, cell=cell)
        for found, view in zip(seen, views, strict=True)
    )
    tally: dict[bool, list[bool]] = {True: [], False: []}
    for key, pair in first.items():
        image, i, j = key
        other = second[key]
        if pair.shared != other.shared and whole[image][i] and whole[image][j]:
            for one in (pair, other):
                tally[one.shared].append(one.found)
    if not tally[True]:
        raise ValueError(
            f"no pair shares a cell of {cell:g} pixels in one view only: "
            "draw more scenes, or scenes with more and smaller things"
        )
    return tuple(sum(tally[kind]) / len(tally[kind]) for kind in (True, False))

"""What the chapter does with all detectors alike: draw scenes, learn, find,
and look at pairs of things in one cell."""

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import AdamW
from torchvision.transforms.functional import pil_to_tensor

from helpers.data import batches, load, voc_boxes
from helpers.data.scenes import CLASSES, Rules, make_scenes
from helpers.localization.detection.boxes import Detections, Number, box_iou
from helpers.localization.detection.interface import ANY_CLASSES, check_targets
from helpers.training import (
    Batch,
    clipped,
    cosine_decay,
    fit,
    gradient_update,
    scheduled,
    warmup,
)

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
        (i,) = batch
        boxes, labels = [data.boxes[j] for j in i], [data.labels[j] for j in i]
        parts = losses(model, images[i], boxes, labels, generator=random)
        return sum(parts.values())

    optimizer = AdamW(
        model.parameters(), rate, weight_decay=0.01, fused=True
    )
    update = clipped(
        gradient_update(model.train(), optimizer, total), optimizer, norm=10.0
    )
    ramp = max(steps // 10, 1)
    rule = warmup(ramp, cosine_decay(max(steps - ramp, 1)))
    order = torch.Generator().manual_seed(run)
    numbers = torch.arange(len(images))
    stream = batches(numbers, batch_size=batch_size, generator=order)
    fit(scheduled(update, optimizer, rule), stream, steps, progress=False)
    return model.eval()


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

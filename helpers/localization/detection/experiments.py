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
    split: str, side: int, *, device: torch.device | str = "cpu"
) -> Scenes:
    """The photographs of VOC 2007, each squeezed into a square.

    `split` is one of `load("voc2007")`, such as "trainval" or "test". The
    labels index `VOC_CLASSES`. Things marked "difficult" are left out, so
    are photographs of nothing else.
    """
    squares, boxes, labels = [], [], []
    for photograph, annotation in load("voc2007", split):
        box, label, difficult = voc_boxes(annotation)
        if difficult.all():
            continue
        shrink = side / torch.tensor(2 * photograph.size)  # of x, y, x, y
        squares.append(pil_to_tensor(photograph.resize((side, side))) / 255)
        boxes.append((box * shrink)[~difficult].to(device))
        labels.append(label[~difficult].to(device))
    return Scenes(torch.stack(squares).to(device), boxes, labels)


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
    device = data.images.device
    random = torch.Generator(device).manual_seed(run)

    def total(model: nn.Module, batch: Batch) -> Tensor:
        (i,) = batch
        boxes, labels = [data.boxes[j] for j in i], [data.labels[j] for j in i]
        parts = losses(model, data.images[i], boxes, labels, generator=random)
        return sum(parts.values())

    optimizer = AdamW(model.to(device).parameters(), rate, weight_decay=0.01)
    update = clipped(
        gradient_update(model.train(), optimizer, total), optimizer, norm=10.0
    )
    ramp = max(steps // 10, 1)
    rule = warmup(ramp, cosine_decay(max(steps - ramp, 1)))
    order = torch.Generator().manual_seed(run)
    numbers = torch.arange(len(data.images))
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
    chunks = images.split(50)
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


class Pairs(NamedTuple):
    """How often both things of a near pair are found."""

    in_one_cell: float
    in_two_cells: float


def both_found(
    found: Sequence[Detections],
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    *,
    cell: Number,
    overlap: Number = 0.5,
) -> Pairs:
    """The share of near pairs of which both are found, named rightly.

    A pair has different labels and centres less than a `cell` apart, in
    pixels. Raises `ValueError` where there is no pair of either kind.
    """
    tally: dict[bool, list[bool]] = {True: [], False: []}
    for d, box, label in zip(found, boxes, labels, strict=True):
        hits = box_iou(box, d.boxes) >= overlap
        hit = (hits & (label[:, None] == d.labels)).any(1)
        centre = (box[:, :2] + box[:, 2:]) / 2
        place = (centre / cell).long()
        for i, j in torch.combinations(torch.arange(len(box))).tolist():
            near = (centre[i] - centre[j]).norm() < cell
            if near and label[i] != label[j]:
                same = bool((place[i] == place[j]).all())
                tally[same].append(bool(hit[i] and hit[j]))
    for same, kind in ((True, "in one cell"), (False, "in two cells")):
        if not tally[same]:
            raise ValueError(
                f"no pair of things {kind} of {cell:g} pixels: draw more "
                "scenes, or scenes with more and smaller things"
            )
    return Pairs(*(sum(x) / len(x) for x in (tally[True], tally[False])))

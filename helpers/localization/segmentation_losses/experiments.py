"""What the page runs: pictures with scratches and specks, one network under many losses; bodies in relief for PixelNet."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from helpers.data.scenes import Rules, make_scenes
from helpers.localization.segmentation_losses.losses import pixel_cross_entropy
from helpers.localization.segmentation_losses.metrics import best_threshold, iou, precision, recall
from helpers.localization.segmentation_losses.pixelnet import PixelNet, sample_pixels
from helpers.training import Batch, evaluation_mode, train

MaskLoss = Callable[[Tensor, Tensor], Tensor]

CALM = Rules(
    count=(1, 3),
    shapes=("disk", "square", "triangle", "ring", "cross", "moon"),
    materials=("plain",),
    backgrounds=("plain", "gradient", "clouds"),
)
CONTRAST = (0.08, 0.2)  # how much darker a scratch is than what it lies on; white is 1
NOISE = 0.04  # standard deviation
THRESHOLDS = [i / 50 for i in range(1, 50)]


# -- Scratches and specks ------------------------------------------------------------------------------------------------


class Scratched(NamedTuple):
    """Pictures, the mask of all that is wrong with them, and each fault by its number, from 1 on in each picture."""

    images: Float[Tensor, "n 3 h w"]
    masks: Bool[Tensor, "n h w"]
    faults: Int[Tensor, "n h w"]  # 0 where there is none

    def first(self, n: int) -> "Scratched":
        """The first `n` of them."""
        return Scratched(*(column[:n] for column in self))


def scratched(n: int, side: int = 48, *, seed: int) -> Scratched:
    """Draw `n` pictures of things, each with 0 to 2 scratches and 0 to 3 specks, darker than what they lie on.

    A scratch is a bent line, a pixel and a half wide and about a quarter of the side long, a speck a disk of two to three
    pixels. The same `seed` draws the same pictures.
    """
    images = make_scenes(n, side, seed=seed, rules=CALM).images.numpy()
    random = np.random.default_rng([seed, 7])
    faults = np.zeros((n, side, side), dtype=np.int64)
    shade = np.zeros((n, side, side), dtype=np.float32)
    for i in range(n):
        covers = [draw(random, side) for draw, most in ((scratch, 2), (speck, 3)) for _ in range(random.integers(most + 1))]
        for number, cover in enumerate(covers, 1):
            faults[i][cover >= 0.5] = number
            shade[i] = np.maximum(shade[i], cover * random.uniform(*CONTRAST))
    pictures = np.clip(images - shade[:, None] + random.normal(0, NOISE, images.shape), 0, 1)
    numbers = torch.from_numpy(faults)
    return Scratched(torch.from_numpy(pictures).float(), numbers > 0, numbers)


def scratch(random: np.random.Generator, side: int) -> Float[np.ndarray, "h w"]:
    """How much of each pixel a bent line covers."""
    middle, angle = random.uniform(0.15, 0.85, 2) * side, random.uniform(0, np.pi)
    cover = np.zeros((side, side), dtype=np.float32)
    for turn in (0, random.uniform(-0.5, 0.5) + np.pi):
        arm = np.array([np.cos(angle + turn), np.sin(angle + turn)]) * random.uniform(0.1, 0.16) * side
        cover = np.maximum(cover, np.clip(1.25 - distance(middle, middle + arm, side), 0, 1))
    return cover


def speck(random: np.random.Generator, side: int) -> Float[np.ndarray, "h w"]:
    """How much of each pixel a small disk covers."""
    middle, radius = random.uniform(0.05, 0.95, 2) * side, random.uniform(0.9, 1.5)
    return np.clip(0.5 + radius - distance(middle, middle, side), 0, 1)


def distance(a: np.ndarray, b: np.ndarray, side: int) -> Float[np.ndarray, "h w"]:
    """Of each pixel's centre from the line between two points (x, y), in pixels."""
    centres = np.stack(np.meshgrid(*[np.arange(side) + 0.5] * 2), -1)  # [h w 2], x and y
    along = ((centres - a) @ (b - a)) / max(float((b - a) @ (b - a)), 1e-12)
    nearest = a + np.clip(along, 0, 1)[..., None] * (b - a)
    return np.linalg.norm(centres - nearest, axis=-1).astype(np.float32)


def finder(*, width: int = 12, bias: float = 0.0) -> nn.Sequential:
    """Four 3x3 convolutions at full size, the last two dilated, and one logit for each pixel, which begins near `bias`."""
    layers: list[nn.Module] = [nn.BatchNorm2d(3, affine=False)]
    inputs = 3
    for dilation in (1, 1, 2, 4):
        layers += [
            nn.Conv2d(inputs, width, 3, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
        inputs = width
    last = nn.Conv2d(width, 1, 1)
    nn.init.constant_(last.bias, bias)
    return nn.Sequential(*layers, last, nn.Flatten(1, 2))  # [b h w]


class Learned(NamedTuple):
    """A taught network, and what was seen on the way."""

    model: nn.Module
    path: list[float]  # the best IoU on the watched pictures after each `every` steps


def learn(
    loss: MaskLoss,
    data: Scratched,
    steps: int,
    *,
    run: int,
    bias: float = 0.0,
    rate: float = 1e-2,
    watch: Scratched | None = None,
    every: int = 20,
) -> Learned:
    """Teach a `finder` by a loss of logits and masks, on batches of 8 pictures; `run` seeds the weights and the order."""
    torch.manual_seed(run)
    model = finder(bias=bias).to(memory_format=torch.channels_last)
    columns = [data.images.contiguous(memory_format=torch.channels_last), data.masks]
    settings = dict(rate=rate, batch_size=8, seed=run, rise=steps // 10, clip=1.0, progress=False)
    path: list[float] = []

    def look() -> dict:
        with evaluation_mode(model):
            path.append(best_iou(model, watch))
        return {}

    if watch is not None:
        settings |= dict(evaluate=look, every=every)
    train(model, lambda net, batch: loss(net(batch[0]), batch[1]), columns, steps, **settings)
    return Learned(model, path)


def probabilities(model: nn.Module, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n h w"]:
    """What a finder says, 50 pictures at a time."""
    with torch.no_grad():
        return torch.cat([model(part).sigmoid() for part in images.split(50)])


class Score(NamedTuple):
    """A finder on the test pictures: cut at one half, and at the threshold that is best on the validation pictures."""

    recall: float
    precision: float
    iou: float
    threshold: float
    best: float  # IoU at that threshold


def score(model: nn.Module, validation: Scratched, test: Scratched) -> Score:
    """Masks of the test pictures against the truth, all pixels of all pictures in one count."""
    p = probabilities(model, test.images)
    half = p > 0.5
    threshold = best_threshold(probabilities(model, validation.images), validation.masks, THRESHOLDS)
    return Score(
        recall(half, test.masks), precision(half, test.masks), iou(half, test.masks), threshold, iou(p > threshold, test.masks)
    )


def best_rate(loss: MaskLoss, rates: Sequence[float], data: Scratched, validation: Scratched, *, run: int, bias: float) -> float:
    """The rate that after 100 steps gives the highest IoU on the validation pictures, each at its best threshold."""
    return max(rates, key=lambda rate: best_iou(learn(loss, data, 100, run=run, bias=bias, rate=rate).model, validation))


def best_iou(model: nn.Module, data: Scratched) -> float:
    """The highest IoU that any of the `THRESHOLDS` gives."""
    return max(iou_by_threshold(model, data))


def iou_by_threshold(model: nn.Module, data: Scratched) -> list[float]:
    """IoU of the mask p > t for each of the `THRESHOLDS`."""
    p = probabilities(model, data.images)
    return [iou(p > t, data.masks) for t in THRESHOLDS]


def pull_on_one_pixel(
    loss: MaskLoss, p: Float[Tensor, " n"], *, others: float, foreground: int, pixels: int
) -> Float[Tensor, "n 2"]:
    """Gradient of one pixel's logit times the number of pixels, over what is said there: as foreground, as background.

    All `pixels` of the picture but that one say `others`; `foreground` of them are foreground, with it.
    """
    logit = torch.tensor(others, dtype=torch.float64).logit()
    truth = (torch.arange(pixels) < foreground).double()[None]

    def pull(said: Tensor, place: int) -> Tensor:
        z = logit.repeat(1, pixels)
        z[0, place] = said.double().logit()
        return torch.autograd.grad(loss(z.requires_grad_(), truth), z)[0][0, place] * pixels

    return torch.stack([torch.stack([pull(said, 0), pull(said, -1)]) for said in p])


def recall_by_size(
    found: Bool[Tensor, "n h w"], data: Scratched, edges: Sequence[int]
) -> list[float]:
    """Of faults with edges[i] to edges[i + 1] - 1 pixels, the share of pixels that were found, averaged over faults."""
    sizes, shares = [], []
    for mask, faults in zip(found, data.faults, strict=True):
        for number in range(1, int(faults.max()) + 1):
            if pixels := int((faults == number).sum()):
                sizes.append(pixels)
                shares.append(mask[faults == number].float().mean().item())
    place = np.digitize(sizes, edges)
    return [float(np.mean(np.array(shares)[place == i])) for i in range(1, len(edges))]


# -- Bodies in relief ----------------------------------------------------------------------------------------------------

BODIES = ("disk", "square", "ring", "cross")
PARTS = ("ground", "top", "rim")
TASKS = {"parts": len(PARTS), "edges": 2, "normals": 3}  # outputs of a PixelNet


class Reliefs(NamedTuple):
    """Pictures of bodies with round rims, lit from the upper left, and for each pixel three answers."""

    images: Float[Tensor, "n 3 h w"]
    parts: Int[Tensor, "n h w"]  # places in PARTS
    edges: Int[Tensor, "n h w"]  # 1 where a neighbour to the right or below belongs to something else
    normals: Float[Tensor, "n 3 h w"]  # of length 1: right, down, towards the eye

    def answers(self, task: str) -> Tensor:
        """Labels [n h·w], or normals [n h·w 3]."""
        if task == "normals":
            return self.normals.flatten(2).transpose(1, 2)
        return (self.edges if task == "edges" else self.parts).flatten(1)


def reliefs(n: int, side: int = 48, *, seed: int) -> Reliefs:
    """Draw `n` scenes whose things bulge: their height rises from the outline as a quarter of a circle."""
    rules = Rules(count=(1, 3), shapes=BODIES, materials=("plain",), backgrounds=("plain",), sizes=("medium", "large"))
    drawn = make_scenes(n, side, seed=seed, rules=rules)
    centres = (np.arange(side, dtype=np.float32) + 0.5) / side
    normals = np.zeros((n, 3, side, side), dtype=np.float32)
    normals[:, 2] = 1
    parts = np.zeros((n, side, side), dtype=np.int64)
    for i, scene in enumerate(drawn.scenes):
        for number, thing in enumerate(scene.things, 1):
            rim = 0.45 * thing.size
            inside = np.clip(-thing.distance(centres[None, :], centres[:, None]) / rim, 0, 1)
            down, right = np.gradient(rim * np.sqrt(1 - (1 - inside) ** 2), 1 / side)
            bulge = np.stack([-right, -down, np.ones_like(down)])
            mask = drawn.instances[i].numpy() == number
            parts[i][mask] = np.where(inside < 1, 2, 1)[mask]
            normals[i][:, mask] = (bulge / np.linalg.norm(bulge, axis=0))[:, mask]
    light = np.array([-0.5, -0.6, 0.62], dtype=np.float32)
    shade = np.clip(np.einsum("nchw,c->nhw", normals, light / np.linalg.norm(light)), 0, 1)
    noise = np.random.default_rng([seed, 8]).normal(0, NOISE, drawn.images.shape)
    pictures = np.clip(drawn.images.numpy() * (0.25 + 1.1 * shade[:, None]) + noise, 0, 1)
    ids = drawn.instances
    edges = torch.zeros_like(ids, dtype=torch.bool)
    edges[:, :, :-1] |= ids[:, :, 1:] != ids[:, :, :-1]
    edges[:, :-1] |= ids[:, 1:] != ids[:, :-1]
    return Reliefs(torch.from_numpy(pictures).float(), torch.from_numpy(parts), edges.long(), torch.from_numpy(normals))


def pixel_loss(task: str, answers: Float[Tensor, "b n outputs"], truth: Tensor) -> Float[Tensor, ""]:
    """Cross-entropy of labels; for normals the mean squared distance."""
    if task == "normals":
        return (answers - truth).square().sum(-1).mean()
    return pixel_cross_entropy(answers.transpose(1, 2), truth)


def teach_pixels(task: str, data: Reliefs, count: int | None, steps: int, *, run: int, rate: float = 1e-2) -> PixelNet:
    """Teach a `PixelNet` one task, in each step on `count` random pixels of each of 8 pictures, or on all of them."""
    torch.manual_seed(run)
    model = PixelNet(outputs=TASKS[task])
    if task != "normals":  # begin with the shares of the classes
        shares = data.answers(task).flatten().bincount(minlength=TASKS[task]) / data.answers(task).numel()
        model.head[-1].bias.data.copy_(shares.log())
    random = torch.Generator().manual_seed(run)

    def loss(net: nn.Module, batch: Batch) -> Tensor:
        images, truth = batch
        b, _, h, w = images.shape
        if count is None:
            return pixel_loss(task, net(images), truth)
        pixels = sample_pixels(b, h, w, count, random)
        place = pixels if truth.ndim == 2 else pixels[..., None].expand(-1, -1, truth.shape[2])
        return pixel_loss(task, net(images, pixels), truth.gather(1, place))

    columns = [(data.images - 0.5) * 4, data.answers(task)]
    train(model, loss, columns, steps, rate=rate, batch_size=8, seed=run, rise=steps // 10, clip=1.0, progress=False)
    return model


def answer(model: PixelNet, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n hw outputs"]:
    """The answers for all pixels, 50 pictures at a time."""
    with torch.no_grad():
        return torch.cat([model((part - 0.5) * 4) for part in images.split(50)])


def loss_correlation(model: PixelNet, data: Reliefs, farthest: int) -> list[float]:
    """How alike the losses of two pixels are at a distance of 1 … `farthest` pixels along rows: Pearson's correlation."""
    n, h, w = data.parts.shape
    log_p = answer(model, data.images).log_softmax(-1)
    losses = -log_p.gather(2, data.parts.flatten(1)[..., None]).view(n, h, w)
    return [
        float(torch.corrcoef(torch.stack([losses[..., d:].flatten(), losses[..., :-d].flatten()]))[0, 1])
        for d in range(1, farthest + 1)
    ]


def mean_iou(model: PixelNet, data: Reliefs, task: str = "parts") -> float:
    """Mean over classes of the IoU of their pixels, all pictures in one count."""
    said, truth = answer(model, data.images).argmax(-1), data.answers(task)
    return float(np.mean([iou(said == k, truth == k) for k in range(TASKS[task])]))


def degrees_off(model: PixelNet, data: Reliefs) -> float:
    """Mean angle between the answered and the true normal, in degrees, over the pixels of bodies."""
    said = torch.nn.functional.normalize(answer(model, data.images), dim=-1)
    cosine = (said * data.answers("normals")).sum(-1)[data.parts.flatten(1) > 0]
    return cosine.clamp(-1, 1).acos().rad2deg().mean().item()

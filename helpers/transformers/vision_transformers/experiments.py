"""What the page on vision transformers runs: its data, how its networks are trained, and what it measures on them."""

import time
from functools import partial
from math import pi
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.convnets.architectures.resnet import resnet_small
from helpers.data import ImageSet, load, mnist, photograph
from helpers.training import autocast, train
from helpers.training.classification import accuracy, classification_loss
from helpers.training.loop import Batch
from helpers.transformers.attention import MultiHeadAttention
from helpers.transformers.vision_transformers.image_gpt import ImageGPT, bits_per_pixel, igpt_small, masked_loss
from helpers.transformers.vision_transformers.perceiver import Perceiver, fourier_features, grid
from helpers.transformers.vision_transformers.swin import WindowAttention, swin_small, swin_t
from helpers.transformers.vision_transformers.vit import (
    ViT,
    attention_distance,
    attention_maps,
    patches,
    vit_s_16,
    vit_small,
)

Device = torch.device | str
CROPPED = ("astronaut", "chelsea", "coffee", "china", "flower", "rocket")
SENSES = ("images", "points", "sounds")
FEATURES = 40  # of an input of the Perceiver, whatever the sense
GREYS = 4
HELD_OUT = 447  # of the 1,797 digits of 8x8 pixels


def settings(steps: int) -> dict[str, int | float]:
    """Of the recipe, for all networks of the page: a tenth of the steps to rise, a cosine to 2 %, norms up to 1."""
    return dict(rise=steps // 10, end=0.02, clip=1.0, weight_decay=0.05)


# masked patches


def crops(n: int, side: int, generator: torch.Generator) -> Float[Tensor, "n 1 h w"]:
    """Grey crops of six photographs at a quarter of their size, as many of each, less their own mean, times 4.

    Raises `ValueError` for a number that six does not divide.
    """
    if n % len(CROPPED):
        raise ValueError(f"n = {n}: give a multiple of {len(CROPPED)}, the number of photographs")
    found = []
    for name in CROPPED:
        whole = F.avg_pool2d(photograph(name).mean(0, keepdim=True), 4)[0]
        free = torch.tensor(whole.shape) - side + 1
        for _ in range(n // len(CROPPED)):
            y, x = (torch.rand(2, generator=generator) * free).long().tolist()
            found.append(whole[y : y + side, x : x + side])
    pictures = torch.stack(found)[torch.randperm(n, generator=generator), None]
    return 4 * (pictures - pictures.mean((2, 3), keepdim=True))


def cover(
    images: Float[Tensor, "b 1 16 16"], generator: torch.Generator
) -> tuple[Bool[Tensor, "b 64"], Float[Tensor, "b 1 16 16"]]:
    """Each of the 64 squares with probability 1/2, and the images without these."""
    hidden = torch.rand(len(images), 64, generator=generator) < 0.5
    hidden = hidden.to(images.device)
    wide = hidden.view(-1, 1, 8, 8).repeat_interleave(2, 2)
    return hidden, images.masked_fill(wide.repeat_interleave(2, 3), 0.0)


def hidden_loss(
    model: ViT, batch: Batch, generator: torch.Generator
) -> Float[Tensor, ""]:
    """Squared error of the pixels in hidden squares, four a square."""
    hidden, seen = cover(batch[0], generator)
    guess = model.heads(model.features(seen)[:, 1:])
    return F.mse_loss(guess[hidden], patches(batch[0], 2)[hidden])


class Filler(NamedTuple):
    """A vision transformer trained to fill in hidden squares, and its position embeddings before."""

    model: ViT
    start: Float[Tensor, "64 d"]


def train_filler(pictures: Float[Tensor, "n 1 16 16"], seed: int, *, steps: int, device: Device = "cpu") -> Filler:
    """Two blocks on squares of two pixels, trained to fill in what `cover` hides."""
    torch.manual_seed(seed)
    model = vit_small(image=16, patch=2, depth=2, dim=32, channels=1, classes=4)
    start = model.encoder.pos_embedding[0, 1:].detach().clone()
    loss = partial(hidden_loss, generator=torch.Generator().manual_seed(seed))
    train(model, loss, [pictures.to(device)], steps, rate=5e-3, batch_size=32, seed=seed, **settings(steps))
    return Filler(model.cpu(), start)


@torch.no_grad()
def fill(model: ViT, images: Float[Tensor, "b 1 16 16"], seed: int) -> Float[Tensor, "3 b 1 16 16"]:
    """Images with half of their squares hidden, the same filled in by the network, and as they were."""
    hidden, seen = cover(images, torch.Generator().manual_seed(seed))
    guess = model.heads(model.features(seen)[:, 1:])
    guess = torch.where(hidden[..., None], guess, patches(images, 2))
    return torch.stack([seen, F.fold(guess.mT, 16, 2, stride=2), images])


def hidden_errors(
    seen: Float[Tensor, "b 1 16 16"], filled: Float[Tensor, "b 1 16 16"], truth: Float[Tensor, "b 1 16 16"]
) -> dict[str, float]:
    """Squared error in the hidden squares of `fill`, over that of grey: of the network, and of the mean of the up to eight
    visible squares around each (grey where all are hidden).
    """
    visible = (seen == truth).to(truth)
    around, count = (F.avg_pool2d(x, 6, stride=2, padding=2) for x in (seen * visible, visible))
    means = (around / count.clamp(min=1e-6)).repeat_interleave(2, 2).repeat_interleave(2, 3)
    guesses = {"network": filled, "mean of the visible squares around": torch.where(visible.bool(), truth, means)}
    grey = (seen - truth).square().sum()
    return {name: ((guess - truth).square().sum() / grey).item() for name, guess in guesses.items()}


def cosines(vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
    """The cosine of each vector with each."""
    vectors = F.normalize(vectors, dim=1)
    return vectors @ vectors.T


class Likeness(NamedTuple):
    """Mean cosine of positions of a grid: neighbours, more than four steps apart, five steps along a row or a column, and
    three steps along one with four along the other, which is as far."""

    neighbours: float
    far: float
    on_line: float
    off_line: float


def likeness(found: Float[Tensor, "n n"], side: int) -> Likeness:
    """What the cosines of the positions of a grid of `side` by `side` say of rows and columns."""
    away = grid_offsets(side)
    steps, least = away.sum(2), away.min(2).values
    chosen = (steps == 1, steps > 4, (steps == 5) & (least == 0), (steps == 7) & (least == 3))
    return Likeness(*(found[which].mean().item() for which in chosen))


def grid_offsets(side: int) -> Int[Tensor, "n n 2"]:
    """Rows and columns between each two places of a grid, in reading order."""
    line = torch.arange(side)
    places = torch.cartesian_prod(line, line)
    return (places[:, None] - places).abs()


@torch.no_grad()
def distances_of_heads(model: ViT, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "depth heads"]:
    """How far each head of each block looks, in squares."""
    return torch.stack([attention_distance(maps, 1) for maps in attention_maps(model, images)])


# a race on digits


def mixup_loss(
    model: nn.Module, batch: Batch, generator: torch.Generator
) -> Float[Tensor, ""]:
    """Cross-entropy on blends of two pictures and of their labels."""
    images, labels = batch
    share = torch.rand(len(images), generator=generator).to(images)
    other = torch.randperm(len(images), generator=generator)
    other = other.to(images.device)
    logits = model(images.lerp(images[other], share[:, None, None, None]))
    own = F.cross_entropy(logits, labels, reduction="none")
    others = F.cross_entropy(logits, labels[other], reduction="none")
    return own.lerp(others, share).mean()


def digit_reader(kind: str) -> nn.Module:
    """A "ViT" or a "ResNet" of about its size, for digits of 8x8 pixels. The ViT's positions start at deviation 1."""
    if kind == "ResNet":
        return resnet_small(depth=8, width=11, channels=1).to(memory_format=torch.channels_last)
    if kind == "ViT":
        model = vit_small(image=8, patch=2, dim=32, depth=3, channels=1)
        nn.init.normal_(model.encoder.pos_embedding)
        return model
    raise ValueError(f"kind = {kind!r}: 'ViT' or 'ResNet'")


def accuracy_on_digits(
    kind: str, digits: ImageSet, size: int, seed: int, *, steps: int, mixup: bool = False, device: Device = "cpu"
) -> float:
    """Train a `digit_reader` on `size` digits drawn at random, and judge it on 447 others.

    Raises `ValueError` for a size that leaves fewer.
    """
    most = len(digits) - HELD_OUT
    if size > most:
        raise ValueError(f"size = {size}: at most {most:,}, since {HELD_OUT} of {len(digits):,} digits are held out")
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(digits), generator=generator)
    images = (digits.images - digits.images.mean()) / digits.images.std()
    taught, asked = order[:size], order[most:]
    torch.manual_seed(seed)
    model = digit_reader(kind)
    loss = partial(mixup_loss, generator=generator) if mixup else classification_loss
    columns = images[taught].to(device), digits.labels[taught].to(device)
    train(model, loss, columns, steps, rate=5e-3, batch_size=32, seed=seed, **settings(steps))
    return accuracy(model.cpu(), images[asked], digits.labels[asked])


# windows


@torch.no_grad()
def seconds_of_both(side: int, *, times: int = 5) -> Float[Tensor, "times 2"]:
    """CPU seconds of global attention and of windows of 7, forward on a map of `side` by `side`.

    Of width 96 with three heads, as in Swin's first stage; in turns, each first in every other, after one that does not count.
    """
    tokens = torch.randn(1, side, side, 96)
    calls = (
        partial(MultiHeadAttention(dim=96, heads=3), tokens.flatten(1, 2)),
        partial(WindowAttention(dim=96, heads=3, window=7, shift=0), tokens),
    )
    seconds = torch.zeros(times + 1, 2)
    for turn in range(times + 1):
        for i in (0, 1) if turn % 2 else (1, 0):
            begun = time.process_time()
            calls[i]()
            seconds[turn, i] = time.process_time() - begun
    return seconds[1:]


def partition(side: int, window: int, shift: int) -> Int[Tensor, "h w"]:
    """The number of the part that each token of a map is in, when windows begin at `shift`."""
    line = (torch.arange(side) + window - shift) // window
    return 9 * line[:, None] + line


def stripes() -> tuple[Float[Tensor, "4 1 8 8"], Int[Tensor, "4"]]:
    """Stripes two pixels wide that lie (0) or stand (1), each in two colourings."""
    lying = torch.tensor([1.0, 1, -1, -1]).repeat(2)[:, None].expand(8, 8)
    pictures = torch.stack([lying, lying.mT, -lying, -lying.mT])[:, None]
    return pictures.contiguous(), torch.tensor([0, 1, 0, 1])


def logits_on_stripes(shift: int, seed: int, *, steps: int = 150) -> Float[Tensor, "4 2"]:
    """What two blocks in windows of 2 answer after training on the stripes, the second shifted by `shift` or not."""
    torch.manual_seed(seed)
    model = swin_small(dim=16, depths=(2,), heads=(2,), patch=1, window=2, classes=2, channels=1)
    model.features[1][1].attn.shift = shift
    pictures, labels = stripes()
    columns = [pictures, labels]
    train(model, classification_loss, columns, steps, rate=3e-3, batch_size=4, seed=seed, **settings(steps))
    with torch.no_grad():
        return model(pictures)


# one network for three senses

Inputs = tuple[Float[Tensor, "n 64 c"], Int[Tensor, "n"]]


def pixel_sets(digits: ImageSet, generator: torch.Generator) -> Inputs:
    """Digits of 8x8 pixels, shuffled, as 64 inputs, each a grey and its place."""
    chosen = digits.subset(torch.randperm(len(digits), generator=generator))
    grey = chosen.images.flatten(2).mT
    where = fourier_features(grid(8, 8), bands=8, sides=(8, 8))
    return torch.cat([2 * grey - 0.6, where.expand(len(grey), -1, -1)], 2), chosen.labels


def clouds(generator: torch.Generator, n: int) -> Inputs:
    """64 points on a sphere, a box, a cylinder or a ring, turned at random."""
    labels = torch.randint(4, (n,), generator=generator)
    turn, z = torch.rand(2, n, 64, generator=generator)
    turn, z = 2 * pi * turn, 2 * z - 1
    circle = torch.stack([turn.cos(), turn.sin()], 2)
    flat, z = (1 - z**2).sqrt()[..., None], z[..., None]
    box = torch.randn(n, 64, 3, generator=generator)
    tube = 0.7 + 0.3 * torch.cos(pi * z)
    solids = [
        torch.cat([flat * circle, z], 2),
        0.8 * box / box.abs().amax(2, keepdim=True),
        torch.cat([0.7 * circle, z], 2),
        torch.cat([tube * circle, 0.3 * torch.sin(pi * z)], 2),
    ]
    points = torch.stack(solids, 1)[torch.arange(n), labels]
    turned = torch.linalg.qr(torch.randn(n, 3, 3, generator=generator))[0]
    points = (points @ turned).flatten(0, 1) / 1.2
    where = fourier_features(points, bands=5, sides=(8, 8, 8))
    return where.unflatten(0, (n, 64)), labels


def whistles(generator: torch.Generator, n: int) -> Inputs:
    """256 samples of a tone, four to an input, that stays, rises, falls or warbles, with noise."""
    labels = torch.randint(4, (n,), generator=generator)
    t = torch.linspace(0, 1, 256)
    bends = torch.stack([0 * t, t**2 / 2, -0.4 * t**2, 0.06 * torch.sin(6 * pi * t)])
    pitch, phase = torch.rand(2, n, 1, generator=generator)
    turns = (6 + 14 * pitch) * (t + bends[labels]) + phase
    sound = torch.sin(2 * pi * turns) + 0.2 * torch.randn(n, 256, generator=generator)
    where = fourier_features(grid(64), bands=16, sides=(64,))
    return torch.cat([sound.unflatten(1, (64, 4)), where.expand(n, -1, -1)], 2), labels


def perceiver_accuracy(sense: str, digits: ImageSet, seed: int, *, steps: int, device: Device = "cpu") -> float:
    """Train a Perceiver on 1,400 inputs of one of `SENSES`; its accuracy on about 400 others.

    `digits` of 8x8 pixels are the images. Under one seed all senses start from the same weights.
    """
    generator, n = torch.Generator().manual_seed(seed), 1800
    if sense == "images":
        inputs, labels = pixel_sets(digits, generator)
    elif sense == "points":
        inputs, labels = clouds(generator, n)
    elif sense == "sounds":
        inputs, labels = whistles(generator, n)
    else:
        raise ValueError(f"sense = {sense!r}: one of {', '.join(SENSES)}")
    inputs = F.pad(inputs, (0, FEATURES - inputs.shape[2]))
    torch.manual_seed(seed)
    model = Perceiver(channels=FEATURES, latents=8, dim=32, depth=1, looks=2, heads=2, hidden=64, classes=10)
    columns = inputs[:1400].to(device), labels[:1400].to(device)
    train(model, classification_loss, columns, steps, rate=5e-3, batch_size=32, seed=seed, **settings(steps))
    return accuracy(model.cpu(), inputs[1400:], labels[1400:])


# pixels as words


def small_digits(side: int) -> ImageSet:
    """MNIST's digits with `side` pixels: two pixels of border cut off, squares of the 24x24 that are left averaged.

    Raises `ValueError` for a side that does not divide 24.
    """
    if side < 1 or 24 % side:
        raise ValueError(f"side = {side}: give a divisor of 24, the pixels without the border")
    whole = mnist()
    images = F.avg_pool2d(whole.images[:, :, 2:-2, 2:-2], 24 // side)
    return ImageSet(images, whole.labels, whole.classes)


def greys(images: Float[Tensor, "n 1 h w"]) -> Int[Tensor, "n t"]:
    """Images with values in 0 … 1 as rows of greys 0 to 3, in reading order."""
    return (images.flatten(1) * GREYS).long().clamp(max=GREYS - 1)


def histogram_bits(
    known: Int[Tensor, "n t"], asked: Int[Tensor, "m t"], *, back: tuple[int, ...] = ()
) -> float:
    """Bits per pixel when each pixel is coded by the greys that it has in the known pictures, a thousandth added.

    They are counted apart for the greys of the pixels that lie `back` in reading order: (1,) is the pixel before, (1, 12)
    that and, in rows of 12, the one above. Before the first pixel stand zeros.
    """
    kinds = GREYS ** len(back)
    before = [
        sum((F.pad(x, (b, 0))[:, :-b] * GREYS**i for i, b in enumerate(back)), torch.zeros_like(x))
        for x in (known, asked)
    ]
    counts = F.one_hot(before[0] * GREYS + known, kinds * GREYS).double().mean(0).unflatten(1, (kinds, GREYS))
    share = (counts + 0.001) / (counts + 0.001).sum(2, keepdim=True)  # place, before, now
    own = share[torch.arange(asked.shape[1]), before[1], asked]
    return -own.log2().mean().item()


def small_gpt(pixels: int) -> ImageGPT:
    """Three blocks; the first weights as wide as the 48 features ask for."""
    model = igpt_small(colours=GREYS, context=pixels, dim=48, depth=3, heads=2)
    for name, weight in model.named_parameters():
        if weight.ndim == 2 and name != "head.weight":
            fan_in = 1 if name.startswith(("colour", "position")) else weight.shape[1]
            nn.init.normal_(weight, std=0.7 * fan_in**-0.5)
    return model


def next_loss(model: ImageGPT, batch: Batch) -> Float[Tensor, ""]:
    """Cross-entropy of each pixel after those before it."""
    (pixels,) = batch
    return F.cross_entropy(model(pixels).mT, pixels)


def filling_loss(
    model: ImageGPT, batch: Batch, generator: torch.Generator
) -> Float[Tensor, ""]:
    """Cross-entropy of hidden pixels, each with probability 0.4, from the others."""
    (pixels,) = batch
    hidden = torch.rand(pixels.shape, generator=generator) < 0.4
    hidden = hidden.to(pixels.device)
    return masked_loss(model.fill_in(pixels, hidden), pixels, hidden)


def train_writer(
    objective: str, pixels: Int[Tensor, "n t"], seed: int, *, steps: int, device: Device = "cpu"
) -> ImageGPT:
    """Train a small image GPT on the "next pixel" or on "hidden pixels"."""
    if objective == "next pixel":
        loss = next_loss
    elif objective == "hidden pixels":
        loss = partial(filling_loss, generator=torch.Generator().manual_seed(seed))
    else:
        raise ValueError(f"objective = {objective!r}: 'next pixel' or 'hidden pixels'")
    torch.manual_seed(seed)
    model = small_gpt(pixels.shape[1])
    train(model, loss, [pixels.to(device)], steps, rate=7e-3, batch_size=16, seed=seed, **settings(steps))
    return model.cpu()


@torch.no_grad()
def written_bits(writer: ImageGPT, pixels: Int[Tensor, "n t"]) -> float:
    """Bits per pixel of pictures that an image GPT has not seen."""
    parts = [bits_per_pixel(writer(part), part) * len(part) for part in pixels.split(100)]
    return sum(parts).item() / len(pixels)


@torch.no_grad()
def features_by_block(writer: ImageGPT, pixels: Int[Tensor, "n t"], *, causal: bool) -> list[Float[Tensor, "n d"]]:
    """What a linear probe reads before each block and after the last."""
    parts = [list(writer.features(part, causal=causal)) for part in pixels.split(100)]
    return [torch.cat(block) for block in zip(*parts, strict=True)]


def probe(
    features: Float[Tensor, "n d"],
    labels: Int[Tensor, "n"],
    others: Float[Tensor, "m d"],
) -> Int[Tensor, "m"]:
    """Classes of `others` by ridge regression from the features."""
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    x, z = (
        F.pad((part - mean) / deviation, (0, 1), value=1.0).double()
        for part in (features, others)
    )
    penalty = 0.01 * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
    target = F.one_hot(labels, 10).double()
    return (z @ torch.linalg.solve(x.T @ x + penalty, x.T @ target)).argmax(1)


def probe_accuracy(
    known: Float[Tensor, "n d"], labels: Int[Tensor, "n"], asked: Float[Tensor, "m d"], answers: Int[Tensor, "m"]
) -> float:
    """How many of the held-out pictures a probe on the known ones gets right, of all."""
    return (probe(known, labels, asked) == answers).double().mean().item()


# at scale


def train_on_cifar10(name: str, seed: int, *, device: Device) -> tuple[int, float]:
    """Parameters and held-out accuracy of "ViT-S/4" or "Swin-T/2" from scratch on CIFAR-10, with mixup."""
    torch.manual_seed(seed)
    if name == "ViT-S/4":
        model = vit_s_16(image=32, patch=4, classes=10)
    elif name == "Swin-T/2":
        model = swin_t(patch=2, window=4, classes=10)
    else:
        raise ValueError(f"name = {name!r}: 'ViT-S/4' or 'Swin-T/2'")
    shown, unseen = load("cifar10", "train"), load("cifar10", "test")
    centre = shown.images.mean((0, 2, 3), keepdim=True)
    loss = autocast(partial(mixup_loss, generator=torch.Generator().manual_seed(seed)))
    columns = (shown.images - centre).to(device), shown.labels.to(device)
    steps = 20_000
    train(model, loss, columns, steps, rate=5e-4, batch_size=256, seed=seed, **settings(steps))
    right = accuracy(model, (unseen.images - centre).to(device), unseen.labels.to(device))
    return sum(p.numel() for p in model.parameters()), right

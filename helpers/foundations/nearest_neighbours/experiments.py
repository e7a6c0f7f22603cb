"""What the page runs: label noise, dimensions, pixels against features, nuisances by degrees, choices on the wrong set."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from helpers.data import ImageSet
from helpers.data.scenes import DIGITS, SHAPES, Background, Rules, Scene, Thing, make_scenes, render
from helpers.foundations.early_vision.hog import hog
from helpers.foundations.linear_classifiers import linear_probe
from helpers.foundations.nearest_neighbours.folds import folds
from helpers.foundations.nearest_neighbours.neighbours import NearestNeighbours, distances, vote
from helpers.foundations.nearest_neighbours.spoiling import spoil
from helpers.training import train
from helpers.training.classification import accuracy, classification_loss

# -- the classifier ----------------------------------------------------------------------------------------------------


def halves(data: ImageSet, seed: int, share: float | int = 0.8) -> tuple[ImageSet, ImageSet]:
    """A part to remember and a part to judge on, with the same mixture of classes."""
    return data.split(share, 1 - share, generator=torch.Generator().manual_seed(seed), stratified=True)


def right(model: NearestNeighbours, test: ImageSet) -> float:
    """The share of a set that a trained model answers rightly."""
    return (model.predict(test.images) == test.labels).double().mean().item()


def by_amount(train: ImageSet, test: ImageSet, amounts: Sequence[int]) -> Float[Tensor, " amounts"]:
    """Accuracy of 1-NN that remembers evenly spread shares of a set."""
    found = []
    for amount in amounts:
        rows = torch.linspace(0, len(train) - 1, amount).round().long()
        found.append(right(NearestNeighbours().train(train.images[rows], train.labels[rows]), test))
    return torch.tensor(found)


def moons(n: int, seed: int, noise: float | int = 0.25) -> tuple[Float[Tensor, "n 2"], Int[Tensor, " n"]]:
    """Two interlocked half circles, blurred."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    angle = torch.pi * torch.rand(n, generator=random)
    x = torch.where(labels == 0, angle.cos(), 1 - angle.cos())
    y = torch.where(labels == 0, angle.sin(), 0.5 - angle.sin())
    return torch.stack([x, y], 1) + noise * torch.randn(n, 2, generator=random), labels


def regions(model: NearestNeighbours, side: int = 100) -> Int[Tensor, "side side"]:
    """The answer at each point of a grid over [-1.75, 2.75] x [-1.5, 2]; row 0 is the lowest."""
    x, y = torch.linspace(-1.75, 2.75, side), torch.linspace(-1.5, 2.0, side)
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2)
    return model.predict(points).reshape(side, side)


def border(answers: Int[Tensor, "side side"]) -> int:
    """How many neighbouring pairs of a grid have different answers: the length of the border in grid steps."""
    return int((answers.diff(dim=0) != 0).sum() + (answers.diff(dim=1) != 0).sum())


def wrong_labels(data: ImageSet, share: float | int, seed: int) -> ImageSet:
    """The set with so many labels replaced by another class at random."""
    random = torch.Generator().manual_seed(seed)
    spoilt = torch.rand(len(data), generator=random) < share
    other = (data.labels + torch.randint(1, len(data.classes), (len(data),), generator=random)) % len(data.classes)
    return ImageSet(data.images, torch.where(spoilt, other, data.labels), data.classes)


def by_k(train: ImageSet, test: ImageSet, ks: Sequence[int]) -> Float[Tensor, " ks"]:
    """Accuracy for each number of voting neighbours; the distances are computed once."""
    near = train.labels[NearestNeighbours(max(ks)).train(train.images, train.labels).neighbours(test.images)]
    return torch.stack([(vote(near[:, :k]) == test.labels).double().mean() for k in ks])


def two_bells(n: int, seed: int, apart: float | int = 2.0) -> tuple[Float[Tensor, "n 1"], Int[Tensor, " n"]]:
    """Numbers of two classes, equally frequent: normal with deviation 1 around 0 and around `apart`."""
    random = torch.Generator().manual_seed(seed)
    labels = (torch.rand(n, generator=random) < 0.5).long()
    return (apart * labels + torch.randn(n, generator=random, dtype=torch.float64))[:, None], labels


def bell_errors(n: int, seed: int, queries: int = 20_000, apart: float | int = 2.0) -> tuple[float, float]:
    """The error of 1-NN with `n` numbers of `two_bells`, and that of the best rule there is, a cut half way."""
    from scipy.stats import norm

    x, labels = two_bells(n, seed, apart)
    q, truth = two_bells(queries, seed + 1_000_000, apart)
    order = x[:, 0].argsort()
    x, labels = x[order, 0], labels[order]
    after = torch.searchsorted(x, q[:, 0]).clamp(1, n - 1)
    nearer = torch.where(q[:, 0] - x[after - 1] <= x[after] - q[:, 0], after - 1, after)
    return (labels[nearer] != truth).double().mean().item(), float(norm.cdf(-apart / 2))


def bell_limit(apart: float | int = 2.0) -> float:
    """The error of 1-NN with endless samples of `two_bells`: query and neighbour draw their labels at one place."""
    from scipy.stats import norm

    x = np.linspace(-8, apart + 8, 200_001)
    p, q = norm.pdf(x) / 2, norm.pdf(x - apart) / 2
    return float((2 * p * q / (p + q)).sum() * (x[1] - x[0]))


# -- distance ----------------------------------------------------------------------------------------------------------


def rotation(d: int, seed: int) -> Float[Tensor, "d d"]:
    """A random rotation, uniform over all."""
    noise = torch.randn(d, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    Q, R = torch.linalg.qr(noise)
    Q = Q * R.diag().sign()
    Q[:, 0] *= torch.linalg.det(Q).sign()  # no mirror image
    return Q


def contrast(d: int, seed: int, n: int = 1000, queries: int = 20) -> float:
    """Distance of the farthest of `n` random points of the unit cube over that of the nearest, median over queries."""
    random = torch.Generator().manual_seed(seed)
    return median_contrast(torch.rand(queries, d, generator=random), torch.rand(n, d, generator=random))


def median_contrast(queries: Float[Tensor, "m *shape"], points: Float[Tensor, "n *shape"]) -> float:
    """Distance of the farthest of the points over that of the nearest, median over queries."""
    gaps = distances(queries, points)
    return (gaps.amax(1) / gaps.amin(1)).median().item()


# -- pixels and features -----------------------------------------------------------------------------------------------

ONE_SHAPE = Rules(
    count=1, shapes=SHAPES, sizes=("large",), materials=("plain",), backgrounds=("plain", "gradient", "clouds"), tilt=0.2
)


def shapes(n: int, seed: int, size: int = 32) -> ImageSet:
    """Pictures with one large coloured shape before a plain or cloudy background; the class is the shape."""
    batch = make_scenes(n, size, seed=seed, rules=ONE_SHAPE)
    return ImageSet(batch.images, torch.stack([labels[0] for labels in batch.labels]), SHAPES)


def as_pixels(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
    """The pictures as they are."""
    return images.flatten(1)


def as_gradients(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
    """Histograms of oriented gradients, in cells of 8 pixels and blocks of 3 by 3 of them."""
    return hog(images)


def share_of_same(views: Float[Tensor, "n d"], labels: Int[Tensor, " n"], k: int = 5) -> float:
    """How often one of the `k` nearest others has the same class."""
    near = NearestNeighbours(k + 1).train(views, labels).neighbours(views)[:, 1:]
    return (labels[near] == labels[:, None]).double().mean().item()


# -- nuisances ---------------------------------------------------------------------------------------------------------


def written(scans: Sequence[int], size: int = 20) -> Float[Tensor, "scans k 1 size size"]:
    """Each digit in each of these scans, upright, grey on grey: the procedural world with all causes fixed but the scan."""
    pictures = []
    for scan in scans:
        for digit in DIGITS:
            thing = Thing(digit, "yellow", size=0.36, glyph=scan)
            ground = Background(first=(0.25, 0.25, 0.25), second=(0.25, 0.25, 0.25))
            pictures.append(render(Scene((thing,), ground), size).image.mean(0, keepdim=True))
    return torch.stack(pictures).unflatten(0, (len(scans), len(DIGITS)))


class World:
    """Digits of the procedural world from many scans, half of them for training and half for the test."""

    def __init__(self, scans: int = 60, size: int = 20) -> None:
        self.pictures = written(range(scans), size)

    def sets(self, kind: str, degree: float | int, seed: int, n: int = 400, test: int = 300) -> tuple[ImageSet, ImageSet]:
        """A training and a test set, spoilt by one nuisance to that degree.

        "variation": that share of the digits is from a scan at random, of which training and test have their own; all the
        others, and all under the other nuisances, are from one scan.
        """
        random = torch.Generator().manual_seed(seed)
        half = len(self.pictures) // 2
        parts = []
        for count, first in ((n, 0), (test, half)):
            labels = torch.randint(10, (count,), generator=random)
            own = torch.rand(count, generator=random) < (degree if kind == "variation" else 0)
            scan = torch.where(own, first + torch.randint(half, (count,), generator=random), 0)
            images = self.pictures[scan, labels]
            if kind != "variation":
                images = spoil(images, kind, degree, random)
            parts.append(ImageSet(images, labels, DIGITS))
        return parts[0], parts[1]


class SmallConvNet(nn.Sequential):
    """Two convolutions with pooling, then a linear classifier: a network of a later part, used as it is."""

    def __init__(self, size: int = 20, classes: int = 10) -> None:
        super().__init__(
            nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(32 * (size // 4) ** 2, classes),
        )  # fmt: skip


def three_classifiers(sets: tuple[ImageSet, ImageSet], seed: int, steps: int = 150) -> Float[Tensor, "3"]:
    """Test accuracy of pixel 1-NN, of a linear classifier, and of a small ConvNet, on the same pictures."""
    learned, test = sets
    model = NearestNeighbours().train(learned.images, learned.labels)
    probe = linear_probe(learned.images.flatten(1), learned.labels, l2=1e-2, classes=10, iterations=60)
    torch.manual_seed(seed)
    network = SmallConvNet(learned.images.shape[-1])
    columns = (learned.images - 0.4) * 3, learned.labels
    train(network, classification_loss, columns, steps, rate=3e-3, batch_size=64, seed=seed, progress=False)
    linear = (probe(test.images.flatten(1)).argmax(1) == test.labels).double().mean().item()
    return torch.tensor([right(model, test), linear, accuracy(network, (test.images - 0.4) * 3, test.labels)])


# -- choosing a setting ------------------------------------------------------------------------------------------------


class Choice(NamedTuple):
    """A setting that was chosen: the accuracy that was reported for it, and its accuracy on very many other images."""

    reported: float | int
    true: float | int


def choices(
    gaps: dict[str, Float[Tensor, "n n"]],
    labels: Int[Tensor, " n"],
    ks: Sequence[int],
    seed: int,
    *,
    known: int = 200,
    test: int = 50,
) -> tuple[Choice, Choice]:
    """One experiment, from all distances of a set: choose distance and k on the test images, or by folds of the known ones.

    `known` images are remembered, `test` others are the test set, and all the rest stand for the world. First the choice of the
    setting that is best on the test set, reported with that very accuracy; then that of five folds, reported with the test's.
    """
    random = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=random)
    mine, judged, world = order[:known], order[known : known + test], order[known + test :]

    def scores(gap: Tensor, rows: Tensor, columns: Tensor) -> Float[Tensor, " ks"]:
        near = labels[columns][gap[rows][:, columns].argsort(dim=1, stable=True)[:, : max(ks)]]
        return torch.stack([(vote(near[:, :k]) == labels[rows]).double().mean() for k in ks])

    on_test, by_folds, on_world = [], [], []
    for gap in gaps.values():
        on_test.append(scores(gap, judged, mine))
        on_world.append(scores(gap, world, mine))
        by_folds.append(torch.stack([scores(gap, mine[held], mine[rest]) for rest, held in folds(known, 5)]).mean(0))
    on_test, by_folds, on_world = (torch.stack(part).flatten() for part in (on_test, by_folds, on_world))
    found = []
    for judge in (on_test, by_folds):
        best = int(judge.argmax())
        found.append(Choice(on_test[best].item(), on_world[best].item()))
    return found[0], found[1]


def views(images: Float[Tensor, "n 1 h w"]) -> dict[str, Float[Tensor, "n d"]]:
    """The same digits seen in four ways, each a setting that one might choose: pixels, coarse, blurred, as black and white."""
    coarse = nn.functional.avg_pool2d(images, 2)
    blurred = nn.functional.avg_pool2d(images, 3, 1, 1)
    sharp = (images > 0.5).float()
    parts = {"pixels": images, "coarse": coarse, "blurred": blurred, "black and white": sharp}
    return {name: part.flatten(1) for name, part in parts.items()}


def seconds(amounts: Sequence[int], queries: int = 50, d: int = 784) -> dict[int, tuple[float, float]]:
    """What a clock says of training and of predicting, for each number of remembered images."""
    from time import perf_counter

    found = {}
    for n in amounts:
        images, labels = torch.rand(n, d), torch.zeros(n, dtype=torch.long)
        begin = perf_counter()
        model = NearestNeighbours().train(images, labels)
        middle = perf_counter()
        model.predict(images[:queries])
        found[n] = middle - begin, perf_counter() - middle
    return found


"""What the page runs: templates of digits and of letters in two poses, random search, walks down two losses, curvature."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.func import jacrev, vmap
from torch.nn import functional as F

from helpers.data import ImageSet, glyphs
from helpers.foundations.linear_classifiers.losses import softmax_gradient, softmax_loss, svm_gradient, svm_loss
from helpers.foundations.linear_classifiers.templates import Templates
from helpers.training import train
from helpers.training.classification import accuracy

LOSSES: dict[str, Callable] = {"hinge": svm_loss, "softmax": softmax_loss}
LETTERS = "BCDEFGJKLNPQRSZ2"  # none of them is its own mirror image


class Sets(NamedTuple):
    """Disjoint parts of one data set: to learn from, to choose settings on, to judge on."""

    train: ImageSet
    validation: ImageSet
    test: ImageSet


def split(data: ImageSet, seed: int) -> Sets:
    """60 % to learn from, 20 % to choose on, 20 % to judge on, each with the same mixture of classes."""
    order = torch.Generator().manual_seed(seed)
    return Sets(*data.split(0.6, 0.2, 0.2, generator=order, stratified=True))


def learn(
    data: ImageSet, loss: Callable, *, rate: float | int, seed: int, each: int = 1, clusters: bool = False, steps: int = 400
) -> Templates:
    """Templates of a data set, trained with one of the two losses by the book's recipe, 100 images a step.

    With `clusters` the templates of a class begin at a tenth of the middles that k-means finds in its images.
    """
    torch.manual_seed(seed)
    model = Templates(dim=data.images[0].numel(), classes=len(data.classes), each=each)
    if clusters:
        begin_at_clusters(model, data, seed)

    def objective(model: Templates, batch: tuple) -> Float[Tensor, ""]:
        images, labels = batch
        return loss(model(images), labels)

    columns = data.images, data.labels
    train(model, objective, columns, steps, rate=rate, batch_size=100, seed=seed, progress=False)
    return model


def begin_at_clusters(model: Templates, data: ImageSet, seed: int, gain: float | int = 0.1) -> None:
    """Set the templates of each class to `gain` times the middles of its k-means clusters, less the mean image."""
    from sklearn.cluster import KMeans

    x, k = data.images.flatten(1), len(data.classes)
    mean = x.mean(0)
    with torch.no_grad():
        for label, templates in enumerate(model.linear.weight.unflatten(0, (k, model.each))):
            found = KMeans(model.each, n_init=2, random_state=seed).fit(x[data.labels == label].numpy())
            templates.copy_(gain * (torch.from_numpy(found.cluster_centers_) - mean))


def score(model: Templates, data: ImageSet) -> float:
    """The share of a set that the model classifies rightly."""
    return accuracy(model, data.images, data.labels)


# -- finding W ---------------------------------------------------------------------------------------------------------


def random_search(
    data: ImageSet, scale: float | int, evaluations: int, seed: int
) -> tuple[Float[Tensor, " evaluations"], Float[Tensor, "k d"]]:
    """The best softmax loss so far after each of `evaluations` random W, whose entries have deviation `scale`; the best W."""
    noise = torch.Generator().manual_seed(seed)
    x, found, best = data.images.flatten(1), [], None
    for _ in range(evaluations):
        W = scale * torch.randn(len(data.classes), x.shape[1], generator=noise)
        loss = softmax_loss(x @ W.T, data.labels).item()
        if not found or loss < found[-1]:
            best = W
        found.append(min([loss, *found[-1:]]))
    return torch.tensor(found), best


def follow_slope(
    data: ImageSet, rate: float | int, steps: int
) -> tuple[Float[Tensor, " points"], Float[Tensor, "points k d"]]:
    """The softmax loss before the first step and after each of gradient descent on the whole set, from W = 0; each W."""
    x = data.images.flatten(1)
    W = torch.zeros(len(data.classes), x.shape[1])
    walk, losses = [W], [softmax_loss(x @ W.T, data.labels).item()]
    for _ in range(steps):
        W = W - rate * softmax_gradient(x @ W.T, data.labels).T @ x
        walk.append(W)
        losses.append(softmax_loss(x @ W.T, data.labels).item())
    return torch.tensor(losses), torch.stack(walk)


def plane_through(walk: Float[Tensor, "points k d"], seed: int) -> Float[Tensor, "2 k d"]:
    """Two orthogonal directions of length 1: from the walk's start to its end, and one at random."""
    noise = torch.Generator().manual_seed(seed)
    along = (walk[-1] - walk[0]) / (walk[-1] - walk[0]).norm()
    across = torch.randn(along.shape, generator=noise)
    across -= (across * along).sum() * along
    return torch.stack([along, across / across.norm()])


TILTS = (0.01, 0.1, 0.3, 1.0, 3.0)


def falls(
    data: ImageSet, W: Float[Tensor, "k d"], directions: int, seed: int, h: float | int = 1e-4
) -> tuple[Float[Tensor, ""], Float[Tensor, " directions"]]:
    """By how much the softmax loss falls over a step of length `h` against the gradient, over h times the gradient's length;
    and along other directions, over that.

    The others are tilted from it by 0.01, 0.1, 0.3, 1 or 3 times a random unit vector. Measured by evaluating the loss
    before and after the step, in float64.
    """
    noise = torch.Generator().manual_seed(seed)
    x, W = data.images.flatten(1).double(), W.double()
    g = softmax_gradient(x @ W.T, data.labels).T @ x
    here = softmax_loss(x @ W.T, data.labels)

    def fall(way: Float[Tensor, "k d"]) -> Float[Tensor, ""]:
        return here - softmax_loss(x @ (W + h * way / way.norm()).T, data.labels)

    found = []
    for i in range(directions):
        side = torch.randn(W.shape, generator=noise, dtype=torch.float64)
        found.append(fall(-g / g.norm() + TILTS[i % len(TILTS)] * side / side.norm()))
    return fall(-g) / (h * g.norm()), torch.stack(found) / fall(-g)


# -- what a loss goes on wanting ---------------------------------------------------------------------------------------


def blobs(seed: int, n: int = 30) -> tuple[Float[Tensor, "points 3"], Int[Tensor, " points"]]:
    """Three clouds of `n` points in the plane that lines can separate, with a 1 behind each for the bias."""
    noise = torch.Generator().manual_seed(seed)
    middles = 3.0 * torch.tensor([[0, 1], [-0.87, -0.5], [0.87, -0.5]], dtype=torch.float64)
    labels = torch.arange(3).repeat_interleave(n)
    spread = torch.randn(3 * n, 2, generator=noise, dtype=torch.float64).clamp(-2, 2)
    points = middles[labels] + 0.4 * spread
    return torch.cat([points, torch.ones(3 * n, 1, dtype=torch.float64)], 1), labels


class Walk(NamedTuple):
    """Gradient descent on one loss: at each step the loss and the length of W; W after the last step."""

    loss: Float[Tensor, " steps"]
    length: Float[Tensor, " steps"]
    end: Float[Tensor, "k d"]


def descend(kind: str, x: Float[Tensor, "n d"], labels: Int[Tensor, " n"], rate: float | int, steps: int) -> Walk:
    """Gradient descent from W = 0 on "hinge" or "softmax", without a penalty, on the whole set."""
    gradient = {"hinge": svm_gradient, "softmax": softmax_gradient}[kind]
    W, rows = x.new_zeros(int(labels.max()) + 1, x.shape[1]), []
    for _ in range(steps):
        scores = x @ W.T
        g = gradient(scores, labels).T @ x
        rows.append([LOSSES[kind](scores, labels), W.norm()])
        W = W - rate * g
    return Walk(*torch.tensor(rows, dtype=x.dtype).T, W)


# -- the horse with two heads ------------------------------------------------------------------------------------------


def letters(n: int, seed: int, mirrored: float | int = 0.5) -> ImageSet:
    """Characters of 20 pixels, the share `mirrored` of them seen in a mirror (attribute "mirrored")."""
    data = glyphs(n, seed=seed, characters=LETTERS, size=20, distortion=0.7)
    turned = torch.rand(n, generator=torch.Generator().manual_seed(seed + 10_000)) < mirrored
    images = torch.where(turned[:, None, None, None], data.images.flip(3), data.images)
    return ImageSet(images, data.labels, data.classes, {"mirrored": turned})


def poses(data: ImageSet) -> Float[Tensor, "3 k d"]:
    """The mean image of each class as written, in the mirror, and of both, each minus the mean of all images."""
    x, turned = data.images.flatten(1), data.attributes["mirrored"]
    classes = range(len(data.classes))
    kinds = [~turned, turned]
    means = torch.stack([torch.stack([x[kind & (data.labels == k)].mean(0) for k in classes]) for kind in kinds])
    return torch.cat([means, means.mean(0, keepdim=True)]) - x.mean(0)


def likeness(a: Float[Tensor, "k d"], b: Float[Tensor, "k d"]) -> Float[Tensor, " k"]:
    """The correlation of two sets of pictures, row by row."""
    return F.cosine_similarity(a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True))


# -- what no line can do -----------------------------------------------------------------------------------------------


def xor() -> tuple[Float[Tensor, "4 2"], Int[Tensor, "4"]]:
    """The corners of a square; those on one diagonal are class 1."""
    points = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    return points, torch.tensor([0, 1, 1, 0])


def ring(seed: int, n: int = 20) -> tuple[Float[Tensor, "points 2"], Int[Tensor, " points"]]:
    """`n` points in a disc of radius 0.6 (class 1) and as many around it, from 0.8 to 1."""
    noise = torch.Generator().manual_seed(seed)
    angle = 2 * np.pi * torch.rand(2 * n, generator=noise)
    share = torch.rand(2 * n, generator=noise)
    inner = torch.arange(2 * n) < n
    radius = torch.where(inner, 0.6 * share.sqrt(), (0.64 + 0.36 * share).sqrt())
    return radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1), inner.long()


def pair_of_clouds(seed: int, n: int = 20) -> tuple[Float[Tensor, "points 2"], Int[Tensor, " points"]]:
    """Two clouds of `n` points, one behind the other as seen from the origin."""
    noise = torch.Generator().manual_seed(seed)
    labels = torch.arange(2).repeat_interleave(n)
    middles = torch.tensor([[0.8, 0.8], [2.0, 2.0]])[labels]
    return middles + 0.2 * torch.randn(2 * n, 2, generator=noise), labels


# -- squared error of a sigmoid ----------------------------------------------------------------------------------------


def cross_entropy_of_sigmoid(w: Float[Tensor, " d"], x: Float[Tensor, "n d"], y: Float[Tensor, " n"]) -> Tensor:
    """Mean of -y ln p - (1 - y) ln(1 - p), p the sigmoid of x · w."""
    return F.binary_cross_entropy_with_logits(x @ w, y)


def squared_error_of_sigmoid(w: Float[Tensor, " d"], x: Float[Tensor, "n d"], y: Float[Tensor, " n"]) -> Tensor:
    """Mean of ½ (p - y)², p the sigmoid of x · w."""
    return 0.5 * ((x @ w).sigmoid() - y).square().mean()


def lowest_curvatures(loss: Callable, sets: int, seed: int) -> Float[Tensor, " sets"]:
    """The smallest eigenvalue of the Hessian at a random w, for random data of 8 points in 3 dimensions, many times."""
    noise = torch.Generator().manual_seed(seed)
    x = torch.randn(sets, 8, 3, generator=noise, dtype=torch.float64)
    y = (torch.rand(sets, 8, generator=noise) < 0.5).double()
    w = 2 * torch.randn(sets, 3, generator=noise, dtype=torch.float64)
    return torch.linalg.eigvalsh(vmap(jacrev(jacrev(loss)))(w, x, y))[:, 0]


def steps_to_turn(loss: Callable, start: float | int, rate: float | int, most: int = 100_000) -> int:
    """Steps of gradient descent on one sample (x = 1, y = 1) until its probability passes one half."""
    x, y = torch.ones(1, 1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    w = torch.tensor([start], dtype=torch.float64)
    for step in range(most):
        if w.item() > 0:
            return step
        w = w - rate * torch.func.grad(loss)(w, x, y)
    raise ValueError(f"start = {start}: p is still below one half after {most} steps")

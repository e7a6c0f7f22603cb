"""The nearest-neighbour classifier: remember all, answer as the nearest do.

Cover & Hart 1967 (IEEE Transactions on Information Theory 13).
"""

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

CHUNK = 8_000_000  # distances held at a time: 64 MB


class NearestNeighbours:
    """The label that most of the `k` nearest training images have.

    `distance` is "l2" (Euclidean) or "l1" (Manhattan). Images are rows of
    numbers or are flattened to such, of any real dtype; distances are in
    float64. Of equally near images the earlier one is the nearer; of
    labels with equally many votes the smallest wins, as in scikit-learn.
    Raises `ValueError` for a `k` below 1 or above the number of training
    images, another distance, and pixels that are not finite.
    """

    def __init__(self, k: int = 1, distance: str = "l2") -> None:
        check_setting(k, distance)
        self.k, self.distance = k, distance

    def train(self, images: Shaped[Tensor, "n *shape"],
              labels: Int[Tensor, " n"]) -> "NearestNeighbours":
        """Remember the images and their labels: nothing is computed."""
        check_images(images, labels)
        if len(images) < self.k:
            raise ValueError(
                f"k = {self.k} with {len(images)} training images: no more "
                "neighbours than images can vote"
            )
        self.images, self.labels = images, labels
        return self

    def predict(self, images: Shaped[Tensor, "q *shape"]) -> Int[Tensor, " q"]:
        """One label for each image, after comparing it with all."""
        near = self.neighbours(images)
        return vote(self.labels[near])

    def neighbours(self, images: Shaped[Tensor, "q *shape"]) -> Int[Tensor, "q k"]:
        """The places of the `k` nearest training images, nearest first."""
        check_queries(self, images)
        found = []
        for part in images.split(max(1, CHUNK // len(self.images))):
            found.append(nearest(part, self.images, self.k, self.distance))
        empty = self.labels.new_zeros(0, self.k, dtype=torch.long)
        return torch.cat([empty, *found])


def nearest(
    queries: Shaped[Tensor, "q *shape"],
    images: Shaped[Tensor, "n *shape"],
    k: int,
    distance: str,
) -> Int[Tensor, "q k"]:
    """The places of the `k` nearest images, the earlier of equal ones first.

    Distances by a product of matrices are off by rounding. So for L2 all
    that may be among the nearest are compared once more, by differences.
    """
    if not len(queries):
        return torch.zeros(0, k, dtype=torch.long, device=images.device)
    gaps = distances(queries, images, distance)
    if not gaps.isfinite().all():
        raise ValueError(not_finite(queries, images))
    if distance == "l1":
        return gaps.sort(dim=1, stable=True).indices[:, :k]
    squares = gaps.square()
    slack = 1e-10 * squares.max()
    kth = squares.kthvalue(k, dim=1, keepdim=True).values
    count = int((squares <= kth + slack).sum(1).max())
    places = squares.topk(count, largest=False).indices.sort(dim=1).values
    rows, columns = queries.flatten(1).double(), images.flatten(1).double()
    found = []
    size = max(1, CHUNK // (count * columns.shape[1]))
    for row, place in zip(rows.split(size), places.split(size)):
        exact = (row[:, None] - columns[place]).square().sum(2)
        order = exact.sort(dim=1, stable=True).indices[:, :k]
        found.append(place.gather(1, order))
    return torch.cat(found)


def distances(
    a: Shaped[Tensor, "q *shape"],
    b: Shaped[Tensor, "n *shape"],
    distance: str = "l2",
) -> Shaped[Tensor, "q n"]:
    """Distances between all images of two sets, in float64.

    "l1": the sum of absolute differences; "l2": the root of that of squares,
    by a product of matrices. So that it loses no digits, the mean of `b` is
    subtracted from both before.
    """
    check_setting(1, distance)
    rows, columns = a.flatten(1).double(), b.flatten(1).double()
    if distance == "l2" and len(b):
        rows, columns = rows - columns.mean(0), columns - columns.mean(0)
    return torch.cdist(rows, columns, p=1.0 if distance == "l1" else 2.0)


def vote(labels: Int[Tensor, "q k"]) -> Int[Tensor, " q"]:
    """The most frequent label of each row; the smallest of those."""
    if not len(labels):
        return labels.new_zeros(0)
    classes, places = labels.unique(return_inverse=True)
    counts = torch.zeros(
        len(labels), len(classes), dtype=torch.long, device=labels.device)
    counts.scatter_add_(1, places, torch.ones_like(places))
    return classes[counts.argmax(1)]  # the first of equal ones


def check_setting(k: int, distance: str) -> None:
    if k < 1 or k != int(k):
        raise ValueError(f"k = {k}: at least 1 neighbour votes, a whole number")
    if distance not in ("l1", "l2"):
        raise ValueError(f"distance = {distance!r}: it is 'l1' or 'l2'")


def check_images(images: Tensor, labels: Tensor) -> None:
    if images.ndim < 2 or labels.shape != images.shape[:1] or not len(images):
        raise ValueError(
            f"images of shape {list(images.shape)}, labels of shape {list(labels.shape)}: one label for each of 1 or "
            "more images, and a number or more in each image"
        )
    if images.is_complex() or images.dtype == torch.bool:
        raise ValueError(f"images of {images.dtype}: distances are between real numbers")


def not_finite(queries: Tensor, images: Tensor) -> str:
    """What to say of distances that are no numbers, which is known only once they are computed: training reads no pixel."""
    bad = [int((~part.flatten(1).double().isfinite()).any(1).sum()) for part in (queries, images)]
    return (
        f"pixels of {bad[0] or 'no'} queries and of {bad[1] or 'no'} training images are not finite, or so large that their "
        "squares are not: nothing is near them"
    )


def check_queries(model: NearestNeighbours, images: Tensor) -> None:
    if not hasattr(model, "images"):
        raise ValueError("nothing was remembered: call train(images, labels) before predict(images)")
    if images.shape[1:] != model.images.shape[1:]:
        raise ValueError(
            f"images of shape {list(images.shape[1:])}, trained on {list(model.images.shape[1:])}: they have one shape"
        )
    if len(images):
        check_images(images, torch.zeros(len(images)))

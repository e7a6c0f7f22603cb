"""Nearest neighbours against scikit-learn."""

from collections.abc import Iterator

import torch
from sklearn.neighbors import KNeighborsClassifier

from benchmarks.harness import Pair
from helpers.foundations.nearest_neighbours import NearestNeighbours

SIZES = [(1000, 64, 100, 1), (2000, 256, 50, 5)]  # remembered, numbers in each, queries, votes
METRICS = {"l1": "manhattan", "l2": "euclidean"}
SORTED = (
    "Ours keeps the order of equally near images: it sorts all L1 distances of a query, and compares all that may be among the "
    "nearest in L2 once more, exactly; scikit-learn keeps a heap of the k smallest."
)


def pairs(device: torch.device, tiny: bool = False) -> Iterator[Pair]:
    """Answers of both to the same queries, by a search without an index."""
    for n, d, queries, k in [(30, 4, 5, 3)] if tiny else SIZES:
        noise = torch.Generator().manual_seed(0)
        x, q = (torch.randn(rows, d, generator=noise, dtype=torch.float64) for rows in (n, queries))
        y = torch.randint(10, (n,), generator=noise)
        for distance, metric in METRICS.items():
            ours = NearestNeighbours(k, distance).train(x.to(device), y.to(device))
            theirs = KNeighborsClassifier(k, metric=metric, algorithm="brute", n_jobs=1).fit(x.numpy(), y.numpy())
            what = f"{queries} queries, {n:,} images of {d} numbers, k = {k}, {distance.upper()}"
            yield Pair(what, "KNeighborsClassifier", answers(ours, q.to(device)), their_answers(theirs, q), SORTED)


def answers(model: NearestNeighbours, queries: torch.Tensor):
    """A function that returns the label of each query."""
    return lambda: model.predict(queries).tolist()


def their_answers(model: KNeighborsClassifier, queries: torch.Tensor):
    """The same by scikit-learn."""
    array = queries.numpy()
    return lambda: model.predict(array).tolist()

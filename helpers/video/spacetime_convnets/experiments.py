"""Networks that learn which way things went, and how well they do meanwhile."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.training import Batch, History, evaluation_mode
from helpers.video.optical_flow.checks import check_axes, check_numbers
from helpers.video.optical_flow.experiments import train as recipe
from helpers.video.spacetime_convnets.trips import (
    WAYS,
    Trips,
    mirrored_trips,
)

Label = Callable[[Trips], Int[Tensor, " n"]]
Judge = Callable[[Int[Tensor, " n"], Trips], Mapping[str, float]]


def what_and_way(trips: Trips) -> Int[Tensor, " n"]:
    """A class for each thing and way."""
    return trips.what * len(WAYS) + trips.way


def way(trips: Trips) -> Int[Tensor, " n"]:
    """A class for each way."""
    return trips.way


def by_what_and_way(
    picked: Int[Tensor, " n"], trips: Trips
) -> Mapping[str, float]:
    """The share of answers whose thing, and whose way, is right."""
    what = picked // len(WAYS) == trips.what
    way = picked % len(WAYS) == trips.way
    return {"what": share(what), "way": share(way), "both": share(what & way)}


def by_way(picked: Int[Tensor, " n"], trips: Trips) -> Mapping[str, float]:
    """The share of right answers of a network that names the way alone."""
    return {"way": share(picked == trips.way)}


def steadied(
    videos: Float[Tensor, "b f 3 h w"],
) -> Float[Tensor, "b f 3 h w"]:
    """A clip without the mean colour of its first frame, five times as strong.

    The mean of all frames would tell a pathway that sees few of them
    what the others show.
    """
    check_axes(videos, "b f 3 h w", "videos")
    return 5 * (videos - videos[:, :1].mean((3, 4), keepdim=True))


def share(right):
    return right.double().mean().item()


@torch.no_grad()
def pick(
    network: nn.Module, videos: Float[Tensor, "n f 3 h w"]
) -> Int[Tensor, " n"]:
    """The class that a network gives the highest score, 50 at a time.

    Raises `ValueError` for scores that are no numbers.
    """
    with evaluation_mode(network):
        parts = [network(steadied(part)) for part in videos.split(50)]
    scores = torch.cat(parts)
    check_numbers(scores, "scores", "it has diverged: lower the rate")
    return scores.argmax(1)


def learn_trips(
    network: nn.Module,
    train: Trips,
    test: Trips,
    steps: int,
    *,
    label: Label,
    judge: Judge,
    run: int,
    every: int,
    rate: float = 5e-3,
    decay: bool = True,
    batch_size: int = 16,
) -> History:
    """Teach a network to name trips, each seen in random mirrors.

    After each `every` steps `judge` examines what it picks for the clips
    of `test`, recorded as "test …". The rate is warmed up and, with
    `decay`, goes down to zero along a cosine. `run` seeds what is drawn.
    """
    draw = torch.Generator().manual_seed(run)

    def loss(network: nn.Module, batch: Batch) -> Tensor:
        trips = mirrored_trips(Trips(*batch), draw)
        return F.cross_entropy(network(steadied(trips.videos)), label(trips))

    history = recipe(
        network,
        train,
        loss,
        steps,
        draw=draw,
        rate=rate,
        batch_size=batch_size,
        decay=decay,
        evaluate={"test": lambda: judge(pick(network, test.videos), test)},
        every=every,
    )
    network.eval()
    return history

"""Networks for single frames, and a record of what networks learned."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW

from helpers.data import batches
from helpers.data.scenes import CLASSES, Rules, make_scenes
from helpers.ledger import Figure, over_seeds
from helpers.plotting import COLOURS, INK
from helpers.training import fit, gradient_update
from helpers.video.optical_flow.checks import check_axes
from helpers.video.optical_flow.clips import KINDS
from helpers.video.optical_flow.experiments import (
    CALM,
    Clips,
    Look,
    answer,
    by_kind,
    centred,
    learn,
)


def frame_net(classes: int, channels: int = 3) -> nn.Sequential:
    """Three convolutions and a linear layer, for images of 32 pixels."""
    layers: list[nn.Module] = []
    for i, width in enumerate((16, 32, 64)):
        layers += [
            nn.Conv2d(channels, width, 3, 1 if i else 2, 1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2) if i else nn.Identity(),
        ]
        channels = width
    return nn.Sequential(
        *layers,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, classes),
    )


def learn_shapes(
    n: int,
    size: int,
    steps: int,
    *,
    seed: int,
    device: torch.device | str,
    rules: Rules = CALM,
) -> nn.Sequential:
    """A `frame_net` that has learned to name `n` single things."""
    rules = replace(rules, count=1)
    things = make_scenes(n, size, seed=seed, rules=rules)
    images = centred(things.images[:, None])[:, 0].to(device)
    torch.manual_seed(seed)
    net = frame_net(len(CLASSES)).to(device)
    update = gradient_update(
        net,
        AdamW(net.parameters(), 5e-3, fused=True),
        lambda net, batch: F.cross_entropy(net(batch[0]), batch[1]),
    )
    stream = batches(
        images,
        torch.cat(things.labels).to(device),
        batch_size=32,
        generator=torch.Generator().manual_seed(seed),
    )
    fit(update, stream, steps, progress=False)
    return net


def with_head_start(taught: nn.Sequential, classes: int) -> nn.Sequential:
    """A `frame_net` that begins as `taught` in all but its last layer.

    Raises `ValueError` for a network of other layers.
    """
    net = frame_net(classes)
    last = f"{len(net) - 1}."
    mine, theirs = (
        {
            key: value.cpu()
            for key, value in one.state_dict().items()
            if not key.startswith(last)
        }
        for one in (net, taught)
    )
    if {k: v.shape for k, v in mine.items()} != {
        k: v.shape for k, v in theirs.items()
    }:
        raise ValueError(
            f"{type(taught).__name__} with {list(theirs)}: give a frame_net "
            "of 3 channels"
        )
    net.load_state_dict(net.state_dict() | theirs)
    return net


class FrameMean(nn.Module):
    """A network for images on a clip: the mean of its scores of all frames.

    While it learns it sees one frame of each clip, drawn anew each time.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, videos: Float[Tensor, "b f c h w"]
    ) -> Float[Tensor, "b k"]:
        check_axes(videos, "b f c h w", "videos")
        b, f = videos.shape[:2]
        if self.training:
            drawn = torch.randint(f, (b,), device=videos.device)
            numbers = torch.arange(b, device=videos.device)
            return self.network(videos[numbers, drawn])
        scores = self.network(videos.flatten(0, 1))
        return scores.unflatten(0, (b, f)).mean(1)


def spread(values: Sequence[float]) -> Figure | float:
    """Mean and range over seeds, or the one number that there is."""
    return over_seeds(values) if len(values) > 1 else values[0]


class Trials:
    """Networks that learned from the same clips, and what they answer."""

    def __init__(
        self, train: Clips, test: Clips, longer: float = 1.0
    ) -> None:
        self.train, self.test, self.longer = train, test, longer
        self.networks: dict[tuple[str, int], tuple[nn.Module, Look]] = {}
        self.scores: dict[tuple[str, int], Tensor] = {}

    def teach(
        self,
        name: str,
        make: Callable[[], nn.Module],
        look: Look,
        steps: int,
        run: int,
        **options,
    ) -> None:
        """Make, teach and examine a network; `options` are `learn`'s."""
        torch.manual_seed(run)
        steps = max(round(steps * self.longer), 1)
        net = learn(make(), look, self.train, steps, run=run, **options)
        self.networks[name, run] = net, look
        self.scores[name, run] = answer(net, look, self.test)

    def right(self, name: str, kind: str = "all") -> list[float]:
        """The share of right answers on one kind, for each run in turn.

        Raises `ValueError` for a network that has not learned, and for a
        kind of which the test has no clip.
        """
        shares = [
            by_kind(scores.argmax(1), self.test.labels)
            for (other, _), scores in self.scores.items()
            if other == name
        ]
        if not shares or kind not in shares[0]:
            known = dict.fromkeys(other for other, _ in self.scores)
            raise ValueError(
                f"{name!r}, {kind!r}: choose a network of {list(known)}, and "
                f"a kind of {list(shares[0]) if shares else [*KINDS, 'all']}"
            )
        return [share[kind] for share in shares]

    def table(self, names: Sequence[str]) -> list[list[str]]:
        """A row for each network, for `helpers.notebook.table`: its share
        of right answers by kind and on all, mean and range over seeds."""
        rows = []
        for name in names:
            runs = [self.right(name, kind) for kind in (*KINDS, "all")]
            rows.append([name, *map(spread, runs)])
        return rows

    def bars(self, names: Sequence[str], chance: float) -> None:
        """Draw right answers by kind, the mean as a bar, runs as dots."""
        _, ax = plt.subplots(figsize=(6.4, 0.7 + 0.42 * len(names)))
        for j, kind in enumerate(KINDS):
            for i, name in enumerate(names):
                runs, y = self.right(name, kind), i + 0.27 * (j - 1)
                mean, label = sum(runs) / len(runs), None if i else kind
                ax.barh(y, mean, 0.25, color=COLOURS[j], label=label)
                if len(runs) > 1:
                    ax.plot(runs, [y] * len(runs), ".", color=INK, ms=4)
        ax.axvline(chance, color=INK, ls=":")
        ax.set_yticks(range(len(names)), list(names))
        ax.invert_yaxis()
        ax.set(
            xlabel="right answers (dots: seeds; dotted: chance)", xlim=(0, 1)
        )
        ax.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.4, 1))
        plt.show()

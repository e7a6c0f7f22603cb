"""Many scenes or clips at once, ready for training: element i of a stream depends on the seed and on i alone."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from helpers.data.scenes.actions import ACTIONS, Episode, sample_action
from helpers.data.scenes.captions import caption
from helpers.data.scenes.motion import FARTHEST, film, true_flow
from helpers.data.scenes.render import render
from helpers.data.scenes.shapes import check_known
from helpers.data.scenes.world import Rules, Scene, sample_scene


@dataclass(frozen=True, eq=False)
class SceneBatch:
    """Scenes as a network wants them: what has one shape is stacked, the rest is a list with an entry per scene.

    Boxes, labels and visible fractions as in `Picture`; `semantic` and `masks` are derived from the instance ids.
    """

    images: Float[Tensor, "b 3 h w"]
    instances: Int[Tensor, "b h w"]
    boxes: list[Tensor]  # of [n 4]
    labels: list[Tensor]  # of [n]
    visible: list[Tensor]  # of [n]
    captions: list[str]
    scenes: list[Scene]

    def __len__(self) -> int:
        return len(self.scenes)

    @property
    def semantic(self) -> Int[Tensor, "b h w"]:
        """Class of each pixel: 0 for the background, else 1 + the label of its thing."""
        tables = [torch.cat([labels.new_zeros(1), labels + 1]) for labels in self.labels]
        return torch.stack([table[ids] for table, ids in zip(tables, self.instances, strict=True)])

    def masks(self, i: int) -> Bool[Tensor, "n h w"]:
        """Visible masks of the things of scene i."""
        ids = torch.arange(1, len(self.labels[i]) + 1, device=self.instances.device)
        return self.instances[i] == ids[:, None, None]


@dataclass(frozen=True, eq=False)
class ClipBatch:
    """Clips of actions; `labels` are places in `ACTIONS`. Flow and validity as in `Clip`, None unless asked for."""

    videos: Float[Tensor, "b f 3 h w"]
    labels: Int[Tensor, " b"]
    flow: Float[Tensor, "b f-1 2 h w"] | None
    valid: Bool[Tensor, "b f-1 h w"] | None
    captions: list[str]
    episodes: list[Episode]

    def __len__(self) -> int:
        return len(self.episodes)


def make_scenes(n: int, size: int = 64, *, seed: int = 0, rules: Rules = Rules(), start: int = 0) -> SceneBatch:  # noqa: B008
    """Scenes `start` … `start + n - 1` of the stream `seed`, with a caption each.

    Batch k of a training run is `make_scenes(b, size, seed=seed, start=k * b)`. Raises `ValueError` for n below 1.
    """
    _check_count(n)
    scenes = [sample_scene(seed, rules, index=i) for i in range(start, start + n)]
    pictures = [render(scene, size) for scene in scenes]
    return SceneBatch(
        images=torch.stack([picture.image for picture in pictures]),
        instances=torch.stack([picture.instances for picture in pictures]),
        boxes=[picture.boxes for picture in pictures],
        labels=[picture.labels for picture in pictures],
        visible=[picture.visible for picture in pictures],
        captions=[caption(scene, seed=start + i) for i, scene in enumerate(scenes)],
        scenes=scenes,
    )


def make_clips(
    n: int,
    size: int = 64,
    frames: int = 9,
    *,
    seed: int = 0,
    actions: Collection[str] = tuple(ACTIONS),
    rules: Rules = Rules(),  # noqa: B008
    pan: float = 0.0,
    flow: bool = False,
    start: int = 0,
) -> ClipBatch:
    """Clips `start` … `start + n - 1` of the stream `seed`; clip i shows action `actions[i % len(actions)]`.

    With `pan` the camera looks up to so many image sides away, in a random direction. An odd number of frames has a
    middle one, which tells nothing about the motion. Raises `ValueError` for n below 1 and unknown actions.
    """
    _check_count(n)
    check_known("action", actions, ACTIONS)
    if not 0 <= pan <= FARTHEST:
        raise ValueError(f"pan = {pan}: the camera may look between 0 and {FARTHEST} image sides away")
    chosen = tuple(actions)
    episodes = [sample_action(seed, chosen[i % len(chosen)], rules, index=i) for i in range(start, start + n)]
    videos, flows = [], []
    for i, episode in enumerate(episodes, start):
        far = np.random.default_rng([seed, i, 1]).uniform(-pan, pan, 2)
        video, ids, states, shifts = film(
            episode.scene, episode.motions, frames, size, pan=(float(far[0]), float(far[1]))
        )
        videos.append(video)
        if flow:
            pairs = [true_flow(ids[t], *states[t : t + 2], *shifts[t : t + 2]) for t in range(frames - 1)]
            flows.append([np.stack(part) for part in zip(*pairs, strict=True)])
    return ClipBatch(
        videos=torch.from_numpy(np.stack(videos)),
        labels=torch.tensor([episode.label for episode in episodes]),
        flow=torch.from_numpy(np.stack([field for field, _ in flows])) if flow else None,
        valid=torch.from_numpy(np.stack([seen for _, seen in flows])) if flow else None,
        captions=[episode.caption for episode in episodes],
        episodes=episodes,
    )


def _check_count(n: int) -> None:
    if n < 1:
        raise ValueError(f"n = {n}: a batch holds one element at least")

"""Clips to learn from: made ones whose frames give nothing away, and videos
of the reader's own in folders as UCF101's (Soomro et al. 2012)."""

from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from helpers.data.scenes import ACTIONS, ClipBatch, make_clips

KINDS = tuple(dict.fromkeys(ACTIONS.values()))  # what tells the action
ENDINGS = (".avi", ".mkv", ".mov", ".mp4", ".webm")
HOWS = ("dense", "strided", "segments")


def motion_clips(
    n: int,
    size: int = 32,
    frames: int = 9,
    *,
    seed: int = 0,
    kinds: Collection[str] = KINDS,
    start: int = 0,
    flow: bool = False,
) -> tuple[ClipBatch, Int[Tensor, " n"]]:
    """Clips of the actions of some kinds, and labels that count these only.

    As many of each action as `n` allows. Two streams of different `seed`
    have no clip in common. The frame in the middle is drawn before the
    motion is: it tells nothing about actions of motion and of order.
    Raises `ValueError` for unknown kinds, and for an even number of
    frames, which has no middle one.
    """
    unknown = set(kinds) - set(KINDS)
    if unknown or not kinds:
        raise ValueError(
            f"kinds = {sorted(kinds)}: choose some of {', '.join(KINDS)}"
        )
    if frames % 2 == 0:
        raise ValueError(
            f"frames = {frames}: an odd number has a middle frame, which "
            f"tells nothing; take {frames + 1}"
        )
    names = [name for name, kind in ACTIONS.items() if kind in kinds]
    batch = make_clips(
        n, size, frames, seed=seed, actions=names, start=start, flow=flow
    )
    places = torch.full((len(ACTIONS),), -1)
    for i, name in enumerate(names):
        places[list(ACTIONS).index(name)] = i
    return batch, places[batch.labels]


def middle_frames(
    videos: Float[Tensor, "b f c h w"],
) -> Float[Tensor, "b c h w"]:
    """The frame in the middle of each clip."""
    return videos[:, videos.shape[1] // 2]


def frame_places(
    total: int,
    frames: int,
    *,
    how: str = "segments",
    stride: int = 1,
    generator: torch.Generator | None = None,
) -> Int[Tensor, " frames"]:
    """Which frames of a video of `total` to take.

    "dense": neighbours, from the middle; "strided": every `stride`-th,
    around the middle; "segments": one of each of `frames` equal parts
    (Wang et al. 2016, arXiv:1608.00859), the middle one. With a
    `generator` the start, or the place within each part, is drawn. Raises
    `ValueError` for videos that are too short.
    """
    if how not in HOWS:
        raise ValueError(f"how = {how!r}: choose {', '.join(HOWS)}")
    if frames < 1 or stride < 1:
        raise ValueError(
            f"frames = {frames}, stride = {stride}: 1 at the least"
        )
    if how == "segments":
        check_length(total, frames, 1)
        edges = torch.arange(frames + 1) * total // frames
        room = edges.diff()
        if generator is None:
            return edges[:-1] + (room - 1) // 2
        drawn = torch.rand(frames, generator=generator)
        return edges[:-1] + (drawn * room).long()
    step = stride if how == "strided" else 1
    check_length(total, frames, step)
    room = total - (frames - 1) * step
    start = room // 2
    if generator is not None:
        start = int(torch.randint(room, (), generator=generator))
    return start + step * torch.arange(frames)


def read_frames(
    path: str | Path,
    places: Sequence[int] | Tensor | None = None,
    *,
    size: int | None = None,
) -> Float[Tensor, "f 3 h w"]:
    """Read frames of a video file, all or those at `places`, in 0 … 1.

    With `size` the shorter side becomes that many pixels, and the square
    in the middle is kept. Needs PyAV (`pip install av`): torchvision reads
    no videos any more. Raises `ValueError` for places beyond the end and
    frames of different size.
    """
    with opened(path) as container:
        pictures = {}
        wanted = None if places is None else {int(i) for i in places}
        for i, frame in enumerate(container.decode(video=0)):
            if wanted is None or i in wanted:
                picture = torch.from_numpy(frame.to_ndarray(format="rgb24"))
                pictures[i] = picture.permute(2, 0, 1).float() / 255
            if wanted is not None and i >= max(wanted):
                break
    order = sorted(pictures) if places is None else [int(i) for i in places]
    missing = [i for i in order if i not in pictures]
    if missing or not order:
        raise ValueError(
            f"{path}: no frame {missing[0] if missing else 0} in a video of "
            f"{count_frames(path)}; see frame_places(total, frames)"
        )
    sizes = {tuple(p.shape[1:]) for p in pictures.values()}
    if len(sizes) > 1:
        raise ValueError(
            f"{path}: frames of {sorted(sizes)} pixels; encode the video in "
            "one size"
        )
    video = torch.stack([pictures[i] for i in order])
    return video if size is None else square(video, size)


def count_frames(path: str | Path) -> int:
    """How many frames a video has, by decoding it if its header is silent."""
    with opened(path) as container:
        stream = container.streams.video[0]
        return stream.frames or sum(1 for _ in container.decode(stream))


def square(
    video: Float[Tensor, "f c h w"], size: int
) -> Float[Tensor, "f c {size} {size}"]:
    """Shrink the shorter side to `size`, and cut the square in the middle."""
    h, w = video.shape[2:]
    scale = size / min(h, w)
    h, w = max(size, round(h * scale)), max(size, round(w * scale))
    video = F.interpolate(video, (h, w), mode="bilinear", antialias=True)
    top, left = (h - size) // 2, (w - size) // 2
    return video[:, :, top : top + size, left : left + size].clamp(0, 1)


class VideoFolder(Dataset):
    """Videos in a folder a class: `root/Archery/v_Archery_g01_c01.avi`.

    `listing` is a file such as UCF101's `trainlist01.txt`, whose lines
    begin with a path below `root`; without it all videos are taken. An
    item is (video [f 3 size size], label). With `draw` the frames are drawn
    anew at each look. Raises `ValueError` for a folder without videos and
    for listed files that are not there.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        frames: int,
        size: int,
        how: str = "segments",
        stride: int = 1,
        listing: str | Path | None = None,
        draw: torch.Generator | None = None,
    ) -> None:
        self.root = Path(root)
        self.frames, self.size = frames, size
        self.how, self.stride, self.draw = how, stride, draw
        found = sorted(
            path
            for path in self.root.glob("*/*")
            if path.suffix.lower() in ENDINGS
        )
        if not found:
            raise ValueError(
                f"{self.root}: no videos; put them in a folder a class, as "
                f"root/Archery/one.avi ({', '.join(ENDINGS)})"
            )
        self.classes = sorted({path.parent.name for path in found})
        self.paths = found if listing is None else self.listed(listing)

    def listed(self, listing):
        """The videos that a list names, in its order."""
        lines = Path(listing).read_text().splitlines()
        paths = [self.root / line.split()[0] for line in lines if line.strip()]
        absent = [path for path in paths if not path.is_file()]
        if absent or not paths:
            raise ValueError(
                f"{listing}: {len(absent)} of {len(paths)} videos are not in "
                f"{self.root}" + (f", as {absent[0]}" if absent else "")
            )
        return paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        path = self.paths[i]
        places = frame_places(
            count_frames(path),
            self.frames,
            how=self.how,
            stride=self.stride,
            generator=self.draw,
        )
        video = read_frames(path, places, size=self.size)
        return video, self.classes.index(path.parent.name)


def opened(path):
    """A video file, opened by PyAV."""
    try:
        import av
    except ImportError:
        raise ImportError(
            "reading videos needs PyAV: pip install av"
        ) from None
    if not Path(path).is_file():
        raise ValueError(f"{path}: there is no such file")
    return av.open(str(path))


def check_length(total, frames, stride):
    """Refuse a video with fewer frames than are asked for."""
    needed = (frames - 1) * stride + 1
    if total < needed:
        raise ValueError(
            f"a video of {total} frames: {frames} at a stride of {stride} "
            f"need {needed}; take fewer, or a smaller stride"
        )

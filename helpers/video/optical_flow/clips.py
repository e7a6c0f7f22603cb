"""Videos of the reader's own in folders as UCF101's (Soomro et al. 2012),
and which of their frames to take."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset, get_worker_info

from helpers.data.scenes import ACTIONS

KINDS = tuple(dict.fromkeys(ACTIONS.values()))  # what tells the action
ENDINGS = (".avi", ".mkv", ".mov", ".mp4", ".webm")
HOWS = ("dense", "strided", "segments")


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
    around the middle; "segments": one of each of `frames` equal parts, in
    the middle of it, as the authors' code (Wang et al. 2016,
    arXiv:1608.00859). With a `generator` the start, or the place within
    each part, is drawn. Raises `ValueError` for videos that are too short,
    and for a stride that `how` does not take.
    """
    if how not in HOWS:
        raise ValueError(f"how = {how!r}: choose {', '.join(HOWS)}")
    if frames < 1 or stride < 1:
        raise ValueError(
            f"frames = {frames}, stride = {stride}: 1 at the least"
        )
    if stride > 1 and how != "strided":
        raise ValueError(
            f"stride = {stride} with how = {how!r}, which has none: choose "
            "how = 'strided'"
        )
    if how == "segments":
        check_length(total, frames, 1)
        if generator is None:
            return (2 * torch.arange(frames) + 1) * total // (2 * frames)
        edges = torch.arange(frames + 1) * total // frames
        room = edges.diff()
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
    no videos any more. Raises `ValueError` for files that are no videos,
    places beyond the last frame, and frames of different size.
    """
    order = None if places is None else whole_numbers(places)
    pictures, count = {}, 0
    with opened(path) as container:
        for frame in container.decode(video=0):
            if order is None or count in order:
                picture = torch.from_numpy(frame.to_ndarray(format="rgb24"))
                pictures[count] = picture.permute(2, 0, 1).float() / 255
            count += 1
            if order is not None and count > max(order):
                break
    order = list(pictures) if order is None else order
    missing = [i for i in order if i not in pictures]
    if missing or not order:
        raise ValueError(
            f"{path}: no frame {missing[0] if missing else 0}, only {count} "
            "can be read; see frame_places(total, frames)"
        )
    sizes = {tuple(p.shape[1:]) for p in pictures.values()}
    if len(sizes) > 1:
        raise ValueError(
            f"{path}: frames of {sorted(sizes)} pixels; encode the video in "
            "one size"
        )
    video = torch.stack([pictures[i] for i in order])
    return video if size is None else square(video, size)


def whole_numbers(places: Sequence[int] | Tensor) -> list[int]:
    """Places of frames as a list: some, and no marks of what to take."""
    numbers = torch.as_tensor(places)
    if not numbers.numel() or numbers.ndim != 1 or (
        numbers.is_floating_point() or numbers.dtype == torch.bool
    ) or (numbers < 0).any():
        raise ValueError(
            f"places = {places}: give the numbers of some frames, from 0 on, "
            "such as [0, 4, 9]"
        )
    return numbers.tolist()


def count_frames(path: str | Path) -> int:
    """How many frames a video has, by decoding it if its header is silent."""
    with opened(path) as container:
        stream = container.streams.video[0]
        return stream.frames or sum(1 for _ in container.decode(stream))


def square(
    video: Float[Tensor, "f c h w"], size: int
) -> Float[Tensor, "f c {size} {size}"]:
    """Shrink the shorter side to `size`, and cut the square in the middle."""
    if size < 1:
        raise ValueError(f"size = {size}: a frame has a pixel at the least")
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
    anew at each look; each worker of a `DataLoader` draws others, from the
    seed that the loader gives it. Raises `ValueError` for a folder that is
    not there or has no videos, and for listed files that are not there.
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
        if not self.root.is_dir():
            raise ValueError(f"{self.root}: there is no such folder")
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
        if not Path(listing).is_file():
            raise ValueError(f"{listing}: there is no such file")
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
        path, worker = self.paths[i], get_worker_info()
        if worker and self.draw and self.draw.initial_seed() != worker.seed:
            self.draw = torch.Generator().manual_seed(worker.seed)
        places = frame_places(
            count_frames(path),
            self.frames,
            how=self.how,
            stride=self.stride,
            generator=self.draw,
        )
        video = read_frames(path, places, size=self.size)
        return video, self.classes.index(path.parent.name)


@contextmanager
def opened(path: str | Path) -> Iterator:
    """A video file, opened by PyAV."""
    try:
        import av
    except ImportError:
        raise ImportError(
            "reading videos needs PyAV: pip install av"
        ) from None
    if not Path(path).is_file():
        raise ValueError(f"{path}: there is no such file")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError(f"{path}: has no frames, only sound")
            yield container
    except av.FFmpegError as error:
        raise ValueError(
            f"{path}: cannot be read as a video ({error}); encode it anew, "
            "or take it away"
        ) from error


def check_length(total, frames, stride):
    """Refuse a video with fewer frames than are asked for."""
    needed = (frames - 1) * stride + 1
    if total < needed:
        raise ValueError(
            f"a video of {total} frames: {frames} at a stride of {stride} "
            f"need {needed}; take fewer, or a smaller stride"
        )

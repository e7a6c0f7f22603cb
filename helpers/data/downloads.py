"""Real data sets from the network: loaded by torchvision, kept in one folder, checked, and resumed when interrupted.

Addresses and MD5 sums are those of torchvision's classes, so there is one list of them, and a mended address comes
with the next torchvision.
"""

import errno
import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from helpers.data.images import ImageSet

SPLITS = {
    "mnist": ("train", "test"),
    "fashion_mnist": ("train", "test"),
    "kmnist": ("train", "test"),
    "cifar10": ("train", "test"),
    "cifar100": ("train", "test"),
    "svhn": ("train", "test"),
    "stl10": ("train", "test"),
    "voc2007": ("train", "val", "trainval", "test"),
    "voc2007_segmentation": ("train", "val", "trainval", "test"),
}
VOC_CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
TIMEOUT = 30  # seconds without a byte
CHUNK = 1 << 18  # bytes
# What the file system refuses: no other address, and no better connection, helps.
LOCAL = {errno.EACCES, errno.EDQUOT, errno.EEXIST, errno.EISDIR, errno.ENOSPC, errno.ENOTDIR, errno.EPERM, errno.EROFS}

_received = 0


class DataUnavailable(RuntimeError):
    """A data set is not on this machine and could not be fetched."""


def load(
    name: str, split: str = "train", *, root: str | Path | None = None, download: bool = True
) -> ImageSet | Dataset:
    """Load a data set of `SPLITS` from the folder `root` (else `data_folder()`); download it there when it is missing.

    Gives an `ImageSet`: mnist, fashion_mnist and kmnist 1x28x28, cifar10, cifar100 (its 100 fine classes) and svhn
    3x32x32, stl10 3x96x96 (its 13,000 labelled images). The sets voc2007 and voc2007_segmentation are torchvision's
    `VOCDetection` and `VOCSegmentation`, whose images differ in size; `voc_boxes` reads the annotations of the former.

    A file is complete when its MD5 sum is that of torchvision; before that it is called `….part`, and the next call
    goes on with it. Let one process load before others start. Raises `ValueError` for an unknown set or split, and
    `DataUnavailable` with the reason and the remedy when the data cannot be had.
    """
    if name not in SPLITS:
        raise ValueError(f"no data set is called {name!r}: there are {', '.join(SPLITS)}")
    if split not in SPLITS[name]:
        raise ValueError(f"{name} has no split {split!r}: there are {', '.join(SPLITS[name])}")
    recipe = _recipe(name, split)
    folder = (data_folder() if root is None else Path(root).expanduser()) / name.removesuffix("_segmentation")
    for file in recipe.files:
        provide(file, folder, name, download)
    return recipe.read(folder)


def data_folder() -> Path:
    """Where data sets are kept: the folder that the environment variable DLE_DATA names, else one in `~/.cache`."""
    return Path(os.environ.get("DLE_DATA") or "~/.cache/deep-learning-executed").expanduser()


def bytes_downloaded() -> int:
    """How many bytes of data sets this process has received, lost attempts included."""
    return _received


def voc_boxes(
    annotation: dict,
) -> tuple[Float[Tensor, "n 4"], Int64[Tensor, " n"], Bool[Tensor, " n"]]:
    """Boxes, labels and the marks "difficult" of one target of `load("voc2007")`.

    Boxes are (x1, y1, x2, y2) in pixels, from the upper left edge of the first to the lower right edge of the last: VOC
    counts pixels from 1 and includes both ends. Labels index `VOC_CLASSES`. Without the mark an object is not difficult.
    Raises `ValueError` for a class that VOC does not have.
    """
    things = annotation["annotation"].get("object", [])
    for thing in things:
        if thing["name"] not in VOC_CLASSES:
            raise ValueError(f"an object is a {thing['name']!r}: VOC has {', '.join(VOC_CLASSES)}")
    corners = [[float(thing["bndbox"][key]) for key in ("xmin", "ymin", "xmax", "ymax")] for thing in things]
    boxes = torch.tensor(corners).reshape(-1, 4) - torch.tensor([1.0, 1.0, 0.0, 0.0])
    labels = torch.tensor([VOC_CLASSES.index(thing["name"]) for thing in things], dtype=torch.long)
    return boxes, labels, torch.tensor([thing.get("difficult") == "1" for thing in things], dtype=torch.bool)


@dataclass(frozen=True)
class File:
    """A file to fetch: its addresses in the order to try, its place in a folder, its checksum, whether to unpack it."""

    urls: tuple[str, ...]
    path: str
    checksum: str  # MD5, or the beginning of a SHA-256 as "sha256:…"
    unpack: bool = True


@dataclass(frozen=True)
class _Recipe:
    files: tuple[File, ...]
    read: Callable[[Path], ImageSet | Dataset]


def _recipe(name: str, split: str) -> _Recipe:
    """What to fetch for a data set, and how torchvision reads it."""
    from torchvision import datasets
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    train = split == "train"
    match name:
        case "mnist" | "fashion_mnist" | "kmnist":
            kind = {"mnist": datasets.MNIST, "fashion_mnist": datasets.FashionMNIST, "kmnist": datasets.KMNIST}[name]
            # torchvision looks for the files of both splits, whichever it reads.
            files = tuple(
                File(tuple(mirror + file for mirror in kind.mirrors), f"{kind.__name__}/raw/{file}", md5)
                for file, md5 in kind.resources
            )
            classes = tuple("0123456789") if name == "mnist" else tuple(kind.classes)
            return _Recipe(files, lambda folder: _grey(kind(folder, train=train), classes))
        case "cifar10" | "cifar100":
            kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
            file = File((kind.url,), kind.filename, kind.tgz_md5)
            return _Recipe((file,), lambda folder: _cifar(kind(folder, train=train)))
        case "svhn":
            url, path, md5 = datasets.SVHN.split_list[split]
            file = File((url,), path, md5, unpack=False)
            return _Recipe((file,), lambda folder: _svhn(datasets.SVHN(folder, split)))
        case "stl10":
            kind = datasets.STL10
            file = File((kind.url,), kind.filename, kind.tgz_md5)
            return _Recipe((file,), lambda folder: _stl10(kind(folder, split)))
        case _:
            kind = datasets.VOCSegmentation if name.endswith("segmentation") else datasets.VOCDetection
            entry = DATASET_YEAR_DICT["2007-test" if split == "test" else "2007"]
            file = File((entry["url"],), entry["filename"], entry["md5"])
            return _Recipe((file,), lambda folder: kind(folder, year="2007", image_set=split))


def _grey(data, classes: tuple[str, ...]) -> ImageSet:
    return ImageSet(data.data.unsqueeze(1) / 255, data.targets.long(), classes)


def _cifar(data) -> ImageSet:
    images = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous() / 255
    return ImageSet(images, torch.tensor(data.targets), tuple(data.classes))


def _svhn(data) -> ImageSet:
    return ImageSet(torch.from_numpy(data.data).contiguous() / 255, torch.from_numpy(data.labels), tuple("0123456789"))


def _stl10(data) -> ImageSet:
    return ImageSet(
        torch.from_numpy(data.data).contiguous() / 255, torch.from_numpy(data.labels).long(), tuple(data.classes)
    )


def provide(file: File, folder: Path, name: str, download: bool = True) -> Path:
    """See to it that `file` lies complete in `folder`, unpacked where it is an archive, and return its path.

    Raises `DataUnavailable` with the reason and the remedy; `name` says there what is missing.
    """
    path = folder / file.path
    # An archive is unpacked beside itself. The note is written last, so that an interrupted unpacking is repeated.
    note = path.with_name(path.name + ".unpacked")
    if file.unpack and note.exists() and note.read_text() == file.checksum:
        return path
    if not (path.is_file() and _is(path, file.checksum)):  # a reader may have put it there
        missing = f"{name} is not in {_tilde(folder)}"
        remedy = f"put {path.name} into {_tilde(path.parent)}"
        if path.exists():
            what = f"{_size(path):,} bytes, {_sum(path, file.checksum)}" if path.is_file() else "a folder"
            wanted = file.checksum.removeprefix("sha256:")
            missing = f"{name}: {_tilde(path)} ({what}) differs from the published file ({wanted})"
            remedy = f"put that one into {_tilde(path.parent)} in its place"
        if not download:
            raise DataUnavailable(f"{missing}: allow download=True, or {remedy}")
        try:
            fetch(*file.urls, path=path, md5=file.checksum)
        except OSError as error:
            if error.errno in LOCAL:
                raise DataUnavailable(
                    f"{missing} and cannot be written there: {error}. Make room, or name another folder in DLE_DATA"
                ) from error
            raise DataUnavailable(f"{missing} and could not be downloaded: {error}. Connect, or {remedy}") from error
    if file.unpack:
        from torchvision.datasets.utils import extract_archive

        extract_archive(str(path), str(path.parent))
        note.write_text(file.checksum)
    return path


def fetch(*urls: str, path: Path, md5: str) -> None:
    """Download the file with this MD5 sum to `path` from the first of `urls` that has it, going on from `….part`.

    Where only the beginning of a SHA-256 sum is known, `md5` is "sha256:" and that beginning.
    An address is tried again as long as each attempt brings something. Raises `OSError` with a reason for each address
    when none has the file; what has arrived stays for the next call, unless its sum is wrong.
    """
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    reasons = {}
    for url in urls:
        size = -1
        while _size(part) > size:
            size = _size(part)
            try:
                _complete(url, part, md5)
                part.replace(path)
                return
            except (OSError, HTTPException) as error:
                if getattr(error, "errno", None) in LOCAL:
                    raise
                reasons[url] = f"{url}: {error}"
    raise OSError("; ".join(reasons.values()))


def _complete(url: str, part: Path, md5: str) -> None:
    """Download what `part` lacks; begin afresh when the result shows that it was part of another file."""
    if part.exists() and _is(part, md5):
        return
    start = _append(url, part)
    if not _is(part, md5):
        found = _sum(part, md5)
        part.unlink()
        if start == 0:
            raise OSError(f"{found} instead of {md5}, so the file differs from the published one")
        _complete(url, part, md5)


def _append(url: str, part: Path) -> int:
    """Append the rest of the file to `part`, or all of it where the server cannot go on; return where that began."""
    global _received
    start = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # nothing lies beyond `start`: the sum decides what that means
            return start
        raise
    with response:
        if response.status != 206:
            start = 0
        length = response.headers["Content-Length"]
        total = start + int(length) if length else None
        with (
            part.open("ab" if start else "wb") as target,
            tqdm(desc=part.stem, initial=start, total=total, unit="B", unit_scale=True, leave=False) as bar,
        ):
            while chunk := response.read1(CHUNK):
                target.write(chunk)
                bar.update(len(chunk))
                _received += len(chunk)
    if total is not None and _size(part) < total:
        raise ConnectionError(f"the connection ended after {_size(part):,} of {total:,} bytes")
    return start


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is(path: Path, checksum: str) -> bool:
    """Whether the file has this sum, as `File` writes it."""
    return _sum(path, checksum).endswith(" " + checksum.removeprefix("sha256:"))


def _sum(path: Path, like: str) -> str:
    """The file's sum in words, of the kind and length of the sum `like`."""
    length = len(like.removeprefix("sha256:"))
    kind, make = ("SHA-256", hashlib.sha256) if like.startswith("sha256:") else ("MD5", hashlib.md5)
    with path.open("rb") as file:
        return f"{kind} sum {hashlib.file_digest(file, lambda: make(usedforsecurity=False)).hexdigest()[:length]}"


def _tilde(path: Path) -> str:
    """A path as a person writes it, with ~ for the home folder."""
    return f"~/{path.relative_to(Path.home())}" if path.is_relative_to(Path.home()) else str(path)

"""Text as integers, windows of it for training, and bits per character: how well a model guesses held-out text."""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable
from math import log

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.training import evaluation_mode


class Vocabulary:
    """The characters of a text in the order of their code points, and the integers 0 … V - 1 that stand for them."""

    def __init__(self, text: str) -> None:
        if not text:
            raise ValueError("the text is empty: a vocabulary needs at least one character")
        self.characters = "".join(sorted(set(text)))
        self.index = {character: i for i, character in enumerate(self.characters)}

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> Int64[Tensor, " t"]:
        """The integers of `text`. Raises `ValueError` for a character that the vocabulary lacks."""
        for character in set(text) - self.index.keys():
            raise ValueError(
                f"character {character!r} is not among the {len(self)} of the vocabulary: build it from a text that has it"
            )
        return torch.tensor([self.index[character] for character in text], dtype=torch.long)

    def decode(self, codes: Iterable[int] | Int64[Tensor, " t"]) -> str:
        """The text of integers. Raises `ValueError` for one outside 0 … V - 1."""
        if isinstance(codes, Tensor) and codes.dim() != 1:
            raise ValueError(f"codes of shape {tuple(codes.shape)}: decode one text at a time")
        codes = codes.tolist() if isinstance(codes, Tensor) else list(codes)
        for code in codes:
            if not 0 <= code < len(self):
                raise ValueError(f"code {code}: the {len(self)} characters have the codes 0 to {len(self) - 1}")
        return "".join(self.characters[code] for code in codes)


def split_documents(text: str, held_out: int = 10) -> tuple[str, str]:
    """Training and held-out documents of `helpers.data.docstrings()`, about 1 in `held_out` of them held out.

    The last part of a document's dotted name decides (by its CRC-32), so that `numpy.sort`, `numpy.ndarray.sort` and
    `numpy.ma.sort`, whose texts are near copies, lie on the same side.
    """
    if held_out < 2:
        raise ValueError(f"held_out = {held_out}: hold out 1 document in 2 or more")
    sides: tuple[list[str], list[str]] = ([], [])
    for document in text.split("\n\n\n"):
        name = document.partition("\n")[0].rpartition(".")[2]
        sides[zlib.crc32(name.encode()) % held_out == 0].append(document)
    return "\n\n\n".join(sides[0]), "\n\n\n".join(sides[1])


def windows(codes: Int64[Tensor, " t"], length: int) -> Int64[Tensor, "n length_1"]:
    """Non-overlapping windows of `length` predictions: `length` + 1 characters, the last being the next one's first.

    A view, to be cut into batches; what is left over at the end is left out. Raises `ValueError` for a text that is too
    short for one.
    """
    if not 1 <= length < len(codes):
        raise ValueError(f"length = {length}: a text of {len(codes)} characters has windows of 1 to {len(codes) - 1}")
    return codes.unfold(0, length + 1, length)


def next_character_loss(model: nn.Module, batch: tuple[Int64[Tensor, "b t_1"], ...]) -> Float[Tensor, ""]:
    """Cross-entropy of every next character of the windows, in nats: ln V for uniform guesses.

    Raises `ValueError` for windows of less than two characters.
    """
    (window,) = batch
    if window.shape[1] < 2:
        raise ValueError(f"windows of {window.shape[1]} characters: at least 2, one to guess from and one to guess")
    logits, _ = model(window[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), window[:, 1:].flatten())


def bits_per_character(
    model: nn.Module,
    codes: Int64[Tensor, " t"],
    *,
    rows: int = 32,
    chunk: int = 256,
) -> float:
    """Mean of -log2 p(next character) while the model reads `codes`, its state carried along.

    The text is cut into `rows` that are read side by side; each begins
    without a past, so a few dozen characters in each row are guessed
    blind. What is left over at the end, less than a character a row, is
    left out. Raises `ValueError` for a text shorter than two characters a
    row and for chunks below 1.
    """
    if chunk < 1:
        raise ValueError(f"chunk = {chunk}: read at least 1 character at once")
    if rows < 1 or len(codes) < 2 * rows:
        raise ValueError(
            f"rows = {rows} of {len(codes)} characters: "
            "at least 1 row, and at least 2 characters in each"
        )
    per_row = len(codes) // rows
    text = codes[: rows * per_row].view(rows, per_row)
    total, state = 0.0, None
    with torch.no_grad(), evaluation_mode(model):
        for start in range(0, per_row - 1, chunk):
            end = min(start + chunk, per_row - 1)
            logits, state = model(text[:, start:end], state)
            wide = torch.promote_types(logits.dtype, torch.float32)
            total += F.cross_entropy(
                logits.flatten(0, 1).to(wide),
                text[:, start + 1 : end + 1].flatten(),
                reduction="sum",
            ).item()
    return total / (rows * (per_row - 1)) / log(2)


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "zlib": lambda data: zlib.compress(data, 9),
    "bz2": lambda data: bz2.compress(data, 9),
    "lzma": lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME),
}


def compressed_bits(name: str, text: str, primer: str = "") -> float:
    """Bits per character of `text` after zlib, bz2 or lzma, each at its best setting, headers included.

    A compressor learns while it reads. With a `primer` it has read that
    text first: the size of both together minus the size of the primer.
    zlib still sees 32 kB of it, bz2 the current block of 900 kB, lzma all.
    Raises `ValueError` for another name or an empty text.
    """
    if name not in COMPRESSORS:
        raise ValueError(f"no compressor is called {name!r}: there are {', '.join(COMPRESSORS)}")
    if not text:
        raise ValueError("the text is empty: there is nothing to compress")
    def size(string):
        return len(COMPRESSORS[name](string.encode()))
    return 8 * (size(primer + text) - (size(primer) if primer else 0)) / len(text)

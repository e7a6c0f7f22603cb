"""Byte-pair encoding as CLIP has it: lower case, bytes that merge into words, a token before and one after
(Sennrich et al. 2016, arXiv:1508.07909; Radford et al. 2021, arXiv:2103.00020, section 2.4)."""

import gzip
import html
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor

from helpers.data.downloads import File, data_folder, provide

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
ENDINGS = ("'re", "'ve", "'ll", "'s", "'t", "'m", "'d")
PUBLISHED = File(
    (
        "https://raw.githubusercontent.com/openai/CLIP/main/clip/"
        "bpe_simple_vocab_16e6.txt.gz",
    ),
    "bpe_simple_vocab_16e6.txt.gz",
    "sha256:924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a",
    unpack=False,
)
ENTITY = re.compile("&#?[0-9A-Za-z]{1,24};")
LIGATURES = "ĲĳŉǱǲǳǄǅǆǇǈǉǊǋǌﬀﬁﬂﬃﬄﬅﬆ"
SPLIT = "IJ ij ʼn DZ Dz dz DŽ Dž dž LJ Lj lj NJ Nj nj ff fi fl ffi ffl ſt st"
PLAIN = dict(zip(map(ord, LIGATURES), SPLIT.split(), strict=True))
PLAIN |= dict.fromkeys(map(ord, "\u02bc\u2018\u2019\u201a\u201b"), "'")
PLAIN |= dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f"), '"')
PLAIN |= dict.fromkeys(map(ord, "\r\u2028\u2029\x85"), "\n")
CONTROLS = [*range(9), 0xB, *range(0xE, 0x20), 0x7F, 0xFEFF]
CONTROLS += [*range(0x206A, 0x2070), *range(0xFFF9, 0xFFFD)]
PLAIN |= dict.fromkeys(CONTROLS)  # they are left out
Pair = tuple[str, str]


@cache
def byte_symbols() -> dict[int, str]:
    """A visible character for each of the 256 bytes.

    A printable one stands for itself, the others get the characters from
    256 on. In the order in which the published vocabulary lists them.
    """
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    table = {byte: chr(byte) for byte in visible}
    return table | {byte: chr(256 + i) for i, byte in enumerate(hidden)}


@cache
def plain_characters() -> dict[int, str | None]:
    """What `clean` puts in the place of single characters."""
    wide = [i for i in range(0xFF01, 0xFFF0) if nfkc(i) != chr(i)]
    return PLAIN | {0x3000: " "} | {i: nfkc(i) for i in wide}


def nfkc(code: int) -> str:
    return unicodedata.normalize("NFKC", chr(code))


def clean(text: str) -> str:
    """Sound plain text in lower case, as the released models read it.

    Their tokenizer calls ftfy with its settings as they are, resolves HTML
    entities, and lowers whole words. Here is what ftfy does to text that
    was decoded rightly: entities (in text without "<"), plain quotes,
    Latin ligatures and letters of full width apart and narrow, no control
    characters, composed letters. Its repair of wrongly decoded text
    ("cafÃ©") and of terminal colours is left out.
    """
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    resolve, before = "<" not in text, None
    while text != before:
        before = text
        if resolve:
            text = ENTITY.sub(lambda match: html.unescape(match[0]), text)
        text = text.translate(plain_characters())
        text = unicodedata.normalize("NFC", text)
    return html.unescape(html.unescape(text)).lower()


def split_words(text: str) -> list[str]:
    """`clean` and cut into runs of letters, single digits, and others.

    Also 's, 't, 're … by themselves, and the two tokens that begin and end
    a text. White space separates and is lost. The words for those two
    count as the tokens wherever they stand in a text, as in transformers;
    the released code has it so but right behind a sign. Take them out of
    texts that you do not trust.
    """
    text = clean(text)
    words, i = [], 0
    while i < len(text):
        whole = next(
            (w for w in (BEGIN, END, *ENDINGS) if text.startswith(w, i)), None
        )
        j = i + 1
        if whole:
            j = i + len(whole)
        elif kind(text[i]) in ("letter", "other"):
            while (
                j < len(text)
                and kind(text[j]) == kind(text[i])
                and not text.startswith((BEGIN, END), j)
            ):
                j += 1
        if kind(text[i]) != "space":
            words.append(text[i:j])
        i = j
    return words


def kind(character: str) -> str:
    """letter, digit, space or other."""
    if character.isspace():
        return "space"
    first = unicodedata.category(character)[0]
    return {"L": "letter", "N": "digit"}.get(first, "other")


def symbols(word: str) -> tuple[str, ...]:
    """A word's bytes as characters, the last one marked as such."""
    table = byte_symbols()
    parts = [table[byte] for byte in word.encode()]
    return (*parts[:-1], f"{parts[-1]}</w>")


def merged(parts: Sequence[str], pair: Pair) -> tuple[str, ...]:
    """Every neighbouring `pair` in `parts` as one, from the left."""
    out, i = [], 0
    while i < len(parts):
        both = tuple(parts[i : i + 2]) == pair
        out.append("".join(pair) if both else parts[i])
        i += 2 if both else 1
    return tuple(out)


def train_merges(texts: Iterable[str], count: int) -> list[Pair]:
    """Merge the most frequent pair of neighbours, again and again.

    Algorithm 1 of Sennrich et al.: pairs are counted within words. Of
    equally frequent ones the first in alphabetical order is merged. Stops
    before `count` when all words are whole. Raises `ValueError` for a
    count below 0 and for one text in the place of several.
    """
    if count < 0:
        raise ValueError(f"count = {count}: 0 merges or more")
    if isinstance(texts, str):
        raise ValueError(f"texts = {texts[:40]!r}: a list of texts")
    words = Counter(word for text in texts for word in split_words(text))
    pieces = {symbols(word): n for word, n in words.items()}
    merges: list[Pair] = []
    while len(merges) < count:
        pairs: Counter = Counter()
        for parts, n in pieces.items():
            for pair in zip(parts, parts[1:]):
                pairs[pair] += n
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        pieces = {merged(parts, best): n for parts, n in pieces.items()}
    return merges


class Tokenizer:
    """Texts to tokens and back, given the merges in order of training.

    The vocabulary is all bytes, all bytes as the last of a word, all
    merges, and the two tokens that begin and end a text: with the
    published merges 49,408 tokens, with the published numbers.
    """

    def __init__(self, merges: Sequence[Pair]) -> None:
        single = list(byte_symbols().values())
        names = single + [f"{s}</w>" for s in single]
        names += ["".join(pair) for pair in merges] + [BEGIN, END]
        self.names = names
        self.number = {name: i for i, name in enumerate(names)}
        self.rank = {tuple(pair): i for i, pair in enumerate(merges)}
        self.begin, self.end = len(names) - 2, len(names) - 1
        self.known: dict[str, list[int]] = {
            BEGIN: [self.begin],
            END: [self.end],
        }

    @property
    def vocab(self) -> int:
        """How many tokens there are."""
        return len(self.names)

    def word(self, word: str) -> list[int]:
        """The tokens of one word: the earliest merge that fits, until none."""
        if word not in self.known:
            parts = symbols(word)
            while len(parts) > 1:
                pairs = zip(parts, parts[1:])
                best = min(pairs, key=lambda p: self.rank.get(p, 1 << 60))
                if best not in self.rank:
                    break
                parts = merged(parts, best)
            self.known[word] = [self.number[part] for part in parts]
        return self.known[word]

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without those that begin and end it."""
        words = split_words(text)
        return [token for word in words for token in self.word(word)]

    def decode(self, tokens: Sequence[int] | Int64[Tensor, "t"]) -> str:
        """The text up to the first end; words are set apart by a space.

        Raises `ValueError` for a token that is none.
        """
        codes = {symbol: byte for byte, symbol in byte_symbols().items()}
        text = ""
        for token in map(int, tokens):
            if token == self.end:
                break
            if not 0 <= token < self.vocab:
                raise ValueError(
                    f"token {token}: the {self.vocab} tokens are 0 to "
                    f"{self.vocab - 1}"
                )
            if token != self.begin:
                text += self.names[token].replace("</w>", " ")
        data = b"".join(
            b" " if c == " " else bytes([codes[c]]) for c in text
        )
        return data.decode(errors="replace").strip()

    def __call__(
        self,
        texts: str | Sequence[str],
        *,
        context: int = 77,
        truncate: bool = False,
    ) -> Int64[Tensor, "b context"]:
        """A row a text: begin, tokens, end, and zeros up to `context`.

        A text that is too long is cut where `truncate` says so, and keeps
        its end. Raises `ValueError` where it does not, for no text, and
        for what is none.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not texts:
            raise ValueError("0 texts: give 1 or more")
        for text in texts:
            if not isinstance(text, str):
                raise ValueError(f"text {text!r} is no str")
        if context < 2:
            raise ValueError(f"context = {context}: a text takes 2 at least")
        rows = torch.zeros(len(texts), context, dtype=torch.long)
        for row, text in zip(rows, texts):
            tokens = [self.begin, *self.encode(text), self.end]
            if len(tokens) > context and not truncate:
                raise ValueError(
                    f"{len(tokens)} tokens in a context of {context}: "
                    f"shorten {text[:40]!r}, or cut it with truncate=True"
                )
            if len(tokens) > context:
                tokens = [*tokens[: context - 1], self.end]
            row[: len(tokens)] = torch.tensor(tokens)
        return rows


def read_merges(path: str | Path) -> list[Pair]:
    """The merges of a file in the published form, plain or packed.

    A line that tells the version, then a pair a line; of the published
    file those that the released models use, 48,894 of them.
    """
    path = Path(path)
    data = path.read_bytes()
    try:
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise ValueError(
            f"{path.name} cannot be read as merges ({error}): fetch it anew"
        ) from error
    lines = text.split("\n")[1 : 49_152 - 256 - 2 + 1]
    pairs = [tuple(line.split()) for line in lines if line.strip()]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"{path.name}: a line holds other than 2 pieces")
    return pairs


def published_tokenizer(*, download: bool = True) -> Tokenizer:
    """The tokenizer of the released models.

    Its merges are looked for in the folder `clip` of `data_folder()`, and
    fetched there once (1.4 MB). Raises `DataUnavailable` when they are not
    to be had.
    """
    folder = data_folder() / "clip"
    path = provide(PUBLISHED, folder, "the file of CLIP's merges", download)
    return Tokenizer(read_merges(path))

"""The pattern in which most early convnets are written, read as a program:
[(CONV-RELU)*N-POOL?]*M-(FC-RELU)*K-SOFTMAX (CS231n)."""

import re
from collections.abc import Sequence

from helpers.convnets.output_size.accounting import (
    Conv,
    Linear,
    Plan,
    Pool,
)

WORDS = ("CONV", "RELU", "POOL", "FC", "SOFTMAX")
PATTERN = "[(CONV-RELU)*N-POOL?]*M-(FC-RELU)*K-SOFTMAX"
TOKEN = re.compile(r"\s*(?:->|([A-Z]+)(\?)?|(\d+)|([][()*,-]))")


def layout(pattern: str, *, pool: bool = True, **numbers: int) -> list[str]:
    """The words of a pattern, its repetitions written out.

    Words are CONV, RELU, POOL, FC and SOFTMAX, joined by "-", "->" or
    ","; brackets of either kind group, and `*3` repeats the word or group
    before it. `numbers` gives the values of letters: N=2. `pool` says
    whether words with a question mark are there. Raises `ValueError`,
    which names the place, for whatever else it meets.
    """
    tokens = read(pattern)
    words, end = sequence(tokens, 0, pool, numbers, pattern)
    if end < len(tokens):
        raise unexpected(tokens[end], pattern)
    return words


def read(pattern: str) -> list[str]:
    """The tokens of a pattern; joints and INPUT left out."""
    tokens, place = [], 0
    text = pattern.rstrip()
    while place < len(text):
        found = TOKEN.match(text, place)
        if not found:
            raise unexpected(text[place:].strip()[0], pattern)
        token = found[0].strip()
        if token not in ("-", "->", ",", "INPUT"):
            tokens.append(token)
        place = found.end()
    return tokens


def sequence(
    tokens: Sequence[str],
    place: int,
    pool: bool,
    numbers: dict[str, int],
    pattern: str,
) -> tuple[list[str], int]:
    """Read words and groups up to a closing bracket or the end."""
    words: list[str] = []
    while place < len(tokens) and tokens[place] not in ("]", ")"):
        token = tokens[place]
        if token in ("[", "("):
            close = {"[": "]", "(": ")"}[token]
            inner = (tokens, place + 1, pool, numbers, pattern)
            part, place = sequence(*inner)
            if place == len(tokens) or tokens[place] != close:
                raise ValueError(f"{pattern!r}: a {token} is not closed")
        elif token.rstrip("?") in WORDS:
            part = [token.rstrip("?")] if pool or token[-1] != "?" else []
        else:
            raise unexpected(token, pattern)
        place += 1
        if tokens[place : place + 1] == ["*"]:
            part = part * times(tokens[place + 1 :], numbers, pattern)
            place += 2
        words += part
    return words, place


def times(
    tokens: Sequence[str], numbers: dict[str, int], pattern: str
) -> int:
    """The number behind a star, or the value of a letter."""
    token = tokens[0] if tokens else "the end"
    if token.isdigit():
        return int(token)
    if token not in numbers:
        raise ValueError(
            f"{pattern!r}: * is followed by {token}, not by a number; a "
            f"letter needs a value, as in layout(pattern, {token[:1]}=2)"
        )
    if numbers[token] < 0:
        raise ValueError(f"{token} = {numbers[token]}: it is at least 0")
    return numbers[token]


def unexpected(token: str, pattern: str) -> ValueError:
    return ValueError(
        f"{pattern!r}: {token!r} is not expected there; the words are "
        f"{', '.join(WORDS)}, as in {PATTERN!r}"
    )


def planned(
    words: Sequence[str],
    *,
    classes: int,
    widths: Sequence[int],
    hidden: int,
    kernel: int = 3,
    pool: int = 2,
) -> Plan:
    """The plan of a layout, for `volume_table` and `as_module`.

    Convolutions keep the size, and pools divide it by `pool`. `widths`
    are the channels before the first pool, after it, and so on; the last
    serves all further stages. SOFTMAX stands for a linear layer with an
    output per class: the softmax itself is the loss's. Raises
    `ValueError` for a layout that is no network.
    """
    check(words)
    if kernel % 2 == 0:
        raise ValueError(f"kernel = {kernel}: only odd ones keep the size")
    if not widths:
        raise ValueError("widths is empty: give one for each stage")
    plan: Plan = {}
    stage, depth, linear = 0, 0, 0
    for word in words:
        width = widths[min(stage, len(widths) - 1)]
        if word == "CONV":
            depth += 1
            name = f"CONV{stage + 1}-{depth}"
            plan[name] = Conv(width, kernel, padding=kernel // 2)
        elif word == "POOL":
            stage, depth = stage + 1, 0
            plan[f"POOL{stage}"] = Pool(pool, stride=pool)
        elif word in ("FC", "SOFTMAX"):
            linear += 1
            features = hidden if word == "FC" else classes
            plan[f"FC{linear}"] = Linear(features)
    return plan


def check(words: Sequence[str]) -> None:
    """Refuse what `as_module` would build otherwise than written."""
    text = "-".join(words)
    if not words or words[-1] != "SOFTMAX" or "SOFTMAX" in words[:-1]:
        raise ValueError(f"{text!r}: a layout ends with its one SOFTMAX")
    flat = False
    for word, after in zip(["INPUT", *words], words):
        flat = flat or word == "FC"
        if word in ("CONV", "FC") and after != "RELU":
            raise ValueError(f"{text!r}: a {word} without RELU behind it")
        if after == "RELU" and word not in ("CONV", "FC"):
            raise ValueError(f"{text!r}: a RELU behind {word}")
        if after in ("CONV", "POOL") and flat:
            raise ValueError(f"{text!r}: a {after} behind an FC")

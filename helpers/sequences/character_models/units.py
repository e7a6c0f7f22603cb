"""Looking for units that can be read: what is true of the text at a character, and which unit knows it."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


def inside(text: str, opening: str, closing: str) -> Bool[Tensor, " t"]:
    """Whether a bracket or quote is open after each character.

    `opening` and `closing` list characters; where one is in both, as a quote is, it opens and closes in turn. A blank line
    closes all. Raises `ValueError` when either is empty.
    """
    if not opening or not closing:
        raise ValueError(f"opening = {opening!r}, closing = {closing!r}: give at least one character each")
    depth, previous, found = 0, "", []
    for character in text:
        if character == "\n" == previous:
            depth = 0
        elif character in opening and (depth == 0 or character not in closing):
            depth += 1
        elif character in closing and depth > 0:
            depth -= 1
        found.append(depth > 0)
        previous = character
    return torch.tensor(found, dtype=torch.bool)


def on_lines(text: str, beginning: str) -> Bool[Tensor, " t"]:
    """Whether each character stands on a line that begins so, from the end of that beginning to the newline."""
    found = []
    for line in text.split("\n"):
        begins = line.startswith(beginning)
        found += [begins and i >= len(beginning) for i in range(len(line))] + [False]
    return torch.tensor(found[: len(text)], dtype=torch.bool)


def distance_since(text: str, characters: str) -> Int64[Tensor, " t"]:
    """How many characters ago one of `characters` came last; 0 at itself, counted from the start before the first."""
    ago, found = 0, []
    for character in text:
        ago = 0 if character in characters else ago + 1
        found.append(ago)
    return torch.tensor(found)


def auc(
    activations: Float[Tensor, "t n"], truth: Bool[Tensor, " t"]
) -> Float[Tensor, " n"]:
    """How well each unit alone tells true from false: the area under ROC.

    The probability that the unit is higher at a random true place than at
    a random false one: 0.5 is chance, 1 a detector, 0 one upside down.
    Raises `ValueError` when all places are true, or none is, when there
    are not as many places as activations, and for activations that are
    not numbers.
    """
    if len(activations) != len(truth):
        raise ValueError(
            f"{len(activations)} activations for {len(truth)} places: as many"
        )
    if activations.isnan().any():
        raise ValueError("activations that are not numbers have no order")
    n_true = int(truth.sum())
    n_false = len(truth) - n_true
    if not n_true or not n_false:
        raise ValueError(
            f"{n_true} places are true and {n_false} are not: "
            "the area needs some of both"
        )
    columns = activations.T.double().contiguous()  # [n t]
    ordered = columns.sort(1).values
    below = torch.searchsorted(ordered, columns[:, truth].contiguous())
    upto = torch.searchsorted(
        ordered, columns[:, truth].contiguous(), right=True
    )
    ranks = (below + upto + 1).double() / 2  # ties share their mean rank
    lowest = n_true * (n_true + 1) / 2
    return (ranks.sum(1) - lowest) / (n_true * n_false)


class Detector(NamedTuple):
    """A unit, +1 or -1 for the side on which it is high, its areas."""

    unit: int
    sign: int
    found: float
    confirmed: float


def find_detector(
    activations: Float[Tensor, "t n"], truth: Bool[Tensor, " t"]
) -> Detector:
    """The unit that knows `truth` best on the first half of the text.

    `found` is its area there, of the best among n; `confirmed` is that of
    the same unit on the second half, where nothing was chosen.
    """
    half = len(truth) // 2
    areas = auc(activations[:half], truth[:half])
    unit = int((areas - 0.5).abs().argmax())
    sign = 1 if areas[unit] > 0.5 else -1
    alone = sign * activations[:, unit : unit + 1]
    confirmed = auc(alone[half:], truth[half:])
    found = auc(alone[:half], truth[:half])
    return Detector(unit, sign, found.item(), confirmed.item())

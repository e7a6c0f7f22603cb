"""Strings to copy, reverse or sort, and number words to translate into digits: tasks whose answers are known."""

from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

PAD, BEGIN, END = 0, 1, 2
DIGIT = 3  # the token of digit 0
TARGETS = DIGIT + 10  # tokens of a target vocabulary

ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)
TENS = (
    "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
)
WORDS = ("<pad>", "<begin>", "<end>", *ONES, *TENS, "hundred", "thousand")

TASKS = ("copy", "reverse", "sort")


class Pairs(NamedTuple):
    """Padded token rows: sources end with END, targets also begin with BEGIN."""

    source: Int64[Tensor, "n s"]
    target: Int64[Tensor, "n t"]

    def split(self, held_out: int) -> tuple["Pairs", "Pairs"]:
        """All but the last `held_out` pairs, and those."""
        if not 0 < held_out < len(self.source):
            raise ValueError(f"held_out = {held_out}: 1 to {len(self.source) - 1} of these pairs")
        cut = len(self.source) - held_out
        return Pairs(*(x[:cut] for x in self)), Pairs(*(x[cut:] for x in self))


def strings(task: str, n: int, generator: torch.Generator, *, low: int = 5, high: int = 10) -> Pairs:
    """`n` different strings of `low` to `high` digits, and the same copied, reversed or sorted.

    No string comes twice, so that a split holds out strings that were never seen. Raises `ValueError` when fewer than
    `n` different ones were drawn.
    """
    if task not in TASKS:
        raise ValueError(f"task = {task!r}: one of {', '.join(TASKS)}")
    if not 1 <= low <= high:
        raise ValueError(f"low = {low}, high = {high}: lengths from 1, the smaller one first")
    made = 2 * n + 50
    digits = torch.randint(10, (made, high), generator=generator)
    lengths = torch.randint(low, high + 1, (made, 1), generator=generator)
    digits = digits.masked_fill(torch.arange(high) >= lengths, -1)
    digits = digits.unique(dim=0)
    digits = digits[torch.randperm(len(digits), generator=generator)[:n]]
    if len(digits) < n:
        raise ValueError(f"n = {n}: only {len(digits)} different strings were drawn; ask for fewer, or longer ones")
    lengths = (digits >= 0).sum(1, keepdim=True)
    place = torch.arange(high)
    if task == "reverse":
        answer = digits.gather(1, (lengths - 1 - place) % high)
    elif task == "sort":
        answer = digits.masked_fill(digits < 0, 10).sort(1).values
    else:
        answer = digits
    return Pairs(finish(digits, lengths), begin(finish(answer, lengths)))


def number_words(n: int, generator: torch.Generator, *, digits: int = 6) -> Pairs:
    """`n` different numbers below 10^`digits` in words (tokens of `WORDS`), and in digits.

    Numbers of all lengths are about equally frequent, as far as there are enough of the short ones.
    """
    if not 1 <= digits <= 6:
        raise ValueError(f"digits = {digits}: words are known for 1 to 6")
    if not 1 <= n <= 10**digits // 4:
        raise ValueError(f"n = {n}: 1 to {10**digits // 4} numbers below 10^{digits}")
    spread = torch.rand(40 * n, generator=generator, dtype=torch.float64) * digits
    numbers = (10**spread).long().unique()
    numbers = numbers[torch.randperm(len(numbers), generator=generator)[:n]]
    if len(numbers) < n:
        raise ValueError(f"n = {n}: only {len(numbers)} different numbers were drawn; ask for fewer")
    read = [[WORDS.index(word) for word in words(number)] for number in numbers.tolist()]
    written = [[DIGIT + int(digit) for digit in str(number)] for number in numbers.tolist()]
    return Pairs(rows([[*x, END] for x in read]), rows([[BEGIN, *x, END] for x in written]))


def words(number: int) -> list[str]:
    """A number from 0 to 999,999 in English, word by word, without "and"."""
    if not 0 <= number < 1_000_000:
        raise ValueError(f"number = {number}: words are known for 0 to 999,999")
    if number >= 1000:
        rest = number % 1000
        return [*words(number // 1000), "thousand", *(words(rest) if rest else [])]
    if number >= 100:
        rest = number % 100
        return [ONES[number // 100], "hundred", *(words(rest) if rest else [])]
    if number >= 20:
        return [TENS[number // 10 - 2], *([ONES[number % 10]] if number % 10 else [])]
    return [ONES[number]]


def written(tokens: Int64[Tensor, " t"]) -> str:
    """A row of digits as text, up to its end."""
    text = ""
    for token in tokens.tolist():
        if token in (END, PAD) and text:
            break
        text += str(token - DIGIT) if token >= DIGIT else ""
    return text


def rows(lists: list[list[int]]) -> Int64[Tensor, "n t"]:
    """Lists of tokens as rows of one length, padded."""
    longest = max(map(len, lists))
    return torch.tensor([[*row, *[PAD] * (longest - len(row))] for row in lists])


def finish(digits, lengths):
    """Tokens of digits, END after the last one, then padding."""
    place = torch.arange(digits.shape[1] + 1)
    tokens = torch.cat([digits + DIGIT, torch.zeros_like(lengths)], 1)
    return torch.where(place < lengths, tokens, torch.where(place == lengths, END, PAD))


def begin(tokens):
    """BEGIN before every row."""
    return torch.cat([torch.full_like(tokens[:, :1], BEGIN), tokens], 1)

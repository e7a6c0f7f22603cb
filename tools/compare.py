"""Make nbval compare notebooks as the book wants it: text and integers exactly, decimals within a tolerance.

A pytest plugin (`-p tools.compare`). Two machines, or two numbers of threads, round differently, and training
amplifies that: a decimal may move by 2 % or by one unit of its last printed digit. All else is the same to the letter.
"""

import json
import re

from nbval.plugin import IPyNbCell

DECIMAL = re.compile(r"(?<![\w.])[-+−]?\d[\d,]*\.\d+(?:e[-+]?\d+)?|(?<![\w.])[-+−]?\d+e[-+]?\d+", re.IGNORECASE)
RELATIVE = 0.02
NEGLIGIBLE = 1e-9  # two rounding errors are equal


class Text(str):
    """Output of a cell that equals another when the words are the same and the decimals are close."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and same(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


def same(left: str, right: str) -> bool:
    """Whether two outputs agree: identical outside the decimals, which agree within the tolerance."""
    left, right = str(left), str(right)
    if left == right:
        return True
    numbers = DECIMAL.findall(left), DECIMAL.findall(right)
    if DECIMAL.sub("#", left) != DECIMAL.sub("#", right):
        return False
    return all(close(a, b) for a, b in zip(*numbers, strict=True))


def close(left: str, right: str) -> bool:
    """Whether two printed decimals agree within 2 % or one unit of the finer one's last digit."""
    a, b = (float(text.replace(",", "").replace("−", "-")) for text in (left, right))
    unit = min(_unit(left), _unit(right))
    return abs(a - b) <= max(RELATIVE * max(abs(a), abs(b)), 1.001 * unit, NEGLIGIBLE)


def _unit(text: str) -> float:
    """The place value of the last printed digit: 0.01 for 3.14, 1e-05 for 1.2e-4."""
    mantissa, _, exponent = text.lower().partition("e")
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


def _tolerant(cell: IPyNbCell, value: object) -> object:
    if isinstance(value, dict | list):
        value = json.dumps(value, sort_keys=True)
    return Text(value) if isinstance(value, str) else value


def pytest_configure(config) -> None:
    IPyNbCell.sanitize = _tolerant

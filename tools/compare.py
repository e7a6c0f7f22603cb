"""Make nbval compare notebooks as the book wants it: text and integers exactly, decimals within a tolerance.

A pytest plugin (`-p tools.compare`). Two machines, or two numbers of threads, round differently, and training amplifies that:

- a figure over seeds, `0.83 (0.79 to 0.86, 3 seeds)`, agrees when its mean lies within the stored range and its own range
  reaches at most a quarter of the stored range beyond it;
- any other decimal, and the ends of a range, may move by 2 % or by one unit of the last printed digit;
- what a clock said, `6.3 (5.1 to 7.2, 7 runs, timed)`, is not compared, but for the number of runs.

All else is the same to the letter.
"""

import json
import re

from nbval.plugin import IPyNbCell

NUMBER = r"[-+−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?"
OVER_SEEDS = re.compile(
    rf"(?<![\w.])(?P<mean>{NUMBER}) \((?:(?P<low>{NUMBER}) to (?P<high>{NUMBER}), )?(?P<of>\d+ [a-z ]+?)(?P<timed>, timed)?\)",
    re.IGNORECASE,
)
DECIMAL = re.compile(r"(?<![\w.])[-+−]?\d[\d,]*\.\d+(?:e[-+]?\d+)?|(?<![\w.])[-+−]?\d+e[-+]?\d+", re.IGNORECASE)
RELATIVE = 0.02
WIDER = 0.25  # of the stored range, at each end
NEGLIGIBLE = 1e-6  # two rounding errors are equal


class Text(str):
    """A stored output of a cell; it equals a new one when the words are the same and the numbers agree."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and same(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


def same(stored: str, new: str) -> bool:
    """Whether a new output agrees with the stored one: identical outside the numbers, which agree by the rules above."""
    stored, new = str(stored), str(new)
    if stored == new:
        return True
    spreads = [list(OVER_SEEDS.finditer(text)) for text in (stored, new)]
    stored, new = (OVER_SEEDS.sub(lambda m: f"({m['of']}{m['timed'] or ''})", text) for text in (stored, new))
    if DECIMAL.sub("#", stored) != DECIMAL.sub("#", new):
        return False
    decimals = zip(DECIMAL.findall(stored), DECIMAL.findall(new), strict=True)
    return all(close(a, b) for a, b in decimals) and all(within(a, b) for a, b in zip(*spreads, strict=True))


def close(left: str, right: str) -> bool:
    """Whether two printed decimals agree within 2 % or one unit of the finer one's last digit."""
    a, b = _value(left), _value(right)
    return abs(a - b) <= max(RELATIVE * max(abs(a), abs(b)), 1.001 * min(_unit(left), _unit(right)), NEGLIGIBLE)


def within(stored: re.Match, new: re.Match) -> bool:
    """Whether a new figure over seeds agrees with the stored one: its mean within the stored range, its range no wider."""
    if stored["timed"]:
        return True
    low, high = (stored[end] or stored["mean"] for end in ("low", "high"))
    spare = WIDER * (_value(high) - _value(low))

    def inside(text: str, spare: float) -> bool:
        beyond = _value(low) - spare <= _value(text) <= _value(high) + spare
        return beyond or close(low, text) or close(high, text)

    return inside(new["mean"], 0) and all(inside(new[end] or new["mean"], spare) for end in ("low", "high"))


def _value(text: str) -> float:
    return float(text.replace(",", "").replace("−", "-"))


def _unit(text: str) -> float:
    """The place value of the last printed digit: 0.01 for 3.14, 1e-05 for 1.2e-4."""
    mantissa, _, exponent = text.lower().partition("e")
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


def _tolerant(cell: IPyNbCell, value: object) -> object:
    if isinstance(value, dict | list):
        value = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return Text(value) if isinstance(value, str) else value


def pytest_configure(config) -> None:
    IPyNbCell.sanitize = _tolerant

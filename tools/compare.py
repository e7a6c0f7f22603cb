"""Make nbval compare notebooks as the book wants it: text and integers exactly, decimals within a tolerance.

A pytest plugin (`-p tools.compare`). Two machines, or two numbers of threads, round differently, and training amplifies that:

- a figure over seeds, `0.83 (0.79 to 0.86, 3 seeds)`, is a small sample, and where rounding differs training draws another.
  The two agree unless they would lie so far apart, or the new one be so much wider, less than once in a thousand times if both
  came from one normal distribution (`LIKELY`); closer than 2 % or one unit of the last printed digit they agree in any case;
- a count over seeds, `4 of 5 seeds`, may move by one in five, and by one of fewer;
- any other decimal may move by 2 % or by one unit of the last printed digit;
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
COUNT = re.compile(r"(?<![\w.,])(\d+) of (\d+) seeds\b")
RELATIVE = 0.02
# Two samples of n numbers from one normal distribution, in 999 of 1,000 cases: the means apart, over the mean of both ranges, at
# most; the range of one over that of the other, at most. (`tests/book/test_comparison.py` draws them again.)
LIKELY = {
    2: (25.1, 636.0), 3: (3.94, 32.3), 4: (1.99, 12.0), 5: (1.35, 7.46), 6: (1.04, 5.65), 8: (0.728, 4.09), 10: (0.576, 3.39),
    20: (0.308, 2.37), 50: (0.154, 1.88),
}  # fmt: skip
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
    counts = [COUNT.findall(text) for text in (stored, new)]
    stored, new = (COUNT.sub(r"# of \2 seeds", text) for text in (stored, new))
    if DECIMAL.sub("#", stored) != DECIMAL.sub("#", new):
        return False
    if any(abs(int(a) - int(b)) > max(int(n) // 5, 1) for (a, n), (b, _) in zip(*counts, strict=True)):
        return False
    decimals = zip(DECIMAL.findall(stored), DECIMAL.findall(new), strict=True)
    return all(close(a, b) for a, b in decimals) and all(within(a, b) for a, b in zip(*spreads, strict=True))


def close(left: str, right: str) -> bool:
    """Whether two printed decimals agree within 2 % or one unit of the finer one's last digit."""
    a, b = _value(left), _value(right)
    return abs(a - b) <= max(RELATIVE * max(abs(a), abs(b)), 1.001 * min(_unit(left), _unit(right)), NEGLIGIBLE)


def within(stored: re.Match, new: re.Match) -> bool:
    """Whether a new figure over seeds agrees with the stored one: two samples of one distribution, as far as one can tell."""
    if stored["timed"]:
        return True
    size = int(stored["of"].split()[0])
    apart, wider = LIKELY[max((n for n in LIKELY if n <= size), default=2)]
    widths = [_value(m["high"] or m["mean"]) - _value(m["low"] or m["mean"]) for m in (stored, new)]
    means = [_value(m["mean"]) for m in (stored, new)]
    least = max(
        RELATIVE * max(map(abs, means)), min(_unit(m["mean"]) for m in (stored, new)), NEGLIGIBLE
    )  # what counts as no difference
    near = abs(means[0] - means[1]) <= apart * sum(widths) / 2
    return (near or close(stored["mean"], new["mean"])) and widths[1] <= wider * max(widths[0], least)


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

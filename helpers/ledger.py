"""The ledger of claims: what a page says that could be disputed, the check, the figures over seeds, the source, the verdict."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from math import floor, isfinite, log10
from typing import Any

import numpy as np

VERDICTS: dict[str, tuple[str, ...]] = {  # kind: what may come of it
    "exact": ("holds", "wrong as stated"),
    "measured": ("holds", "holds only at scale", "not seen at this size", "did not reproduce"),
}
RECORDED = {"scale": "lecture", "seed": 0}  # the parameters with which the stored outputs were made
CLAIM_MIME = "application/vnd.deep-learning-executed.claim+json"
PLACE = re.compile(
    r"\b(abstract|introduction|discussion|conclusions?|related work|experiments?|results?|method|footnote|preface"
    r"|section|sections|sec\.|chapter|appendix|supplement\w*|table|tables|figure|figures|fig\.|equation|equations|eq\."
    r"|algorithm|listing|theorem|lemma|proposition|corollary|definition|remark|page|pages|p\.|pp\.|slide|lecture)(?!\w)|§",
    re.IGNORECASE,
)
BOUND = re.compile(
    r"\b(more|less|fewer|greater|larger|smaller|higher|lower|better|worse) than\b|\bat (least|most)\b"
    r"|\b(above|below|under|about|around|roughly|nearly|almost|approximately)\b|[<>≤≥≈~]",
    re.IGNORECASE,
)


class ClaimError(AssertionError):
    """The measurement contradicts the verdict that the book records."""


class Figure(str):
    """A printed figure that knows over how many seeds it was measured (0: over none)."""

    seeds: int

    def __new__(cls, text: str, seeds: int = 0) -> "Figure":
        made = super().__new__(cls, text)
        made.seeds = seeds
        return made


def over_seeds(values: Any, of: str = "seeds") -> Figure:
    """Mean and range of one figure over seeds, as `0.83 (0.79 to 0.86, 3 seeds)`; `of` names other repetitions.

    `values` holds one number a seed: [n], n at least 2. The mean has two digits, or one more where the range needs it; the
    range is left out where all values print alike. Raises `ValueError` for another shape and for values that are not finite.
    """
    numbers = _numbers(values)
    mean, low, high = numbers.mean(), numbers.min(), numbers.max()
    whole = bool((numbers == numbers.round()).all()) and abs(high) < 1e6
    show = _printer(mean, high - low)
    middle, ends = show(mean), [f"{end:,.0f}" if whole and low < high else show(end) for end in (low, high)]
    spread = "" if ends == [middle, middle] else f"{ends[0]} to {ends[1]}, "
    return Figure(f"{middle} ({spread}{len(numbers)} {of})", len(numbers) if of == "seeds" else 0)


def of_seeds(won: Any, of: str = "seeds") -> Figure:
    """In how many seeds something was so, as `4 of 5 seeds`; `won` holds one truth value a seed: [n]."""
    truths = np.asarray(won.detach().cpu() if hasattr(won, "detach") else won)
    if truths.ndim != 1 or truths.dtype != bool:
        raise ValueError(
            f"of_seeds wants one truth value a seed, [n]; it got {truths.dtype} of shape {list(truths.shape)}"
        )
    return Figure(f"{int(truths.sum())} of {len(truths)} {of}", len(truths) if of == "seeds" else 0)


def beats(ours: Any, others: Any = 0.0) -> bool:
    """Whether `ours` lies above `others`, seed by seed, by more than twice the standard error of the mean difference.

    `ours` holds one number a seed: [n], n at least 2; `others` as many, or one for all. Raises `ValueError` for other
    shapes and for values that are not finite.
    """
    ours, others = _numbers(ours), np.asarray(others.detach().cpu() if hasattr(others, "detach") else others, float)
    if others.shape not in ((), ours.shape):
        raise ValueError(
            f"beats compares seed by seed: one number, or {len(ours)} of them; it got the shape {list(others.shape)}"
        )
    lead = _numbers(ours - others)
    return bool(lead.mean() > 2 * lead.std(ddof=1) / len(lead) ** 0.5)


def timed(values: Any, of: str = "runs") -> Figure:
    """Mean and range of what a clock said, as `6.3 (5.1 to 7.2, 7 runs, timed)`: the comparison of outputs skips its numbers."""
    return Figure(f"{over_seeds(values, of)[:-1]}, timed)")


def _numbers(values: Any) -> np.ndarray:
    numbers = np.asarray(values.detach().cpu().double() if hasattr(values, "detach") else values, dtype=float)
    if numbers.ndim != 1 or len(numbers) < 2:
        raise ValueError(f"a figure over seeds wants at least two numbers, [n]; it got the shape {list(numbers.shape)}")
    if not np.isfinite(numbers).all():
        raise ValueError(
            f"a figure over seeds is no number: {numbers.tolist()}. Mend the run, or leave that seed out and say so"
        )
    return numbers


def _printer(mean: float, width: float):
    """A function that prints numbers of one figure alike: two digits of the mean, one more where the range needs it."""
    size = max(abs(mean), width / 2)
    if size == 0:
        return lambda x: f"{x:.0f}"
    if not 1e-3 <= size < 1e6:
        return lambda x: f"{x:.1e}"
    digits = 1 - floor(log10(size))
    if width > 0:
        digits = max(digits, min(digits + 1, -floor(log10(width))))
    return lambda x: f"{round(x, digits) + 0.0:,.{max(digits, 0)}f}"


def claim(
    id: str,
    text: str,
    holds: Any,
    measured: Mapping[str, Any],
    *,
    kind: str,
    paper: str = "",
    after: str = "",
    verdict: str = "holds",
    why: str = "",
) -> None:
    """Enter a claim in the book's ledger: a sentence that could be disputed, its check, its figures, its source, the verdict.

    `id` is short, in kebab case and unique in the book. `holds` is the outcome of the check: whether the sentence is true here.
    `measured` names the figures: numbers, or what `over_seeds`, `of_seeds` and `timed` print; never a bound. `kind` is "exact"
    (an identity, a count, a bound, to rounding) or "measured" (an experiment). `paper` says who says so and where (section,
    table, figure), for what that paper itself says; otherwise `after` names whose idea the question follows, which is ours.

    `verdict` is what the book records. "holds" expects the check to be true, the others expect it to be false here: "holds only
    at scale", "not seen at this size" (data, steps or size are not those that the sentence is about), "did not reproduce" (its
    own protocol, or one with the power to show it, was tried), "wrong as stated" (exact claims alone). `why` says in one
    sentence why, for every verdict but "holds".

    Raises `ValueError` for what is missing or does not go together. With the recorded settings (scale "lecture", seed 0) a
    check that contradicts the verdict raises `ClaimError`; with a reader's own, the box says what differs.
    """
    if bool(paper) == bool(after):
        raise ValueError(
            f"claim {id!r}: give paper= (what the paper says) or after= (ours, after a paper): one of them"
        )
    settings = _settings()
    record = dict(
        id=id,
        kind=kind,
        text=text,
        measured=[[name, figure(value)] for name, value in measured.items()],
        source=paper or f"after {after}",
        credited=bool(paper),
        seeds=max(map(_seeds, measured.values()), default=0),
        verdict=verdict,
        why=why,
        holds=bool(holds),
        **settings,
    )
    check(record)
    expected = _expected(verdict, settings["scale"])
    agrees = expected is None or bool(holds) == expected
    if not agrees and settings == RECORDED:
        raise ClaimError(
            f"claim {id!r} is recorded as {verdict!r}, but the check gives {bool(holds)}: {dict(record['measured'])}. "
            "Mend the code, or record the other verdict and explain it on the page."
        )
    show(_box(record, agrees))


def check(record: Mapping[str, Any]) -> None:
    """Raise `ValueError` for a claim that the ledger does not take: what is missing in it, or does not go together."""
    name, kind, verdict = f"claim {record['id']!r}", record["kind"], record["verdict"]
    if kind not in VERDICTS:
        raise ValueError(f"{name}: kind = {kind!r}: a claim is {' or '.join(VERDICTS)}")
    known = dict.fromkeys(verdict for verdicts in VERDICTS.values() for verdict in verdicts)
    if verdict not in known:
        raise ValueError(f"{name}: verdict {verdict!r} is none of {', '.join(map(repr, known))}")
    if verdict not in VERDICTS[kind]:
        raise ValueError(f"{name}: kind {kind!r} never {verdict!r}: {', '.join(VERDICTS[kind])}")
    if record["credited"] and not PLACE.search(record["source"]):
        raise ValueError(
            f"{name}: where does {record['source']!r} say so? Name the section, table or figure, or use after="
        )
    if (verdict == "holds") == bool(record["why"]):
        raise ValueError(
            f"{name}: why= says in one sentence why a claim does not hold; here the verdict is {verdict!r}"
        )
    if not record["measured"]:
        raise ValueError(f"{name} has no measured figure: pass measured={{'name': value}}")
    for what, text in record["measured"]:
        if bound := BOUND.search(text):
            raise ValueError(
                f"{name}: {what} = {text!r}: {bound[0]!r} makes it a bound. Give the figure that was measured"
            )


def _expected(verdict: str, scale: str) -> bool | None:
    """What the check should give; None where nobody has said."""
    if scale != "lecture" and verdict in ("holds only at scale", "not seen at this size"):
        return True if verdict == "holds only at scale" else None
    return verdict == "holds"


def _seeds(value: Any) -> int:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return max(map(_seeds, value), default=0)
    return getattr(value, "seeds", 0)


def _settings() -> dict[str, Any]:
    """The notebook's own `scale` and `seed`; outside a notebook the recorded ones."""
    from IPython import get_ipython

    names = getattr(get_ipython(), "user_ns", {})
    return {name: names.get(name, default) for name, default in RECORDED.items()}


def _box(record: dict[str, Any], agrees: bool) -> dict[str, Any]:
    """The claim as a notebook shows it: its record, a compact box, the same in plain words."""
    how = f"{record['kind']}, {record['seeds']} seeds" if record["seeds"] else record["kind"]
    found = "; ".join(f"{name}: {value}" for name, value in record["measured"])
    differs = ""
    if not agrees:
        differs = (
            f"With your settings (scale {record['scale']!r}, seed {record['seed']}) the check gives {record['holds']}; "
            f"the book records {record['verdict']!r} with scale {RECORDED['scale']!r}, seed {RECORDED['seed']}."
        )
    figures = "; ".join(f"{escape(name)}: <strong>{escape(value)}</strong>" for name, value in record["measured"])
    verdict, source = record["verdict"], record["source"]
    html = (
        f'<div class="claim claim-{verdict.replace(" ", "-")}" id="claim-{escape(record["id"])}">'
        f"<p>{escape(record['text'])}</p><p>{figures}</p>"
        f"<p><strong>{verdict.capitalize()}</strong> ({how}). <em>{escape(source)}</em>.</p>"
        + (f'<p class="differs"><strong>{escape(differs)}</strong></p>' if differs else "")
        + "</div>"
    )
    plain = f"Claim. {record['text']}\n{found}\n{verdict.capitalize()} ({how}). {source}."
    return {CLAIM_MIME: record, "text/html": html, "text/plain": plain + (f"\n{differs}" if differs else "")}


def figure(value: Any) -> str:
    """A number as the book prints it: integers whole, floats with three significant digits and always a decimal point."""
    if isinstance(value, bool | str | np.bool_):
        return str(value)
    if isinstance(value, Sequence):
        return ", ".join(figure(item) for item in value)
    number = value.item() if hasattr(value, "item") else value
    if isinstance(number, bool):
        return str(number)
    if isinstance(number, int):
        return f"{number:,}"
    if isinstance(number, float):
        return f"{number:,.1f}" if isfinite(number) and 100 <= abs(number) < 1e6 else f"{number:#.3g}"
    return str(number)


def show(bundle: dict[str, Any]) -> None:
    """Display a bundle of MIME types in a notebook; print its plain text anywhere else."""
    from IPython import get_ipython
    from IPython.display import display

    if get_ipython() is None:
        print(bundle["text/plain"])
    else:
        display(bundle, raw=True)

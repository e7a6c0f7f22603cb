"""What a notebook shows besides numbers and figures: the code it imports, tables, and the ledger of claims."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from textwrap import dedent
from typing import Any, Literal, get_args

from helpers import plotting

Verdict = Literal["holds", "holds only at scale", "did not reproduce"]
CLAIM_MIME = "application/vnd.deep-learning-executed.claim+json"


class ClaimError(AssertionError):
    """The measurement contradicts the verdict that the book records."""


def begin() -> None:
    """Prepare a notebook: the book's figure style. Called by the setup cell that all notebooks share."""
    plotting.use_style()


def source(*objects: Any) -> None:
    """Show the source of imported functions or classes as highlighted Markdown: the very code that runs and is tested."""
    listing = "\n\n".join(dedent(inspect.getsource(obj)).rstrip() for obj in objects)
    _show({"text/markdown": f"```python\n{listing}\n```", "text/plain": listing})


def table(rows: Iterable[Sequence[Any]], columns: Sequence[str]) -> None:
    """Show `rows` under the headings `columns` as a Markdown table; floats with three significant digits.

    Raises `ValueError` for a row that has not as many cells as there are columns.
    """
    rows = [[figure(cell) for cell in row] for row in rows]
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"table row {row} has {len(row)} cells for the {len(columns)} columns {list(columns)}")
    lines = [list(columns), ["---"] * len(columns), *rows]
    text = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    _show({"text/markdown": text, "text/plain": text})


def claim(
    id: str,
    text: str,
    holds: Any,
    measured: Mapping[str, Any],
    paper: str,
    *,
    seeds: int = 1,
    scale: str = "lecture",
    verdict: Verdict = "holds",
) -> None:
    """Enter a claim in the book's ledger: what the paper says, what was measured here, and the verdict.

    `id` is short, in kebab case and unique in the book; `text` states the claim in one sentence; `holds` is the outcome of the
    check, with a margin; `measured` names each figure; `paper` cites the source; `seeds` says over how many seeds.
    `verdict` is what the book records: "holds", "holds only at scale" (expected to fail at `scale="lecture"` and to
    hold at `"gpu"`) or "did not reproduce". Raises `ClaimError` when `holds` contradicts it, and `ValueError` for an
    unknown verdict or a claim without a figure.
    """
    if verdict not in get_args(Verdict):
        raise ValueError(f"claim {id!r}: verdict {verdict!r} is none of {', '.join(map(repr, get_args(Verdict)))}")
    if not measured:
        raise ValueError(f"claim {id!r} has no measured figure: pass measured={{'name': value}}")
    figures = {name: figure(value) for name, value in measured.items()}
    expected = verdict == "holds" or (verdict == "holds only at scale" and scale == "gpu")
    if bool(holds) != expected:
        raise ClaimError(
            f"claim {id!r} is recorded as {verdict!r}, but at scale {scale!r} the check gives {bool(holds)}: {figures}. "
            "Mend the code, or record the other verdict and explain it on the page."
        )
    record = dict(
        id=id,
        text=text,
        measured=[*figures.items()],
        paper=paper,
        seeds=seeds,
        scale=scale,
        verdict=verdict,
        holds=bool(holds),
    )
    line = "; ".join(f"{name}: {value}" for name, value in figures.items())
    provenance = f"{paper}. Measured at {scale} scale" + (f" over {seeds} seeds." if seeds > 1 else ".")
    _show(
        {
            CLAIM_MIME: record,
            "text/html": (
                f'<div class="claim" id="claim-{escape(id)}"><p><strong>Claim.</strong> {escape(text)}</p>'
                f"<p><strong>Measured.</strong> {escape(line)}</p>"
                f"<p><strong>Verdict: {verdict}.</strong> <em>{escape(provenance)}</em></p></div>"
            ),
            "text/plain": f"Claim. {text}\nMeasured. {line}\nVerdict: {verdict}. {provenance}",
        }
    )


def figure(value: Any) -> str:
    """A number as the book prints it: integers whole, floats with three significant digits and always a decimal point."""
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, Sequence):
        return ", ".join(figure(item) for item in value)
    number = value.item() if hasattr(value, "item") else value
    if isinstance(number, int):
        return f"{number:,}"
    if isinstance(number, float):
        return f"{number:,.1f}" if 100 <= abs(number) < 1e6 else f"{number:#.3g}"
    return str(number)


def _show(bundle: dict[str, Any]) -> None:
    """Display a bundle of MIME types in a notebook; print its plain text anywhere else."""
    from IPython import get_ipython
    from IPython.display import display

    if get_ipython() is None:
        print(bundle["text/plain"])
    else:
        display(bundle, raw=True)

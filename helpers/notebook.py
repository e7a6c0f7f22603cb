"""What a notebook shows besides numbers and figures: the code it imports, tables, and the ledger of claims."""

import inspect
from collections.abc import Iterable, Sequence
from textwrap import dedent
from typing import Any

from helpers import ledger, plotting
from helpers.ledger import beats as beats
from helpers.ledger import claim as claim
from helpers.ledger import figure as figure
from helpers.ledger import of_seeds as of_seeds
from helpers.ledger import over_seeds as over_seeds
from helpers.ledger import timed as timed


def begin() -> None:
    """Prepare a notebook: the book's figure style. Called by the setup cell that all notebooks share."""
    plotting.use_style()


def source(*objects: Any) -> None:
    """Show the source of imported functions or classes as highlighted Markdown: the very code that runs and is tested."""
    listing = "\n\n".join(dedent(inspect.getsource(obj)).rstrip() for obj in objects)
    ledger.show({"text/markdown": f"```python\n{listing}\n```", "text/plain": listing})


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
    ledger.show({"text/markdown": text, "text/plain": text})

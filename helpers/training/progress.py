"""A line that moves while training runs and leaves nothing behind: tqdm, wrapped once."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from helpers.training.distributed import is_main
from helpers.training.history import History

EMPTY = {"text/html": "", "text/plain": ""}  # an empty line of plain text would still take a line


@contextmanager
def progress_line(total: int, start: int = 0, *, shown: bool = True) -> Iterator[Callable[[int, History], None]]:
    """A bar from `start` to `total`, moved by the `show(step, history)` that the caller gets.

    It stands in a terminal or under a notebook's cell, in process 0 only. It is off where nobody looks: when stderr is
    no terminal, and with DLE_PROGRESS=0 in the environment, which whatever stores or compares outputs sets.
    """
    file = place() if shown and is_main() and os.environ.get("DLE_PROGRESS", "1") != "0" else None
    if file is None:
        yield lambda step, history: None
        return
    from tqdm import tqdm

    with tqdm(total=total, initial=start, file=file, leave=False, mininterval=0.25, ncols=79) as bar:

        def show(step: int, history: History) -> None:
            losses = [f"{name} {value:.3f}" for name, value in history.last().items() if name.endswith("loss")]
            bar.set_postfix_str(", ".join(losses[:2]), refresh=False)
            bar.update(step - bar.n)

        yield show


def place() -> Any:
    """The file to write to: a display under the notebook's cell, the terminal, or None."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if hasattr(shell, "kernel"):
        return CellLine()
    return sys.stderr if sys.stderr.isatty() else None


class CellLine:
    """A file whose last line stands under a notebook's cell; tqdm ends with an empty one, which shows as nothing."""

    def __init__(self) -> None:
        from IPython.display import display

        self.handle = display(EMPTY, raw=True, display_id=True)

    def write(self, text: str) -> None:
        """Replace what was written before."""
        line = text.strip()
        self.handle.update({"text/plain": line} if line else EMPTY, raw=True)

    def flush(self) -> None:
        """Nothing waits."""

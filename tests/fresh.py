"""Code in a fresh process: without the checks of shapes that the tests put into `helpers`, which a compiler cannot trace."""

import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

ROOT = str(Path(__file__).resolve().parent.parent)
SERVER = get_context("forkserver")  # loads torch once for all tests of a worker, and nothing of the book
SERVER.set_forkserver_preload(["torch", "torch._dynamo"])


def execute(code: str) -> None:
    sys.path.insert(0, ROOT)
    exec(compile(code, "<fresh>", "exec"), {"__name__": "fresh"})


def fresh(code: str) -> None:
    """Execute `code` in a process that has imported torch and no module of the book; raises what it raises."""
    with ProcessPoolExecutor(1, mp_context=SERVER) as pool:
        pool.submit(execute, code).result()

"""What makes a notebook due, what does not, and which notebooks a test run executes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools import due
from tools.due import shard, turn
from tools.notebooks import ROOT, SETUP

CELLS = [SETUP, "from helpers.part import chapter\nfrom helpers.other.block import layer", 'print("1.25")']
HELPERS = {
    "__init__.py": '"""Deep Learning, Executed."""',
    "notebook.py": "def begin(): pass",
    "part/__init__.py": "",
    "part/chapter.py": "from helpers.part.near import near",
    "part/near.py": '"""One import away."""\nimport numpy\n\nfrom helpers.floor.far import far\n\nnear = far',
    "floor/__init__.py": "",
    "floor/far.py": '"""Two imports away."""\nfar = 1',
    "other/__init__.py": "",
    "other/block.py": "layer = 2",
    "other/unrelated.py": "import scipy",
}
# What is changed in a book of one notebook: file, old, new; and whether the notebook becomes due.
CHANGES = {
    "a cell": ("book/part/chapter.ipynb", "1.25", "1.75", True),
    "an output": ("book/part/chapter.ipynb", "stored", "altered", True),
    "the set-up cell": ("book/part/chapter.ipynb", "Find the book's code", "Look for the code", True),
    "a helper": ("helpers/part/chapter.py", "near import near", "near import near as n", True),
    "a helper two imports away": ("helpers/floor/far.py", "far = 1", "far = 2", True),
    "a docstring": ("helpers/floor/far.py", "Two imports", "Two steps", True),
    "a package above": ("helpers/floor/__init__.py", "", "x = 1", True),
    "the version of an imported package": ("requirements.txt", "numpy==2.0", "numpy==2.1", True),
    "the comparison": ("tools/compare.py", "RELATIVE = 0.02", "RELATIVE = 0.2", True),
    "an unrelated module": ("helpers/other/unrelated.py", "import scipy", "import os", False),
    "an unrelated package": ("requirements.txt", "timm==1.0", "timm==1.1", False),
    "a package that an unrelated module imports": ("requirements.txt", "scipy==1.0", "scipy==1.1", False),
    "a test": ("tests/test_chapter.py", "assert 1", "assert 2", False),
    "the cost": ("book/part/chapter.ipynb", '"cpu_seconds": 5', '"cpu_seconds": 6', False),
}
SCRIPT = """
import json, sys
from pathlib import Path
from tools.fingerprint import fingerprint, graph
page = Path("book/part/chapter.ipynb").resolve()
found = [fingerprint(page)]
for name, old, new, _ in json.load(sys.stdin):
    path = Path(name)
    text = path.read_text()
    assert old in text, (name, old)
    path.write_text(text.replace(old, new) if old else new)
    graph.cache_clear()
    found.append(fingerprint(page))
    path.write_text(text)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def fingerprints(tmp_path_factory) -> dict[str, str]:
    """Fingerprint of the notebook after each change, and of the untouched one under "nothing"."""
    folder = tmp_path_factory.mktemp("book")
    code = [dict(cell_type="code", source=source, metadata={}, outputs=[{"text": "stored"}]) for source in CELLS]
    notebook = {"metadata": {"measured": {"cpu_seconds": 5}}, "cells": code}
    files = {f"helpers/{name}": text for name, text in HELPERS.items()}
    files |= {
        "requirements.txt": "numpy==2.0\nnbval==1.0\nscipy==1.0\ntimm==1.0\n",
        "tests/test_chapter.py": "assert 1",
    }
    files |= {f"tools/{name}.py": (ROOT / f"tools/{name}.py").read_text() for name in ("compare", "fingerprint")}
    files["book/part/chapter.ipynb"] = json.dumps(notebook)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "tools/__init__.py").touch()
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=folder,
        input=json.dumps([*CHANGES.values()]),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return dict(zip(["nothing", *CHANGES], json.loads(result.stdout), strict=True))


@pytest.mark.parametrize("what", CHANGES)
def test_what_makes_a_notebook_due(fingerprints, what):
    assert (fingerprints[what] != fingerprints["nothing"]) is CHANGES[what][-1]


@pytest.fixture
def pages(tmp_path, monkeypatch):
    """Ten notebooks that cost 10, 20, … 100 seconds and were verified today, in a book whose commit is "c"."""
    paths = [tmp_path / f"page{number}.ipynb" for number in range(1, 11)]
    for number, path in enumerate(paths, 1):
        measured = {"measured": {"cpu_seconds": 10 * number}, "verified": {"fingerprint": "f", "date": "2026-01-01"}}
        path.write_text(json.dumps({"metadata": measured, "cells": []}))
    monkeypatch.setattr(due, "chapters", lambda: paths)
    monkeypatch.setattr(due, "fingerprint", lambda path: "f")
    monkeypatch.setattr(due, "commit", lambda: "c")
    return paths


def cost(paths: list[Path]) -> float:
    return sum(map(due.seconds, paths))


def test_each_notebook_has_its_turn_and_a_turn_its_limit(pages):
    turns = [turn(pages, f"commit {number}", share=150) for number in range(40)]
    assert all(0 < cost(chosen) <= 150 for chosen in turns)
    assert {path for chosen in turns for path in chosen} == set(pages)
    assert turn(pages, "commit 1", share=150) == turns[1] != turns[2]
    poor = [turn(pages, f"commit {number}", share=5) for number in range(80)]  # less than the cheapest costs
    assert {len(chosen) for chosen in poor} == {1} and {path for chosen in poor for path in chosen} == set(pages)


def test_a_run_executes_what_is_due_and_a_share_of_the_rest(pages, monkeypatch):
    monkeypatch.setattr(due, "SHARE", 100)
    monkeypatch.setattr(due, "turn", lambda paths, commit: turn(paths, commit, 100))
    assert 0 < cost(due.to_execute()) <= 100
    missing = json.loads(pages[9].read_text())
    del missing["metadata"]["verified"]
    pages[9].write_text(json.dumps(missing))
    assert due.is_due(pages[9]) and not due.is_due(pages[8])
    chosen = due.to_execute()
    assert chosen[0] == pages[9] and 100 < cost(chosen) <= 200
    assert due.to_execute(everything=True) == pages[::-1]


@pytest.mark.parametrize("of", [1, 3, 4])
def test_shards_cost_alike_and_hold_each_notebook_once(pages, of):
    parts = [shard(pages, number, of) for number in range(1, of + 1)]
    assert sorted(path for part in parts for path in part) == sorted(pages)
    assert max(map(cost, parts)) - min(map(cost, parts)) <= 100


def test_a_shard_that_does_not_exist_is_refused():
    command = [sys.executable, "-m", "tools.due", "--shard", "5/4"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2 and "names part K of N" in result.stderr

"""Colab, simulated: its packages and no others, no checkout, and the published notebooks as they are."""

import json
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import nbformat
import pytest

from tools.due import commit as head
from tools.due import turn
from tools.notebooks import ROOT, SETUP, chapters
from tools.publish import EMPTY, write_copies

from .conftest import git

# Colab's image of August 2026, as far as the book meets it. The pair of torch is the oldest that the book supports.
PACKAGES = [
    "torch==2.11.0",
    "torchvision==0.26.0",
    "numpy==2.1.3",
    "matplotlib==3.10.*",
    "ipython==7.34.0",
    "einops",
    "tqdm",
]
PACKAGES += ["scipy", "scikit-learn", "scikit-image", "networkx", "mlxtend", "pillow", "ipykernel", "nbclient"]
# Seconds of CPU, as stored in the notebooks, that this test spends on whole chapters, one at least, chosen by the commit so that
# each has its turn. Of some others, chosen likewise, it runs the first cells: setup, parameters, imports. The weekly workflow
# runs all, in Colab's own image.
SHARE, FIRST, OTHERS = 240, 4, 8


def run_setup(cell: str, folder: Path, python: Path) -> subprocess.CompletedProcess:
    """Run a setup cell as a script that starts in `folder`, up to the first import that needs more than the standard library."""
    script = cell.replace("import helpers.notebook\n\nhelpers.notebook.begin()", "print(helpers.__file__)")
    return subprocess.run([python, "-c", script], cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A Python without any package."""
    return environment(tmp_path_factory.mktemp("bare") / "env")


@pytest.fixture
def colab(tmp_path):
    """A Python with Colab's packages. It takes gigabytes, so it goes when the test is over."""
    yield environment(tmp_path / "env", *PACKAGES)
    shutil.rmtree(tmp_path / "env")


def environment(folder: Path, *packages: str) -> Path:
    """A new virtual environment with pip and these packages; return its Python."""
    uv = [str(Path(sys.executable).with_name("uv"))]
    subprocess.run([*uv, "venv", "-q", "--seed", "--python", sys.executable, str(folder)], check=True)
    if packages:
        settings = os.environ | {"VIRTUAL_ENV": str(folder)}
        subprocess.run([*uv, "pip", "install", "-q", "--no-config", *packages], check=True, env=settings)
    return folder / "bin" / "python"


def test_setup_prefers_the_clone_around_the_notebook(clone):
    result = run_setup(SETUP, clone / "book" / "foundations", sys.executable)
    assert result.stdout.strip() == str(clone / "helpers" / "__init__.py"), result.stderr


def test_setup_finds_the_installed_package(tmp_path):
    result = run_setup(SETUP, tmp_path, sys.executable)
    assert result.stdout.strip() == str(ROOT / "helpers" / "__init__.py"), result.stderr


def test_setup_without_clone_or_address_says_what_to_do(bare, tmp_path):
    assert "open this notebook in a clone of the book" in run_setup(SETUP, tmp_path, bare).stderr


@pytest.mark.parametrize("form", ["helpers.py", "helpers/__init__.py", "helpers/notes.txt"])
def test_setup_refuses_another_package_of_that_name(bare, tmp_path, form):
    other = tmp_path / form
    other.parent.mkdir(exist_ok=True)
    other.write_text('"""Somebody else\'s helpers."""\n')
    result = run_setup(SETUP, tmp_path, bare)
    assert "Another package called helpers is in the way" in result.stderr
    assert form.endswith("txt") or str(other) in result.stderr


@pytest.mark.notebooks
def test_published_notebooks_run_on_colab(clone, colab, tmp_path):
    bare_clone = tmp_path / "origin.git"
    git(clone, "clone", "-q", "--bare", str(clone), str(bare_clone))
    commit = git(clone, "rev-parse", "HEAD")
    copies = write_copies(f"file://{bare_clone}", tmp_path / "copies", commit)
    for copy in copies:
        assert f'REPOSITORY = "file://{bare_clone}@{commit}"' in nbformat.read(copy, as_version=4).cells[1].source
    names = [f"{path.parent.name}/{path.stem}" for path in chapters()]
    whole = [f"{path.parent.name}/{path.stem}" for path in turn(chapters(), f"colab {head()}", SHARE)]
    rest = sorted(
        (name for name in names if name not in whole), key=lambda name: sha256(f"{head()} {name}".encode()).digest()
    )[:OTHERS]
    first = run(colab, tmp_path, *whole)
    for name in whole:
        cells = nbformat.read(ROOT / f"book/{name}.ipynb", as_version=4).cells
        assert first["ran"][name.partition("/")[2]] == sum(cell.cell_type == "code" for cell in cells)
    assert first["changed"] == {}
    assert {"deep-learning-executed", "jaxtyping"} <= first["added"].keys()
    assert not {"torch", "numpy", "myst-nb", "papermill"} & first["added"].keys()
    begun = run(
        colab, tmp_path, "--first", str(FIRST), *(rest or whole[:1])
    )  # the way of the later chapters stays tried
    assert begun["changed"] == {} and set(begun["ran"].values()) == {FIRST}


def run(python: Path, folder: Path, *arguments: str) -> dict:
    """Execute copies with an interpreter that knows no checkout; return the record."""
    command = [str(python), "-I", str(folder / "colab.py"), str(folder / "copies"), *arguments]
    (folder / "colab.py").write_text((ROOT / "tools" / "colab.py").read_text())
    settings = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=settings)
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_setup_cell_has_one_place_for_the_address():
    assert SETUP.count(EMPTY) == 1

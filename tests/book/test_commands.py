"""`make run`, `make refresh`, `make verify`: what they refuse, what they write, what they leave as it was."""

import base64
import io

import nbformat
import pytest

from tools import notebooks
from tools.fingerprint import fingerprint
from tools.notebooks import SETUP, normalise, parameters, refresh, run, verify

LIGHT = "import os"  # in place of the set-up, whose imports take ten times what the commands themselves take


def write_book(folder, monkeypatch, setup):
    """A book of one small notebook; return its path."""
    monkeypatch.setattr(notebooks, "ROOT", folder)
    monkeypatch.setattr(notebooks, "BOOK", folder / "book")
    monkeypatch.setattr(notebooks, "SETUP", setup)
    path = folder / "book" / "part" / "chapter.ipynb"
    path.parent.mkdir(parents=True)
    cells = [
        nbformat.v4.new_markdown_cell("# Title"),
        nbformat.v4.new_code_cell(setup, metadata={"tags": ["hide-input"]}),
        nbformat.v4.new_code_cell('scale = "lecture"\nseed = 0\nrate = 0.5', metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("print(scale, seed + 1, rate * 2)"),
    ]
    nbformat.write(normalise(nbformat.v4.new_notebook(cells=cells)), path)
    return path


@pytest.fixture
def book(tmp_path, monkeypatch):
    return write_book(tmp_path, monkeypatch, LIGHT)


CLAIMS = """from helpers.notebook import claim
claim("a-b", "A beats B.", seed == 0, {"gain": 0.5}, kind="measured", after="Doe 2014")
claim("b-c", "B beats C.", seed < 8, {"gain": 0.5}, kind="measured", after="Doe 2014")"""


def test_run_takes_declared_parameters(book, tmp_path, capsys):
    run("part/chapter", ["scale=gpu", "seed=3", "rate=0.25"])
    written = tmp_path / "_build/runs/part/chapter-scale=gpu-seed=3-rate=0.25.ipynb"
    assert nbformat.read(written, as_version=4).cells[-1].outputs[0].text == "gpu 4 0.5\n"
    assert "other than the recorded ones: none" in capsys.readouterr().out


def test_run_refuses_what_the_notebook_does_not_know(book):
    with pytest.raises(SystemExit, match="declares no parameter 'sed'. It has: scale = 'lecture', seed = 0"):
        run("part/chapter", ["sed=3"])
    with pytest.raises(SystemExit, match="seed = 'three': part/chapter expects int"):
        run("part/chapter", ["seed=three"])
    with pytest.raises(SystemExit, match="no notebook 'part/other'. The book has:\n  part/chapter"):
        run("part/other", [])


def test_refresh_twice_changes_nothing(tmp_path, monkeypatch):
    book = write_book(tmp_path, monkeypatch, SETUP)
    refresh("part/chapter")
    once = book.read_bytes()
    stored = nbformat.reads(once.decode(), as_version=4)
    assert [c.execution_count for c in stored.cells if c.cell_type == "code"] == [1, 2, 3]
    assert stored.metadata.measured["bytes_downloaded"] == 0 and stored.metadata.measured["peak_megabytes"] > 10
    assert stored.metadata.verified["fingerprint"] == fingerprint(book)
    refresh("book/part/chapter.ipynb")
    assert book.read_bytes() == once


def test_verify_signs_what_agrees_and_changes_nothing_else(book):
    notebook = nbformat.read(book, as_version=4)
    for number, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), 1):
        cell.execution_count = number
    cell.outputs = [nbformat.v4.new_output("stream", text="lecture 1 1.0\n")]
    notebook.metadata["verified"] = {"fingerprint": "0" * 16, "date": "2026-01-31"}
    nbformat.write(normalise(notebook), book)
    stale = book.read_text()
    verify(["part/chapter"])
    signed = nbformat.read(book, as_version=4)
    assert signed.metadata.verified.fingerprint == fingerprint(book) != "0" * 16
    assert signed.metadata.verified.date > "2026-01-31"
    signed.metadata.verified = notebook.metadata.verified
    assert nbformat.writes(signed) + "\n" == stale
    book.write_text(stale.replace("lecture 1 1.0", "lecture 2 1.0"))
    before = book.read_text()
    with pytest.raises(SystemExit, match="1 of 1 notebooks do not agree"):
        verify(["part/chapter"])
    assert book.read_text() == before != stale


def test_a_claim_is_folded_and_differs_at_another_seed_without_stopping(tmp_path, monkeypatch, capsys):
    book = write_book(tmp_path, monkeypatch, SETUP)
    notebook = nbformat.read(book, as_version=4)
    notebook.cells[-1].source = CLAIMS
    nbformat.write(normalise(notebook), book)
    setup, parameters, *_, cell = (c for c in nbformat.read(book, as_version=4).cells if c.cell_type == "code")
    assert [c.metadata.mystnb.code_prompt_show for c in (setup, parameters, cell)] == ["set-up", "set-up", "check"]
    assert setup.metadata.tags == cell.metadata.tags == ["hide-input"]
    assert parameters.metadata.tags == ["hide-input", "parameters"]
    run("part/chapter", ["seed=7"])
    assert "other than the recorded ones: a-b\n" in capsys.readouterr().out


def test_failing_cell_leaves_the_notebook_as_it_was(book):
    notebook = nbformat.read(book, as_version=4)
    notebook.cells[-1].source = "1 / 0"
    nbformat.write(notebook, book)
    before = book.read_bytes()
    with pytest.raises(SystemExit, match="left as it was: a cell failed"):
        refresh("part/chapter")
    assert book.read_bytes() == before


def test_parameters_are_plain_literals():
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("a = 1\nb = a", metadata={"tags": ["parameters"]})]
    )
    with pytest.raises(ValueError):
        parameters(notebook)


def test_pictures_are_packed_without_a_loss():
    """The same pixels in fewer bytes, and nothing more to gain the second time."""
    from matplotlib import pyplot
    from PIL import Image

    figure, ax = pyplot.subplots()
    ax.imshow([[0, 1], [2, 3]])
    drawn = io.BytesIO()
    figure.savefig(drawn)
    output = nbformat.v4.new_output("display_data", data={"image/png": base64.b64encode(drawn.getvalue()).decode()})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=[output])])
    notebooks.pack(notebook)
    packed = base64.b64decode(output.data["image/png"])
    assert len(packed) < len(drawn.getvalue())
    assert Image.open(io.BytesIO(packed)).convert("RGBA").tobytes() == Image.open(drawn).convert("RGBA").tobytes()
    notebooks.pack(notebook)
    assert base64.b64decode(output.data["image/png"]) == packed

"""`make run`, `make refresh`, `make verify`: what they refuse, what they write, what they leave as it was."""

import nbformat
import pytest

from tools import notebooks
from tools.fingerprint import fingerprint
from tools.notebooks import SETUP, normalise, parameters, refresh, run, verify


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A book of one small notebook."""
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    monkeypatch.setattr(notebooks, "BOOK", tmp_path / "book")
    path = tmp_path / "book" / "part" / "chapter.ipynb"
    path.parent.mkdir(parents=True)
    cells = [
        nbformat.v4.new_markdown_cell("# Title"),
        nbformat.v4.new_code_cell(SETUP, metadata={"tags": ["hide-input"]}),
        nbformat.v4.new_code_cell('scale = "lecture"\nseed = 0\nrate = 0.5', metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("print(scale, seed + 1, rate * 2)"),
    ]
    nbformat.write(normalise(nbformat.v4.new_notebook(cells=cells)), path)
    return path


CLAIM = """from helpers.notebook import claim
claim("a-b", "A beats B.", seed == 0, {"gain": 0.5}, kind="measured", after="Doe 2014")"""


def test_run_takes_declared_parameters(book, tmp_path):
    run("part/chapter", ["scale=gpu", "seed=3", "rate=0.25"])
    written = tmp_path / "_build/runs/part/chapter-scale=gpu-seed=3-rate=0.25.ipynb"
    assert nbformat.read(written, as_version=4).cells[-1].outputs[0].text == "gpu 4 0.5\n"


def test_run_refuses_what_the_notebook_does_not_know(book):
    with pytest.raises(SystemExit, match="declares no parameter 'sed'. It has: scale = 'lecture', seed = 0"):
        run("part/chapter", ["sed=3"])
    with pytest.raises(SystemExit, match="seed = 'three': part/chapter expects int"):
        run("part/chapter", ["seed=three"])
    with pytest.raises(SystemExit, match="no notebook 'part/other'. The book has:\n  part/chapter"):
        run("part/other", [])


def test_refresh_twice_changes_nothing(book):
    refresh("part/chapter")
    once = book.read_bytes()
    stored = nbformat.reads(once.decode(), as_version=4)
    assert [c.execution_count for c in stored.cells if c.cell_type == "code"] == [1, 2, 3]
    assert stored.metadata.measured["bytes_downloaded"] == 0 and stored.metadata.measured["peak_megabytes"] > 10
    assert stored.metadata.verified["fingerprint"] == fingerprint(book)
    refresh("book/part/chapter.ipynb")
    assert book.read_bytes() == once


def test_verify_signs_what_agrees_and_changes_nothing_else(book):
    refresh("part/chapter")
    signed = book.read_text()
    stale = signed.replace(fingerprint(book), "0" * 16)
    book.write_text(stale)
    verify(["part/chapter"])
    assert book.read_text() == signed
    book.write_text(stale.replace("lecture 1 1.0", "lecture 2 1.0"))
    before = book.read_text()
    with pytest.raises(SystemExit, match="1 of 1 notebooks do not agree"):
        verify(["part/chapter"])
    assert book.read_text() == before != stale


def test_a_claim_is_folded_and_differs_at_another_seed_without_stopping(book, capsys):
    notebook = nbformat.read(book, as_version=4)
    notebook.cells[-1].source = CLAIM
    nbformat.write(normalise(notebook), book)
    setup, parameters, *_, cell = (c for c in nbformat.read(book, as_version=4).cells if c.cell_type == "code")
    assert [c.metadata.mystnb.code_prompt_show for c in (setup, parameters, cell)] == ["set-up", "set-up", "check"]
    assert setup.metadata.tags == cell.metadata.tags == ["hide-input"]
    assert parameters.metadata.tags == ["hide-input", "parameters"]
    run("part/chapter", ["seed=0"])
    assert "other than the recorded ones: none" in capsys.readouterr().out
    run("part/chapter", ["seed=7"])
    assert "other than the recorded ones: a-b" in capsys.readouterr().out


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

"""The index of systems and the pages of the code say what the code, the tests and the notebooks say."""

import csv
import html
import importlib
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tools.notebooks import BOOK, ROOT, chapters
from tools.site import HTML

WRITTEN = [f"{path.parent.name}/{path.stem}" for path in chapters()]
with (BOOK / "systems.tsv").open() as file:
    ROWS = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.fixture(scope="module")
def extension():
    """The Sphinx extension of the index."""
    return load("systems")


def load(name):
    """A Sphinx extension of the book. They are no package: their folder is on the path while the site is built."""
    sys.path.insert(0, str(BOOK / "_ext"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BOOK / "_ext"))


# Rows that a written chapter still owes. The list only gets shorter.
OWED = 15


def test_every_system_of_a_written_chapter_has_code_and_a_claim_or_is_owed():
    rows = [row for row in ROWS if row["chapter"] in WRITTEN]
    assert [row["system"] for row in rows if bool(row["code"]) != bool(row["claims"])] == []
    assert len([row for row in rows if not row["code"]]) <= OWED
    assert set(WRITTEN) <= {row["chapter"] for row in ROWS}


def test_code_of_a_system_is_the_book_s_own():
    assert [row["system"] for row in ROWS if "torch." in row["code"]] == []


def test_nothing_is_said_of_a_planned_chapter():
    assert [row["system"] for row in ROWS if row["chapter"] not in WRITTEN and (row["code"] or row["claims"])] == []


@pytest.mark.parametrize("chapter", WRITTEN)
def test_the_code_of_every_system_is_tested(chapter):
    part, stem = chapter.split("/")
    tests = "".join(path.read_text() for path in (ROOT / "tests" / part).glob(f"test_{stem}*.py"))
    names = {name for row in ROWS if row["chapter"] == chapter for name in row["code"].split()}
    names = {name.split(".")[-1] for name in names}
    assert [name for name in sorted(names) if not re.search(rf"\b{name}\b", tests)] == []


def test_page_shows_every_system_and_every_verdict():
    page = html.unescape((HTML / "book/systems.html").read_text()).translate(
        {0x2019: "'", 0x201C: '"', 0x201D: '"', 0x2013: "--"}
    )
    for row in ROWS:
        assert row["system"] in page
        for claim in row["claims"].split():
            assert f'{row["chapter"]}.html#claim-{claim}"' in page
    assert page.count("not seen at this size</strong>") >= 3


def test_what_exists_comes_first():
    page = (HTML / "book/systems.html").read_text()
    built, _, later = page.partition('<section id="systems-later">')
    for chapter in {row["chapter"] for row in ROWS}:
        mine = f'<section id="systems-{chapter.replace("/", "-").replace("_", "-")}">'
        assert (mine in built) == (chapter in WRITTEN) and (mine in later) == (chapter not in WRITTEN)


def test_a_claim_that_no_page_makes_stops_the_build(extension):
    row = dict(chapter="foundations/optimizers", system="Adam", paper="-", code="Adam", claims="adam-always-wins")
    with pytest.raises(Exception, match="Adam: foundations/optimizers makes no claim called adam-always-wins"):
        extension._cells(row, row["chapter"], "page.html", "api.html", {"adam-first-step": {}})


def test_a_name_that_the_chapter_lacks_stops_the_build(extension):
    with pytest.raises(AttributeError, match="Adamant"):
        extension._code("Adamant", "foundations/optimizers", "api.html")


def test_imports_of_a_notebook_are_found_by_name_and_through_a_module(extension):
    source = "from helpers.data import digits as d\nfrom helpers.convnets import output_size as sizes\nsizes.union(1)"
    notebook = {"cells": [{"cell_type": "code", "source": source}, {"cell_type": "markdown", "source": "helpers.x"}]}
    found = {"helpers.data.digits", "helpers.convnets.output_size", "helpers.convnets.output_size.union"}
    assert extension.imported(notebook) == found


def test_every_function_of_a_chapter_leads_to_the_chapter(extension):
    page = "".join(path.read_text() for path in [HTML / "book/api.html", *sorted((HTML / "book/api").glob("*.html"))])
    entries = dict(zip(*[iter(re.split(r'<dt class="sig[^>]* id="(helpers\.[\w.]+)">', page)[1:])] * 2, strict=True))
    for chapter in WRITTEN:
        module = "helpers." + chapter.replace("/", ".") + "."
        within = {name: name.removeprefix(module).count(".") for name in entries if name.startswith(module)}
        depth = min(within.values())  # a package that passes nothing on has its functions one level down
        public = [name for name, dots in within.items() if dots == depth]
        assert public
        silent = [name for name in public if "Taught in" not in entries[name] and name.split(".")[-1].islower()]
        assert silent == []
        assert all(f"{Path(chapter).name}.html" in entries[name] for name in public if "Taught in" in entries[name])
    assert "Used in" in entries["helpers.training.fit"]


def test_an_object_is_found_under_the_package_that_passes_it_on(extension):
    names = {"helpers.data.digits", "helpers.data.glyphs.glyphs"}
    assert extension._among("helpers.data.glyphs", names)
    assert not extension._among("helpers.plotting.digits", names)


def test_planned_chapters_have_readable_titles(extension):
    app = SimpleNamespace(srcdir=ROOT)
    titles = [extension.heading(row["chapter"]) for row in extension.systems(app)]
    assert all(title[0].isupper() and "_" not in title for title in titles)


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("book/_static/play/a.js", {"book/index", "book/claims", "book/api/video"}),
        ("helpers/part/chapter.py", {"book/index", "book/claims", "book/api/video"}),
        ("book/_ext/pages.py", {"book/index", "book/other", "book/claims", "book/api/video"}),
        ("tests/test_x.py", set()),
    ],
)
def test_a_build_writes_anew_what_a_changed_file_shows_on(tmp_path, path, written):
    files = [tmp_path / path, tmp_path / "environment.pickle"]
    for age, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        os.utime(file, (1000 - age, 1000 - age))
    app = SimpleNamespace(srcdir=tmp_path, doctreedir=tmp_path, config=SimpleNamespace(root_doc="book/index"))
    env = SimpleNamespace(found_docs={"book/index", "book/other", "book/claims", "book/api/video"}, doc2path=str)
    assert load("chapters").reread(app, env, set(), set(), set()) == written
    os.utime(files[0], (1, 1))
    assert load("chapters").reread(app, env, set(), set(), set()) == set()

"""The page of claims: complete, filtered by a script that it does not need, and given to others as JSON and CSV."""

import csv
import json
import re
from collections import Counter
from types import SimpleNamespace

import nbformat
import pytest

from helpers.ledger import CLAIM_MIME
from tools.notebooks import BOOK, ROOT, chapters
from tools.site import HTML

from .test_systems import load

PAGE = HTML / "book/claims.html"
RECORD = dict(
    id="a-b", kind="measured", text="A beats B.", measured=[["gain", "0.50"]], source="Doe 2014, table 1", credited=True
)
RECORD |= dict(seeds=0, verdict="holds", why="", holds=True, scale="lecture", seed=0)


def stored() -> list[tuple[str, dict]]:
    """Chapter and record of every claim in the notebooks."""
    found = []
    for path in chapters():
        for cell in nbformat.read(path, as_version=4).cells:
            bundles = [output.get("data", {}) for output in cell.get("outputs", [])]
            found += [(f"{path.parent.name}/{path.stem}", data[CLAIM_MIME]) for data in bundles if CLAIM_MIME in data]
    return found


def test_every_claim_stands_on_the_page_and_what_does_not_hold_stands_twice():
    page = PAGE.read_text()
    claims = stored()
    assert {chapter for chapter, _ in claims} == {f"{path.parent.name}/{path.stem}" for path in chapters()}
    for chapter, record in claims:
        assert page.count(f'{chapter}.html#claim-{record["id"]}"') == (1 if record["verdict"] == "holds" else 2)


def test_the_files_hold_the_whole_ledger():
    claims = stored()
    data = json.loads((PAGE.parent / "claims.json").read_text())
    with (PAGE.parent / "claims.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {record["id"] for record in data} == {row["id"] for row in rows} == {record["id"] for _, record in claims}
    assert len(data) == len(rows) == len(claims)
    by_id = {record["id"]: record for record in data}
    for chapter, record in claims:
        assert record.items() <= by_id[record["id"]].items() and by_id[record["id"]]["chapter"] == chapter


def test_the_count_is_by_kind_and_verdict():
    table = re.search(r'<table class="[^"]*tally.*?</table>', PAGE.read_text(), re.DOTALL)[0]
    cells = [re.sub(r"<[^>]+>|\s", "", cell) for cell in re.findall(r"<td>(.*?)</td>", table, re.DOTALL)]
    heads = [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<th[^>]*>(.*?)</th>", table, re.DOTALL)]
    shown = {(head, row[0]): cell for row in zip(*[iter(cells)] * len(heads)) for head, cell in zip(heads[1:], row[1:])}
    count = Counter((record["kind"], record["verdict"].replace(" ", "")) for _, record in stored())
    assert {key: int(cell) for key, cell in shown.items() if cell != "–"} == count


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(source="Doe 2014"), "where does 'Doe 2014' say so"),
        (dict(kind="exact", verdict="did not reproduce", why="So."), "kind 'exact' never 'did not reproduce'"),
        (dict(verdict="did not reproduce"), "why= says in one sentence"),
        (dict(measured=[["gain", "more than 3"]]), "makes it a bound"),
        (dict(measured=[]), "no measured figure"),
        (dict(id="twice"), "claim 'twice' stands in book/part/one and in book/part/one"),
    ],
)
def test_what_the_ledger_does_not_take_stops_the_build(monkeypatch, change, message):
    extension = load("claims")
    outputs = [{"data": {CLAIM_MIME: RECORD | entry}} for entry in (dict(id="twice"), change)]
    page = {"cells": [{"source": "# One", "outputs": outputs}]}
    monkeypatch.setattr(extension, "notebooks", lambda app: {"book/part/one": page})
    with pytest.raises(Exception, match=message):
        extension.ledger(SimpleNamespace())


@pytest.fixture
def page(browser):
    """The page, opened at the width of a phone."""
    page = browser.new_page(viewport={"width": 390, "height": 900})
    page.goto(PAGE.as_uri())
    yield page
    page.close()


def visible(page) -> int:
    return page.locator("#all-claims div.record:visible").count()


@pytest.mark.browser
def test_filters(page):
    claims = [record for _, record in stored()]
    assert visible(page) == 0, "the chapters are folded until something is asked for"
    page.locator("select[name=verdict]").select_option("verdict-holds")
    assert visible(page) == sum(record["verdict"] == "holds" for record in claims)
    page.locator("select[name=kind]").select_option("kind-exact")
    assert visible(page) == sum(record["verdict"] == "holds" and record["kind"] == "exact" for record in claims)
    page.locator("select[name=verdict]").select_option("")
    page.locator("select[name=kind]").select_option("")
    page.locator("select[name=chapter]").select_option("chapter-generative-gans")
    assert visible(page) == sum(chapter == "generative/gans" for chapter, _ in stored())
    assert page.locator("form.filters output").text_content() == f"{visible(page)} claims"
    page.locator("select[name=chapter]").select_option("")
    page.get_by_label("A word").fill("MOMENTUM")
    assert 0 < visible(page) < len(claims) / 2
    page.get_by_label("A word").fill("no such word anywhere")
    assert (
        visible(page) == 0
        and page.locator("#what-does-not-hold section:visible, #all-claims section:visible").count() == 0
    )
    page.get_by_label("A word").fill("")
    assert page.locator("#all-claims section:visible").count() == len(chapters())


@pytest.mark.browser
def test_the_page_is_complete_without_scripts(browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(PAGE.as_uri())
    assert page.locator("#all-claims div.record").count() == len(stored())
    assert page.locator("form.filters").count() == 0
    page.locator("#all-claims summary").first.click()
    assert visible(page) > 0
    context.close()


@pytest.mark.browser
def test_contents_stand_at_the_side(browser):
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(PAGE.as_uri())
    entries = page.locator(".bd-toc-nav.page-toc a").all_text_contents()
    page.close()
    assert "What does not hold" in [entry.strip() for entry in entries]
    assert len(entries) > len(chapters())


def test_the_script_is_on_that_page_alone():
    assert "claims.js" in PAGE.read_text() and "claims.js" not in (HTML / "book/errata.html").read_text()
    assert (ROOT / "book/_static/claims.js").exists() and BOOK


def test_the_landing_page_counts():
    claims = [record for _, record in stored()]
    unlike = sum(record["verdict"] != "holds" for record in claims)
    page = (HTML / "book/index.html").read_text()
    for number, what in ((len(chapters()), "chapters"), (len(claims), "claims run"), (unlike, "of which do not hold")):
        assert f"<strong>{number}</strong>" in page and what in page


def test_neighbouring_folds_of_one_name_are_one():
    def cell(source, name="", outputs=()):
        prompts = {"mystnb": {"code_prompt_show": name}, "tags": ["hide-input"]} if name else {}
        return {"cell_type": "code", "metadata": prompts, "source": source, "outputs": list(outputs)}

    words = {"cell_type": "markdown", "metadata": {}, "source": "Words."}
    cells = [
        cell("a", "set-up"),
        cell("b", "set-up"),
        cell("c", "data"),
        cell("d", "data", ["a box"]),
        cell("e", "data"),
    ]
    cells += [words, cell("f", "data"), cell("g"), cell("h")]
    shown = load("chapters").joined(cells)
    assert [c["source"] for c in shown] == ["a\n\n\nb", "c\n\n\nd", "e", "Words.", "f", "g", "h"]
    assert shown[1]["outputs"] == ["a box"]

"""The page of costs shows every stored benchmark and every notebook's stored cost, number by number."""

import html
import json
import re

import nbformat
import pytest

from benchmarks.__main__ import RESULTS
from tools.notebooks import chapters
from tools.site import HTML


@pytest.fixture(scope="module")
def page():
    return (HTML / "book/performance.html").read_text()


def words(fragment: str) -> str:
    """What a reader reads, with the plain apostrophes that the page has made typographic."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", fragment)).replace("’", "'").split())


def rows(fragment: str) -> list[list[str]]:
    """The words of each cell of each row of the tables in `fragment`."""
    found = re.findall(r"<tr[^>]*>(.*?)</tr>", fragment, re.DOTALL)
    cells = [[words(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)] for row in found]
    return [row for row in cells if row]


def test_every_stored_row_is_on_the_page(page):
    runs = json.loads(RESULTS.read_text())
    for run in runs:
        name = f"{run['subject']}-{run['device']}".replace("_", "-")
        section = page.partition(f'<section id="{name}">')[2].partition("</section>")[0]
        shown = rows(section)
        assert [row[:2] for row in shown] == [[row["what"], row["against"]] for row in run["results"]]
        reasons = [words(item) for item in re.findall(r"<li>(.*?)</li>", section, re.DOTALL)]
        for row, (*_, time, ratio) in zip(run["results"], shown):
            low, high = row["quartiles"]
            number = ratio.removeprefix(f"{row['ratio']:.2f} ({low:.2f} to {high:.2f})").strip()
            assert number != ratio
            assert (reasons[int(number) - 1] if number else "") == row["reason"]
            values = re.fullmatch(r"([\d.]+) (µs|ms) against ([\d.]+) (µs|ms)", time).groups()
            seconds = [float(v) * {"µs": 1, "ms": 1000}[unit] for v, unit in zip(values[::2], values[1::2])]
            assert seconds == pytest.approx(row["microseconds"], rel=0.01)
        assert all(run[key] in words(section) for key in ("title", "hardware", "torch", "date", "command"))


def test_the_figure_shows_every_ratio(page):
    figure = page.partition('<figure class="ratios">')[2].partition("</figure>")[0]
    lines = figure.split('<div class="ratio-line">')[1:]
    runs = json.loads(RESULTS.read_text())
    assert len(lines) == len(runs)
    for line, run in zip(lines, runs):
        assert words(line).startswith(run["title"])
        (target,) = re.findall(r'href="#([^"]+)"', line)
        assert f'<section id="{target}">' in page
        dots = re.findall(r'left:([\d.]+)%" title="([^"]*): ([\d.]+)"', line)
        assert [(html.unescape(what), float(ratio)) for _, what, ratio in dots] == [
            (pair["what"], pair["ratio"]) for pair in run["results"]
        ]
        for left, _, ratio in dots:
            assert (float(left) > 50) == (float(ratio) > 1) or abs(float(ratio) - 1) < 0.01
    pairs = [pair["ratio"] for run in runs for pair in run["results"]]
    assert f"{len(pairs)} pairs; in {sum(r <= 1.1 for r in pairs)} the book" in words(figure)


def test_every_notebook_is_on_the_page_with_its_cost(page):
    section = page.partition('<section id="the-notebooks">')[2].partition("</section>")[0]
    shown = rows(section)
    measured = {}
    for path in chapters():
        notebook = nbformat.read(path, as_version=4)
        measured[notebook.cells[0].source.splitlines()[0].lstrip("# ")] = notebook.metadata.measured
    assert {row[0] for row in shown} == set(measured)
    for name, seconds, memory, executed in shown:
        cost = measured[name]
        assert seconds == f"{cost.cpu_seconds} CPU seconds" and memory == f"{cost.peak_megabytes:,} MB"
        assert executed == f"{cost.date}, torch {cost.torch}"
    total = sum(cost.cpu_seconds for cost in measured.values())
    assert f"{len(measured)} notebooks, {total} CPU seconds together" in words(section)

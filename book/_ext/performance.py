"""What was timed: the stored benchmarks, and the cost that each notebook recorded when it was executed."""

import json
from html import escape
from math import log2
from pathlib import Path

from docutils import nodes
from pages import add_directive, link, notebooks, paragraph, table, title
from sphinx.util.docutils import SphinxDirective

RESULTS = "benchmarks/results.json"
TICKS = {0.125: "⅛", 0.25: "¼", 0.5: "½", 1: "1", 2: "2", 4: "4", 8: "8"}
RATIOS = {"What": 32, "Against": 24, "Time of one call": 22, "Ratio": 22}
COSTS = {"Chapter": 46, "CPU time": 16, "Memory at the peak": 16, "Executed": 22}


class Benchmarks(SphinxDirective):
    """`{benchmarks}`: a section for each stored run, with a row for each pair and the reason where ours is slower."""

    def run(self):
        path = Path(self.env.srcdir, RESULTS)
        self.env.note_dependency(str(path))
        return [section(run) for run in json.loads(path.read_text())]


class Ratios(SphinxDirective):
    """`{ratios}`: one figure of all stored ratios, a line for each run, a dot for each pair."""

    def run(self):
        runs = json.loads(Path(self.env.srcdir, RESULTS).read_text())
        return [nodes.raw("", figure(runs), format="html")]


def figure(runs: list[dict]) -> str:
    """The ratios of all runs as dots on a common logarithmic axis from 1/8 to 8; what lies beyond stands at its end."""
    ticks = "".join(f'<b style="left:{place(x)}">{word}</b>' for x, word in TICKS.items())
    lines = [f'<div class="ratio-line ratio-axis"><span></span><span class="ratio-track">{ticks}</span></div>']
    for run in runs:
        dots = "".join(
            f'<i style="left:{place(pair["ratio"])}" title="{escape(pair["what"])}: {pair["ratio"]:.2f}"></i>'
            for pair in run["results"]
        )
        name = f'<a href="#{identity(run)}">{escape(title_of(run))}</a>'
        lines.append(f'<div class="ratio-line"><span>{name}</span><span class="ratio-track">{dots}</span></div>')
    pairs = [pair["ratio"] for run in runs for pair in run["results"]]
    within = sum(ratio <= 1.1 for ratio in pairs)
    words = f"{len(pairs)} pairs; in {within} the book's code takes at most 1.1 times as long as the other."
    caption = f"Each dot is a pair, ours divided by the other: left of 1 ours is faster. {words}"
    return f'<figure class="ratios">{"".join(lines)}<figcaption>{caption}</figcaption></figure>'


def place(ratio: float) -> str:
    """Where a ratio stands on the axis."""
    return f"{100 * min(max((log2(ratio) + 3) / 6, 0), 1):.1f}%"


def identity(run: dict) -> str:
    return nodes.make_id(f"{run['subject']}-{run['device']}")


def title_of(run: dict) -> str:
    return run["title"] + ", on a GPU" * (run["device"] == "cuda")


def section(run: dict) -> nodes.section:
    name, heading = identity(run), title_of(run)
    result = nodes.section("", nodes.title("", heading), ids=[name])
    reasons = list(dict.fromkeys(row["reason"] for row in run["results"] if row["reason"]))
    result += table(RATIOS, [row(pair, reasons) for pair in run["results"]])
    if reasons:
        items = [nodes.list_item("", paragraph(reason)) for reason in reasons]
        result += [paragraph("Why ours is slower:"), nodes.enumerated_list("", *items, enumtype="arabic", suffix=".")]
    threads = f"{run['threads']} thread{'s' * (run['threads'] > 1)}"
    result += paragraph(
        f"{run['hardware']}, {threads}, torch {run['torch']}, {run['date']}, {run['pairs']} pairs a row: ",
        nodes.literal("", run["command"]),
    )
    return result


def row(pair: dict, reasons: list[str]) -> list[nodes.Node]:
    ours, other = map(duration, pair["microseconds"])
    low, high = pair["quartiles"]
    ratio = paragraph(nodes.strong("", f"{pair['ratio']:.2f}"), f" ({low:.2f}\u00a0to\u00a0{high:.2f})")
    if pair["reason"]:
        ratio += nodes.superscript("", str(reasons.index(pair["reason"]) + 1))
    return [paragraph(pair["what"]), paragraph(pair["against"]), paragraph(f"{ours} against {other}"), ratio]


def duration(microseconds: float) -> str:
    """Three significant digits at most: 12.3 µs, 456 µs, 7.89 ms."""
    value, unit = (microseconds / 1000, "ms") if microseconds >= 999.5 else (microseconds, "µs")
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}\u00a0{unit}"


def costs(app, docname) -> list[nodes.Node]:
    """A row for each notebook with what its stored execution cost."""
    rows, seconds = [], 0
    for name, notebook in notebooks(app).items():
        measured = notebook["metadata"]["measured"]
        seconds += measured["cpu_seconds"]
        rows.append(
            [
                paragraph(link(title(notebook), app.builder.get_relative_uri(docname, name))),
                paragraph(f"{measured['cpu_seconds']} CPU seconds"),
                paragraph(f"{measured['peak_megabytes']:,} MB"),
                paragraph(f"{measured['date']}, torch {measured['torch']}"),
            ]
        )
    return [paragraph(f"{len(rows)} notebooks, {seconds} CPU seconds together."), table(COSTS, rows)]


def setup(app):
    app.add_directive("benchmarks", Benchmarks)
    app.add_directive("ratios", Ratios)
    add_directive(app, "costs", costs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

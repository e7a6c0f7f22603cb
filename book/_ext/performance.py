"""What was timed: the stored benchmarks, and the cost that each notebook recorded when it was executed."""

import json
from pathlib import Path

from docutils import nodes
from pages import add_directive, link, notebooks, paragraph, table, title
from sphinx.util.docutils import SphinxDirective

RESULTS = "benchmarks/results.json"
RATIOS = {"What": 32, "Against": 24, "Time of one call": 22, "Ratio": 22}
COSTS = {"Chapter": 46, "CPU time": 16, "Memory at the peak": 16, "Executed": 22}


class Benchmarks(SphinxDirective):
    """`{benchmarks}`: a section for each stored run, with a row for each pair and the reason where ours is slower."""

    def run(self):
        path = Path(self.env.srcdir, RESULTS)
        self.env.note_dependency(str(path))
        return [section(run) for run in json.loads(path.read_text())]


def section(run: dict) -> nodes.section:
    name = nodes.make_id(f"{run['subject']}-{run['device']}")
    heading = run["title"] + ", on a GPU" * (run["device"] == "cuda")
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
    add_directive(app, "costs", costs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""What the notebooks say of themselves: the ledger of claims, the chapters' cards, the cost of each page."""

import json
from collections import defaultdict
from pathlib import Path

import yaml
from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.errors import ExtensionError

CLAIM = "application/vnd.deep-learning-executed.claim+json"
COLUMNS = {
    "claim": "Claim",
    "measured": "Measured here",
    "paper": "Paper",
    "runs": "Seeds, scale",
    "verdict": "Verdict",
}

CARDS = "<!-- a card for each chapter -->"
MADE = """:::{{admonition}} How this page was made
:class: measured
The code on this page computed every output on it: {cpu_seconds} seconds of one CPU thread, {peak_megabytes:,} MB of memory at
the peak, {bytes_downloaded} bytes downloaded; Python {python}, torch {torch}, NumPy {numpy}; {date}.
:::"""


def notebooks(app) -> dict[str, dict]:
    """Every notebook of `_toc.yml`: document name to parsed JSON, in the book's order."""
    parts = yaml.safe_load(Path(app.srcdir, "_toc.yml").read_text())["parts"]
    names = [chapter["file"] for part in parts for chapter in part["chapters"]]
    paths = {name: Path(app.srcdir, f"{name}.ipynb") for name in names}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}


def records(notebook: dict) -> list[dict]:
    """The claims that a notebook's stored outputs hold, in the order of the page."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return [output["data"][CLAIM] for output in outputs if CLAIM in output.get("data", {})]


def title(notebook: dict) -> str:
    return "".join(notebook["cells"][0]["source"]).splitlines()[0].lstrip("# ")


def picture(notebook: dict) -> str:
    """The first figure of a notebook, as base64."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return next(o["data"]["image/png"] for o in outputs if "image/png" in o.get("data", {})).replace("\n", "")


def question(notebook: dict) -> str:
    """The first paragraph under the title."""
    paragraphs = "".join(notebook["cells"][0]["source"]).split("\n\n")
    return " ".join(paragraphs[1].split())


def cards(app) -> str:
    """A grid with a card for each chapter: the picture that it made, its title, its question."""
    grid = ["::::{grid} 1 1 2 2", ":gutter: 3"]
    for name, notebook in notebooks(app).items():
        grid += ["", f":::{{grid-item-card}} {title(notebook)}", f":link: /{name}", ":link-type: doc"]
        grid += [f":img-bottom: data:image/png;base64,{picture(notebook)}", ":img-alt: The chapter's first figure."]
        grid += ["", question(notebook), ":::"]
    return "\n".join([*grid, "::::"])


class Claims(Directive):
    """`{claims}`: a table of all claims of all chapters, filled in when every page has been read."""

    def run(self):
        return [ledger("")]


class ledger(nodes.General, nodes.Element):
    pass


def fill(app, doctree, docname) -> None:
    for node in list(doctree.findall(ledger)):
        found, seen = [], {}
        for name, notebook in notebooks(app).items():
            claims = records(notebook)
            for record in claims:
                if record["id"] in seen:
                    raise ExtensionError(f"claim {record['id']!r} stands in {seen[record['id']]} and in {name}")
                seen[record["id"]] = name
            if claims:
                found.append((name, title(notebook), claims))
        node.replace_self([summary(found), *(chapter(app, docname, *item) for item in found)])


def summary(found) -> nodes.paragraph:
    count = defaultdict(int)
    for _, _, claims in found:
        for record in claims:
            count[record["verdict"]] += 1
    verdicts = ", ".join(f"{number} {verdict}" for verdict, number in sorted(count.items(), key=lambda kv: -kv[1]))
    return nodes.paragraph("", f"{sum(count.values())} claims in {len(found)} chapters: {verdicts}.")


def chapter(app, docname, name, heading, claims) -> nodes.section:
    section = nodes.section(ids=[f"claims-{name.rpartition('/')[2].replace('_', '-')}"])
    page = app.builder.get_relative_uri(docname, name)
    section += nodes.title("", "", nodes.reference("", heading, refuri=page, internal=True))
    section += table([row(record, f"{page}#claim-{record['id']}") for record in claims])
    return section


def row(record: dict, link: str) -> dict[str, nodes.Node]:
    figures = nodes.bullet_list(classes=["figures"])
    for name, value in record["measured"]:
        figures += nodes.list_item("", nodes.paragraph("", "", nodes.Text(f"{name}: "), nodes.strong("", value)))
    runs = f"{record['seeds']} seed{'s' * (record['seeds'] > 1)}, {record['scale']}"
    return {
        "claim": nodes.paragraph("", "", nodes.reference("", record["text"], refuri=link, internal=True)),
        "measured": figures,
        "paper": nodes.paragraph("", record["paper"]),
        "runs": nodes.paragraph("", runs),
        "verdict": nodes.paragraph("", "", nodes.strong("", record["verdict"])),
    }


def table(rows: list[dict[str, nodes.Node]]) -> nodes.table:
    group = nodes.tgroup(cols=len(COLUMNS))
    group += [nodes.colspec(colwidth=width) for width in (34, 28, 18, 10, 10)]
    group += nodes.thead("", _row({key: nodes.paragraph("", name) for key, name in COLUMNS.items()}))
    group += nodes.tbody("", *(_row(cells) for cells in rows))
    return nodes.table("", group, classes=["claims"])


def _row(cells: dict[str, nodes.Node]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", cells[key], classes=[key]) for key in COLUMNS))


def prepare_page(app, docname, source) -> None:
    """Put the cards on the landing page, and under each notebook what its stored execution cost.

    The renderer does not know the claims' records; they are for the ledger, which reads the files.
    """
    if docname == app.config.root_doc:
        source[0] = source[0].replace(CARDS, cards(app))
    if Path(app.env.doc2path(docname)).suffix != ".ipynb":
        return
    notebook = json.loads(source[0])
    measured = notebook["metadata"].get("measured")
    if not measured:
        raise ExtensionError(f"{docname} was never refreshed: make refresh NOTEBOOK={docname.removeprefix('book/')}")
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(CLAIM, None)
    notebook["cells"].append({"cell_type": "markdown", "metadata": {}, "source": MADE.format(**measured)})
    source[0] = json.dumps(notebook)


def reread(app, env, added, changed, removed) -> set[str]:
    """The landing page and the ledger change with any notebook: they are written anew in each build that reads one."""
    notebooks = {name for name in added | changed if env.doc2path(name).endswith(".ipynb")}
    return {app.config.root_doc, "book/claims"} if notebooks else set()


def setup(app):
    app.add_node(ledger)
    app.add_directive("claims", Claims)
    app.connect("source-read", prepare_page)
    app.connect("env-get-outdated", reread)
    app.connect("doctree-resolved", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

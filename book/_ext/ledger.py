"""What the notebooks say of themselves: the ledger of claims, the chapters' cards, the cost of each page."""

import json
from collections import defaultdict
from pathlib import Path

from docutils import nodes
from pages import (
    CLAIM,
    PARTS,
    add_late_directive,
    bullets,
    heading,
    link,
    notebooks,
    paragraph,
    planned,
    question,
    records,
    table,
    title,
    write_picture,
)
from sphinx.errors import ExtensionError

CARDS = "<!-- a card for each chapter -->"
ASSEMBLED = {"book/claims", "book/systems", "book/performance", "book/api"}
SOURCES = ("helpers/**/*.py", "book/systems.tsv", "book/_static/**/*")
GRID = ["::::{grid} 1 1 2 2", ":gutter: 3"]
COLUMNS = {"Claim": 34, "Measured here": 28, "Paper": 18, "Seeds, scale": 10, "Verdict": 10}
MADE = """:::{{admonition}} How this page was made
:class: measured
The code on this page computed every output on it: {cpu_seconds} seconds of one CPU thread, {peak_megabytes:,} MB of memory at
the peak, {bytes_downloaded} bytes downloaded; Python {python}, torch {torch}, NumPy {numpy}; {date}.
:::"""


def cards(app) -> str:
    """Each part with a card for each chapter (the picture that it made, its title, its question), then the planned parts."""
    text, later = [], []
    for part, name in PARTS.items():
        pages = {page: nb for page, nb in notebooks(app).items() if page.startswith(f"book/{part}/")}
        to_come = ", ".join(heading(chapter) for chapter in planned(app)[part])
        if not pages:
            later += [f":::{{grid-item-card}} {name}", to_come, ":::", ""]
            continue
        text += ["", f"### {name}", "", *GRID]
        for page, notebook in pages.items():
            picture = f"_build/cards/{page.removeprefix('book/')}.webp"
            write_picture(notebook, Path(app.srcdir, picture))
            text += ["", f":::{{grid-item-card}} {title(notebook)}", f":link: /{page}", ":link-type: doc"]
            text += [f":img-bottom: /{picture}", ":img-alt: The chapter's first figure."]
            text += ["", question(notebook), ":::"]
        text += ["::::", "", f"*To come:* {to_come}." if to_come else ""]
    return "\n".join([*text, "", "### To come", "", *GRID, "", *later, "::::"])


def claims(app, docname) -> list[nodes.Node]:
    """All claims of all chapters: a count by verdict, and a table for each chapter."""
    found, seen = [], {}
    for name, notebook in notebooks(app).items():
        made = records(notebook)
        for record in made:
            if record["id"] in seen:
                raise ExtensionError(f"claim {record['id']!r} stands in {seen[record['id']]} and in {name}")
            seen[record["id"]] = name
        if made:
            found.append((name, title(notebook), made))
    return [summary(found), *(chapter(app, docname, *item) for item in found)]


def summary(found) -> nodes.paragraph:
    count = defaultdict(int)
    for _, _, claims in found:
        for record in claims:
            count[record["verdict"]] += 1
    verdicts = ", ".join(f"{number} {verdict}" for verdict, number in sorted(count.items(), key=lambda kv: -kv[1]))
    return paragraph(f"{sum(count.values())} claims in {len(found)} chapters: {verdicts}.")


def chapter(app, docname, name, words, claims) -> nodes.section:
    section = nodes.section(ids=[f"claims-{name.rpartition('/')[2].replace('_', '-')}"])
    page = app.builder.get_relative_uri(docname, name)
    section += nodes.title("", "", link(words, page))
    section += table(COLUMNS, [row(record, f"{page}#claim-{record['id']}") for record in claims])
    return section


def row(record: dict, target: str) -> list[nodes.Node]:
    figures = [paragraph(f"{name}: ", nodes.strong("", value)) for name, value in record["measured"]]
    return [
        paragraph(link(record["text"], target)),
        bullets(figures),
        paragraph(record["paper"]),
        paragraph(f"{record['seeds']} seed{'s' * (record['seeds'] > 1)}, {record['scale']}"),
        paragraph(nodes.strong("", record["verdict"])),
    ]


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
    notebook["cells"].append(
        {"cell_type": "markdown", "id": "measured", "metadata": {}, "source": MADE.format(**measured)}
    )
    source[0] = json.dumps(notebook)


def reread(app, env, added, changed, removed) -> set[str]:
    """What a build must write anew besides the pages that changed, which is all that Sphinx sees by itself.

    New extensions: every page. New notebooks, code, lists or scripts: the pages that are assembled from them.
    """
    stamp = Path(app.doctreedir, "environment.pickle")
    before = stamp.stat().st_mtime if stamp.exists() else 0.0

    def is_newer(pattern: str) -> bool:
        return any(path.is_file() and path.stat().st_mtime > before for path in Path(app.srcdir).glob(pattern))

    if is_newer("book/_ext/*.py"):
        return set(env.found_docs)
    notebooks = {name for name in added | changed if env.doc2path(name).endswith(".ipynb")}
    return ASSEMBLED | {app.config.root_doc} if notebooks or any(map(is_newer, SOURCES)) else set()


def setup(app):
    add_late_directive(app, "claims", claims)
    app.connect("source-read", prepare_page)
    app.connect("env-get-outdated", reread)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

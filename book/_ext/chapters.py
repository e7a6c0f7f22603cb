"""What the notebooks say of themselves: the chapters' cards on the landing page, the cost of each page."""

import json
from pathlib import Path

from pages import CLAIM, PARTS, heading, notebooks, planned, question, records, systems, title, write_picture
from sphinx.errors import ExtensionError

CARDS = "<!-- a card for each chapter -->"
NUMBERS = "<!-- numbers -->"
MODULES = "<!-- modules -->"
ASSEMBLED = ("book/claims", "book/systems", "book/performance", "book/api")  # and the pages below them
SOURCES = ("helpers/**/*.py", "book/systems.tsv", "book/_static/**/*")
GRID = ["::::{grid} 1 1 2 2", ":gutter: 3"]
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


def numbers(app) -> str:
    """What the book holds today, counted."""
    pages = notebooks(app)
    claims = [record for notebook in pages.values() for record in records(notebook)]
    open_ones = sum(record["verdict"] != "holds" for record in claims)
    rows = systems(app)
    built = sum(bool(row["claims"]) for row in rows)
    return (
        f"**{len(pages)}** chapters · **{built}** of {len(rows)} systems built and tested · **{len(claims)}** claims run, "
        f"**{open_ones}** of which do not hold as stated or are not seen at this size"
    )


def modules(app, part: str) -> str:
    """The code of a part for autodoc: of a chapter what it passes on, its experiments and figures, else all its modules."""
    lines = []
    for page in notebooks(app):
        _, other, stem = page.split("/")
        folder = Path(app.srcdir, "helpers", part, stem)
        if other != part or not folder.is_dir():
            continue
        passes_on = "__all__" in (folder / "__init__.py").read_text()
        inner = [path.stem for path in sorted(folder.glob("[!_]*.py"))]
        shown = [name for name in inner if not passes_on or name in ("experiments", "figures")]
        lines += [f".. automodule:: {'.'.join(['helpers', part, stem, *name])}" for name in ([], *([n] for n in shown))]
    return "\n".join(["```{eval-rst}", *lines, "```"])


def prepare_page(app, docname, source) -> None:
    """Put the cards on the landing page, and under each notebook what its stored execution cost.

    The renderer does not know the claims' records; they are for the ledger, which reads the files.
    """
    if docname == app.config.root_doc:
        source[0] = source[0].replace(CARDS, cards(app)).replace(NUMBERS, numbers(app))
    if docname.startswith("book/api/"):
        source[0] = source[0].replace(MODULES, modules(app, docname.rpartition("/")[2]))
    if Path(app.env.doc2path(docname)).suffix != ".ipynb":
        return
    notebook = json.loads(source[0])
    measured = notebook["metadata"].get("measured")
    if not measured:
        raise ExtensionError(f"{docname} was never refreshed: make refresh NOTEBOOK={docname.removeprefix('book/')}")
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(CLAIM, None)
    notebook["cells"] = joined(notebook["cells"])
    notebook["cells"].append(
        {"cell_type": "markdown", "id": "measured", "metadata": {}, "source": MADE.format(**measured)}
    )
    source[0] = json.dumps(notebook)


def fold(cell: dict) -> str:
    """The name of the fold that hides a cell's code, "" where it is in sight or the fold has none."""
    hidden = "hide-input" in cell["metadata"].get("tags", [])
    return cell["metadata"].get("mystnb", {}).get("code_prompt_show", "") if hidden else ""


def joined(cells: list[dict]) -> list[dict]:
    """The cells as the site shows them: neighbouring folds of one name are one fold, up to the first that has an output."""
    shown: list[dict] = []
    for cell in cells:
        last = shown[-1] if shown else {}
        if fold(cell) and not last.get("outputs", True) and fold(last) == fold(cell):
            source = "".join(last["source"]) + "\n\n\n" + "".join(cell["source"])
            shown[-1] = cell | {"source": source}
        else:
            shown.append(cell)
    return shown


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
    if not notebooks and not any(map(is_newer, SOURCES)):
        return set()
    return {app.config.root_doc} | {name for name in env.found_docs if name.startswith(ASSEMBLED)}


def spare(app, pagename, templatename, context, doctree) -> None:
    """Let a browser fetch the cards' pictures as the reader comes near them: the landing page grows with the book."""
    if pagename == app.config.root_doc:
        context["body"] = context["body"].replace(
            'class="sd-card-img-bottom"', 'class="sd-card-img-bottom" loading="lazy"'
        )


def setup(app):
    app.connect("source-read", prepare_page)
    app.connect("env-get-outdated", reread)
    app.connect("html-page-context", spare)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""The index of systems, and what each function of `helpers` says of the chapters that teach or use it."""

import ast
import inspect
import pkgutil
from functools import cache
from pathlib import Path

from docutils import nodes
from pages import (
    PARTS,
    add_directive,
    bullets,
    heading,
    link,
    notebooks,
    paragraph,
    records,
    systems,
    table,
    title,
)
from sphinx.errors import ExtensionError

COLUMNS = {"System": 28, "Code": 32, "Claims": 40}


def sections(app, docname):
    """Every row of `book/systems.tsv`: first what exists, a table a chapter with code, tests and verdicts; then lists."""
    written = {name.removeprefix("book/"): notebook for name, notebook in notebooks(app).items()}
    chapters: dict[str, list[dict]] = {}
    for row in systems(app):
        chapters.setdefault(row["chapter"], []).append(row)
    rows = [row for of_chapter in chapters.values() for row in of_chapter]
    shown = sum(bool(row["claims"]) for row in rows)
    yield paragraph(f"{len(rows)} systems in {len(chapters)} chapters: {shown} shown, the others still to come.")
    parts = PARTS | {"gallery": "Front matter"}
    built = [(part, name, _of(part, written)) for part, name in parts.items() if _of(part, written)]
    links = [piece for part, name, _ in built for piece in (" · ", link(name, f"#systems-{part}"))]
    yield paragraph(*links[1:], " · ", link("Still to come", "#systems-later"))
    for part, name, of_part in built:
        section = nodes.section("", nodes.title("", name), ids=[f"systems-{part}"])
        section += [_chapter(app, docname, chapter, chapters[chapter], written[chapter]) for chapter in of_part]
        yield section
    later = nodes.section("", nodes.title("", "Still to come"), ids=["systems-later"])
    for part in parts:
        later += [_planned(chapter, chapters[chapter]) for chapter in _of(part, chapters) if chapter not in written]
    yield later


def _of(part: str, chapters) -> list[str]:
    """Those of `chapters` that belong to a part."""
    return [chapter for chapter in chapters if chapter.partition("/")[0] == part]


def _section(chapter: str, *title) -> nodes.section:
    ids = ["systems-" + chapter.replace("/", "-").replace("_", "-")]
    return nodes.section("", nodes.title("", "", *title), ids=ids)


def _planned(chapter, rows) -> nodes.section:
    section = _section(chapter, nodes.Text(heading(chapter)))
    section += _list(rows)
    return section


def _chapter(app, docname, chapter, rows, notebook) -> nodes.section:
    page = app.builder.get_relative_uri(docname, f"book/{chapter}")
    part, _, stem = chapter.partition("/")
    section = _section(chapter, link(title(notebook), page))
    tests = sorted(Path(app.srcdir, "tests", part).glob(f"test_{stem}*.py"))
    names = [piece for test in tests for piece in (", ", nodes.literal("", f"tests/{part}/{test.name}"))]
    section += paragraph("Proved by ", *names[1:], ".")
    claims = {record["id"]: record for record in records(notebook)}
    api = app.builder.get_relative_uri(docname, f"book/api/{part}")
    section += table(COLUMNS, [_cells(row, chapter, page, api, claims) for row in rows if row["claims"]])
    if to_come := [row for row in rows if not row["claims"]]:
        section += [paragraph("Still to come on this page:"), _list(to_come)]
    return section


def _list(rows) -> nodes.bullet_list:
    return bullets([paragraph(row["system"], nodes.inline("", _paper(row), classes=["paper"])) for row in rows])


def _cells(row, chapter, page, api, claims) -> list[nodes.Node]:
    unknown = set(row["claims"].split()) - claims.keys()
    if unknown:
        raise ExtensionError(f"{row['system']}: {chapter} makes no claim called {', '.join(sorted(unknown))}")
    verdicts = []
    for record in (claims[name] for name in row["claims"].split()):
        verdict = nodes.strong("", f" {record['verdict']}")
        verdicts.append(paragraph(link(record["text"], f"{page}#claim-{record['id']}"), verdict))
    system = paragraph(nodes.strong("", row["system"]), nodes.inline("", _paper(row), classes=["paper"]))
    return [system, bullets([_code(name, chapter, api) for name in row["code"].split()]), bullets(verdicts)]


def _paper(row) -> str:
    return "" if row["paper"] == "-" else f" {row['paper']}"


def _code(name: str, chapter: str, api: str) -> nodes.paragraph:
    """A link to the documentation of an object, with the first line of its docstring."""
    module = "helpers." + chapter.replace("/", ".")
    thing = pkgutil.resolve_name(f"{module}.{name}")
    reference = nodes.reference("", "", nodes.literal("", name), refuri=f"{api}#{module}.{name}", internal=True)
    return paragraph(reference, " " + inspect.getdoc(thing).split("\n\n")[0].translate({10: " ", 96: None}))


@cache
def imports(app) -> dict[str, set[str]]:
    """Page of each notebook -> what it imports of `helpers`."""
    return {page: imported(notebook) for page, notebook in notebooks(app).items()}


def imported(notebook: dict) -> set[str]:
    """Dotted names of everything of `helpers` that a notebook's code imports, or takes from a module it imported."""
    modules, found = {}, set()
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        for node in ast.walk(ast.parse("".join(cell["source"]))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("helpers"):
                for alias in node.names:
                    found.add(f"{node.module}.{alias.name}")
                    modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
                found.add(f"{modules[node.value.id]}.{node.attr}")
    return found


def add_chapters(app, what, name, obj, options, lines) -> None:
    """Close the docstring of a function or class with links to the chapters whose notebooks import it."""
    if what not in ("function", "class", "exception", "data"):
        return
    pages = [page for page, names in imports(app).items() if _among(name, names)]
    own = "book/" + "/".join(name.split(".")[1:3])
    if own in imports(app):
        pages = [own, *(page for page in pages if page != own)]
    if pages:
        verb = "Taught in" if pages[0] == own else "Used in"
        lines += ["", f"*{verb}* " + ", ".join(f":doc:`/{page}`" for page in pages) + ".", ""]


def _among(name: str, names: set[str]) -> bool:
    """Whether an object is one of `names`, by its own module or by a package that passes it on."""
    package, short = name.split(".")[:2], name.rpartition(".")[2]
    return any(other.rpartition(".")[2] == short and other.split(".")[:2] == package for other in names)


def setup(app):
    add_directive(app, "systems", sections)
    app.connect("autodoc-process-docstring", add_chapters)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""The page of claims: what does not hold first, then all by chapter; the whole ledger as JSON and CSV beside it."""

import csv
import json
from collections import Counter
from pathlib import Path

from docutils import nodes
from pages import add_directive, link, notebooks, paragraph, records, title
from sphinx.errors import ExtensionError

from helpers.ledger import VERDICTS, check

PAGE = "book/claims"
# What a verdict says, in the order in which the page lists what does not hold.
MEANING = {
    "wrong as stated": "Arithmetic, or a slip that is often repeated: the sentence is false whatever is run.",
    "did not reproduce": "Its own protocol was tried, or one with the power to show it, and something else was found.",
    "not seen at this size": "Data, steps or size are not those that the sentence is about: neither confirmed nor refuted.",
    "holds only at scale": "The check fails at lecture size and holds at the size of the paper.",
}
COLUMNS = ("chapter", "id", "kind", "verdict", "text", "figures", "source", "credited", "seeds", "scale", "seed", "why")


def ledger(app) -> list[dict]:
    """Every claim of every chapter, in the book's order, with `chapter` (part/stem) and `page` (the chapter's title).

    A claim that stands twice, has no place in its source, or a kind and a verdict that do not go together stops the build.
    """
    found, seen = [], {}
    for name, notebook in notebooks(app).items():
        for record in records(notebook):
            if record["id"] in seen:
                raise ExtensionError(f"claim {record['id']!r} stands in {seen[record['id']]} and in {name}")
            try:
                check(record)
            except (KeyError, ValueError) as error:
                raise ExtensionError(f"{name}: {error}") from None
            seen[record["id"]] = name
            found.append({"chapter": name.removeprefix("book/"), "page": title(notebook)} | record)
    return found


def sections(app, docname) -> list[nodes.Node]:
    """How many claims there are, those that do not hold by reason, and all of them by chapter, folded."""
    claims = ledger(app)
    failed = nodes.section("", nodes.title("", "What does not hold"), ids=["what-does-not-hold"])
    for verdict, meaning in MEANING.items():
        rows = [record for record in claims if record["verdict"] == verdict]
        if rows:
            words = f"{verdict.capitalize()} ({len(rows)})"
            part = nodes.section("", nodes.title("", words), ids=[verdict.replace(" ", "-")])
            part += [paragraph(meaning), *(entry(app, docname, record) for record in rows)]
            failed += part
    chapters = nodes.section("", nodes.title("", "All claims, by chapter"), ids=["all-claims"])
    for name in dict.fromkeys(record["chapter"] for record in claims):
        chapters += chapter(app, docname, [record for record in claims if record["chapter"] == name])
    files = paragraph("The whole ledger as ", file("claims.json", "JSON"), " and as ", file("claims.csv", "CSV"), ".")
    return [*summary(claims), files, failed, chapters]


def summary(claims: list[dict]) -> list[nodes.Node]:
    """A sentence and a small table: how many claims of each kind have come to which verdict."""
    count = Counter((record["kind"], record["verdict"]) for record in claims)
    verdicts = [verdict for verdict in ("holds", *reversed(MEANING)) if any(count[kind, verdict] for kind in VERDICTS)]
    body = [[verdict, *(str(count[kind, verdict] or "–") for kind in VERDICTS)] for verdict in verdicts]
    pages, credited = len({record["chapter"] for record in claims}), sum(record["credited"] for record in claims)
    words = f"{len(claims)} claims in {pages} chapters: {credited} say what a paper says, with its place, the others are ours."
    columns = ["", *VERDICTS]
    group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in columns), cols=len(columns))
    group += nodes.thead("", line(columns))
    group += nodes.tbody("", *map(line, body))
    return [paragraph(words), nodes.table("", group, classes=["tally"])]


def line(cells: list[str]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", paragraph(cell)) for cell in cells))


def chapter(app, docname: str, claims: list[dict]) -> nodes.section:
    """A chapter's claims, folded under their count."""
    name = claims[0]["chapter"]
    page = link(claims[0]["page"], app.builder.get_relative_uri(docname, f"book/{name}"))
    section = nodes.section("", nodes.title("", "", page), ids=[f"claims-{name.rpartition('/')[2].replace('_', '-')}"])
    hold = sum(record["verdict"] == "holds" for record in claims)
    section += raw(f"<details><summary>{len(claims)} claims, {hold} hold</summary>")
    section += [*(entry(app, docname, record) for record in claims), raw("</details>")]
    return section


def entry(app, docname: str, record: dict) -> nodes.container:
    """A claim: the sentence as a link to where it was measured, figures, verdict, source, and why where it does not hold."""
    page = app.builder.get_relative_uri(docname, f"book/{record['chapter']}")
    figures = [piece for name, value in record["measured"] for piece in ("; ", f"{name}: ", nodes.strong("", value))][
        1:
    ]
    how = f"{record['kind']}, {record['seeds']} seeds" if record["seeds"] else record["kind"]
    verdict = paragraph(
        nodes.strong("", record["verdict"].capitalize()), f" ({how}). ", nodes.emphasis("", record["source"]), "."
    )
    kind, outcome, part = (
        f"{key}-{record[key].replace(' ', '-').replace('/', '-')}" for key in ("kind", "verdict", "chapter")
    )
    made = nodes.container(classes=["record", kind, outcome, part])
    made += [paragraph(link(record["text"], f"{page}#claim-{record['id']}")), paragraph(*figures), verdict]
    if record["why"]:
        made += paragraph(record["why"])
    return made


def file(name: str, words: str) -> nodes.reference:
    return nodes.reference("", words, refuri=name)


def raw(html: str) -> nodes.raw:
    return nodes.raw("", html, format="html")


def write_files(app, error) -> None:
    """Put the whole ledger beside its page, for others to use: `claims.json` and `claims.csv`."""
    if error or app.builder.format != "html":
        return
    claims = ledger(app)
    folder = Path(app.outdir, PAGE).parent
    (folder / "claims.json").write_text(json.dumps(claims, indent=1, ensure_ascii=False) + "\n")
    with (folder / "claims.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        for record in claims:
            writer.writerow(record | {"figures": "; ".join(f"{name}: {value}" for name, value in record["measured"])})


def add_script(app, pagename, templatename, context, doctree) -> None:
    """The filters of the page; it is complete without them."""
    if pagename == PAGE:
        app.add_js_file("claims.js", loading_method="defer")


def setup(app):
    add_directive(app, "claims", sections)
    app.connect("html-page-context", add_script)
    app.connect("build-finished", write_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

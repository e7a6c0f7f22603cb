"""What the other extensions share: reading notebooks, claims and systems; tables of links; directives."""

import base64
import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import yaml
from docutils import nodes
from PIL import Image
from sphinx.util.docutils import SphinxDirective

CLAIM = "application/vnd.deep-learning-executed.claim+json"
# Folder of a part -> its title, in teaching order.
PARTS = {
    "foundations": "Foundations",
    "convnets": "Convolutional networks",
    "sequences": "Sequences",
    "transformers": "Transformers",
    "generative": "Generative models",
    "representation": "Representation learning",
    "localization": "Localization",
    "multimodal": "Multimodal",
    "video": "Video",
    "efficiency": "Efficiency",
    "structures": "Structures",
    "reinforcement": "Reinforcement learning",
}
# Titles of planned chapters whose stem in words would read badly.
TITLES = {
    "initialization_normalization": "Initialization and normalization",
    "schedules_batch_size": "Schedules and batch size",
    "rnn_lstm": "Recurrent networks",
    "autoencoders_vae": "Autoencoders and VAEs",
    "gans": "GANs",
    "stylegan": "StyleGAN",
    "image_to_image": "Image to image",
    "semi_weak_supervision": "Semi-supervised and weakly supervised learning",
    "clip": "CLIP",
    "clip_regions": "CLIP and regions",
    "clip_everywhere": "CLIP everywhere",
    "top_down_feedback": "Top-down feedback",
}
CARD_WIDTH = 560  # pixels: a card is 280 wide, and phones show two pixels for one


def notebooks(app) -> dict[str, dict]:
    """Every notebook of `_toc.yml`: document name to parsed JSON, in the book's order."""
    parts = yaml.safe_load(Path(app.srcdir, "_toc.yml").read_text())["parts"]
    names = [chapter["file"] for part in parts for chapter in part["chapters"]]
    paths = {name: Path(app.srcdir, f"{name}.ipynb") for name in names}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}


def systems(app) -> list[dict[str, str]]:
    """The rows of `book/systems.tsv`: chapter, system, paper, and for those that are built the names of code and claims."""
    with Path(app.srcdir, "book", "systems.tsv").open() as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def planned(app) -> dict[str, list[str]]:
    """Part -> the chapters (part/stem) that have systems and no notebook yet."""
    written = {name.removeprefix("book/") for name in notebooks(app)}
    chapters = dict.fromkeys(row["chapter"] for row in systems(app))
    return {part: [c for c in chapters if c.startswith(f"{part}/") and c not in written] for part in PARTS}


def outputs(notebook: dict) -> Iterator[dict]:
    """The stored outputs of all cells, as MIME bundles."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            yield output.get("data", {})


def records(notebook: dict) -> list[dict]:
    """The claims that a notebook's stored outputs hold, in the order of the page."""
    return [data[CLAIM] for data in outputs(notebook) if CLAIM in data]


def title(notebook: dict) -> str:
    return "".join(notebook["cells"][0]["source"]).splitlines()[0].lstrip("# ")


def heading(chapter: str) -> str:
    """The working title of a chapter that is not written."""
    stem = chapter.rpartition("/")[2]
    return TITLES.get(stem, stem.replace("_", " ").capitalize())


def question(notebook: dict) -> str:
    """What a chapter asks: the first bold words under its title, or else its first paragraph."""
    first = "".join(notebook["cells"][0]["source"])
    bold = re.search(r"\*\*(.+?)\*\*", first, re.DOTALL)
    return " ".join((bold[1] if bold else first.split("\n\n")[1]).split())


def write_picture(notebook: dict, target: Path) -> None:
    """Store the first figure of a notebook (of an animation its still) at the size of a card."""
    figure = next(data["image/png"] for data in outputs(notebook) if "image/png" in data)
    image = Image.open(io.BytesIO(base64.b64decode(figure))).convert("RGBA")
    image.thumbnail((CARD_WIDTH, CARD_WIDTH))
    target.parent.mkdir(parents=True, exist_ok=True)
    image.save(target, quality=55)


def paragraph(*parts: nodes.Node | str) -> nodes.paragraph:
    return nodes.paragraph("", "", *(nodes.Text(part) if isinstance(part, str) else part for part in parts))


def link(words: str, target: str) -> nodes.reference:
    return nodes.reference("", words, refuri=target, internal=True)


def bullets(items: list[nodes.paragraph]) -> nodes.bullet_list:
    return nodes.bullet_list("", *(nodes.list_item("", item) for item in items), classes=["figures"])


def table(columns: dict[str, int], rows: list[list[nodes.Node]]) -> nodes.table:
    """A table with the headings and relative widths of `columns`; a phone shows each row as a card (book.css)."""
    group = nodes.tgroup(cols=len(columns))
    group += [nodes.colspec(colwidth=width) for width in columns.values()]
    group += nodes.thead("", _row([paragraph(name) for name in columns]))
    group += nodes.tbody("", *map(_row, rows))
    return nodes.table("", group, classes=["records"])


def _row(cells: list[nodes.Node]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", cell) for cell in cells))


def add_directive(app, name: str, make: Callable[..., Iterable[nodes.Node]]) -> None:
    """Register `{name}`, in whose place stands what `make(app, docname)` gives: sections of it stand in the contents."""

    class Made(SphinxDirective):
        def run(self):
            return list(make(self.env.app, self.env.docname))

    app.add_directive(name, Made)


def setup(app):
    return {"parallel_read_safe": True, "parallel_write_safe": True}

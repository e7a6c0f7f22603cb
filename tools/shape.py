"""What a reader of the built site meets, measured in a browser, page by page: `python -m tools.shape [part/chapter …]`.

Shares of the page's height (prose, visible code, folds, printed output, claims, figures), lines of visible code above the first
picture, the longest run of visible code cells without a sentence, words, figures, and how many of them have a caption.
"""

import sys
from pathlib import Path

from tools.browser import chromium
from tools.notebooks import BOOK, chapters, find
from tools.site import HTML

KINDS = ("prose", "code", "folds", "output", "claims", "figures")
WIDTH = 1400  # pixels
MEASURE = """() => {
  const blocks = [];  // kind, height, lines of code, words, captioned, number of the cell
  let cells = 0;
  const add = (kind, element, more = {}) =>
    blocks.push({kind, height: element.getBoundingClientRect().height, lines: 0, words: 0, captioned: false, ...more});
  const read = element => {
    if (element.matches('section')) return [...element.children].forEach(read);
    if (element.matches('div.cell')) { cells++; return [...element.children].forEach(part => readCell(part, cells)); }
    if (element.matches('.play, figure')) return add('figures', element, {captioned: !!element.querySelector('figcaption')});
    const text = element.innerText ?? '';
    if (element.getBoundingClientRect().height)
      add('prose', element, {words: text.split(/\\s+/).filter(Boolean).length});
  };
  const readCell = (part, cell) => {
    if (part.matches('details')) return add('folds', part);
    if (part.matches('.cell_input')) {
      const lines = part.querySelector('pre').textContent.trimEnd().split('\\n').length;
      return add('code', part, {lines, cell});
    }
    if (part.matches('.cell_output')) return [...part.children].forEach(readOutput);
    add('prose', part);
  };
  const readOutput = part => {
    if (part.querySelector('.claim') || part.matches('.claim')) return add('claims', part);
    if (part.querySelector('img, svg:not(button svg)') || part.matches('img, figure'))
      return add('figures', part, {captioned: !!part.querySelector('figcaption')});
    add('output', part);
  };
  [...document.querySelector('article.bd-article').children].forEach(read);
  return blocks;
}"""


def summary(blocks: list[dict]) -> dict[str, int]:
    """The figures of one page from its blocks, in the order of the page."""
    total = sum(block["height"] for block in blocks) or 1
    found = {kind: round(100 * sum(b["height"] for b in blocks if b["kind"] == kind) / total) for kind in KINDS}
    figures = [i for i, block in enumerate(blocks) if block["kind"] == "figures"]
    first = figures[0] if figures else len(blocks)
    found["lines above"] = sum(block["lines"] for block in blocks[:first])
    run: set[int] = set()
    longest = 0
    for block in blocks:
        if block["kind"] == "prose":
            run = set()
        elif block["kind"] == "code":
            run.add(block["cell"])
        longest = max(longest, len(run))
    found["run"] = longest
    found["words"] = sum(block["words"] for block in blocks)
    found["pictures"] = len(figures)
    found["captions"] = sum(blocks[i]["captioned"] for i in figures)
    return found


def measure(paths: list[Path], page) -> dict[str, dict[str, int]]:
    """The figures of pages that `make book` has built, by part/chapter, seen on a `page` of a browser that playwright drives.

    SystemExit names a page that is not built.
    """
    page.set_viewport_size({"width": WIDTH, "height": 1000})
    found = {}
    for path in paths:
        name = str(path.relative_to(BOOK).with_suffix(""))
        built = HTML / "book" / f"{name}.html"
        if not built.exists():
            raise SystemExit(f"{name} is not built: make book")
        page.goto(built.as_uri())
        found[name] = summary(page.evaluate(MEASURE))
    return found


def main(names: list[str]) -> None:
    from playwright.sync_api import sync_playwright

    if not (browser := chromium()):
        raise SystemExit("There is no Chromium: apt-get install chromium, or set CHROMIUM")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        rows = measure([find(name) for name in names] or chapters(), opened.new_page())
    heads = list(next(iter(rows.values())))
    print("| page | " + " | ".join(heads) + " |")
    print("| --- |" + " ---: |" * len(heads))
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(str(row[head]) for head in heads) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])

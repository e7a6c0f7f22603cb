"""Check that the built site is complete, and say where it is: `python -m tools.site`."""

import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
HTML = ROOT / "_build" / "html"


def pages() -> list[str]:
    """The pages that `_toc.yml` names, root first."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    return [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]


def main() -> None:
    missing = [page for page in pages() if not (HTML / f"{page}.html").is_file()]
    if missing:
        sys.exit("_toc.yml names pages that were not built: " + ", ".join(missing))
    size = sum(file.stat().st_size for file in HTML.rglob("*") if file.is_file())
    print(f"{len(pages())} pages, {size / 1e6:.0f} MB: open {(HTML / 'index.html').relative_to(ROOT)}")


if __name__ == "__main__":
    main()

"""The built site, read as a reader reads it: in a browser, wide, on a phone and in the dark, from a folder."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlparse

import nbformat
import pytest

from tools.notebooks import chapters
from tools.site import HTML, pages

CLAIM = "application/vnd.deep-learning-executed.claim+json"


class Page(HTMLParser):
    """The links, images and anchors of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors |= {attributes[key] for key in ("id", "name") if attributes.get(key)}
        self.links += [attributes[key] for key in ("href", "src") if attributes.get(key)]


@pytest.fixture(scope="module", autouse=True)
def built():
    if not (HTML / "index.html").exists():
        pytest.fail("there is no site in _build/html: make book")


def test_every_local_link_leads_somewhere():
    read = {path: Page(path) for path in HTML.rglob("*.html") if "_static" not in path.parts}
    broken = []
    for path, page in read.items():
        for link in page.links:
            url = urlparse(link)
            if url.scheme or url.netloc:
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            if not target.exists():
                broken.append(f"{path.relative_to(HTML)}: {link}")
            elif url.fragment and target in read and unquote(url.fragment) not in read[target].anchors:
                broken.append(f"{path.relative_to(HTML)}: {link} (no such anchor)")
    assert not broken, "\n".join(broken)


def test_every_claim_stands_in_the_ledger():
    ledger = (HTML / "book/claims.html").read_text()
    for path in chapters():
        cells = nbformat.read(path, as_version=4).cells
        records = [o["data"][CLAIM] for c in cells for o in c.get("outputs", []) if CLAIM in o.get("data", {})]
        assert records, f"{path.stem} claims nothing"
        for record in records:
            assert f'{path.parent.name}/{path.stem}.html#claim-{record["id"]}"' in ledger


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", pages())
def test_page_reads_well(browser, name, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    complaints, requests = [], []
    page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((HTML / f"{name}.html").as_uri(), wait_until="load")
    page.wait_for_function("!document.querySelector('.math') || document.querySelector('mjx-container')")
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.evaluate("document.querySelectorAll('mjx-merror').length") == 0
    assert page.evaluate("[...document.images].filter(i => i.complete && !i.naturalWidth).length") == 0
    assert page.evaluate("[...document.images].filter(i => !i.alt).length") == 0
    context.close()
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert complaints == []


@pytest.mark.browser
def test_search_finds_a_word_of_each_chapter(browser):
    page = browser.new_page()
    for word, stem in (("AdaGrad", "optimizers"), ("Toeplitz", "output_size")):
        page.goto(f"{(HTML / 'search.html').as_uri()}?q={word}")
        page.wait_for_selector(f"#search-results a[href*='{stem}.html']", timeout=10_000)
    page.close()


@pytest.mark.browser
def test_theme_button_changes_the_theme(browser):
    page = browser.new_context(color_scheme="light").new_page()
    page.goto((HTML / "book/claims.html").as_uri())
    seen = set()
    for _ in range(3):
        page.locator("button.theme-switch-button").first.click()
        seen.add(page.evaluate("document.documentElement.dataset.theme"))
    assert seen == {"light", "dark"}
    page.context.close()

"""The built site, read as a reader reads it: in a browser, wide, on a phone and in the dark, from a folder."""

import gzip
from functools import lru_cache, partial
from hashlib import sha256
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlparse

import pytest
from fontTools.ttLib import TTFont

from tools.due import commit
from tools.notebooks import ROOT, chapters
from tools.site import HTML, pages

WORDS = {  # a word that readers would look for, for each chapter
    "early_vision": "superquadric",
    "nearest_neighbours": "Manhattan",
    "linear_classifiers": "hinge",
    "perceptrons": "exclusive",
    "backpropagation": "Jacobian",
    "activations": "maxout",
    "frameworks": "prototxt",
    "optimizers": "AdaGrad",
    "output_size": "Toeplitz",
    "architectures": "FractalNet",
    "rnn_lstm": "recursive",
    "character_models": "WaveNet",
    "attention": "rotary",
    "vision_transformers": "mixup",
    "autoencoders_vae": "importance-weighted",
    "gans": "minimax",
    "segmentation": "atrous",
    "segmentation_losses": "hypercolumn",
    "detection": "suppression",
    "clip": "zero-shot",
    "optical_flow": "aperture",
    "spacetime_convnets": "SlowFast",
    "video_transformers": "axial",
    "distillation": "picojoules",
}
SEARCH = "word => { document.getElementById('search-results').replaceChildren(); Search.performSearch(word); }"
MAXIMUM_WIRE = 1_000_000  # bytes


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


def test_every_chapter_leads_on_and_can_be_downloaded():
    for path in chapters():
        page = (HTML / path.relative_to(ROOT)).with_suffix(".html").read_text()
        assert 'class="left-prev"' in page and 'class="right-next"' in page
        assert f'_sources/{path.relative_to(ROOT)}"' in page


@pytest.mark.browser
def test_search_finds_a_word_of_each_chapter(browser):
    """The first word stands in the address; for the others the index is not loaded again."""
    assert set(WORDS) == {path.stem for path in chapters()}
    page = browser.new_page()
    for number, (stem, word) in enumerate(WORDS.items()):
        if number == 0:
            page.goto(f"{(HTML / 'search.html').as_uri()}?q={word}")
        else:
            page.evaluate(SEARCH, word)
        page.wait_for_selector("#search-results h2:text-is('Search Results')", state="attached", timeout=10_000)
        assert page.query_selector(f"#search-results a[href*='{stem}.html']"), word
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


@lru_cache
def compressed(body: bytes) -> bytes:
    return gzip.compress(body)


class Compressed(SimpleHTTPRequestHandler):
    """Serves the site as its hosts do: text with gzip, everything else as it is."""

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return self.send_error(404)
        body, text = path.read_bytes(), path.suffix in (".html", ".css", ".js", ".svg", ".json")
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(path)))
        if text:
            body = compressed(body)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address():
    server = ThreadingHTTPServer(("localhost", 0), partial(Compressed, directory=str(HTML)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()


class Tab:
    """A tab that opens page after page, each as if it were the first; what a page asks for, weighs and complains of."""

    def __init__(self, browser):
        self.context = browser.new_context()
        self.page, self.complaints, self.requests, self.received = self.context.new_page(), [], [], []
        session = self.context.new_cdp_session(self.page)
        session.send("Network.enable")
        session.send("Network.setCacheDisabled", {"cacheDisabled": True})
        session.on("Network.loadingFinished", lambda event: self.received.append(event["encodedDataLength"]))
        said = self.complaints.append
        self.page.on("console", lambda m: said(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: said(str(error)))
        self.page.on("requestfailed", lambda request: said(f"failed: {request.url}"))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, url, scheme, width):
        if self.page.url != "about:blank":
            self.page.evaluate("localStorage.clear()")
            self.page.goto("about:blank")
        for heard in (self.complaints, self.requests, self.received):
            heard.clear()
        self.show(scheme, width)
        self.page.goto(url, wait_until="networkidle" if url.startswith("http") else "load")
        self.page.wait_for_function("!document.querySelector('.math') || document.querySelector('mjx-container')")

    def show(self, scheme, width):
        self.page.emulate_media(color_scheme=scheme)
        self.page.set_viewport_size({"width": width, "height": 900})

    def reads_well(self, scheme, width):
        self.show(scheme, width)
        self.page.wait_for_function(f"document.documentElement.dataset.theme == '{scheme}'", timeout=5_000)
        assert self.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert self.page.evaluate("document.querySelectorAll('mjx-merror').length") == 0
        assert self.page.evaluate("[...document.images].filter(i => i.complete && !i.naturalWidth).length") == 0
        assert self.page.evaluate("[...document.images].filter(i => !i.alt).length") == 0

    def keeps_to(self, home):
        """The page asked for nothing but what is at `home`, and complained of nothing."""
        assert [url for url in self.requests if not url.startswith((home, "data:", "blob:"))] == []
        assert self.complaints == []


@pytest.fixture(scope="module")
def tab(browser):
    tab = Tab(browser)
    yield tab
    tab.context.close()


@pytest.mark.browser
@pytest.mark.parametrize("name", [*pages(), "search"])
def test_page_reads_well_and_weighs_at_most_a_megabyte(tab, address, name, record_property):
    """Opened once, wide in the light; then on a phone, and then both again in the dark, as a reader's system turns to it."""
    tab.open(f"{address}/{name}.html", "light", 1280)
    record_property("kilobytes", round(sum(tab.received) / 1000))
    assert len(tab.received) > 10
    assert sum(tab.received) <= MAXIMUM_WIRE
    for scheme, width in (("light", 1280), ("light", 390), ("dark", 390), ("dark", 1280)):
        tab.reads_well(scheme, width)
    tab.keeps_to(address)


def few() -> list[str]:
    """The pages that are no chapters, and the two chapters whose turn it is at this commit."""
    of_chapters = [str(path.relative_to(ROOT).with_suffix("")) for path in chapters()]
    chosen = sorted(of_chapters, key=lambda name: sha256(f"{commit()} {name}".encode()).digest())[:2]
    return [*(name for name in (*pages(), "search") if name not in of_chapters), *chosen]


@pytest.mark.browser
@pytest.mark.parametrize("name", few())
def test_page_reads_well_from_a_folder(tab, name):
    """From a host each page is opened; that none asks for what a folder lacks is a matter of the theme, which all share."""
    tab.open((HTML / f"{name}.html").as_uri(), "dark", 390)
    tab.reads_well("dark", 390)
    tab.keeps_to("file:")


@pytest.mark.browser
def test_every_icon_is_in_the_small_font(browser):
    (fonts,) = HTML.glob("_static/vendor/fontawesome/*/webfonts")
    drawn = {code for font in fonts.glob("*.woff") for code in TTFont(font).getBestCmap()}
    page = browser.new_page()
    page.route("**/mathjax/**", lambda route: route.abort())  # which takes most of the time, and has no icons
    page.goto((HTML / "book/foundations/optimizers.html").as_uri())
    icons = page.evaluate("""
        [...document.querySelectorAll("[class*='fa-']")]
            .map(icon => getComputedStyle(icon, "::before").content)
            .filter(content => content.length > 2)
            .map(content => content.codePointAt(1))""")
    page.close()
    assert len(set(icons)) > 5
    assert set(icons) <= drawn
    assert sum(font.stat().st_size for font in fonts.glob("*.woff")) < 20_000


def test_the_folder_can_be_copied_elsewhere():
    files = [file for file in HTML.rglob("*") if file.suffix in (".html", ".js", ".css", ".json", ".ipynb")]
    assert len(files) > 50
    assert [file.name for file in files if str(ROOT) in file.read_text()] == []

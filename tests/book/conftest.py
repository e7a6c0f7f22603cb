"""What the tests of the book share: a repository that holds the working tree, and a page to play with."""

import json
import os
import runpy
import shutil
import subprocess

import pytest

from tools.notebooks import ROOT

STATIC = ROOT / "book/_static/play"
scripts = runpy.run_path(ROOT / "book/_ext/play.py")["scripts"]


def git(folder, *arguments) -> str:
    who = ["-c", "user.name=Reader", "-c", "user.email=reader@example.invalid"]
    command = ["git", *who, "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of the working tree as git sees it: a repository without a remote."""
    folder = tmp_path_factory.mktemp("clones") / "book"
    for name in git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    git(folder.parent, "init", "-q", "-b", "main", str(folder))
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "What the working tree holds")
    return folder


@pytest.fixture(scope="session")
def no_address():
    """An environment that names no repository; CI's own names one."""
    return {key: value for key, value in os.environ.items() if not key.startswith("GITHUB_")}


class Reader:
    """A reader of a page with one `<div class="play" data-play=figure …>` for each entry of `attributes`."""

    def __init__(self, browser, folder, chapter, figure, *attributes, width=780, height=900, **options):
        tags = "".join(f'<script defer src="{(STATIC / name).as_uri()}"></script>' for name in scripts(STATIC, chapter))
        html = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>play</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            "<style>:root { color-scheme: light dark; }</style>"
            f'<link rel="stylesheet" href="{(STATIC / "play.css").as_uri()}">{tags}</head><body>'
            + "".join(f'<div class="play" data-play="{figure}" {a}><p>A still.</p></div>' for a in attributes)
            + "</body></html>"
        )
        (folder / "page.html").write_text(html)
        self.chapter = chapter
        self.context = browser.new_context(viewport={"width": width, "height": height}, **options)
        self.page = self.context.new_page()
        self.screen = self.context.new_cdp_session(self.page)
        self.complaints = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto((folder / "page.html").as_uri())

    def call(self, function, *arguments):
        """What the chapter's JavaScript function returns."""
        return self.page.evaluate(f"DLE.{self.chapter}.{function}(...{json.dumps(arguments)})")

    def verdict(self):
        return self.page.text_content(".play-verdict")

    def place(self, name):
        """The middle of a node on the screen."""
        box = self.page.locator(name).bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def finger(self, kind, *points):
        """A touch event from the screen, through the browser's own gesture recognition."""
        touches = [{"x": x, "y": y} for x, y in points]
        self.screen.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    def overflow(self):
        """How many pixels of the page stick out to the right."""
        return self.page.evaluate("document.documentElement.scrollWidth - innerWidth")


@pytest.fixture
def reader(browser, tmp_path, request):
    """Opens pages with the FIGURE = (chapter, figure) of the test's module; no page may complain on its console."""
    readers = []

    def open_page(*attributes, **options):
        readers.append(Reader(browser, tmp_path, *request.module.FIGURE, *attributes or [""], **options))
        return readers[-1]

    yield open_page
    for reader in readers:
        reader.context.close()
        assert not reader.complaints

"""Publication from a fork: its own address everywhere and no other, and Markdown that Colab can show."""

import json
import re
import subprocess
import sys

import nbformat
import pytest
import yaml

from tools.notebooks import ROOT, chapters
from tools.plain import SOLVED, Labels, Plain
from tools.publish import address, copy, site_of, write_copies
from tools.site import HTML

from .conftest import git

FORK = "https://github.com/someone/fork"
SITE = "https://someone.github.io/fork/"
COMMIT = 40 * "0"
LINK = re.compile(r"""(?:https?|ssh|git|ftp)://[^\s"'<>\\]+|git@[^\s"'<>\\]+""")
BARE = re.compile(
    r"\b(?:[\w-]+\.)*(?:github|gitlab|bitbucket)\.\w+|colab\.research\.google\.com"
)  # also without a scheme
RAW = re.compile(
    r"\{[a-z][\w:+.-]*\}`|^\s*:{3,}|^\s*[`~]{3,}\{|^\([^()\s]+\)=$|^\+\+\+|^% |class=\"play\"", re.MULTILINE
)
UNTITLED = re.compile(r"^# @title .*\n")
FORMS = [
    "https://github.com/someone/fork",
    "https://github.com/someone/fork.git",
    "https://name:secret@github.com/someone/fork.git/",
    "git@github.com:someone/fork.git",
    "ssh://git@github.com/someone/fork.git",
    "ssh://git@github.com:22/someone/fork",
]


@pytest.fixture
def nameless(monkeypatch):
    """An environment that names no repository; CI's own does."""
    for name in ("GITHUB_REPOSITORY", "GITHUB_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)


KEPT = {"book/index", "book/foundations/optimizers", "book/run", "book/claims", "book/systems", "book/references"}


@pytest.fixture(scope="module")
def published(clone, no_address):
    """What a fork publishes, asked to by its remote alone. The fork keeps one chapter, so that this costs what it costs however
    many the book has.
    """
    toc = yaml.safe_load((clone / "_toc.yml").read_text())
    for part in toc["parts"]:
        part["chapters"] = [chapter for chapter in part["chapters"] if chapter["file"] in KEPT]
    toc["parts"] = [part for part in toc["parts"] if part["chapters"]]
    (clone / "_toc.yml").write_text(yaml.safe_dump(toc))
    for path in (clone / "book").glob("*/*.ipynb"):
        if str(path.relative_to(clone).with_suffix("")) not in KEPT:
            path.unlink()
    git(clone, "remote", "add", "origin", "git@github.com:someone/fork.git")
    git(clone, "commit", "-q", "-a", "-m", "Keep one chapter")
    command = [sys.executable, "-m", "tools.publish"]
    result = subprocess.run(command, cwd=clone, capture_output=True, text=True, env=no_address)
    assert result.returncode == 0, result.stdout + result.stderr
    return clone / "_build" / "publish"


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """The copies of all chapters."""
    return write_copies(FORK, tmp_path_factory.mktemp("colab"), COMMIT)


@pytest.mark.parametrize("form", FORMS)
def test_address_from_the_remote(tmp_path, nameless, form):
    git(tmp_path, "init", "-q")
    git(tmp_path, "remote", "add", "origin", form)
    assert address(tmp_path) == FORK


def test_address_from_the_environment(tmp_path, nameless, monkeypatch):
    git(tmp_path, "init", "-q")
    git(tmp_path, "remote", "add", "origin", "https://github.com/else/where")
    monkeypatch.setenv("GITHUB_REPOSITORY", "someone/fork")
    assert address(tmp_path) == FORK
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://git.example.org")
    assert address(tmp_path) == "https://git.example.org/someone/fork"


def test_address_is_refused_with_a_remedy(tmp_path, nameless):
    git(tmp_path, "init", "-q")
    with pytest.raises(SystemExit, match="no git remote called origin. Set GITHUB_REPOSITORY=owner/name"):
        address(tmp_path)
    git(tmp_path, "remote", "add", "origin", "/srv/book.git")
    with pytest.raises(SystemExit, match="'/srv/book.git' is neither https nor ssh. Set GITHUB_REPOSITORY"):
        address(tmp_path)


def test_site_of_a_repository():
    assert site_of(FORK) == SITE
    assert site_of("https://github.com/Someone/someone.github.io") == "https://someone.github.io/"
    assert site_of("https://git.example.org/someone/fork") == ""


def links_of(files, known: str) -> tuple[set[str], set[str], int]:
    """Of the addresses in files: those of the fork, those that are neither the fork's nor in the sources, and how many."""
    own, foreign, checked = set(), set(), 0
    for path in files:
        text = path.read_text()
        for link in LINK.findall(text):
            link = link.rstrip(".,;:)")
            checked += 1
            if re.match(
                rf"{SITE}|(?:{FORK}|https://colab\.research\.google\.com/github/someone/fork)(?:[/@?]|$)", link
            ):
                own.add(link)
            elif link not in known and not _of_the_bibliography(link, known):
                foreign.add(f"{path}: {link}")
        for host in BARE.findall(text):
            if host not in ("github.com", "someone.github.io", "colab.research.google.com") and host not in known:
                foreign.add(f"{path}: {host}")
    return own, foreign, checked


@pytest.fixture(scope="module")
def known() -> str:
    """What stands in the sources of the book."""
    kinds = (".md", ".bib", ".ipynb", ".js", ".css", ".svg", ".tsv")
    return "\n".join(path.read_text() for path in (ROOT / "book").rglob("*") if path.suffix in kinds)


def files_of(site):
    scripts = [*(site / "_static/play").rglob("*"), site / "_static/book.css", site / "searchindex.js"]
    return [*site.rglob("*.html"), *site.rglob("*.ipynb"), *(site / "_sources").rglob("*.md"), *scripts]


def test_links_lead_to_the_fork_and_nowhere_else(published, copies, known):
    """Every address in pages, copies and our own scripts is the fork's, or stands in the sources of the book."""
    files = [*files_of(published / "site"), *(published / "colab").rglob("*.ipynb"), *copies]
    own, foreign, checked = links_of(files, known)
    assert not foreign, "\n".join(sorted(foreign))
    assert checked > 100 and {FORK, SITE + "book/references.html"} <= own


def test_the_book_itself_names_no_repository(known):
    own, foreign, checked = links_of(files_of(HTML), known)
    assert not foreign and not own
    assert checked > 100


def _of_the_bibliography(link: str, known: str) -> bool:
    """Whether a link was made from an identifier of a BibTeX entry."""
    for base in ("https://doi.org/", "https://arxiv.org/abs/"):
        if link.startswith(base):
            return link.removeprefix(base) in known
    return False


def test_every_chapter_has_its_buttons(published):
    commit = git(published, "rev-parse", "HEAD")
    for path in (published / "colab").rglob("*.ipynb"):
        name = path.relative_to(published / "colab")
        page = (published / "site" / name.with_suffix(".html")).read_text()
        assert f'href="https://colab.research.google.com/github/someone/fork/blob/colab/{name}"' in page
        assert f'href="{FORK}"' in page and f'href="{FORK}/issues/new?title=' in page
        assert f'href="../../_sources/{name}"' in page
        offered = (published / "colab" / name).read_bytes()
        assert (published / "site/_sources" / name).read_bytes() == offered
        assert f'REPOSITORY = \\"{FORK}@{commit}\\"' in offered.decode()


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_published_page_asks_for_nothing(browser, published, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    complaints, requests = [], []
    page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("request", lambda request: requests.append(request.url))
    page.goto((published / "site/book/foundations/optimizers.html").as_uri(), wait_until="load")
    page.get_by_label("Launch interactive content").click()
    assert page.get_by_role("link", name="Colab").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.evaluate("[...document.images].filter(i => i.complete && !i.naturalWidth || !i.alt).length") == 0
    page.close()
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert complaints == []


def test_copies_are_plain(copies):
    assert len(copies) == len(chapters())
    for path, source in zip(sorted(copies), chapters()):
        assert path.parts[-3:] == source.parts[-3:]
        notebook, original = (nbformat.read(file, as_version=4) for file in (path, source))
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                assert RAW.findall(cell.source) == [] and SOLVED not in cell.source
        code, stored = ([c for c in n.cells if c.cell_type == "code"] for n in (notebook, original))
        assert [UNTITLED.sub("", cell.source) for cell in code[1:]] == [cell.source for cell in stored[1:]]
        for copied, cell in zip(code, stored):
            tags = cell.metadata.get("tags", [])
            assert ("cellView" in copied.metadata) == ("hide-input" in tags and "parameters" not in tags)
        shown, kept = ([[o.get("data", o.get("text")) for o in c.outputs] for c in cells] for cells in (code, stored))
        assert shown == kept
        figures = [(o, s) for c, s in zip(code, stored) for o in c.outputs if "image/png" in o.get("data", {})]
        assert figures
        for output, cell in figures:
            assert output.metadata["image/png"]["alt"] == cell.metadata.mystnb.image.alt
        assert set(notebook.metadata) == {"kernelspec", "language_info", "colab"}
        assert {key for cell in notebook.cells for key in cell.metadata} <= {"tags", "id", "cellView"}
        assert notebook.cells[-1].source.startswith("*The stored outputs were computed with Python 3.")


def test_publishing_twice_writes_the_same_copies(copies, tmp_path):
    again = write_copies(FORK, tmp_path, COMMIT)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in copies]


def test_a_site_without_publication_names_no_repository(clone, published):
    """`make book` is the same in every clone: only publication looks at the remote."""
    config = (clone / "_config.yml").read_text()
    assert "launch_buttons" not in config and "use_repository_button: false" in config
    assert "github" not in config.replace("githubpages", "")


def test_no_repository_is_named_in_any_file():
    named = re.compile(r"(?:github|gitlab)\.com[/:][\w-]+/[\w.-]+")
    for name in git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        path = ROOT / name
        if path.exists() and path.suffix not in (".png", ".bib") and path.name != "test_publish.py":
            assert named.findall(path.read_text()) == [], name


LABELS = Labels(
    titles={"book/part/one": "One", "book/two": "Two"},
    targets={"sec": ("book/part/one", "A section"), "ex": ("book/part/one", "Exercise 7")},
    works={"a2015": ("A and B", "2015"), "c2016": ("C et al.", "2016")},
)


@pytest.mark.parametrize(
    ("myst", "plain"),
    [
        (
            "so {cite:p}`a2015,c2016`.",
            "so ([A and B, 2015](S/book/references.html); [C et al., 2016](S/book/references.html)).",
        ),
        ("{cite:t}`a2015` say", "A and B ([2015](S/book/references.html)) say"),
        ("see {doc}`../two` or {doc}`that <../two>`", "see [Two](S/book/two.html) or [that](S/book/two.html)"),
        ("{ref}`sec`, {ref}`here <sec>`", "[A section](S/book/part/one.html#sec), [here](S/book/part/one.html#sec)"),
        ("[it](../two.md#a) [x](https://e.org/y)", "[it](S/book/two.html#a) [x](https://e.org/y)"),
        ("`{cite:p}` and ``{ref}`x` `` stay", "`{cite:p}` and ``{ref}`x` `` stay"),
        ("```python\n{cite:p}`x`\n:::\n```", "```python\n{cite:p}`x`\n:::\n```"),
        ("$a_{ij}$ costs\n\n$$\n\\frac{a}{b}\n$$", "$a_{ij}$ costs\n\n$$\n\\frac{a}{b}\n$$"),
        ("by {eq}`e`:\n$$\nx = 1\n$$ (e)", "by (1):\n$$\nx = 1\n\\tag{1}\n$$"),
        (":::{note}\nOne {sub}`2`.\n:::", "> **Note**\n>\n> One <sub>2</sub>."),
        ("````{admonition} Mind *this*\n:class: tip\n\n- a\n````", "> **Mind *this***\n>\n> - a"),
        (":::{tip} T\n:class: dropdown\nin\n:::", "<details>\n<summary>T</summary>\n\nin\n\n</details>"),
        ("::::{note}\n:::{math}\nx\n:::\n::::", "> **Note**\n>\n> $$\n> x\n> $$"),
        (":::{exercise-start}\n:label: ex\n:::\nDo it.\n:::{exercise-end}\n:::", "### Exercise 7\n\nDo it."),
        (":::{solution-start} ex\n:class: dropdown\n:::\nSo.", "#### Solution of exercise 7\n\nSo."),
        ("(sec)=\n## A section\n% hidden\n+++\ntext", "## A section\ntext"),
        (
            '<div class="play" data-play="x">A <b>bowl</b>.</div>',
            "*A bowl .* [Play with it there.](S/book/part/one.html)",
        ),
    ],
)
def test_plain_form(myst, plain):
    page = Plain("book/part/one", LABELS, "S/")
    page.number_equations([myst])
    assert page.convert(myst) == plain
    assert RAW.findall(re.sub(r"```.*```|``.*``|`[^`]*`", "", plain, flags=re.DOTALL)) == []


@pytest.mark.parametrize(
    ("myst", "complaint"),
    [
        ("{numref}`x`", "the role {numref} has no plain form"),
        (":::{list-table}\n:::", "the directive {list-table} has no plain form"),
        ("{cite:p}`nobody`", "the work 'nobody' in the bibliography"),
        ("{ref}`nowhere`", "the label 'nowhere'"),
        ("{eq}`none`", "the equation 'none' on this page"),
        ("{doc}`three`", "the page 'three'"),
        ("![a](x.png)", "the link to the file 'x.png'"),
        (":::{note}\nopen", "the fence ::: is never closed"),
    ],
)
def test_what_has_no_plain_form_stops_the_publication(myst, complaint):
    with pytest.raises(ValueError, match=re.escape(complaint)):
        Plain("book/part/one", LABELS, "S/").convert(myst)


def test_without_a_site_there_are_words_and_no_links():
    assert Plain("book/part/one", LABELS).convert("{cite:p}`a2015` [x](../two.md)") == "(A and B, 2015) x"


@pytest.mark.parametrize(("after", "folds"), [("## Next", 1), ("### Exercise 8", 1), ("And yet.", 0)])
def test_solutions_are_folded_up_to_the_next_heading(after, folds):
    gates = ":::{solution-start} ex\n:::\nSo.", f":::{{solution-end}}\n:::\n\n{after}"
    measured = dict(python="3", torch="2", numpy="2", cpu_seconds=1)
    cells = [nbformat.v4.new_markdown_cell("# T"), nbformat.v4.new_code_cell('REPOSITORY = ""')]
    cells += [nbformat.v4.new_markdown_cell(gate) for gate in gates]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"measured": measured})
    copy(notebook, Plain("book/part/one", LABELS), "A")
    assert [cell.source for cell in notebook.cells[2:5]] == ["#### Solution of exercise 7", "So.", after]
    assert notebook.metadata.colab.collapsed_sections == ["cell-3"][:folds]
    assert json.loads(nbformat.writes(notebook))["cells"][2]["id"] == "cell-3"


def test_folds_have_names_and_figures_their_captions():
    fold = {"code_prompt_show": "check", "code_prompt_hide": "check"}
    cells = [nbformat.v4.new_markdown_cell("# T")]
    cells += [nbformat.v4.new_code_cell('REPOSITORY = ""', metadata={"tags": ["hide-input"]})]
    cells += [nbformat.v4.new_code_cell("claim()", metadata={"tags": ["hide-input"], "mystnb": fold})]
    cells += [nbformat.v4.new_code_cell("seed = 0", metadata={"tags": ["hide-input", "parameters"], "mystnb": fold})]
    cells += [
        nbformat.v4.new_code_cell("plot()", metadata={"mystnb": {"figure": {"caption": "As {cite:t}`a2015` say."}}})
    ]
    measured = dict(python="3", torch="2", numpy="2", cpu_seconds=1)
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"measured": measured, "verified": {"fingerprint": "f"}})
    copy(notebook, Plain("book/part/one", LABELS), "A")
    setup, check, parameters, plot, caption = notebook.cells[1:6]
    assert setup.source == '# @title code\nREPOSITORY = "A"' and setup.metadata.cellView == "form"
    assert check.source == "# @title check\nclaim()" and check.metadata.cellView == "form"
    assert parameters.source == "seed = 0" and parameters.metadata == {"tags": ["parameters"]}  # a reader sets them
    assert plot.source == "plot()" and plot.metadata == {}
    assert caption.cell_type == "markdown" and caption.source == "*As A and B (2015) say.*"
    assert "verified" not in notebook.metadata

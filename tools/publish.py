"""Write what a repository publishes, the site and the Colab copies of the notebooks: `python -m tools.publish`.

The repository's address stands in no file. It comes from the environment, or from the git remote `origin`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import yaml
from nbformat.v4 import new_markdown_cell

from tools.notebooks import BOOK, ROOT
from tools.plain import SOLUTION, SOLVED, Labels, Plain
from tools.site import pages

OUT = ROOT / "_build" / "publish"
BRANCH = "colab"  # where the copies go, and what the buttons open
GITHUB = "https://github.com/"
ADDRESS = re.compile(
    r"(?:https?://(?:[^/@\s]*@)?(?P<host>[\w.-]+(?::\d+)?)/"  # a password in the address goes no further
    r"|ssh://(?:[^/@\s]*@)?(?P<ssh>[\w.-]+)(?::\d+)?/"
    r"|[\w.-]+@(?P<scp>[\w.-]+):/?)(?P<path>[\w.~-]+(?:/[\w.~-]+)+)/?"
)
EMPTY = 'REPOSITORY = ""'
MADE = """*The stored outputs were computed with Python {python}, torch {torch} and NumPy {numpy}, in {cpu_seconds} seconds of
one CPU thread.*"""


def address(folder: Path = ROOT) -> str:
    """The repository's address, `https://host/owner/name`; SystemExit says what is missing."""
    if name := os.environ.get("GITHUB_REPOSITORY"):
        found = f"{(os.environ.get('GITHUB_SERVER_URL') or GITHUB).rstrip('/')}/{name}"
    else:
        command = ["git", "-C", str(folder), "remote", "get-url", "origin"]
        found = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    match = ADDRESS.fullmatch(found)
    if match is None:
        what = f"the address {found!r} is neither https nor ssh" if found else "there is no git remote called origin"
        raise SystemExit(f"Whose book is it? {what}. Set GITHUB_REPOSITORY=owner/name, or the remote.")
    return f"https://{match['host'] or match['ssh'] or match['scp']}/{match['path'].removesuffix('.git')}"


def revision(folder: Path = ROOT) -> str:
    """The commit that is published, "" outside a git repository."""
    command = ["git", "-C", str(folder), "rev-parse", "--verify", "-q", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def site_of(repository: str) -> str:
    """Where GitHub Pages shows the site of a repository; "" for one that is elsewhere."""
    if not repository.startswith(GITHUB):
        return ""
    owner, name = repository.removeprefix(GITHUB).split("/")
    host = f"{owner.lower()}.github.io"
    return f"https://{host}/" if name.lower() == host else f"https://{host}/{name}/"


def write_site(repository: str, folder: Path) -> None:
    """Build the site with the theme's own buttons: Colab, the repository, an issue about this page.

    No edit button: the editor behind it shows a notebook as JSON, and the edit would leave the outputs behind.
    Colab opens notebooks from GitHub alone, so a repository elsewhere gets the site without buttons.
    """
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    extensions = config["sphinx"]["local_extensions"]
    config["sphinx"]["local_extensions"] = {name: str(ROOT / path) for name, path in extensions.items()}
    if repository.startswith(GITHUB):
        config["repository"] = {"url": repository, "branch": BRANCH}
        config["launch_buttons"] = {"colab_url": "https://colab.research.google.com"}
        config["html"] |= {"use_repository_button": True, "use_issues_button": True}
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "config.yml").write_text(yaml.safe_dump(config, sort_keys=False))
    work = OUT / "work"
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", "-W", "-n", "--keep-going", "-q", "--all"]
    command += ["--config", str(OUT / "config.yml"), "--path-output", str(work), str(ROOT)]
    log = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if log.returncode:
        raise SystemExit(log.stdout + log.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.move(work / "_build" / "html", folder)
    shutil.rmtree(work)


def write_copies(repository: str, folder: Path, commit: str) -> list[Path]:
    """Write the notebooks as Colab opens them, under the paths that they have in the book; return their paths.

    They install the code of that `commit`, or the newest when it is "": a copy that a reader keeps goes on running the code
    that it was written with.
    """
    site = site_of(repository)
    notebooks, labels = {}, Labels()
    for page in pages():
        path = ROOT / f"{page}.ipynb"
        if path.exists():
            notebooks[page] = nbformat.read(path, as_version=4)
            texts = [cell.source for cell in notebooks[page].cells if cell.cell_type == "markdown"]
        else:
            texts = [path.with_suffix(".md").read_text()]
        labels.read(page, texts)
    labels.cite(BOOK / "references.bib")
    written = []
    for page, notebook in notebooks.items():
        path = folder / f"{page}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        copy(notebook, Plain(page, labels, site), f"{repository}@{commit}" if commit else repository)
        nbformat.validate(notebook)
        path.write_text(nbformat.writes(notebook) + "\n")
        written.append(path)
    return written


def copy(notebook: nbformat.NotebookNode, plain: Plain, source: str) -> None:
    """Make a notebook its own copy for Colab: plain Markdown, the code's `source` filled in, no metadata of the book."""
    measured = notebook.metadata.pop("measured")
    notebook.metadata.pop("verified", None)
    setup = next(cell for cell in notebook.cells if cell.cell_type == "code")
    if setup.source.count(EMPTY) != 1:
        raise ValueError(f"{plain.page}: the setup cell has not one line {EMPTY}")
    setup.source = setup.source.replace(EMPTY, EMPTY.replace('""', json.dumps(source)))
    plain.number_equations([cell.source for cell in notebook.cells if cell.cell_type == "markdown"])
    cells, folded, solved = [], [], False
    for cell in notebook.cells:
        if cell.cell_type == "code":
            keep_alternative_text(cell)
        for piece in [cell.source] if cell.cell_type == "code" else pieces(plain.convert(cell.source)):
            if piece == SOLVED:
                solved = True
                continue
            if solved and not piece.startswith("#"):
                folded.pop()  # what follows a solution without a heading would be folded with it
            solved = False
            cells.append(cell if cell.cell_type == "code" else new_markdown_cell(piece))
            if caption := cell.metadata.get("mystnb", {}).get("figure", {}).get("caption"):
                cells.append(new_markdown_cell(f"*{plain.convert(caption)}*"))
            if piece.startswith(SOLUTION):
                folded.append(cells[-1])
    page = plain.link("Deep Learning, Executed", plain.page)
    cells[0].source += f"\n\n*A page of {page}. Its first code cell installs the code of the book.*"
    cells.append(new_markdown_cell(MADE.format(**measured)))
    notebook.cells = cells
    for number, cell in enumerate(cells, 1):
        cell.id = f"cell-{number}"
        tags, fold = cell.metadata.get("tags", []), cell.metadata.get("mystnb", {}).get("code_prompt_show", "code")
        cell.metadata = nbformat.from_dict({"tags": ["parameters"]} if "parameters" in tags else {})
        if "hide-input" in tags and "parameters" not in tags:  # Colab folds a cell that begins with a title
            cell.source, cell.metadata["cellView"] = f"# @title {fold}\n{cell.source}", "form"
    for cell in folded:
        cell.metadata["id"] = cell.id
    notebook.metadata["colab"] = {"collapsed_sections": [cell.id for cell in folded]}


def pieces(text: str) -> list[str]:
    """A converted cell, cut where a solution begins and ends: Colab folds the cells below a heading."""
    cut = re.split(rf"^({SOLUTION}.*|{SOLVED})$", text, flags=re.MULTILINE)
    return [piece.strip("\n") for piece in cut if piece.strip()]


def keep_alternative_text(cell: nbformat.NotebookNode) -> None:
    """Move the alternative text of a figure to where notebooks keep it outside the book: beside the image."""
    alternative = cell.metadata.get("mystnb", {}).get("image", {}).get("alt")
    for output in cell.outputs:
        if alternative and "image/png" in output.get("data", {}):
            output.metadata = nbformat.from_dict({"image/png": {"alt": alternative}})


def main() -> None:
    repository = address()
    shutil.rmtree(OUT, ignore_errors=True)
    copies = write_copies(repository, OUT / "colab", revision())
    write_site(repository, OUT / "site")
    for path in copies:  # what the site offers for download runs wherever it is opened
        shutil.copy(path, OUT / "site" / "_sources" / path.relative_to(OUT / "colab"))
    print(f"{repository}: the site in {(OUT / 'site').relative_to(ROOT)}")
    print(f"{len(copies)} notebooks for the branch {BRANCH} in {(OUT / 'colab').relative_to(ROOT)}")


if __name__ == "__main__":
    main()

"""Run, refresh, verify and normalise the notebooks: `python -m tools.notebooks run|refresh|verify …`."""

import argparse
import ast
import base64
import datetime
import hashlib
import io
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell
from PIL import Image

from helpers.ledger import CLAIM_MIME
from tools.fingerprint import OWN, fingerprint

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
SETUP = (ROOT / "tools" / "setup_cell.py").read_text().rstrip("\n")
KEPT_METADATA = ("tags", "mystnb")

# What a page says of its own execution, asked of the kernel after the last cell.
PROBE = """
import json, platform, resource, sys
import numpy, torch
from helpers.data import bytes_downloaded
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps(dict(
    cpu_seconds=round(usage.ru_utime + usage.ru_stime),
    peak_megabytes=round(usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)),
    bytes_downloaded=bytes_downloaded(),
    python=platform.python_version(), torch=torch.__version__, numpy=numpy.__version__,
)))
"""


def chapters() -> list[Path]:
    """Every notebook of the book, in alphabetical order."""
    return sorted(BOOK.glob("*/*.ipynb"))


def find(name: str) -> Path:
    """The notebook called `part/chapter` (also with `book/` before or `.ipynb` behind); SystemExit names the others."""
    path = BOOK / (name.removeprefix("book/").removesuffix(".ipynb") + ".ipynb")
    if not path.is_file():
        known = "\n  ".join(str(p.relative_to(BOOK).with_suffix("")) for p in chapters())
        raise SystemExit(f"There is no notebook {name!r}. The book has:\n  {known}")
    return path


def parameters(notebook: nbformat.NotebookNode) -> dict[str, object]:
    """Names and default values of the cell tagged `parameters`, which holds plain literals only."""
    cells = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    if len(cells) != 1:
        raise ValueError(f"{len(cells)} cells are tagged `parameters`: a notebook has exactly one")
    return {s.targets[0].id: ast.literal_eval(s.value) for s in ast.parse(cells[0].source).body}


def execute(notebook: nbformat.NotebookNode, folder: Path) -> dict[str, object]:
    """Execute all cells in place, in order, in one kernel that starts in `folder`; return what PROBE measured."""
    probe = new_code_cell(PROBE)
    client = NotebookClient(notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    notebook.cells.append(probe)
    try:
        with client.setup_kernel(env=os.environ | {"DLE_PROGRESS": "0"}):
            for index, cell in enumerate(notebook.cells):
                client.execute_cell(cell, index)
    finally:
        notebook.cells.remove(probe)
    return json.loads(probe.outputs[0]["text"])


def normalise(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Leave nothing in the file that differs from run to run: fixed metadata and cell ids, merged streams."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
        | {name: notebook.metadata[name] for name in OWN if name in notebook.metadata}
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        cell.source = cell.source.rstrip("\n")
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k in KEPT_METADATA})
        if cell.cell_type == "code" and claims(cell.source):
            fold(cell, "check")
        elif cell.source == SETUP or "parameters" in cell.metadata.get("tags", []):
            fold(cell, "set-up")
        name = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        seen[name] = seen.get(name, 0) + 1
        cell.id = name if seen[name] == 1 else f"{name}-{seen[name]}"
        if cell.cell_type == "code":
            cell.outputs = _merged(cell.outputs)
    return notebook


def claims(source: str) -> bool:
    """Whether a cell enters claims in the ledger."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return any(isinstance(call.func, ast.Name) and call.func.id == "claim" for call in calls)


def fold(cell: nbformat.NotebookNode, name: str) -> None:
    """Hide a cell's code under a name that says what it holds; what it prints and draws stays in sight."""
    cell.metadata["tags"] = sorted({*cell.metadata.get("tags", []), "hide-input"})
    prompts = {"code_prompt_show": name, "code_prompt_hide": name}
    cell.metadata["mystnb"] = cell.metadata.get("mystnb", {}) | prompts


def _merged(outputs: list) -> list:
    """Join neighbouring pieces of the same stream, drop widgets and the metadata of outputs."""
    merged: list = []
    for output in outputs:
        if output.output_type == "stream" and merged and merged[-1].get("name") == output.name:
            merged[-1].text += output.text
            continue
        if "data" in output:
            output.data.pop("application/vnd.jupyter.widget-view+json", None)
            output.metadata = nbformat.from_dict({})
        merged.append(output)
    return merged


def pack(notebook: nbformat.NotebookNode) -> None:
    """Store each picture in as few bytes as PNG can without a loss; matplotlib does not look for them."""
    for output in (o for cell in notebook.cells for o in cell.get("outputs", [])):
        if picture := output.get("data", {}).get("image/png"):
            packed = io.BytesIO()
            Image.open(io.BytesIO(base64.b64decode(picture))).save(packed, "PNG", optimize=True)
            output.data["image/png"] = base64.b64encode(packed.getvalue()).decode()


def refresh(name: str) -> None:
    """Write the common setup cell into a notebook, execute it in place and store its normalised outputs.

    Measured time and memory are replaced only when the content has changed: a second refresh changes nothing. A notebook that
    ran is verified: it takes the fingerprint of what it depends on.
    """
    path = find(name)
    notebook = nbformat.read(path, as_version=4)
    setup = next(cell for cell in notebook.cells if cell.cell_type == "code")
    setup.source = SETUP
    normalise(notebook)
    before = [dict(cell) for cell in json.loads(nbformat.writes(notebook))["cells"]]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    try:
        figures = execute(notebook, path.parent)
    except CellExecutionError as error:
        raise SystemExit(f"{path.relative_to(ROOT)} was left as it was: a cell failed.\n{error}") from None
    normalise(notebook)
    pack(notebook)
    if json.loads(nbformat.writes(notebook))["cells"] != before or "measured" not in notebook.metadata:
        notebook.metadata["measured"] = figures | {"date": datetime.date.today().isoformat()}
    nbformat.validate(notebook)
    _write(notebook, path)
    _sign(path)
    print(f"{path.relative_to(ROOT)}: {figures['cpu_seconds']} s CPU, {figures['peak_megabytes']} MB")


def _write(notebook: nbformat.NotebookNode, path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(nbformat.writes(notebook) + "\n")
    temporary.replace(path)


def _sign(path: Path) -> None:
    """Enter in a notebook the fingerprint of what it was executed with, and today's date where that is new."""
    notebook = nbformat.read(path, as_version=4)
    today = {"fingerprint": fingerprint(path), "date": datetime.date.today().isoformat()}
    if notebook.metadata.get("verified", {}).get("fingerprint") != today["fingerprint"]:
        notebook.metadata["verified"] = today
        _write(notebook, path)


def verify(names: list[str]) -> None:
    """Execute notebooks and compare, side by side; those that agree with what is stored take the fingerprint of today.

    Nothing else changes in them. SystemExit names those that do not agree.
    """
    paths = [find(name) for name in names]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        outcomes = dict(zip(paths, pool.map(_compared, paths), strict=True))
    for path in paths:
        print(f"{path.relative_to(ROOT)}: {'verified' if outcomes[path] is None else outcomes[path]}")
    if differ := [path for path in paths if outcomes[path] is not None]:
        raise SystemExit(f"{len(differ)} of {len(paths)} notebooks do not agree with what is stored")


def _compared(path: Path) -> str | None:
    """Execute a notebook with nbval and sign it; what nbval says when the outputs are others."""
    before = fingerprint(path)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env", str(path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"DLE_PROGRESS": "0"})
    if result.returncode:
        return result.stdout + result.stderr
    if fingerprint(path) != before:
        return "changed while it was executed: verify it once more"
    _sign(path)
    return None


def write_cover() -> None:
    """Store the first figure of the first chapter as the picture of the README."""
    cells = nbformat.read(BOOK / "foundations" / "optimizers.ipynb", as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    figure = next(output.data["image/png"] for output in outputs if "image/png" in output.get("data", {}))
    (BOOK / "_static" / "cover.png").write_bytes(base64.b64decode(figure))


def run(name: str, settings: list[str]) -> None:
    """Execute a notebook with papermill into `_build/runs/`, with other values for its declared parameters.

    Under `torchrun` every process executes all of it, and what `train` trains is shared; process 0 writes and speaks.
    """
    import papermill

    path = find(name)
    declared = parameters(nbformat.read(path, as_version=4))
    chosen = {}
    for setting in settings:
        key, _, text = setting.partition("=")
        if key not in declared:
            known = ", ".join(f"{k} = {v!r}" for k, v in declared.items())
            raise SystemExit(f"{name} declares no parameter {key!r}. It has: {known}")
        kind = type(declared[key])
        try:
            chosen[key] = kind(text)
        except ValueError:
            raise SystemExit(f"{key} = {text!r}: {name} expects {kind.__name__}, as in {declared[key]!r}") from None
    label = "-".join([path.stem, *(f"{k}={v}" for k, v in chosen.items())])
    target = ROOT / "_build" / "runs" / path.parent.name / f"{label}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    os.environ["DLE_PROGRESS"] = "0"  # papermill's bar counts the cells; ours would be stored
    if int(os.environ.get("RANK", 0)):
        papermill.execute_notebook(path, None, chosen, cwd=path.parent, kernel_name="python3", progress_bar=False)
        return
    print(f"Running {path.relative_to(ROOT)} with {declared | chosen}")
    try:
        papermill.execute_notebook(path, target, parameters=chosen, cwd=path.parent, kernel_name="python3")
    except papermill.PapermillExecutionError as error:
        raise SystemExit(f"A cell failed; what ran is in {target.relative_to(ROOT)}.\n{error}") from None
    print(f"Wrote {target.relative_to(ROOT)}")
    other = differing(nbformat.read(target, as_version=4))
    print(f"Verdicts other than the recorded ones: {', '.join(other) or 'none'}")


def differing(notebook: nbformat.NotebookNode) -> list[str]:
    """The ids of the claims whose check contradicts the recorded verdict, in a run with other settings."""
    bundles = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    return [
        data[CLAIM_MIME]["id"] for data in bundles if CLAIM_MIME in data and '<p class="differs">' in data["text/html"]
    ]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.notebooks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run", help="execute with other parameters into _build/runs")
    one.add_argument("notebook")
    one.add_argument("settings", nargs="*", metavar="NAME=VALUE")
    many = commands.add_parser("refresh", help="execute in place and store normalised outputs")
    many.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="part/chapter; all when none is named")
    again = commands.add_parser("verify", help="execute and compare; store nothing but the fingerprint")
    again.add_argument(
        "notebooks", nargs="*", metavar="NOTEBOOK", help="part/chapter; all that are due when none is named"
    )
    options = parser.parse_args(arguments)
    if options.command == "run":
        run(options.notebook, options.settings)
    elif options.command == "verify":
        from tools.due import is_due

        verify(options.notebooks or [str(p.relative_to(BOOK)) for p in chapters() if is_due(p)])
    else:
        for name in options.notebooks or [str(p.relative_to(BOOK)) for p in chapters()]:
            refresh(name)
        write_cover()


if __name__ == "__main__":
    main(sys.argv[1:])

"""Execute published notebooks as Colab does: `python colab.py FOLDER [--first N] [part/chapter …]`.

Stands alone: it runs without a checkout, in Colab's own image too, and needs nbclient and ipykernel. Each notebook installs the
book's code itself. The last line is a JSON record; a package that was there before and is another afterwards is a failure.
"""

import argparse
import importlib.metadata
import json
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def versions() -> dict[str, str]:
    """Name and version of every installed distribution."""
    return {d.metadata["Name"].lower(): d.version for d in importlib.metadata.distributions() if d.metadata["Name"]}


def execute(path: Path, first: int | None) -> int:
    """Run the first cells of a notebook, or all, in a folder that holds nothing; return how many code cells ran."""
    notebook = nbformat.read(path, as_version=4)
    code = [index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code"][:first]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=1800, kernel_name="python3", resources={"metadata": {"path": folder}})
        with client.setup_kernel(env=environment, cwd=folder):
            for index in code:
                client.execute_cell(notebook.cells[index], index)
    return len(code)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("notebooks", nargs="*", help="part/chapter; all of the folder when none is named")
    parser.add_argument("--first", type=int, help="run so many code cells of each, and not all")
    options = parser.parse_intermixed_args()  # `--first` may stand between the folder and the names
    paths = [options.folder / f"book/{name}.ipynb" for name in options.notebooks]
    paths = paths or sorted(options.folder.rglob("*.ipynb"))
    if not paths:
        sys.exit(f"there is no notebook in {options.folder}")
    before, ran = versions(), {}
    for path in paths:
        ran[path.stem] = execute(path, options.first)
        print(f"{path.stem}: {ran[path.stem]} cells")
    after = versions()
    changed = {name: (old, after.get(name)) for name, old in before.items() if after.get(name) != old}
    added = {name: new for name, new in after.items() if name not in before}
    print(json.dumps({"ran": ran, "changed": changed, "added": added}))
    if changed:
        sys.exit(f"The setup cell changed packages that were there: {changed}")


if __name__ == "__main__":
    main()

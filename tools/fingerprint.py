"""The fingerprint of a stored notebook: a hash of all that its outputs depend on."""

import ast
import hashlib
import json
import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.txt"
COMPARISON = ROOT / "tools" / "compare.py"
OWN = ("measured", "verified")  # what a notebook says of its execution is no part of what its outputs depend on
LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
MENTIONED = re.compile(r"\bhelpers(?:\.\w+)+")


def fingerprint(path: Path) -> str:
    """A hash of all that the stored outputs of a notebook depend on.

    Cells, outputs and metadata; every file of `helpers` that it imports, followed through imports; the locked versions of the
    packages that the notebook and these files import; the comparison.
    """
    notebook = json.loads(path.read_text())
    for name in OWN:
        notebook["metadata"].pop(name, None)
    modules, packages = closure(imported(notebook))
    parts = [json.dumps(notebook, sort_keys=True)]
    parts += [COMPARISON.read_text()]
    parts += [f"{module}\n{_file(module).read_text()}" for module in sorted(modules)]
    parts += sorted(f"{name}=={version}" for name, version in locked(packages | {"nbval"}))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def imported(notebook: dict) -> set[str]:
    """Dotted names that the cells of a notebook import or mention, in strings too (a script for another process)."""
    found: set[str] = set()
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        found |= set(MENTIONED.findall(source))
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def closure(names: Iterable[str]) -> tuple[set[str], set[str]]:
    """Modules of `helpers` that an import of `names` runs, followed through imports, and the foreign packages among them."""
    imports, modules, packages = graph(), set(), set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        while name.startswith("helpers") and name not in imports.modules and "." in name:
            name = name.rpartition(".")[0]  # an object of a module
        if not name.startswith("helpers"):
            packages.add(name.partition(".")[0])
        elif name not in modules and name in imports.modules:
            modules.add(name)
            waiting += imports.find_modules_directly_imported_by(name)
            waiting += [name.rpartition(".")[0]] if "." in name else []  # Python runs the packages above, too
    return modules, packages


@cache
def graph() -> grimp.ImportGraph:
    """What imports what, of `helpers` as it is on the disk."""
    return grimp.build_graph("helpers", include_external_packages=True, cache_dir=None)


def locked(packages: set[str]) -> set[tuple[str, str]]:
    """Name and locked version of the distributions that hold these packages; the standard library has none."""
    versions = {_plain(name): version for name, version in LOCKED.findall(LOCK.read_text())}
    names = {_plain(name) for package in packages for name in holders().get(package, [])}
    return {(name, versions[name]) for name in names if name in versions}


@cache
def holders() -> dict[str, list[str]]:
    """Package -> the distributions that hold it, of this environment."""
    return dict(packages_distributions())


def _file(module: str) -> Path:
    """The file of a module of `helpers`."""
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()

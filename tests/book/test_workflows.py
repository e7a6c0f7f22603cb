"""The workflows are valid, pinned, bounded in time, and may do no more than they must."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tools.notebooks import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
# Every permission beyond reading, and the one job that has it.
WRITES = {("test", "publish"): {"contents", "pages", "id-token"}, ("publish", "site"): {"pages", "id-token"}}
WRITES |= {("publish", "colab"): {"contents"}, ("weekly", "report"): {"issues"}}


def problems(text: str, stem: str) -> list[str]:
    """What is wrong with a workflow beyond its schema, one line each."""
    found, workflow = [], yaml.safe_load(text)
    for line in re.findall(r"^[\s-]*uses:\s*(.*)$", text, re.MULTILINE):
        if not PINNED.fullmatch(line) and not (line.startswith("./") and (ROOT / line).is_file()):
            found.append(f"{line} is not pinned by a commit, with its version behind")
    if workflow.get("permissions") != {"contents": "read"}:
        found.append("the workflow does not begin with permission to read, and no other")
    for name, job in workflow["jobs"].items():
        may = job.get("permissions", {})
        if may == "write-all" or {key for key, value in may.items() if value == "write"} != WRITES.get(
            (stem, name), set()
        ):
            found.append(f"{name} has the permissions {may}")
        if "uses" not in job and not 0 < job.get("timeout-minutes", 0) <= 180:
            found.append(f"{name} has no timeout-minutes of 180 at most")
        for step in job.get("steps", []):
            if (
                step.get("uses", "").startswith("actions/checkout@")
                and step.get("with", {}).get("persist-credentials") is not False
            ):
                found.append(f"{name} leaves its token in the checkout")
            if re.search(r"\$\{\{", step.get("run", "")):
                found.append(f"{name} writes an expression into a shell script: pass it by env")
    return found


def schema(*paths: Path) -> subprocess.CompletedProcess:
    command = [str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema", "vendor.github-workflows"]
    return subprocess.run([*command, *map(str, paths)], capture_output=True, text=True)


def test_workflows_follow_the_schema():
    assert {path.stem for path in WORKFLOWS} == {"test", "publish", "weekly"}
    result = schema(*WORKFLOWS)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_workflow_is_pinned_and_bounded(path):
    assert problems(path.read_text(), path.stem) == []


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("checkout@11bd71901bbe5b1630ceea73d27597364c9af683 # v4.2.2", "checkout@v4", "is not pinned"),
        (" # v4.2.2", "", "is not pinned"),
        ("permissions:\n  contents: read", "env:\n  A: b", "permission to read"),
        ("    timeout-minutes: 90\n", "", "test has no timeout-minutes"),
        ("persist-credentials: false", "fetch-depth: 0", "leaves its token"),
        ("      pages: write\n", "      pages: write\n      packages: write\n", "publish has the permissions"),
        ("bash .ci/run", "echo ${{ github.head_ref }}", "expression into a shell script"),
    ],
)
def test_each_fault_is_reported(old, new, complaint):
    text = (ROOT / ".github/workflows/test.yml").read_text()
    assert old in text and problems(text, "test") == []
    assert any(complaint in line for line in problems(text.replace(old, new, 1), "test"))


def test_schema_reports_a_fault(tmp_path):
    path = tmp_path / "test.yml"
    path.write_text((ROOT / ".github/workflows/test.yml").read_text().replace("runs-on:", "runs_on:"))
    assert schema(path).returncode == 1


def test_publication_waits_for_the_tests_of_main():
    job = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())["jobs"]["publish"]
    assert job["needs"] == ["test", "notebooks"] and job["uses"] == "./.github/workflows/publish.yml"
    assert job["if"] == "github.event_name == 'push' && github.ref == 'refs/heads/main'"


def test_what_workflows_call_exists():
    text = "".join(path.read_text() for path in WORKFLOWS)
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"run: make (\w+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for script in re.findall(r"run: bash (\S+)", text, re.MULTILINE):
        assert (ROOT / script).is_file()
    assert "book/tools/colab.py" in text and (ROOT / "tools/colab.py").is_file()

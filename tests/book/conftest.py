"""A repository that holds what this working tree holds, in one commit."""

import os
import shutil
import subprocess

import pytest

from tools.notebooks import ROOT


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

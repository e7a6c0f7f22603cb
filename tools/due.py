"""Which notebooks a test run executes: `python -m tools.due [--all] [--shard 1/4]` prints their paths.

A notebook is due when its fingerprint is another than the stored one. Of the others a test run executes a share that the commit
chooses, so that each has its turn.
"""

import argparse
import hashlib
import json
import subprocess
from pathlib import Path

from tools.fingerprint import fingerprint
from tools.notebooks import ROOT, chapters

SHARE = 600  # seconds of CPU that a test run spends on notebooks that are not due


def is_due(path: Path) -> bool:
    """Whether a notebook was never verified, or not with what it depends on today."""
    return verified(path).get("fingerprint") != fingerprint(path)


def verified(path: Path) -> dict[str, str]:
    """What a notebook says of its last verification: fingerprint and date; nothing when there was none."""
    return json.loads(path.read_text())["metadata"].get("verified", {})


def seconds(path: Path) -> float:
    """The stored cost of a notebook."""
    return json.loads(path.read_text())["metadata"].get("measured", {}).get("cpu_seconds", 0)


def turn(paths: list[Path], commit: str, share: float = SHARE) -> list[Path]:
    """The share of `paths` whose turn it is at `commit`: in an order that the commit shuffles, while their cost fits.

    The first is in it whatever it costs, so that none is left out for good.
    """
    chosen: list[Path] = []
    for path in sorted(paths, key=lambda path: hashlib.sha256(f"{commit} {path.stem}".encode()).digest()):
        if not chosen or sum(map(seconds, [*chosen, path])) <= share:
            chosen.append(path)
    return chosen


def shard(paths: list[Path], number: int, of: int) -> list[Path]:
    """One of several parts of `paths` that cost alike: the costliest first, each to the part that has least to do."""
    parts: list[list[Path]] = [[] for _ in range(of)]
    for path in sorted(paths, key=lambda path: (-seconds(path), path)):
        min(parts, key=lambda part: sum(map(seconds, part))).append(path)
    return parts[number - 1]


def commit() -> str:
    """The commit of the working tree; without git always the same."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--verify", "-q", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def to_execute(everything: bool = False) -> list[Path]:
    """The notebooks of this test run: all, or those that are due and the share whose turn it is; the costliest first."""
    due = chapters() if everything else [path for path in chapters() if is_due(path)]
    due += turn([path for path in chapters() if path not in due], commit())
    return sorted(due, key=lambda path: (-seconds(path), path))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.due", description=__doc__)
    parser.add_argument("--all", action="store_true", help="every notebook")
    parser.add_argument("--shard", default="1/1", metavar="K/N", help="one of N parts that cost alike")
    options = parser.parse_args()
    number, of = map(int, options.shard.split("/"))
    if not 1 <= number <= of:
        parser.error(f"--shard {options.shard}: K/N names part K of N, counted from 1")
    for path in shard(to_execute(options.all), number, of):
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()

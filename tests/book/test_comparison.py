"""The comparison of notebooks goes red when it should: nbval runs a notebook whose stored outputs were altered."""

import json
import os
import re
import subprocess
import sys

import nbformat
import numpy as np
import pytest

from tools.compare import LIKELY, same
from tools.notebooks import ROOT, execute, normalise

CODE = """\
from helpers.notebook import claim, of_seeds, over_seeds, source, table, timed
from helpers.runtime import by_scale
source(by_scale)
figures = {"gain": 0.5, "A": over_seeds([0.79, 0.86, 0.83]), "speed": timed([5.1, 7.2, 6.6])}
figures |= {"B": over_seeds([0.21, 1.71, 0.21]), "won": of_seeds([True] * 4 + [False])}
claim("test-claim", "A beats B.", True, figures, kind="measured", paper="Doe 2014, table 1")
table([("layer", 55), ("loss", 0.25)], ["name", "value"])
print("parameters", 1797, "loss", 0.2512)"""


ALTERATIONS = {
    "nothing": ("", "", True),
    "a decimal by less than 2 %": ("loss 0.2512", "loss 0.2530", True),
    "a decimal by more": ("loss 0.2512", "loss 0.2912", False),
    "an integer": ("parameters 1797", "parameters 1798", False),
    "a cell of a table": ("| layer | 55 |", "| layer | 56 |", False),
    "a line of a listing": ("return gpu if scale ==", "return lecture if scale ==", False),
    "a verdict": ("Holds (measured", "Did not reproduce (measured", False),
    "a source": ("Doe 2014, table 1", "Doe 2014, table 2", False),
    "the record behind it": ('"verdict": "holds"', '"verdict": "did not reproduce"', False),
    "a figure of a claim": ('"0.500"', '"0.700"', False),
    "a mean within its range": ("0.83 (0.79 to 0.86", "0.80 (0.79 to 0.86", True),
    "a mean outside": ("0.83 (0.79 to 0.86", "0.40 (0.38 to 0.43", False),
    "a range that was narrower": ("0.71 (0.21 to 1.71", "0.711 (0.708 to 0.713", False),
    "a count of seeds by one": ("4 of 5 seeds", "5 of 5 seeds", True),
    "a count of seeds by two": ("4 of 5 seeds", "2 of 5 seeds", False),
    "the number of seeds": ("0.86, 3 seeds)", "0.86, 4 seeds)", False),
    "what a clock said": ("6.3 (5.1 to 7.2", "9.9 (8.8 to 11.1", True),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> list[str]:
    """What nbval says of a notebook whose cells are copies of one, each with its stored output altered, the last without."""
    folder = tmp_path_factory.mktemp("copies")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)])
    execute(notebook, folder)
    outputs = json.dumps(normalise(notebook).cells[0].outputs)
    altered = [[]]
    for old, new, _ in ALTERATIONS.values():
        quoted = json.dumps(old)[1:-1] if '"' not in old else old
        assert quoted in outputs
        altered.insert(-1, json.loads(outputs.replace(quoted, new)))
    notebook.cells = [
        nbformat.v4.new_code_cell(CODE, outputs=nbformat.from_dict(output), execution_count=number)
        for number, output in enumerate(altered, 1)
    ]
    path = folder / "copies.ipynb"
    nbformat.write(normalise(notebook), path)
    command = [sys.executable, "-m", "pytest", "-v", "-p", "tools.compare", "-p", "no:cacheprovider", "-c", os.devnull]
    command += ["--rootdir", str(folder), "--nbval", "--nbval-current-env", str(path)]
    environment = os.environ | {"DLE_PROGRESS": "0"}
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    verdicts = re.findall(r"::Cell \d+ (PASSED|FAILED)", result.stdout)
    assert len(verdicts) == len(altered), result.stdout
    return verdicts


@pytest.mark.parametrize("what", ALTERATIONS)
def test_altered_output(outcomes, what):
    *_, passes = ALTERATIONS[what]
    assert outcomes[list(ALTERATIONS).index(what)] == ("PASSED" if passes else "FAILED")


def test_removed_outputs(outcomes):
    assert outcomes[-1] == "FAILED"


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        ("loss 1.234", "loss 1.240", True),
        ("loss 1.234", "loss 1.334", False),
        ("0.123", "0.124", True),
        ("0.25", "0.3", False),
        ("3e-17", "-2.4e-16", True),
        ("1.5e-3", "1.5e-2", False),
        ("+0.5", "-0.5", False),
        ("12 of 0.1", "13 of 0.1", False),
        ("12,345", "12,346", False),
        ("1,234.5", "1,230.1", True),
        ("v1.2.3", "v1.2.4", False),
        ("0.1 0.2", "0.1", False),
        ("3e-17", "2e-3", False),
        ("0.83 (0.79 to 0.86, 3 seeds)", "0.86 (0.79 to 0.86, 3 seeds)", True),
        ("0.83 (0.79 to 0.86, 3 seeds)", "0.64 (0.61 to 0.65, 3 seeds)", True),  # 0.19 apart, 3.5 times the mean range
        (
            "0.83 (0.79 to 0.86, 3 seeds)",
            "0.60 (0.57 to 0.61, 3 seeds)",
            False,
        ),  # 4.2 times: three numbers say little …
        ("0.83 (0.79 to 0.86, 5 seeds)", "0.76 (0.73 to 0.79, 5 seeds)", True),
        ("0.83 (0.79 to 0.86, 5 seeds)", "0.73 (0.69 to 0.75, 5 seeds)", False),
        ("0.83 (0.79 to 0.86, 10 seeds)", "0.80 (0.77 to 0.83, 10 seeds)", True),
        ("0.83 (0.79 to 0.86, 10 seeds)", "0.79 (0.76 to 0.82, 10 seeds)", False),  # … ten say more
        ("0.83 (0.79 to 0.86, 12 seeds)", "0.79 (0.76 to 0.82, 12 seeds)", False),
        ("0.83 (0.70 to 0.90, 3 seeds)", "0.83 (3 seeds)", True),
        ("1.0 (3 seeds)", "0.93 (0.80 to 1.00, 3 seeds)", True),
        ("1.0 (3 seeds)", "0.60 (0.00 to 1.00, 3 seeds)", False),
        ("1.0 (10 seeds)", "0.93 (0.80 to 1.00, 10 seeds)", False),
        ("0.50 (0.49 to 0.51, 10 seeds)", "0.51 (0.47 to 0.53, 10 seeds)", True),
        ("0.50 (0.49 to 0.51, 10 seeds)", "0.51 (0.45 to 0.53, 10 seeds)", False),  # four times as wide
        ("4 of 5 seeds", "5 of 5 seeds", True),
        ("4 of 5 seeds", "4 of 6 seeds", False),
        ("7 of 10 seeds", "9 of 10 seeds", True),
        ("7 of 10 seeds", "4 of 10 seeds", False),
        ("7 of 10 boxes", "8 of 10 boxes", False),
        ("-0.1 (-0.2 to 0.1, 3 seeds)", "0.1 (-0.2 to 0.1, 3 seeds)", True),
        ("7.7 (7 to 8, 3 seeds)", "7.3 (7 to 8, 3 seeds)", True),
        ("4,300 (4,100 to 4,512, 10 seeds)", "4,600 (4,400 to 4,812, 10 seeds)", False),
        ("0.30 (0.20 to 0.40, 5 draws)", "0.30 (0.20 to 0.40, 5 runs)", False),
        ("(0.79 to 0.86)", "(0.60 to 0.86)", False),
        ("6.3 (5.1 to 7.2, 7 runs, timed)", "16 (11 to 72, 7 runs, timed)", True),
        ("6.3 (5.1 to 7.2, 7 runs, timed)", "6.3 (5.1 to 7.2, 7 runs)", False),
    ],
)
def test_what_counts_as_the_same(left, right, equal):
    assert same(left, right) is equal


@pytest.mark.parametrize("size", [3, 5, 10, 50])
def test_samples_of_one_distribution_agree(size):
    """Two samples of a normal distribution differ by more than `LIKELY` says once in a thousand times, in mean and in range."""
    noise = np.random.default_rng(0)
    ours, theirs = noise.standard_normal((2, 400_000, size)).astype("f4")
    apart = abs(ours.mean(1) - theirs.mean(1)) / (np.ptp(ours, 1) + np.ptp(theirs, 1)) * 2
    limits = LIKELY[size]
    for found, limit in zip((apart, np.ptp(theirs, 1) / np.ptp(ours, 1)), limits):
        assert 0.6e-3 < (found > limit).mean() < 1.5e-3

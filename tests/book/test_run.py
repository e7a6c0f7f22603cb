"""One notebook and one script on several processes: what the page on running promises."""

import re

import nbformat
import pytest

from tests.training.processes import in_two, printed
from tools.notebooks import BOOK, SETUP, normalise

# A page whose training has tiny settings; the weights say whether two processes found what one finds.
TRAINING = """from torch.nn import functional as F

from helpers.convnets.architectures.lenet import lenet_small
from helpers.data import mnist
from helpers.runtime import seed_everything
from helpers.training import rank, train

(few,) = mnist().split(0.02, generator=seed_everything(seed), stratified=True)
net = lenet_small(channels=1)
history = train(net, lambda net, batch: F.cross_entropy(net(batch[0]), batch[1]), (few.images, few.labels), steps=8,
    rate=3e-3, batch_size=20, seed=seed, rise=2, clip=1.0)
print(*(f"{loss:.4f}" for loss in history["loss"]), f"{sum(w.abs().sum() for w in net.parameters()).item():.2f}")
print(rank())"""
DRIVER = """import sys
from pathlib import Path
from tools import notebooks
notebooks.ROOT = Path(sys.argv[1])
notebooks.BOOK = notebooks.ROOT / "book"
notebooks.run("part/chapter", ["seed=3"])"""


def test_the_script_of_the_page_runs_alone_and_in_two_processes(tmp_path):
    (block,) = re.findall(r"```python\n(.*?)```", (BOOK / "run.md").read_text(), re.DOTALL)
    assert len(block.splitlines()) <= 25
    short, count = re.subn("steps=400", "steps=30", block)
    assert count == 1
    script = tmp_path / "train.py"
    script.write_text(short)
    alone = printed(script)
    first, second = in_two(printed, script)
    assert re.fullmatch(r"loss \d\.\d{3}, \d\d\.\d% of the test digits right\n", alone)
    assert first == alone and second == ""


@pytest.mark.notebooks
def test_a_page_on_two_processes_equals_one(tmp_path):
    """The kernel of each process is its own; the cells of the page, run as a script, are what one process finds."""
    page = tmp_path / "book/part/chapter.ipynb"
    page.parent.mkdir(parents=True)
    cells = [
        nbformat.v4.new_markdown_cell("# Title"),
        nbformat.v4.new_code_cell(SETUP),
        nbformat.v4.new_code_cell('scale = "lecture"\nseed = 0', metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(TRAINING),
    ]
    nbformat.write(normalise(nbformat.v4.new_notebook(cells=cells)), page)
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER)
    written = tmp_path / "_build/runs/part/chapter-seed=3.ipynb"
    first, second = in_two(printed, driver, tmp_path)
    assert (first.count("Wrote"), second) == (1, "")  # process 0 alone
    text = nbformat.read(written, as_version=4).cells[-1].outputs[0].text
    script = tmp_path / "cells.py"
    script.write_text("\n".join(["seed = 3", *TRAINING.splitlines()]))
    assert text == printed(script)
    assert text.endswith("\n0\n") and len(text.split()) == 10

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from helpers.training import distributed, gather, is_main, load_checkpoint, prepare, unwrap
from tests.training.processes import alone_and_under_torchrun

PROGRAM = Path(__file__).with_name("data_parallel.py")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What the program found alone, and in each of two processes."""
    folder = tmp_path_factory.mktemp("runs")
    process, pieces = alone_and_under_torchrun(PROGRAM, folder)
    return folder, process, *pieces


def close(mine, reference):
    assert_close(mine, reference, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("run", ["one step", "straight", "parts", "resumed"])
@pytest.mark.parametrize("what", ["gradients", "parameters", "average", "history"])
def test_matches_one_process(runs, run, what):
    _, _, alone, first, second = runs
    close(first[run][what], alone[run][what])
    assert_close(second[run][what], first[run][what], rtol=0, atol=0)  # every process knows the same


def test_metrics_are_those_of_the_whole_batch(runs):
    *_, alone, first, _ = runs
    means = first["straight"]["history"]["means"]
    assert set(means) == {
        "loss", "accuracy", "gradient norm", "learning rate", "validation loss", "validation accuracy"
    }  # fmt: skip
    assert means["loss"][-1] < means["loss"][0]
    assert first["straight"]["history"]["steps"]["validation loss"].tolist() == [4, 8, 12, 16, 20]


def test_resume_is_bit_identical(runs):
    for found in runs[2:]:
        for what in ("parameters", "average", "history"):
            assert_close(found["resumed"][what], found["straight"][what], rtol=0, atol=0)


def test_only_process_0_writes(runs):
    folder, process, alone, first, second = runs
    assert alone["writes"] == first["writes"] == [0] * 4  # after steps 5, 10, 15, 20
    states = load_checkpoint(folder / "checkpoint2.pt")
    assert states["model"].keys() == load_checkpoint(folder / "checkpoint1.pt")["model"].keys()
    assert len(states["random"]["processes"]) == 2
    assert alone["is main"] and first["is main"] and not second["is main"]
    assert "Warning" not in process.stderr and "it/s" not in process.stderr


@pytest.mark.gpu
def test_device_and_dtype(runs):
    *_, alone, first, second = runs
    assert_close(first["device"]["history"], alone["straight"]["history"], rtol=1e-6, atol=1e-9)
    assert_close(second["device"]["history"], first["device"]["history"], rtol=0, atol=0)


def test_alone_nothing_changes():
    model = nn.Linear(2, 2)
    assert distributed() == (0, 1) and is_main() and gather(3) == [3]
    assert prepare(model) is model and unwrap(model) is model
    assert not torch.distributed.is_initialized()

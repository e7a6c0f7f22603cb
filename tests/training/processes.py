"""Run a program of the tests alone, and in two processes under torchrun."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import torch


def alone_and_in_two(program: Path, folder: Path) -> tuple[subprocess.CompletedProcess, list]:
    """What torchrun said, and what the program left in `folder`: alone, in process 0 and in process 1."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    process = subprocess.run(
        [*command, program, folder],
        cwd=program.parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    threads = torch.get_num_threads()
    runpy.run_path(str(program))["main"](folder)
    torch.set_num_threads(threads)
    return process, [torch.load(folder / name) for name in ("0 of 1.pt", "0 of 2.pt", "1 of 2.pt")]

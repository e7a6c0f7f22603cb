"""Run a program of the tests alone, and in two processes: under torchrun, or forked, which is cheaper."""

import contextlib
import io
import os
import runpy
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from tests.fresh import ROOT, SERVER


def alone_and_under_torchrun(program: Path, folder: Path) -> tuple[subprocess.CompletedProcess, list]:
    """What torchrun said, and what the program left in `folder`: alone, in process 0 and in process 1."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    process = subprocess.run(
        [*command, program, folder],
        cwd=program.parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    return process, found(program, folder)


def alone_and_in_two(program: Path, folder: Path) -> list:
    """What the program left in `folder`: alone, in process 0 and in process 1."""
    in_two(leave, program, folder)
    return found(program, folder)


def in_two(work: Callable, *arguments: Any) -> list:
    """What a function of this module returns in process 0 and in process 1 of two."""
    with socket.socket() as one:
        one.bind(("localhost", 0))
        port = one.getsockname()[1]
    with ProcessPoolExecutor(2, mp_context=SERVER) as pool:
        parts = [pool.submit(take_part, rank, port, work, *arguments) for rank in range(2)]
        return [part.result() for part in parts]


def take_part(rank: int, port: int, work: Callable, *arguments: Any) -> Any:
    """Be one of two processes, with the environment that torchrun gives."""
    sys.path.insert(0, ROOT)
    words = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "TORCHELASTIC_RUN_ID": "none"}
    words |= {"MASTER_ADDR": "localhost", "MASTER_PORT": port}
    words |= {"PYTHONPATH": ROOT, "OMP_NUM_THREADS": 1}
    os.environ |= {key: str(value) for key, value in words.items()}
    return work(*arguments)


def leave(program: Path, folder: Path) -> None:
    """Let the program leave what it found in `folder`."""
    runpy.run_path(str(program))["main"](folder)


def printed(program: Path, *arguments: Path) -> str:
    """What a script prints."""
    torch.set_num_threads(1)
    if arguments:
        sys.argv[1:] = map(str, arguments)
    with contextlib.redirect_stdout(io.StringIO()) as text:
        runpy.run_path(str(program), run_name="__main__")
    return text.getvalue()


def found(program: Path, folder: Path) -> list:
    """Run the program alone too; what all three left."""
    threads = torch.get_num_threads()
    runpy.run_path(str(program))["main"](folder)
    torch.set_num_threads(threads)
    return [torch.load(folder / name) for name in ("0 of 1.pt", "0 of 2.pt", "1 of 2.pt")]

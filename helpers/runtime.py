"""Seed, device and scale: the three things that decide what a notebook computes and where."""

import os
import random
from typing import Literal, TypeVar, get_args

import numpy as np
import torch

Scale = Literal["lecture", "gpu"]
T = TypeVar("T")


def seed_everything(seed: int) -> torch.Generator:
    """Seed Python, NumPy and torch, ask torch for deterministic algorithms, and return a CPU generator with that seed.

    Give the generator to whatever draws at random, so that a cell's numbers do not depend on the cells before it.
    Raises `ValueError` for a seed that is no whole number within 0 … 2³² - 1, the range that NumPy takes.
    """
    if not 0 <= seed < 2**32 or seed != int(seed):
        raise ValueError(f"seed = {seed}: a seed is a whole number and lies between 0 and 2**32 - 1")
    seed = int(seed)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with a fixed workspace
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # saves a tenth of the time; nobody reads it
    return torch.Generator().manual_seed(seed)


def pick_device(name: str | None = None) -> torch.device:
    """The device called `name`; without a name the GPU of this process when there is one, else the CPU.

    Under `torchrun` each process takes the GPU of its local rank. Raises `ValueError` for a GPU that is not there, and
    for a name that torch does not know.
    """
    gpus = torch.cuda.device_count()
    if name is None:
        name = f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % gpus}" if gpus else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device {name!r}: torch knows no such name; 'cpu', 'cuda' or 'cuda:1' would do") from error
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise ValueError(f"device {name!r}: this machine has {gpus} CUDA devices; pick_device('cpu') always works")
    return device


def by_scale(scale: str, *, lecture: T, gpu: T) -> T:
    """Choose a setting by the notebook's `scale`: `lecture` (a minute on a CPU) or `gpu` (the paper's magnitude).

    The scale is the reader's explicit choice and never guessed from the hardware. Raises `ValueError` for another word.
    """
    if scale not in get_args(Scale):
        raise ValueError(f"scale = {scale!r}: the book knows {' and '.join(map(repr, get_args(Scale)))}")
    return gpu if scale == "gpu" else lecture

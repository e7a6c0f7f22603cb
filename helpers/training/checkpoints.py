"""Checkpoints from which training goes on bit by bit as if it had never stopped."""

import os
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from helpers.training.distributed import gather, is_main, rank, unwrap, world_size


class CheckpointError(RuntimeError):
    """The file is damaged, or is not what the program expects."""


class Checkpoint:
    """A file for `fit`: written after each `every` steps and the last one, resumed from when it is there already.

    `parts` is whatever training changes: model, optimizer, average, scaler, generators. `fit` adds the history and the
    position in the data; the states of the random generators (Python, NumPy, torch, this process's GPU) are always in.
    Raises `ValueError` for `every` below 1.
    """

    def __init__(self, path: str | os.PathLike, *, every: int, **parts: Any) -> None:
        if every < 1:
            raise ValueError(f"every = {every}: it is at least 1")
        self.path, self.every = Path(path), every
        self.parts = parts | {"random": RandomState()}

    def save(self, **more: Any) -> None:
        """Write all parts, and `more`."""
        save_checkpoint(self.path, **self.parts, **more)

    def resume(self, **more: Any) -> bool:
        """Load all parts and `more` from the file, which holds exactly these; False when there is no file yet.

        Raises `TypeError` for a part that has no state to load into, and what `load_checkpoint` raises.
        """
        for name, part in (self.parts | more).items():
            if not isinstance(part, torch.Generator) and not hasattr(part, "load_state_dict"):
                raise TypeError(
                    f"{name} is a {type(part).__name__}, which has no state_dict: training cannot resume it"
                )
        if not self.path.exists():
            return False
        load_checkpoint(self.path, exact=True, **self.parts, **more)
        return True


def save_checkpoint(path: str | os.PathLike, **parts: Any) -> None:
    """Write the states of `parts` under their names, to a file beside `path` first: a kill leaves the old one whole.

    A part has `state_dict()`, is a `torch.Generator`, or is plain data (numbers, strings, tensors, lists, dicts).
    Only process 0 writes, but all must call. Raises `CheckpointError` for a part that could not be loaded again.
    """
    states = {name: _state(part) for name, part in parts.items()}
    if not is_main():
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            torch.save(states, file)
            file.flush()
            os.fsync(file.fileno())
        torch.load(temporary, weights_only=True, mmap=True)  # reads the structure, not the tensors
        os.replace(temporary, path)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path} was not written: a part is no plain data. {error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: str | os.PathLike, *, exact: bool = False, **parts: Any) -> dict[str, Any]:
    """Load the states of `parts` into them and return everything in the file, by name, on the CPU.

    With `exact` the file must hold these parts and no others. Raises `FileNotFoundError`, and `CheckpointError` for a
    damaged file, a part that it lacks, or a state that does not fit its part.
    """
    states = _read(Path(path))
    strange = parts.keys() ^ states.keys() if exact else parts.keys() - states.keys()
    if strange:
        raise CheckpointError(f"{path} holds {sorted(states)}, wanted is {sorted(parts)}: {sorted(strange)} differ")
    for name, part in parts.items():
        try:
            _restore(part, states[name])
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(f"{path}: {name!r} was saved from something else. {error}") from error
    return states


class RandomState:
    """The states of the random generators that a whole program shares, for every process."""

    def state_dict(self) -> dict[str, Any]:
        """The states, one entry a process."""
        name, keys, *rest = np.random.get_state()
        own = {"python": random.getstate(), "numpy": (name, keys.tolist(), *rest), "torch": torch.get_rng_state()}
        if torch.cuda.is_initialized():
            own["cuda"] = torch.cuda.get_rng_state()
        return {"processes": gather(own)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of this process. Raises `ValueError` when there were more or fewer processes."""
        states = state["processes"]
        if len(states) != world_size():
            raise ValueError(f"It is the state of {len(states)} processes, here are {world_size()}: start as many")
        own = states[rank()]
        random.setstate(own["python"])
        np.random.set_state(own["numpy"])
        torch.set_rng_state(own["torch"])
        if "cuda" in own and torch.cuda.is_available():
            torch.cuda.set_rng_state(own["cuda"])


def _state(part: Any) -> Any:
    if isinstance(part, torch.Generator):
        return part.get_state()
    part = unwrap(part) if isinstance(part, nn.Module) else part
    return part.state_dict() if hasattr(part, "state_dict") else part


def _restore(part: Any, state: Any) -> None:
    if isinstance(part, torch.Generator):
        part.set_state(state)
    elif hasattr(part, "load_state_dict"):
        (unwrap(part) if isinstance(part, nn.Module) else part).load_state_dict(state)
    else:
        raise ValueError(f"A {type(part).__name__} takes no state: read it from what load_checkpoint returns")


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch does not compare the check sums
        if damaged is not None:
            raise zipfile.BadZipFile(f"bytes of {damaged} have changed")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # wrong bytes raise whatever they meet first
        raise CheckpointError(f"{path} is no whole checkpoint ({error}): delete it or take an older copy") from error

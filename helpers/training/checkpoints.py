"""Checkpoints from which training goes on bit by bit as if it had never stopped."""

import io
import os
import random
import zipfile
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves

from helpers.training.distributed import gather, is_main, rank, unwrap, world_size

# What torch's optimizers and the book's remember of each parameter, in its shape …
LIKE_ONE = (
    *("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "momentum_buffer", "square_avg", "grad_avg", "sum"),
    *("acc_delta", "ax", "prev", "step_size"),
)
# … and what those that join all parameters remember of the vector of all: vectors, and matrices with as many rows.
LIKE_ALL = ("H_inv", "d", "g", "history", "old_dirs", "old_stps", "prev_flat_grad", "s")
RESERVED = ("batches", "history", "random")  # the names under which `Checkpoint` and `fit` save


class CheckpointError(RuntimeError):
    """The file is damaged, or is not what the program expects."""


class Checkpoint:
    """A file for `fit`: written after each `every` steps and the last one, resumed from when it is there already.

    `parts` is whatever training changes: model, optimizer, average, scaler, generators. `fit` adds the history and the
    position in the data; the states of the random generators (Python, NumPy, torch, this process's GPU) are always in.
    Raises `ValueError` for `every` below 1 and for a part with a name of `RESERVED`.
    """

    def __init__(self, path: str | os.PathLike, *, every: int, **parts: Any) -> None:
        if not every >= 1:
            raise ValueError(f"every = {every}: it is at least 1")
        if taken := sorted(parts.keys() & set(RESERVED)):
            raise ValueError(f"a part is called {taken[0]!r}: {', '.join(RESERVED)} are saved in any case, rename it")
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
    except OSError:
        raise
    except Exception as error:  # pickle raises what it meets: PicklingError, TypeError, AttributeError …
        name, reason = _not_plain(states) or ("the whole", error)
        raise CheckpointError(f"{path} was not written: {name!r} is no plain data. {reason}") from error
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: str | os.PathLike, *, exact: bool = False, **parts: Any) -> dict[str, Any]:
    """Load the states of `parts` into them and return everything in the file, by name, on the CPU.

    With `exact` the file must hold these parts and no others. All parts take their state or none does: when one does
    not fit, those before it get back what they had. Raises `FileNotFoundError`, and `CheckpointError` for a damaged
    file, one that is no checkpoint, a part that it lacks, or a state that does not fit its part.
    """
    path = Path(path)
    states = _read(path)
    strange = parts.keys() ^ states.keys() if exact else parts.keys() - states.keys()
    if strange:
        raise CheckpointError(f"{path} holds {sorted(states)}, wanted is {sorted(parts)}: {sorted(strange)} differ")
    before = {name: deepcopy(_state(part)) for name, part in parts.items() if _has_state(part)}
    for name, part in parts.items():
        try:
            _restore(part, states[name])
        except Exception as error:  # a state of something else raises whatever it meets first
            for changed, state in before.items():
                _restore(parts[changed], state)
            raise CheckpointError(f"{path}: {name!r} was saved from something else. {error}") from error
    return states


def check_moments(optimizer: Optimizer, states: Mapping[Any, Mapping[str, Any]]) -> None:
    """Refuse what an optimizer would remember of each parameter where its shape is another one.

    `states` is by parameter, as in `optimizer.state`, or by their numbers, as in `optimizer.state_dict()["state"]`.
    torch does not look: it fails at the next step, or broadcasts. Raises `ValueError`.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    total = sum(p.numel() for p in parameters)
    for number, p in enumerate(parameters):
        state = states.get(p) or states.get(number) or {}
        for name, value in state.items():
            for tensor in filter(lambda leaf: isinstance(leaf, Tensor) and leaf.ndim, tree_leaves(value)):
                if name in LIKE_ONE and tensor.shape != p.shape:
                    shapes = f"of shape {list(tensor.shape)}, the parameter {list(p.shape)}"
                    raise ValueError(f"{name} of parameter {number} is {shapes}: it was saved from another model")
                if name in LIKE_ALL and set(tensor.shape) != {total}:
                    shapes = f"of shape {list(tensor.shape)}, the parameters are {total} numbers"
                    raise ValueError(f"{name} is {shapes}: it was saved from another model")


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
        torch.Generator().set_state(own["torch"])  # raises, before anything has changed, for another kind of state
        random.setstate(own["python"])
        np.random.set_state(own["numpy"])
        torch.set_rng_state(own["torch"])
        if "cuda" in own and torch.cuda.is_available():
            torch.cuda.set_rng_state(own["cuda"])


def _has_state(part: Any) -> bool:
    return isinstance(part, torch.Generator) or hasattr(part, "load_state_dict")


def _state(part: Any) -> Any:
    if isinstance(part, torch.Generator):
        return part.get_state()
    part = unwrap(part) if isinstance(part, nn.Module) else part
    return part.state_dict() if hasattr(part, "state_dict") else part


def _restore(part: Any, state: Any) -> None:
    if not _has_state(part):
        raise ValueError(f"A {type(part).__name__} takes no state: read it from what load_checkpoint returns")
    if isinstance(part, torch.Generator):
        part.set_state(state)
        return
    if isinstance(part, Optimizer):
        check_moments(part, state["state"])
    (unwrap(part) if isinstance(part, nn.Module) else part).load_state_dict(state)


def _not_plain(states: dict[str, Any]) -> tuple[str, Exception] | None:
    """The first part that cannot be saved and loaded again, and why."""
    for name, state in states.items():
        file = io.BytesIO()
        try:
            torch.save(state, file)
            file.seek(0)
            torch.load(file, weights_only=True)
        except Exception as error:
            return name, error
    return None


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    with open(path, "rb") as file:  # an OSError, as for a folder or without permission, says enough
        start = file.read(4)
    try:
        if start in (b"", b"PK\x03\x04"):  # what torch writes is a zip archive; its older format is not
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()  # torch does not compare the check sums
            if damaged is not None:
                raise zipfile.BadZipFile(f"bytes of {damaged} have changed")
    except OSError:
        raise
    except Exception as error:  # wrong bytes raise whatever they meet first
        raise CheckpointError(f"{path} is no whole checkpoint ({error}): delete it or take an older copy") from error
    try:
        states = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{path} is not a checkpoint of plain data, or not a whole one ({error}): take one that save_checkpoint "
            "wrote, or read it with torch.load and save its parts anew"
        ) from error
    if not isinstance(states, Mapping) or not all(isinstance(name, str) for name in states):
        raise CheckpointError(f"{path} holds a {type(states).__name__}, not parts by name: read it with torch.load")
    return dict(states)

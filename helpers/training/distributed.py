"""The same notebook on several processes: data-parallel training under `torchrun` (Li et al. 2020, arXiv:2006.15704).

Every process runs the whole program on its share of each batch; DistributedDataParallel averages the gradients. Without
`torchrun` each function here does nothing, or answers for a single process.
"""

import atexit
import os
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


def distributed() -> tuple[int, int]:
    """Join the processes that `torchrun` started, if it did, and return (rank, world size): (0, 1) without it.

    Give both to `Batches(rank=…, world_size=…)`. GPUs talk over NCCL where each process has its own; the CPU over gloo.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ and not dist.is_initialized():
        gpus = torch.cuda.device_count()
        backend = "gloo"
        if gpus:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % gpus)
            own = gpus >= int(os.environ["LOCAL_WORLD_SIZE"])  # NCCL refuses two processes on one GPU
            backend = f"cpu:gloo,cuda:{'nccl' if own else 'gloo'}"
        dist.init_process_group(backend)
        atexit.register(leave)
    return rank(), world_size()


def leave() -> None:
    """Leave the process group; called at exit."""
    if dist.is_initialized():
        dist.destroy_process_group()


def prepare(model: nn.Module, *, unused: bool = False) -> nn.Module:
    """Wrap a model, already on its device, so that `backward` averages the processes' gradients.

    All processes start from the parameters of process 0. The average is the gradient of the whole batch when the shares
    are equal in size. Batch norm sees its process's own share only. `unused` allows steps that leave out some of the
    parameters, for one more walk through the graph. Without other processes, or without trainable parameters, the model
    comes back as it is.
    """
    _, size = distributed()
    if size == 1 or not any(p.requires_grad for p in model.parameters()):
        return model
    return DistributedDataParallel(model, find_unused_parameters=unused)


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside what `prepare` returned."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this is process 0, the only one that prints, draws and saves."""
    return rank() == 0


def gather(thing: T) -> list[T]:
    """What each process has, in order of rank, for every process. All must call it; meant for a few numbers."""
    if world_size() == 1:
        return [thing]
    things: list[Any] = [None] * world_size()
    dist.all_gather_object(things, thing)
    return things

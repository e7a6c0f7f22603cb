"""The program that `test_distributed.py` runs alone and under torchrun: `python data_parallel.py FOLDER`."""

import contextlib
import itertools
import os
import sys
from pathlib import Path

import torch
from torch import nn

from helpers.data import batches
from helpers.training import (
    Checkpoint,
    accumulated_update,
    average_of,
    averaged,
    clipped,
    cosine_decay,
    distributed,
    evaluate,
    fit,
    gather,
    gradient_update,
    is_main,
    prepare,
    scheduled,
    tally,
    unwrap,
)


def loss(model, batch):
    logits = model(batch[0])
    return nn.functional.cross_entropy(logits, batch[1]), {"accuracy": tally(logits.argmax(1) == batch[1])}


def train(steps=20, *, parts=1, seed=0, device="cpu", checkpoint=None, stop=None):
    """Train on batches of 8 samples, which the processes share; `stop` breaks off before that step."""
    rank, world_size = distributed()
    torch.manual_seed(0)
    x, y = torch.randn(44, 6, dtype=torch.double).to(device), torch.randint(3, (44,)).to(device)
    torch.manual_seed(seed + rank)  # process 0 hands its parameters to the others
    model = prepare(nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3)).double().to(device))
    average = average_of(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    if parts > 1:
        update = accumulated_update(model, optimizer, loss, parts=parts)
    else:
        update = gradient_update(model, optimizer, loss)
    update = scheduled(clipped(update, optimizer, norm=0.5), optimizer, cosine_decay(20))
    stream = batches(
        x, y, batch_size=8, generator=torch.Generator().manual_seed(1), rank=rank, world_size=world_size, drop_last=True
    )
    shares = [(x[i : i + 6], y[i : i + 6]) for i in range(0, 44, 6)][rank::world_size]
    if checkpoint:
        checkpoint = Checkpoint(checkpoint, every=5, model=model, optimizer=optimizer, average=average)
    update = averaged(update, model, average, decay=0.9)
    calls = itertools.count(1)

    def stoppable(batch):
        if next(calls) == stop:
            raise KeyboardInterrupt
        return update(batch)

    history = fit(
        stoppable,
        stream,
        steps,
        evaluate=lambda: evaluate(model, loss, shares),
        every=4,
        checkpoint=checkpoint,
    )
    return {
        "parameters": unwrap(model).state_dict(),
        "gradients": [p.grad for p in model.parameters()],
        "average": average.state_dict(),
        "history": history.state_dict(),
    }


def main(folder):
    torch.set_num_threads(1)
    rank, world_size = distributed()
    writes = []
    replace = os.replace
    os.replace = lambda *paths: (writes.append(rank), replace(*paths))
    path = folder / f"checkpoint{world_size}.pt"
    with contextlib.suppress(KeyboardInterrupt):
        train(checkpoint=path, stop=14)
    found = {
        "one step": train(1),
        "straight": train(),
        "parts": train(parts=2),
        "resumed": train(seed=5, checkpoint=path),
        "writes": sum(gather(writes), []),
        "is main": is_main(),
        "device": train(device="cuda") if torch.cuda.is_available() else None,
    }
    torch.save(found, folder / f"{rank} of {world_size}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

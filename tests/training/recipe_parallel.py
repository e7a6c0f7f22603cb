"""The training that `test_recipe.py` repeats alone and in two processes: `python recipe_parallel.py FOLDER`."""

import sys
from pathlib import Path

import torch
from torch import nn

from helpers.training import distributed, tally, train

STEPS, RISE, RATE, CLIP, BATCH = 12, 3, 0.05, 0.5, 8
SETTINGS = dict(rate=RATE, batch_size=BATCH, rise=RISE, end=0.1, clip=CLIP)


class Doors(nn.Module):
    """Three ways through a network, and no `forward`: a loss calls what it wants."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(6, 16), nn.Tanh())
        self.name, self.size = nn.Linear(16, 3), nn.Linear(16, 1)
        self.never = nn.Linear(16, 1)


def made(seed=5):
    torch.manual_seed(seed)
    return Doors().double()


def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(44, 6, generator=generator, dtype=torch.double)
    return x, torch.randint(3, (44,), generator=generator), x.square().mean(1)


def loss(model, batch):
    x, kind, size = batch
    seen = model.trunk(x)
    logits = model.name(seen)
    parts = nn.functional.cross_entropy(logits, kind), (model.size(seen)[:, 0] - size).square().mean()
    return sum(parts), {"accuracy": tally(logits.argmax(1) == kind)}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    rank, world_size = distributed()
    model = made(5 + rank)  # process 0 hands its parameters to the others
    history = train(model, loss, data(), STEPS, seed=3, **SETTINGS)
    torch.save((model.state_dict(), history.state_dict()), folder / f"{rank} of {world_size}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

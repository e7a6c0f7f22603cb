"""The program that `test_clip_loss.py` runs alone and under torchrun: `python gathered.py FOLDER`."""

import sys
from pathlib import Path

import torch
from torch import nn

from helpers.data import batches
from helpers.multimodal.clip import CLIP, clip_loss, contrastive_loss, gather_features, gathered_loss
from helpers.training import distributed, fit, gradient_update, prepare, unwrap


class Encoder(nn.Module):
    """Any encoder will do: two layers."""

    def __init__(self, inputs):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, 12), nn.Tanh(), nn.Linear(12, 5))

    def forward(self, x):
        return self.layers(x.flatten(1).to(self.layers[0].weight.dtype))


def train(loss, steps=1, device="cpu"):
    """Train on batches of 8 pairs, which the processes share."""
    rank, world_size = distributed()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(24, 3, 2, 2, generator=generator, dtype=torch.double).to(device)
    tokens = torch.randint(9, (24, 4), generator=generator).to(device)
    torch.manual_seed(rank)  # process 0 hands its parameters to the others
    model = prepare(CLIP(Encoder(12), Encoder(4)).double().to(device))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def measure(model, batch):
        return clip_loss(model, batch, loss=loss)

    update = gradient_update(model, optimizer, measure)
    stream = batches(
        images, tokens, batch_size=8, generator=generator, drop_last=True, rank=rank, world_size=world_size
    )
    history = fit(update, stream, steps, progress=False)
    return {
        "loss": torch.from_numpy(history["loss"]),
        "gradients": [p.grad for p in model.parameters()],
        "parameters": unwrap(model).state_dict(),
    }


def main(folder):
    torch.set_num_threads(1)
    rank, world_size = distributed()
    mine = torch.full((1, 2), 1.0 + rank, requires_grad=True)
    everyone = gather_features(mine)
    (everyone * torch.arange(1.0, 1 + len(everyone))[:, None] * (1 + rank)).sum().backward()
    found = {
        "gathered, one step": train(gathered_loss),
        "gathered, ten steps": train(gathered_loss, 10),
        "each its own": train(contrastive_loss),
        "features": everyone.detach(),
        "gradient": mine.grad,
        "device": train(gathered_loss, 10, "cuda") if torch.cuda.is_available() else None,
    }
    torch.save(found, folder / f"{rank} of {world_size}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

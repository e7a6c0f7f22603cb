"""Training against a loop by hand."""

from collections.abc import Iterator
from itertools import islice

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.harness import Pair
from helpers.data import batches, digits, once
from helpers.training import evaluate, fit, gradient_update, tally

NETWORKS = {
    "softmax regression": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)),
    "two layers of 128": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)),
    "convolutional network": lambda: nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)
    ),
}
RECORDS = (
    "fit also weights each loss by its samples, records it with its step and refuses one that is not finite: a fixed cost, which "
    "shows only where the step itself costs next to nothing."
)
RESTORES = "evaluate also weights by samples and gives each module its own mode back: a fixed cost, as in fit."


def loss(model, batch):
    x, y = batch
    return F.cross_entropy(model(x), y)


def hits(model, batch):
    x, y = batch
    return {"accuracy": tally(model(x).argmax(1) == y)}


def pairs(device: torch.device, tiny: bool = False) -> Iterator[Pair]:
    """Training and evaluation of three networks on the digits, from one that costs next to nothing upwards."""
    steps = 2 if tiny else 10
    data = digits()
    images, labels = data.images.to(device), data.labels.to(device)
    for name, network in NETWORKS.items():
        both = training(network, device, images, labels, steps)
        yield Pair(f"fit: {name}, {steps} steps", "loop by hand", *both, reason=RECORDS)
        both = evaluating(network, device, images, labels)
        yield Pair(f"evaluate: {name}", "loop by hand", *both, reason=RESTORES)


def training(network, device, images, labels, steps):
    """Both sides take the same steps and return the loss of each."""

    def start():
        torch.manual_seed(0)
        model = network().to(device)
        stream = batches(images, labels, batch_size=64, generator=torch.Generator().manual_seed(0))
        return model, torch.optim.SGD(model.parameters(), lr=1e-2), stream

    model, optimizer, stream = start()
    update = gradient_update(model, optimizer, loss)

    def ours():
        return fit(update, stream, steps, progress=False)["loss"].tolist()

    their_model, their_optimizer, their_stream = start()

    def other():
        losses = []
        for x, y in islice(their_stream, steps):
            their_optimizer.zero_grad()
            value = F.cross_entropy(their_model(x), y)
            value.backward()
            their_optimizer.step()
            losses.append(value.item())
        return losses

    return ours, other


def evaluating(network, device, images, labels):
    """Both sides return the accuracy on all samples."""
    torch.manual_seed(0)
    model = network().to(device)

    def ours():
        return evaluate(model, hits, once(images, labels, batch_size=256))["accuracy"]

    def other():
        model.eval()
        correct = 0
        with torch.no_grad():
            for x, y in once(images, labels, batch_size=256):
                correct += (model(x).argmax(1) == y).sum().item()
        model.train()
        return correct / len(images)

    return ours, other

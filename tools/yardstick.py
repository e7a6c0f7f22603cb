"""A fixed piece of work, by which seconds of CPU mean the same on a fast machine, a slow one and one that is busy."""

from statistics import median
from time import process_time

import torch
from torch import nn
from torch.nn import functional as F

REFERENCE = 0.32  # seconds for the work on the machine in whose seconds the costs of pages are stored


def work() -> None:
    """Train a small convolutional network and a smaller perceptron, as pages do: 440 updates."""
    generator = torch.Generator().manual_seed(0)
    convolutional = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(16 * 16 * 16, 10)),
    )
    perceptron = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 10))
    images, labels = torch.randn(32, 3, 16, 16, generator=generator), torch.arange(32) % 10
    vectors = torch.randn(32, 16, generator=generator)
    for network, inputs, steps in ((convolutional, images, 40), (perceptron, vectors, 400)):
        optimizer = torch.optim.AdamW(network.parameters())
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(network(inputs), labels).backward()
            optimizer.step()


def seconds(repeats: int = 5) -> float:
    """CPU seconds that the work takes here and now: the median of some repeats, after one to warm up."""
    work()
    times = []
    for _ in range(repeats):
        start = process_time()
        work()
        times.append(process_time() - start)
    return median(times)


def in_reference_seconds(cpu_seconds: float, yardstick: float) -> int:
    """What took `cpu_seconds` where the work takes `yardstick` seconds, in seconds of the reference machine."""
    return round(cpu_seconds * REFERENCE / yardstick)

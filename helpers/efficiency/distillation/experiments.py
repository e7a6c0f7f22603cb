"""What the page on distillation runs: teachers, students of labels and of soft targets, and what they are judged by."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.convnets.output_size import Conv, Linear, Pool, as_module
from helpers.convnets.output_size.accounting import Plan
from helpers.data import ImageSet
from helpers.efficiency.distillation.crowd import Crowd, each
from helpers.efficiency.distillation.losses import hard_loss, soft_loss
from helpers.efficiency.distillation.targets import Number, smoothed, soft_targets
from helpers.training import Batch, Loss, train

WIDE: Plan = {
    "conv1": Conv(32, 3, padding=1),
    "conv2": Conv(32, 3, padding=1),
    "pool1": Pool(2, 2),
    "conv3": Conv(64, 3, padding=1),
    "pool2": Pool(2, 2),
    "hidden": Linear(128),
    "out": Linear(10),
}
"""A teacher of digits of 8 pixels."""
LARGE: Plan = {
    "conv1": Conv(24, 3, padding=1),
    "pool1": Pool(2, 2),
    "conv2": Conv(48, 3, padding=1),
    "pool2": Pool(2, 2),
    "conv3": Conv(96, 3, padding=1),
    "pool3": Pool(2, 2),
    "hidden": Linear(192),
    "out": Linear(26),
}
"""A teacher of letters of 28 pixels."""
SMALL: Plan = {
    "conv1": Conv(8, 3, stride=2, padding=1),
    "conv2": Conv(16, 3, stride=2, padding=1),
    "pool": Pool(2, 2),
    "out": Linear(26),
}
"""A student of letters of 28 pixels."""


def learn(
    model: nn.Module, loss: Loss, columns: Sequence[Tensor], steps: int, *, seed: int, rate: float = 0.01
) -> nn.Module:
    """Train a network, or a crowd, in place by the page's one recipe, and return it ready to answer.

    Adam with a cosine down to a fiftieth of `rate`, batches of 64 or, of fewer samples, all of them.
    """
    size = min(64, len(columns[0]))
    train(model, loss, columns, steps, rate=rate, batch_size=size, seed=seed, end=0.02, weight_decay=0.0)
    return model


def label_loss(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """The loss of a student of labels; a batch is (images, labels, …)."""
    return hard_loss(model(batch[0]), batch[1])


def smoothed_label_loss(amount: Number) -> Loss:
    """The loss of a student of labels that are mixed with `amount` of the uniform distribution."""

    def loss(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        logits = model(batch[0])
        targets = smoothed(batch[1], classes=logits.shape[-1], amount=amount)
        return soft_loss(logits, targets, checked=True)

    return loss


def target_loss(temperature: Number) -> Loss:
    """The loss of a student of distributions, the third column of its batches, that were made at `temperature`."""

    def loss(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        return soft_loss(model(batch[0]), batch[2], temperature, checked=True)

    return loss


def convnet(plan: Plan, image: tuple[int, int, int]) -> nn.Module:
    """A plan as a network whose channels lie together in memory."""
    return as_module(plan, image).to(memory_format=torch.channels_last)


def teachers(data: ImageSet, loss: Loss, steps: int, seeds: Sequence[int]) -> list[nn.Module]:
    """Wide convnets for digits, each with first weights and an order of its own."""
    found = []
    for seed in seeds:
        torch.manual_seed(seed)
        net = convnet(WIDE, (1, 8, 8))
        found.append(learn(net, loss, [data.images, data.labels], steps, seed=seed, rate=3e-3))
    return found


def student(hidden: int = 32) -> nn.Module:
    """One hidden layer for digits of 8 pixels."""
    return as_module({"hidden": Linear(hidden), "out": Linear(10)}, (1, 8, 8))


def students(
    loss: Loss, columns: Sequence[Tensor], steps: int, seeds: Sequence[int], *, hidden: int = 32
) -> Crowd:
    """A student for each of `seeds`, with first weights of its own; columns are [n seeds …].

    All read their own columns in the order that the first seed gives.
    """
    return learn(Crowd(lambda: student(hidden), seeds), loss, columns, steps, seed=seeds[0])


def draw(n: int, positions: Int64[Tensor, " m"], seeds: Sequence[int]) -> Int64[Tensor, "n seeds"]:
    """`n` of the positions, drawn anew for each seed."""
    orders = [torch.Generator().manual_seed(seed) for seed in seeds]
    return torch.stack([positions[torch.randperm(len(positions), generator=order)[:n]] for order in orders], 1)


@torch.no_grad()
def crowd_answers(crowd: Crowd, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n seeds k"]:
    """The logits of every member of a crowd for the same images."""
    return crowd(each(images, crowd.seeds))


def share_right(
    logits: Float[Tensor, "n seeds k"], labels: Int64[Tensor, " n"]
) -> Float[Tensor, " seeds"]:
    """The fraction of the images that each member's logits put into the right class."""
    return (logits.argmax(2) == labels[:, None]).double().mean(0).cpu()


def crowd_accuracy(crowd: Crowd, data: ImageSet) -> Float[Tensor, " seeds"]:
    """The fraction of the data that each member classifies rightly."""
    return share_right(crowd_answers(crowd, data.images), data.labels)


def likeness(
    data: ImageSet, logits: Float[Tensor, "n k"], temperature: Number = 5
) -> tuple[Float[Tensor, "k k"], Float[Tensor, "k k"]]:
    """Mean soft targets of each class (rows), and the correlation of the classes' mean images."""
    shares = soft_targets(logits, temperature)
    rows = [data.labels == k for k in range(logits.shape[1])]
    said = torch.stack([shares[row].mean(0) for row in rows])
    images = torch.stack([data.images[row].mean(0).flatten() for row in rows])
    images = F.normalize(images - images.mean(0), dim=1)
    return said.cpu(), (images @ images.T).cpu()


def agreement(said: Float[Tensor, "k k"], pixels: Float[Tensor, "k k"]) -> float:
    """The correlation of the logarithms of mean shares with that of pixels, outside of the diagonals."""
    outside = ~torch.eye(len(said), dtype=torch.bool)
    return torch.corrcoef(torch.stack([said[outside].log(), pixels[outside]]))[0, 1].item()


def mirrored(loss: Callable) -> Loss:
    """The loss of a batch of which every second image is mirrored."""

    def of_both(model: nn.Module, batch: Sequence[Shaped[Tensor, "b ..."]]) -> Float[Tensor, ""]:
        images = batch[0].clone()
        images[::2] = images[::2].flip(3)
        return loss(model, (images, *batch[1:]))

    return of_both

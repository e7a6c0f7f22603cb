"""What the page on output sizes trains: one recipe, nets that halve their maps in several ways, the coordinate task."""

from collections.abc import Callable, Sequence
from math import log2

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.convnets.output_size.layers import CoordConv
from helpers.data import ImageSet, once
from helpers.training import Batch, Loss, train
from helpers.training.classification import accuracy

Shrink = Callable[[int], list[nn.Module]]


def trained(
    make: Callable[[], nn.Module], columns: Sequence[Tensor], loss: Loss, steps: int, *, rate: float, seed: int
) -> nn.Module:
    """A network that `seed` gives its first weights and the order of its data: Adam at a constant rate, batches of 64."""
    torch.manual_seed(seed)
    model = make()
    train(model, loss, columns, steps, rate=rate, batch_size=64, seed=seed, end=1.0, weight_decay=0.0)
    return model


def percentage(model: nn.Module, data: ImageSet) -> float:
    """The percentage of images that a network classifies rightly."""
    return 100 * accuracy(model, data.images, data.labels)


@torch.no_grad()
def probabilities(model: nn.Module, data: ImageSet) -> Float[Tensor, "n k"]:
    """Those of one pass; where a layer draws its windows at random, the next pass gives others."""
    batches = once(data.images, data.labels, batch_size=1000)
    return torch.cat([model(images).softmax(1) for images, _ in batches])


def random_stack(depth: int, width: int = 24) -> nn.Sequential:
    """`depth` 3x3 convolutions with random weights (He's), each with a ReLU behind it."""
    layers: list[nn.Module] = []
    for channels in [3] + [width] * (depth - 1):
        conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(conv.weight)
        layers += [conv, nn.ReLU()]
    return nn.Sequential(*layers)


class Tile(nn.Module):
    """Write the position on every pixel."""

    def __init__(self, side: int):
        super().__init__()
        self.side = side

    def forward(self, position: Float[Tensor, "b 2"]) -> Float[Tensor, "b 2 h w"]:
        return position[:, :, None, None].expand(-1, -1, self.side, self.side)


def coordconv(side: int) -> nn.Sequential:
    """A position in, the logits of side x side pixels out: three 1x1 layers, the first of which knows where it is."""
    return nn.Sequential(
        Tile(side),
        CoordConv(2, 16, 1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 1),
        nn.ReLU(),
        nn.Conv2d(16, 1, 1),
        nn.Flatten(),
    )


def transposed(side: int) -> nn.Sequential:
    """The rival: transposed convolutions that double the map from 2x2 on; `side` is a power of 2."""
    if side < 4 or side & (side - 1):
        raise ValueError(f"side = {side}: it is a power of 2, at least 4")
    channels = 32
    layers: list[nn.Module] = [nn.Unflatten(1, (2, 1, 1)), nn.ConvTranspose2d(2, channels, 2)]
    for _ in range(int(log2(side)) - 1):
        smaller = max(8, channels // 2)
        layers += [nn.ReLU(), nn.ConvTranspose2d(channels, smaller, 4, stride=2, padding=1)]
        channels = smaller
    layers += [nn.ReLU(), nn.Conv2d(channels, 1, 3, padding=1), nn.Flatten()]
    return nn.Sequential(*layers)


def pixel_loss(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """The cross-entropy of a batch (positions, indices of their pixels)."""
    return F.cross_entropy(model(batch[0]), batch[1])


@torch.no_grad()
def right_pixels(model: nn.Module, positions: Float[Tensor, "n 2"], side: int) -> Bool[Tensor, "side side"]:
    """For which of all positions, in order, the right pixel gets the largest logit."""
    found = model(positions).argmax(1)
    return (found == torch.arange(side**2, device=found.device)).view(side, side).cpu()

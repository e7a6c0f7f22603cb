"""Every builder of the zoo in one table: what it is, what it costs, and
what its paper reported."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from helpers.convnets.architectures import vgg
from helpers.convnets.output_size import layer_table


class Error(NamedTuple):
    """An error in percent, and what exactly was measured."""

    percent: float
    what: str


class Entry(NamedTuple):
    """A builder and its figures.

    `layers` counts those with weights (convolutions and linear layers)
    on the longest path from image to logits. `parameters` includes
    auxiliary heads; `multiply_adds` are those of one image of
    `channels` x `image` x `image` at test time, where such heads rest.
    """

    builder: Callable[..., nn.Module]
    paper: str  # a key of book/references.bib
    year: int
    layers: int
    image: int  # pixels on a side
    parameters: int
    multiply_adds: int
    top5: Error | None = None
    top1: Error | None = None
    channels: int = 3
    small: bool = False


def measured(entry: Entry) -> tuple[int, int, int]:
    """Layers, parameters and multiply-adds of the network as built.

    It is built and run on the device "meta": no memory, no time.
    """
    shape = (entry.channels, entry.image, entry.image)
    with torch.device("meta"):
        network = entry.builder()
    rows = layer_table(network, shape)
    return (
        weighted_layers(network, shape),
        sum(row.parameters for row in rows),
        sum(row.multiply_adds for row in rows),
    )


def weighted_layers(network: nn.Module, shape: tuple[int, int, int]) -> int:
    """Convolutions and linear layers on the longest path to the logits.

    The paths are those of autograd's graph of one forward pass.
    """
    device = next(network.parameters()).device
    image = torch.zeros(2, *shape, device=device)
    training = network.training
    logits = network.eval()(image)
    network.train(training)
    longest: dict = {}
    waiting = [logits.grad_fn]
    while waiting:
        node = waiting[-1]
        before = [f for f, _ in node.next_functions if f is not None]
        unknown = [f for f in before if f not in longest]
        if unknown:
            waiting += unknown
            continue
        own = node.name().startswith(("ConvolutionB", "AddmmB"))
        longest[node] = own + max((longest[f] for f in before), default=0)
        waiting.pop()
    return longest[logits.grad_fn]

DENSE = "ImageNet val, one net, one scale, dense"

ENTRIES = (
    Entry(
        vgg.vgg11, "simonyan2014", 2014, 11, 224,
        132_863_336, 7_609_090_048, Error(10.4, DENSE), Error(29.6, DENSE),
    ),
    Entry(
        vgg.vgg11_bn, "simonyan2014", 2014, 11, 224,
        132_868_840, 7_609_090_048,
    ),
    Entry(
        vgg.vgg13, "simonyan2014", 2014, 13, 224,
        133_047_848, 11_308_466_176, Error(9.9, DENSE), Error(28.7, DENSE),
    ),
    Entry(
        vgg.vgg13_bn, "simonyan2014", 2014, 13, 224,
        133_053_736, 11_308_466_176,
    ),
    Entry(
        vgg.vgg16, "simonyan2014", 2014, 16, 224,
        138_357_544, 15_470_264_320, Error(8.1, DENSE), Error(25.6, DENSE),
    ),
    Entry(
        vgg.vgg16_bn, "simonyan2014", 2014, 16, 224,
        138_365_992, 15_470_264_320,
    ),
    Entry(
        vgg.vgg19, "simonyan2014", 2014, 19, 224,
        143_667_240, 19_632_062_464, Error(8.0, DENSE), Error(25.5, DENSE),
    ),
    Entry(
        vgg.vgg19_bn, "simonyan2014", 2014, 19, 224,
        143_678_248, 19_632_062_464,
    ),
    Entry(
        vgg.vgg_small, "simonyan2014", 2014, 7, 32,
        111_562, 5_211_392, small=True,
    ),
)
CATALOGUE: dict[str, Entry] = {e.builder.__name__: e for e in ENTRIES}

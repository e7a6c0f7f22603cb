"""The weights that torchvision publishes, for networks that name their
parameters as torchvision's do."""

import re
from enum import EnumMeta
from typing import TypeVar

import torch
import torchvision
from torch import nn

from helpers.data.downloads import File, data_folder, provide

N = TypeVar("N", bound=nn.Module)
# Its file was written when names of submodules could hold dots.
OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)\.")

ALIASES = {"imagenet": "IMAGENET1K_V1", "coco": "COCO_V1"}


def load_published(
    network: N,
    name: str,
    weights: str | None = "imagenet",
) -> N:
    """Fill `network` with the published weights of torchvision's `name`.

    `weights` is "imagenet", those of torchvision's first recipe, near
    the papers' own, or one of torchvision's names ("IMAGENET1K_V2");
    None leaves the network as it is. The file is kept in the folder
    `weights` of `data_folder()`, and must have the SHA-256 sum that
    torchvision's address tells. A part of the published network that
    ours lacks, as an auxiliary head, is left out. Raises `ValueError`
    for another name, for a network with other than 1000 classes
    and 3 channels, and for one whose layers have other names or
    shapes, which then stays as it was; `DataUnavailable` when the
    file cannot be had.
    """
    if weights is None:
        return network
    check_published(name, weights)
    check_ends(network, name)
    state = published_state(name, weights)
    state = {OLD_DENSENET.sub(r"\1\2.", k): v for k, v in state.items()}
    parts = dict(network.named_children())
    absent = {key for key in state if key.partition(".")[0] not in parts}
    kept = {k: v for k, v in state.items() if k not in absent}
    for key in network.state_dict():  # older files do not count batches
        if key.endswith("num_batches_tracked"):
            kept.setdefault(key, torch.tensor(0))
    check_layers(network, name, kept)
    network.load_state_dict(kept)
    return network


def published_state(
    name: str,
    weights: str,
) -> dict[str, torch.Tensor]:
    """The published state dict itself, with the names of its file."""
    check_published(name, weights)
    url = published_weights(name)[ALIASES.get(weights, weights)].url
    file = url.rpartition("/")[2]
    digest = re.search(r"-([0-9a-f]{8,})\.", file)[1]
    path = provide(
        File((url,), file, f"sha256:{digest}", unpack=False),
        data_folder() / "weights",
        f"the file of {name}'s weights",
    )
    return torch.load(path, map_location="cpu", weights_only=True)


def check_published(name: str, weights: str) -> None:
    """Refuse weights that torchvision does not list for `name`."""
    known = published_weights(name).__members__
    aliases = {k: v for k, v in ALIASES.items() if v in known}
    if weights not in [*known, *aliases]:
        raise ValueError(
            f"weights = {weights!r}: {name} has "
            f"{', '.join([*aliases, *known])}"
        )


def published_weights(name: str) -> EnumMeta:
    """torchvision's list of weights for its builder `name`."""
    try:
        return torchvision.models.get_model_weights(name)
    except ValueError:
        raise ValueError(
            f"torchvision publishes no weights for {name!r}: leave "
            "weights=None, or load a state dict of your own"
        ) from None


def check_ends(network: nn.Module, name: str) -> None:
    """Refuse a network whose first or last layer the weights do not fit."""
    layers = [
        m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)
    ]
    channels = layers[0].in_channels
    classes = layers[-1].weight.shape[0]
    if (classes, channels) != (1000, 3):
        raise ValueError(
            f"{name}'s published weights are for classes = 1000 and channels "
            f"= 3, this network has {classes} and {channels}: build it with "
            "those numbers, then put another layer in the place of the last"
        )


def check_layers(
    network: nn.Module, name: str, state: dict[str, torch.Tensor]
) -> None:
    """Refuse a network whose layers the weights do not fit, as a whole."""
    shapes = {k: tuple(v.shape) for k, v in network.state_dict().items()}
    given = {
        k: tuple(v.shape)
        for k, v in state.items()
        if k in shapes or not k.endswith("num_batches_tracked")
    }
    differ = [k for k in shapes | given if shapes.get(k) != given.get(k)]
    if differ:
        raise ValueError(
            f"{name}'s published weights do not fit this network: "
            f"{differ[0]} is {given.get(differ[0])} there and "
            f"{shapes.get(differ[0])} here ({len(differ)} differ): build it "
            "with the published options, or with weights=None"
        )

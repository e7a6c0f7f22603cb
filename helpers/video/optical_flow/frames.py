"""Networks for single frames, and one of them asked about every frame of a clip."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from helpers.video.optical_flow.checks import check_axes


def frame_net(classes: int, channels: int = 3) -> nn.Sequential:
    """Three convolutions and a linear layer, for images of 32 pixels."""
    layers: list[nn.Module] = []
    for i, width in enumerate((16, 32, 64)):
        layers += [
            nn.Conv2d(channels, width, 3, 1 if i else 2, 1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2) if i else nn.Identity(),
        ]
        channels = width
    return nn.Sequential(
        *layers,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, classes),
    )


def with_head_start(taught: nn.Sequential, classes: int) -> nn.Sequential:
    """A `frame_net` that begins as `taught` in all but its last layer.

    Raises `ValueError` for a network of other layers.
    """
    net = frame_net(classes)
    last = f"{len(net) - 1}."
    mine, theirs = (
        {
            key: value.cpu()
            for key, value in one.state_dict().items()
            if not key.startswith(last)
        }
        for one in (net, taught)
    )
    if {k: v.shape for k, v in mine.items()} != {
        k: v.shape for k, v in theirs.items()
    }:
        raise ValueError(
            f"{type(taught).__name__} with {list(theirs)}: give a frame_net "
            "of 3 channels"
        )
    net.load_state_dict(net.state_dict() | theirs)
    return net


class FrameMean(nn.Module):
    """A network for images on a clip: the mean of its scores of all frames.

    While it learns it sees one frame of each clip, drawn anew each time.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, videos: Float[Tensor, "b f c h w"]
    ) -> Float[Tensor, "b k"]:
        check_axes(videos, "b f c h w", "videos")
        b, f = videos.shape[:2]
        if self.training:
            drawn = torch.randint(f, (b,), device=videos.device)
            numbers = torch.arange(b, device=videos.device)
            return self.network(videos[numbers, drawn])
        scores = self.network(videos.flatten(0, 1))
        return scores.unflatten(0, (b, f)).mean(1)

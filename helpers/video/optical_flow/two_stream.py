"""Two streams: one network sees a frame, another sees how frames move
(Simonyan & Zisserman 2014, arXiv:1406.2199).

Any network for images serves; the second has 2L channels of flow."""

import copy
from collections.abc import Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from helpers.video.optical_flow.checks import check_axes, check_numbers
from helpers.video.optical_flow.flow import warp

if TYPE_CHECKING:
    import sklearn.svm


def stack_flow(
    flow: Float[Tensor, "b l 2 h w"],
) -> Float[Tensor, "b 2*l h w"]:
    """Lay the displacements at fixed points over each other (equation 1).

    Channel 2k is how far what is *here* in frame k moves to the right,
    channel 2k + 1 how far down. They are stacked, not summed: a sum would
    forget the order.
    """
    check_axes(flow, "b l 2 h w", "flow")
    return flow.flatten(1, 2)


def stack_trajectories(
    flow: Float[Tensor, "b l 2 h w"],
) -> Float[Tensor, "b 2*l h w"]:
    """Lay them over each other along the way of each pixel (equation 2).

    p(1) is the pixel, p(k) = p(k - 1) + flow(k - 1) at p(k - 1), between
    pixels bilinear; a way that leaves the frame stays at its border.
    """
    check_axes(flow, "b l 2 h w", "flow")
    way = torch.zeros_like(flow[:, 0])  # p(k) - p(1)
    stacked = []
    for field in flow.unbind(1):
        here = warp(field, way)
        stacked.append(here)
        way = way + here
    return torch.cat(stacked, 1)


def subtract_mean(
    flow: Float[Tensor, "b l 2 h w"],
) -> Float[Tensor, "b l 2 h w"]:
    """Take the mean vector from each field: most of what a camera adds."""
    check_axes(flow, "b l 2 h w", "flow")
    return flow - flow.mean((3, 4), keepdim=True)


def cross_modality(
    weight: Float[Tensor, "o c h w"], channels: int
) -> Float[Tensor, "o {channels} h w"]:
    """Filters for flow out of filters for colours: their mean, repeated.

    After Wang et al. 2015 (arXiv:1507.02159), section 2.2.
    """
    check_axes(weight, "o c h w", "filters")
    return weight.mean(1, keepdim=True).repeat(1, channels, 1, 1)


def temporal_network(network: nn.Module, channels: int) -> nn.Module:
    """Copy an image net, its first convolution made for `channels` of flow.

    All other weights are the image net's. Raises `ValueError` for a
    network without convolutions, and for a first one with groups, or of a
    kind that does more than convolve.
    """
    network = copy.deepcopy(network)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            break
    else:
        raise ValueError(
            f"{type(network).__name__} has no convolution to begin with"
        )
    if channels < 1 or layer.groups > 1:
        raise ValueError(
            f"channels = {channels}, {layer.groups} groups: at least one "
            "channel, and a first convolution in one group"
        )
    if type(layer) is not nn.Conv2d:
        raise ValueError(
            f"{type(layer).__name__} comes first: only a plain nn.Conv2d "
            "can be widened by the mean of its filters"
        )
    with torch.no_grad():
        weight = cross_modality(layer.weight, channels)
    layer.in_channels, layer.weight = channels, nn.Parameter(weight)
    return network


class Streams(nn.Module):
    """Networks side by side, each with an input of its own.

    Trained apart and fused late: `forward` gives the scores of each.
    """

    def __init__(self, **streams: nn.Module) -> None:
        super().__init__()
        self.streams = nn.ModuleDict(streams)

    def forward(self, **inputs: Tensor) -> dict[str, Float[Tensor, "b k"]]:
        if inputs.keys() != self.streams.keys():
            raise ValueError(
                f"inputs {sorted(inputs)} for streams "
                f"{sorted(self.streams)}: give each stream its own"
            )
        return {k: self.streams[k](x) for k, x in inputs.items()}


Scores = Mapping[str, Tensor] | Sequence[Tensor]


def fuse_average(
    scores: Scores, weights: Sequence[float] | None = None
) -> Float[Tensor, "b k"]:
    """The mean of the streams' probabilities, as it is or weighed.

    Streams of weight 0 are left out. Raises `ValueError` for scores that
    are no numbers or do not fit each other, and for weights that are
    negative, all 0 or not as many as the streams.
    """
    streams = listed(scores)
    if weights is None:
        weights = [1.0] * len(streams)
    shares = [float(weight) for weight in weights]
    total = sum(shares)
    known = all(0 <= share < inf for share in shares) and total > 0
    if len(shares) != len(streams) or not known:
        raise ValueError(
            f"weights = {shares} for {len(streams)} streams: give one each, "
            "none negative, with a positive sum"
        )
    kept = [(s, w) for s, w in zip(streams, shares) if w]
    chances = probabilities([s for s, _ in kept])
    share = chances.new_tensor([w / total for _, w in kept])
    return torch.tensordot(share, chances, 1)


def svm_features(scores: Scores) -> Float[Tensor, "b d"]:
    """The probabilities of all streams, each of length 1, in one row.

    Named streams in the order of their names.
    """
    if isinstance(scores, Mapping):
        scores = [scores[name] for name in sorted(scores)]
    chances = probabilities(listed(scores))
    unit = nn.functional.normalize(chances, dim=2)
    return unit.transpose(0, 1).flatten(1)


def fit_svm(
    scores: Scores, labels: Int[Tensor, " b"], *, c: float = 1.0
) -> "sklearn.svm.LinearSVC":
    """Learn the fusion: a linear SVM a class on `svm_features`.

    On clips that the streams were not trained on; on those they were,
    they look better than they are. Raises `ValueError` for more or fewer
    labels than clips.
    """
    from sklearn.svm import LinearSVC

    rows = svm_features(scores)
    if labels.shape != rows.shape[:1]:
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} for {len(rows)} clips: "
            "give one each"
        )
    svm = LinearSVC(C=c, random_state=0)
    svm.fit(rows.cpu().numpy(), labels.cpu().numpy())
    svm.streams_ = stream_names(scores)
    return svm


def fuse_svm(
    svm: "sklearn.svm.LinearSVC", scores: Scores
) -> Int[Tensor, " b"]:
    """The classes that the SVM picks, from the streams it was fitted on.

    Raises `ValueError` for other streams, and other numbers of classes.
    """
    rows, names = svm_features(scores), stream_names(scores)
    if names != svm.streams_ or rows.shape[1] != svm.n_features_in_:
        raise ValueError(
            f"streams {names} with {rows.shape[1]} scores a clip for an SVM "
            f"of {svm.streams_} with {svm.n_features_in_}: give those that "
            "it was fitted on"
        )
    return torch.from_numpy(svm.predict(rows.cpu().numpy())).to(rows.device)


def stream_names(scores: Scores) -> list[str]:
    """The names of the streams, or their numbers."""
    if isinstance(scores, Mapping):
        return sorted(scores)
    return [str(i) for i in range(len(scores))]


def listed(scores: Scores) -> list[Tensor]:
    """The scores of each stream [b k], of the same clips and classes."""
    streams = list(
        scores.values() if isinstance(scores, Mapping) else scores
    )
    shapes = [tuple(s.shape) for s in streams]
    if not streams or len(set(shapes)) > 1 or len(shapes[0]) != 2:
        raise ValueError(
            f"scores of shapes {shapes}: all streams tell the same clips "
            "into the same classes, [b k] each"
        )
    return streams


def probabilities(streams: list[Tensor]) -> Float[Tensor, "streams b k"]:
    """Those of all streams; a stream whose scores are no numbers has none."""
    chances = torch.stack(streams).detach().softmax(2)
    remedy = "a stream has diverged: leave it out, or give it weight 0"
    check_numbers(chances, "probabilities of scores", remedy)
    return chances


def cnn_m_2048(
    *, channels: int = 3, classes: int = 101, dropout: float = 0.5
) -> nn.Sequential:
    """The network of both streams (figure 1), for 224 pixels.

    `channels=20` makes the temporal one, for L = 10; it goes without the
    second response norm. Padding is that of Chatfield et al. 2014
    (arXiv:1405.3531), whose CNN-M it is.
    """
    temporal = channels != 3
    norm, pool = nn.LocalResponseNorm(5, alpha=5e-4, k=2), nn.MaxPool2d
    layers = [
        [nn.Conv2d(channels, 96, 7, 2), nn.ReLU(), norm, pool(3, 2)],
        [nn.Conv2d(96, 256, 5, 2, 1), nn.ReLU()],
        [] if temporal else [nn.LocalResponseNorm(5, alpha=5e-4, k=2)],
        [pool(3, 2, ceil_mode=True)],
        [nn.Conv2d(256, 512, 3, 1, 1), nn.ReLU()],
        [nn.Conv2d(512, 512, 3, 1, 1), nn.ReLU()],
        [nn.Conv2d(512, 512, 3, 1, 1), nn.ReLU(), pool(3, 2), nn.Flatten()],
        [nn.Linear(512 * 6 * 6, 4096), nn.ReLU(), nn.Dropout(dropout)],
        [nn.Linear(4096, 2048), nn.ReLU(), nn.Dropout(dropout)],
        [nn.Linear(2048, classes)],
    ]
    return nn.Sequential(*(layer for group in layers for layer in group))


def frame_net_small(*, channels: int = 3, classes: int = 14) -> nn.Sequential:
    """The book's own network for one stream, images of about 32 pixels."""
    layers: list[nn.Module] = []
    for width in (24, 48, 96):
        layers += [
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        channels = width
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, classes)]
    return nn.Sequential(*layers, *head)

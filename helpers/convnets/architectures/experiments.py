"""What the page on architectures runs: its data, one training and one judge for all classifiers, and what it measures."""

from collections.abc import Sequence
from time import process_time
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from scipy.stats import spearmanr
from torch import Tensor, nn

from helpers.convnets.architectures import (
    alexnet,
    densenet,
    fractalnet,
    googlenet,
    highway,
    inception,
    lenet,
    mobilenet,
    nasnet,
    network_in_network,
    preactivation,
    resnet,
    squeezenet,
    unravel,
    vgg,
    zfnet,
)
from helpers.convnets.architectures.cells import CellNet, Genotype
from helpers.convnets.output_size import latency, multiply_adds
from helpers.data import digits, photograph
from helpers.data.images import ImageSet
from helpers.training import evaluation_mode, train
from helpers.training.classification import accuracy, classification_loss

PHOTOGRAPHS = ("brick", "grass", "gravel", "camera", "china", "flower", "astronaut", "coffee", "chelsea", "coins")


class Patches(NamedTuple):
    """Patches of photographs, standardised one by one, and the index of the photograph of each."""

    images: Float[Tensor, "n 1 h w"]
    labels: Int[Tensor, " n"]

    def to(self, device: torch.device | str) -> "Patches":
        """The same on another device."""
        return Patches(self.images.to(device), self.labels.to(device))


Labelled = ImageSet | Patches


def learn(
    net: nn.Module,
    data: Labelled,
    steps: int,
    *,
    seed: int,
    rate: float = 0.01,
    batch_size: int = 48,
) -> Float[np.ndarray, " t"]:
    """Train a classifier in place by the page's one recipe, and return the loss of each step.

    Adam, with a short climb of the rate and a cosine down to a twentieth. The order of the images comes from `seed`,
    the first weights are those that `net` has. It comes back in evaluation mode, on the device of the images.
    """
    net.to(memory_format=torch.channels_last)
    history = train(
        net,
        classification_loss,
        (data.images, data.labels),
        steps,
        rate=rate,
        batch_size=batch_size,
        seed=seed,
        rise=min(20, steps // 5),
        end=0.05,
        weight_decay=0.0,
    )
    return history["loss"]


def error(net: nn.Module, data: Labelled) -> float:
    """The fraction of images that `net` puts into a wrong class."""
    return 1 - accuracy(net, data.images, data.labels)


def error_without(net: nn.Module, names: Sequence[str], data: Labelled) -> float:
    """The `error` of a net with these of its blocks left out."""
    with unravel.without(net, *names):
        return error(net, data)


def steps_to(losses: Float[np.ndarray, " t"], level: float = 0.5, window: int = 10) -> int:
    """After how many steps the mean of the last `window` losses lies below `level`; the number of losses if never."""
    smooth = np.convolve(losses, np.ones(window) / window, "valid")
    return int(np.append(np.flatnonzero(smooth < level) + window, len(losses))[0])


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's correlation: 1 for the same order, -1 for the reverse; values that are equal share their mean rank."""
    return float(spearmanr(a, b).statistic)


def count(net: nn.Module) -> int:
    """The number of parameters."""
    return sum(p.numel() for p in net.parameters())


class Standardised(nn.Module):
    """A net behind the standardisation of its input by the mean and the deviation of `images`."""

    def __init__(self, net: nn.Module, images: Float[Tensor, "n c h w"]):
        super().__init__()
        self.net = net
        self.register_buffer("mean", images.mean())
        self.register_buffer("deviation", images.std())

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        return self.net((images - self.mean) / self.deviation)


def shifted_digits(seed: int) -> tuple[ImageSet, ImageSet]:
    """Digits of 16 pixels on a canvas of 32, each moved by up to four pixels: three quarters to train, one to test."""
    generator = torch.Generator().manual_seed(seed)
    parts = digits().split(0.75, 0.25, generator=generator)
    for part in parts:
        large = F.interpolate(part.images, scale_factor=2)
        part.images.set_(shifted(F.pad(large, (8,) * 4), 4, generator))
    return parts


def perceptron() -> nn.Sequential:
    """A multilayer perceptron for grey images of 32 pixels, with nearly as many parameters as LeNet."""
    return nn.Sequential(nn.Flatten(), nn.Linear(1024, 59), nn.ReLU(), nn.Linear(59, 10))


def racing_alexnet(activation: type[nn.Module]) -> nn.Module:
    """A small AlexNet with the first weights made for its activation: He's for `nn.ReLU`, Glorot's for others."""
    net = alexnet.alexnet_small(channels=1, activation=activation)
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            if activation is nn.ReLU:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    return net


def patches(n: int, generator: torch.Generator, *, side: int = 48) -> Patches:
    """Cut `n` squares out of the `PHOTOGRAPHS`, each out of any of them, anywhere."""
    views = [photograph(name).mean(0, keepdim=True) for name in PHOTOGRAPHS]
    labels = torch.randint(len(views), (n,), generator=generator)
    found = []
    for k in labels.tolist():
        h, w = views[k].shape[1:]
        place = torch.rand(2, generator=generator)
        y, x = (place * torch.tensor([h - side, w - side])).long().tolist()
        found.append(views[k][:, y : y + side, x : x + side])
    images = torch.stack(found)
    images -= images.mean((2, 3), keepdim=True)
    return Patches(images / (images.std((2, 3), keepdim=True) + 0.05), labels)


def net_behind(kernel: int, stride: int) -> nn.Sequential:
    """A small net behind a first layer of 24 filters of this size; a third layer makes up for the stride, 2 or 4.

    Of images of 48 pixels what follows sees maps of 6x6 behind a stride of 2, and of 5x5 behind one of 4.
    """
    later = 1 if stride == 4 else 2
    return nn.Sequential(
        nn.Conv2d(1, 24, kernel, stride, kernel // 2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(24, 32, 3, later, 1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, 1, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, len(PHOTOGRAPHS)),
    )


@torch.no_grad()
def weakest_filter(first_layers: nn.Module, images: Float[Tensor, "n c h w"]) -> float:
    """The smallest deviation of a channel's responses, as a share of the median of all channels; 0 is a dead filter."""
    spread = first_layers(images).std((0, 2, 3))
    return (spread.min() / spread.median()).item()


def shifted(
    images: Float[Tensor, "n c h w"],
    most: int,
    generator: torch.Generator,
) -> Float[Tensor, "n c h w"]:
    """Move each image by up to `most` pixels along either axis.

    The direction is drawn anew for each; zeros come in at the border.
    """
    h, w = images.shape[2:]
    if not 0 <= most < min(h, w):
        raise ValueError(f"most = {most}: the images measure {h}x{w}")
    moves = torch.randint(-most, most + 1, (len(images), 2), generator=generator)
    wide = F.pad(images, (most,) * 4)
    cuts = (most - moves).tolist()
    return torch.stack([x[:, i : i + h, j : j + w] for x, (i, j) in zip(wide, cuts)])


def aliased_share(
    filters: Float[Tensor, "o c kh kw"],
    images: Float[Tensor, "n c h w"],
    stride: int,
) -> Float[Tensor, "o"]:
    """How much of each filter's response a stride folds over.

    The share of the power of the response at stride 1, its mean left
    out, at frequencies above 1 / (2 stride) along either axis: what every
    `stride`-th place cannot tell from something slower. A filter that does
    not respond at all folds nothing: 0.
    """
    if stride < 1:
        raise ValueError(f"stride = {stride}: it is at least 1")
    response = F.conv2d(images, filters)
    size = response.square().sum((0, 2, 3))  # o
    response = response - response.mean((2, 3), keepdim=True)
    power = torch.fft.fft2(response).abs().square().sum(0)  # o h w
    rows, columns = (torch.fft.fftfreq(n).abs() for n in power.shape[1:])
    highest = torch.maximum(rows[:, None], columns[None, :])
    above = (highest > 1 / (2 * stride)).to(power)
    whole = power.sum((1, 2))
    rounding = torch.finfo(power.dtype).eps ** 2 * size * power[0].numel()
    share = (power * above).sum((1, 2)) / whole
    return share.where(whole > 100 * rounding, 0.0)


def gradients_by_layer(net: nn.Module, data: Labelled) -> list[float]:
    """The gradient of each convolution of an untrained net, but the first and the head, on the first 64 images."""
    images, labels = data.images[:64], data.labels[:64]
    net = net.to(images.device).train()
    value, _ = classification_loss(net, (images, labels))
    return [*unravel.gradient_norms(net, value).values()][1:-1]


def seconds_to_learn(net: nn.Module, data: Labelled, steps: int, seed: int) -> float:
    """CPU seconds of a training."""
    begun = process_time()
    learn(net, data, steps, seed=seed)
    return process_time() - begun


def work_left_out(net: nn.Module, images: Float[Tensor, "n c h w"], draws: int, seed: int) -> float:
    """The share of the whole net's multiply-adds that passes in training mode, with blocks drawn anew, leave out."""
    torch.manual_seed(seed)
    net.train()
    drawn = [multiply_adds(lambda: net(images)) for _ in range(draws)]
    net.eval()
    return 1 - sum(drawn) / draws / multiply_adds(lambda: net(images))


def times_faster(quick: nn.Module, slow: nn.Module, images: Float[Tensor, "n c h w"]) -> list[float]:
    """Nine ratios of the latencies of two nets, measured in turns."""
    return [latency(slow, images, 3) / latency(quick, images, 3) for _ in range(9)]


def cell_accuracy(
    cell: Genotype, data: Labelled, test: Labelled, steps: int, *, depth: int, seed: int
) -> float:
    """Train a net of two stages of `depth` such cells, and return its accuracy on `test`."""
    torch.manual_seed(seed)
    net = CellNet(cell, depth=depth, width=8, channels=1)
    learn(net, data, steps, seed=seed, rate=3e-3, batch_size=24)
    return 1 - error(net, test)


def small_nets(width: int) -> dict[str, nn.Module]:
    """Sixteen nets of lecture size for grey images of 16 pixels; residual ones begin with `width` channels."""
    return {
        "LeNet": lenet.lenet_small(channels=1),
        "AlexNet": alexnet.alexnet_small(channels=1),
        "ZFNet": zfnet.zfnet_small(channels=1),
        "VGG": vgg.vgg_small(channels=1),
        "Inception": inception.inception_small(channels=1),
        "GoogLeNet": googlenet.googlenet_small(channels=1),
        "highway": highway.highway_small(channels=1),
        "pre-activation": preactivation.preactivation_small(channels=1, width=width),
        "WRN": preactivation.wrn_small(channels=1),
        "FractalNet": fractalnet.fractalnet_small(channels=1, width=8),
        "SqueezeNet": squeezenet.squeezenet_small(channels=1),
        "NASNet": nasnet.nasnet_small(channels=1),
        "ResNet": resnet.resnet_small(channels=1, width=width),
        "DenseNet": densenet.densenet_small(channels=1, depth=13, growth=8, bottleneck=0),
        "MobileNet": mobilenet.mobilenet_small(channels=1),
        "NIN": network_in_network.network_in_network_small(channels=1, linear_head=True),
    }


class Price(NamedTuple):
    """What a net costs: parameters in thousands, multiply-adds in millions and milliseconds for one image."""

    parameters: float
    multiply_adds: float
    milliseconds: float


def price(net: nn.Module, images: Float[Tensor, "n c h w"]) -> Price:
    """The three prices of a net at test time for one of `images`; the time is that of a batch of them, divided."""
    with evaluation_mode(net):
        work = multiply_adds(lambda: net(images[:1]))
    return Price(count(net) / 1e3, work / 1e6, 1e3 * latency(net, images) / len(images))

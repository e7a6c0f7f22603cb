"""The small trunk that the lecture's detectors share, and frozen batch norm.

A detector starts from a network that has learned to classify, whose batch
norms are then frozen: what an image gives depends neither on its batch nor
on the mode, and one image at a time may be trained on (He et al. 2016,
arXiv:1512.03385, appendix A).
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from helpers.training import History, train
from helpers.training.classification import classification_loss

WIDTHS = (24, 48, 64)  # of the maps with stride 2, 4 and 8


class ConvBN(nn.Sequential):
    """3x3 convolution, batch norm, ReLU."""

    def __init__(self, dim: int, out: int, *, stride: int = 1):
        super().__init__(
            nn.Conv2d(dim, out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
        )


class Trunk(nn.Module):
    """Images in 0 … 1 to one map with `dim` channels and stride 8.

    64 pixels give an 8x8 map; each of its cells sees 47 x 47 pixels.
    """

    stride = 8

    def __init__(self, *, channels: int = 3, widths=WIDTHS):
        super().__init__()
        a, b, c = widths
        self.dim = c
        self.stages = nn.Sequential(
            ConvBN(channels, a, stride=2),
            ConvBN(a, b, stride=2),
            ConvBN(b, c, stride=2),
            ConvBN(c, c),
            ConvBN(c, c),
        )

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b d _ _"]:
        check_images(images, self.stride)
        return self.stages(4 * images - 2)


class Classifier(nn.Module):
    """A trunk, the maximum over its map, and a logit for each class.

    The maximum finds a small object wherever it is; the mean drowns it.
    """

    def __init__(self, trunk: nn.Module, *, classes: int):
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(trunk.dim, classes)

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k"]:
        return self.head(self.trunk(images).amax((2, 3)))


class FrozenBatchNorm2d(nn.Module):
    """Batch norm in which nothing moves: everything is a buffer.

    Named as in `nn.BatchNorm2d`, whose state dict it takes.
    """

    def __init__(self, dim: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones(dim))
        self.register_buffer("bias", torch.zeros(dim))
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_var", torch.ones(dim))

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b c h w"]:
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale[:, None, None] + shift[:, None, None]

    def _load_from_state_dict(self, state: dict, prefix: str, *rest) -> None:
        state.pop(f"{prefix}num_batches_tracked", None)
        super()._load_from_state_dict(state, prefix, *rest)


def freeze_norms(model: nn.Module) -> nn.Module:
    """Put `FrozenBatchNorm2d` in the place of each batch norm of `model`."""
    for parent in list(model.modules()):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, nn.BatchNorm2d):
                frozen = FrozenBatchNorm2d(norm.num_features, norm.eps)
                frozen.load_state_dict(norm.state_dict())
                setattr(parent, name, frozen.to(norm.weight.device))
    return model


def pretrain(
    trunk: nn.Module,
    images: Float[Tensor, "n c h w"],
    labels: Int64[Tensor, "n"],
    *,
    classes: int,
    steps: int = 400,
    batch_size: int = 16,
    rate: float = 2e-3,
    seed: int = 0,
) -> History:
    """Teach `trunk` to classify images of one object, then freeze its norms.

    The head that it learns with is thrown away. `images` and `labels`
    are `make_scenes(n, rules=Rules(count=1, …))`'s images and
    `torch.cat(labels)`. Records "loss" and "accuracy". Raises
    `ValueError` for labels outside 0 … classes - 1.
    """
    check_labels([labels], classes)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Classifier(trunk, classes=classes)
    layout = torch.channels_last
    model = model.to(images.device, memory_format=layout)
    images = images.contiguous(memory_format=layout)
    history = train(
        model,
        classification_loss,
        [images, labels],
        steps,
        rate=rate,
        batch_size=batch_size,
        seed=seed,
        progress=False,
    )
    freeze_norms(trunk)
    return history


def check_images(images: Tensor, stride: int) -> None:
    """Refuse images whose sides are below the stride."""
    h, w = images.shape[-2:]
    if min(h, w) < stride:
        raise ValueError(
            f"images of {h} x {w} pixels are smaller than the stride "
            f"{stride}: enlarge them to {stride} pixels at least"
        )


def check_labels(labels: list[Tensor], classes: int) -> None:
    """Refuse labels outside 0 … classes - 1."""
    if labels:
        every = torch.cat(labels)
        wrong = every[(every < 0) | (every >= classes)]
        if len(wrong):
            raise ValueError(
                f"label {int(wrong[0])}, but classes = {classes}: labels run "
                f"from 0 to {classes - 1}, the background is not one of them"
            )

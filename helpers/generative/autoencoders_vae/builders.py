"""The usual encoders and decoders: fully connected, and with convolutions.

Any other module of the same shapes will do as well.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import prod

from torch import nn

from helpers.generative.autoencoders_vae.networks import (
    VAE,
    Autoencoder,
    ConditionalVAE,
    check_at_least_one,
)

Shape = Sequence[int]  # of one item: (c, h, w), or (d,) for plain vectors


def mlp_encoder(
    *, image: Shape, dim: int, hidden: Sequence[int] = (256,)
) -> nn.Sequential:
    """From an item of shape `image` to `dim` numbers; linear if no hidden."""
    check_sizes(image=image, hidden=hidden)
    check_at_least_one(dim=dim)
    return nn.Sequential(nn.Flatten(), *layers(prod(image), *hidden, dim))


def mlp_decoder(
    *, image: Shape, dim: int, hidden: Sequence[int] = (256,)
) -> nn.Sequential:
    """From `dim` numbers to an item of shape `image`."""
    check_sizes(image=image, hidden=hidden)
    check_at_least_one(dim=dim)
    return nn.Sequential(
        *layers(dim, *hidden, prod(image)), nn.Unflatten(1, tuple(image))
    )


def conv_encoder(
    *, image: Shape, dim: int, channels: Sequence[int] = (32, 64)
) -> nn.Sequential:
    """Convolutions of stride 2, then a linear layer to `dim` numbers.

    Raises `ValueError` for an image that does not halve so often.
    """
    check_sizes(image=image, channels=channels)
    check_at_least_one(dim=dim)
    c, h, w = halved(image, len(channels))
    stages = []
    for before, after in zip([c, *channels], channels):
        conv = nn.Conv2d(before, after, 4, stride=2, padding=1)
        stages += [conv, nn.ReLU()]
    flat = channels[-1] * h * w
    return nn.Sequential(*stages, nn.Flatten(), nn.Linear(flat, dim))


def conv_decoder(
    *, image: Shape, dim: int, channels: Sequence[int] = (32, 64)
) -> nn.Sequential:
    """The mirror image of `conv_encoder`, with transposed convolutions.

    A kernel of 4 at stride 2 covers every pixel equally often.
    """
    check_sizes(image=image, channels=channels)
    check_at_least_one(dim=dim)
    c, h, w = halved(image, len(channels))
    start = (channels[-1], h, w)
    stages = [nn.Linear(dim, prod(start)), nn.Unflatten(1, start)]
    for before, after in zip(channels[::-1], [*channels[-2::-1], c]):
        conv = nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)
        stages += [nn.ReLU(), conv]
    return nn.Sequential(*stages)


def mlp_autoencoder(
    *, image: Shape, dim: int, hidden: Sequence[int] = (256,)
) -> Autoencoder:
    """Fully connected; `hidden=()` is the linear autoencoder."""
    return Autoencoder(
        mlp_encoder(image=image, dim=dim, hidden=hidden),
        mlp_decoder(image=image, dim=dim, hidden=hidden[::-1]),
    )


def conv_autoencoder(
    *, image: Shape, dim: int, channels: Sequence[int] = (32, 64)
) -> Autoencoder:
    """With convolutions of stride 2."""
    return Autoencoder(
        conv_encoder(image=image, dim=dim, channels=channels),
        conv_decoder(image=image, dim=dim, channels=channels),
    )


def mlp_vae(
    *,
    image: Shape,
    dim: int,
    hidden: Sequence[int] = (256,),
    classes: int = 0,
) -> VAE:
    """Fully connected, conditional if there are `classes`."""
    check_sizes(hidden=hidden)
    return tied(
        partial(mlp_encoder, hidden=hidden),
        partial(mlp_decoder, hidden=hidden[::-1]),
        image,
        dim,
        classes,
    )


def conv_vae(
    *,
    image: Shape,
    dim: int,
    channels: Sequence[int] = (32, 64),
    classes: int = 0,
) -> VAE:
    """With convolutions of stride 2, conditional if there are `classes`."""
    return tied(
        partial(conv_encoder, channels=channels),
        partial(conv_decoder, channels=channels),
        image,
        dim,
        classes,
    )


def tied(
    encoder: Callable[..., nn.Module],
    decoder: Callable[..., nn.Module],
    image: Shape,
    dim: int,
    classes: int,
) -> VAE:
    """Build both networks into a `VAE`, or with `classes` a conditional one.

    The encoder then sees a channel more for each class, the decoder a
    number more.
    """
    check_sizes(image=image)
    if classes < 0:
        raise ValueError(f"classes = {classes}: 0 for none, or how many")
    check_at_least_one(dim=dim)
    c, *size = image
    networks = (
        encoder(image=(c + classes, *size), dim=2 * dim),
        decoder(image=image, dim=dim + classes),
    )
    if classes == 0:
        return VAE(*networks, dim=dim)
    return ConditionalVAE(*networks, dim=dim, classes=classes)


def layers(*widths: int) -> list[nn.Module]:
    """Linear layers from width to width, with a ReLU between two."""
    found: list[nn.Module] = []
    for before, after in zip(widths, widths[1:]):
        found += [nn.Linear(before, after), nn.ReLU()]
    return found[:-1]


def check_sizes(**sizes: Shape) -> None:
    """Refuse what is no sequence of numbers above 0, by name."""
    for name, size in sizes.items():
        if not isinstance(size, Sequence) or not all(n >= 1 for n in size):
            raise ValueError(
                f"{name} = {size!r}: numbers of 1 or more in brackets, "
                "like (64,)"
            )


def halved(image: Shape, times: int) -> tuple[int, int, int]:
    """Channels, and height and width after halving; both stay whole."""
    if len(image) != 3:
        raise ValueError(f"image = {tuple(image)}: (channels, height, width)")
    c, h, w = image
    check_at_least_one(stages=times)
    if h % 2**times or w % 2**times:
        raise ValueError(
            f"image = {tuple(image)}: {times} stages halve it {times} times, "
            f"so height and width are multiples of {2**times}"
        )
    return c, h // 2**times, w // 2**times

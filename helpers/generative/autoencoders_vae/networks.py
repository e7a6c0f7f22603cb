"""Autoencoders and variational autoencoders over any encoder and decoder.

Kingma & Welling 2014, arXiv:1312.6114. The usual networks are in `builders`.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.training import evaluation_mode


class VAEOutput(NamedTuple):
    """What a variational autoencoder predicts for a batch.

    `prediction` holds the parameters of p(x | z): logits for a Bernoulli
    decoder, means for a Gaussian one. With several samples a batch,
    `prediction` and `z` have these first.
    """

    prediction: Tensor  # [b *item] or [samples b *item]
    z: Tensor  # [b d] or [samples b d]
    mean: Float[Tensor, "b d"]
    log_variance: Float[Tensor, "b d"]


class Autoencoder(nn.Module):
    """Squeeze x through a code of few numbers (Hinton & Salakhutdinov 2006).

    `encoder` maps ``[b *item]`` to ``[b d]``, `decoder` ``[n d]`` to
    ``[n *item]``.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def encode(self, x: Float[Tensor, "b *item"]) -> Float[Tensor, "b d"]:
        code = self.encoder(x)
        if code.ndim != 2 or len(code) != len(x):
            raise ValueError(
                f"a code of shape {list(code.shape)} for x of shape "
                f"{list(x.shape)}: the encoder maps [b *item] to [b d]"
            )
        return code

    def decode(self, z: Float[Tensor, "*n d"]) -> Float[Tensor, "..."]:
        return over_leading_axes(self.decoder, z)

    def forward(self, x: Float[Tensor, "b *item"]) -> Float[Tensor, "b ..."]:
        return self.decode(self.encode(x))


class VAE(nn.Module):
    """q(z | x) = N(mean, diag(exp(log variance))), and p(x | z).

    `encoder` maps ``[b *item]`` to ``[b 2d]``, the mean before the log
    variance; `decoder` maps ``[n d]`` to ``[n *item]``. `dim` is d.
    Outputs in half precision are widened to float32 for the bounds. Raises
    `ValueError` for an encoder's output of another shape.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, *, dim: int
    ) -> None:
        super().__init__()
        check_at_least_one(dim=dim)
        self.encoder = encoder
        self.decoder = decoder
        self.dim = dim

    def encode(
        self, x: Float[Tensor, "b *item"]
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]:
        """Mean and log variance of q(z | x)."""
        code = wide(self.encoder(x))
        if code.shape != (len(x), 2 * self.dim):
            raise ValueError(
                f"the encoder gives {list(code.shape)}, not "
                f"{[len(x), 2 * self.dim]}, for x of shape {list(x.shape)}: "
                f"x is a batch, and for dim = {self.dim} the encoder ends "
                f"in {self.dim} means and {self.dim} log variances"
            )
        mean, log_variance = code.chunk(2, dim=1)
        return mean, log_variance

    def decode(self, z: Float[Tensor, "*n d"]) -> Float[Tensor, "..."]:
        """The parameters of p(x | z), ``[*n *item]``."""
        return wide(over_leading_axes(self.decoder, z))

    def forward(
        self,
        x: Float[Tensor, "b *item"],
        *,
        samples: int | None = None,
        noise: Tensor | None = None,
    ) -> VAEOutput:
        """Encode, draw z, decode.

        `samples` draws that many z for each x; `noise`, [b d] or
        [samples b d], replaces the standard normal numbers. Raises
        `ValueError` for both, and for noise of another shape.
        """
        mean, log_variance = self.encode(x)
        z = draw(mean, log_variance, samples, noise)
        return VAEOutput(self.decode(z), z, mean, log_variance)


class ConditionalVAE(VAE):
    """q(z | x, y) and p(x | z, y) for a class y (Sohn et al. 2015).

    The class enters one-hot: as `classes` more channels of the encoder's
    input, and as `classes` more numbers of the decoder's. Raises
    `ValueError` for labels that are not one class an item.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        dim: int,
        classes: int,
    ) -> None:
        super().__init__(encoder, decoder, dim=dim)
        check_at_least_one(classes=classes)
        self.classes = classes

    def encode(
        self, x: Float[Tensor, "b *item"], y: Int64[Tensor, "b"]
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]:
        return super().encode(with_class(x, y, self.classes))

    def decode(
        self, z: Float[Tensor, "*n d"], y: Int64[Tensor, "b"]
    ) -> Float[Tensor, "..."]:
        told = one_hot(y, self.classes, z.shape[-2], z.dtype)
        told = told.expand(*z.shape[:-1], -1)  # samples b classes
        return super().decode(torch.cat([z, told], dim=-1))

    def forward(
        self,
        x: Float[Tensor, "b *item"],
        y: Int64[Tensor, "b"],
        *,
        samples: int | None = None,
        noise: Tensor | None = None,
    ) -> VAEOutput:
        """Encode, draw z, decode, all given the class y."""
        mean, log_variance = self.encode(x, y)
        z = draw(mean, log_variance, samples, noise)
        return VAEOutput(self.decode(z, y), z, mean, log_variance)


def reparameterise(
    mean: Float[Tensor, "b d"],
    log_variance: Float[Tensor, "b d"],
    noise: Float[Tensor, "*samples b d"],
) -> Float[Tensor, "*samples b d"]:
    """z = mean + σ · noise: a sample of N(mean, σ²) with a gradient.

    `noise` is standard normal (Kingma & Welling 2014, section 2.4).
    """
    check_noise(mean, log_variance, noise)
    return mean + (log_variance / 2).exp() * noise


def draw(
    mean: Float[Tensor, "b d"],
    log_variance: Float[Tensor, "b d"],
    samples: int | None = None,
    noise: Tensor | None = None,
) -> Float[Tensor, "*samples b d"]:
    """Samples of q, from `noise` or from fresh standard normal numbers."""
    if samples is not None:
        check_at_least_one(samples=samples)
        if noise is not None:
            raise ValueError(
                f"samples = {samples} and noise of shape "
                f"{list(noise.shape)}: give one of them"
            )
    if noise is None:
        leading = () if samples is None else (samples,)
        noise = torch.randn(
            *leading, *mean.shape, dtype=mean.dtype, device=mean.device
        )
    return reparameterise(mean, log_variance, noise.to(mean.dtype))


@torch.no_grad()
def sample(
    model: VAE,
    n: int,
    y: Int64[Tensor, "n"] | None = None,
    *,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "n ..."]:
    """Decode n codes from the prior N(0, I): logits or means of images.

    A `ConditionalVAE` needs the classes `y`. The codes are drawn on the
    generator's device, and without one on the model's; the model decodes
    in evaluation mode, and gets its own mode back. Raises `ValueError`
    for classes that are missing or not asked for.
    """
    check_at_least_one(n=n)
    if (y is not None) != hasattr(model, "classes"):
        wanted = "the classes y" if y is None else "no classes y"
        raise ValueError(f"a {type(model).__name__} takes {wanted}")
    weight = next(model.parameters())
    where = weight.device if generator is None else generator.device
    z = torch.randn(
        n, model.dim, generator=generator, device=where, dtype=weight.dtype
    ).to(weight.device)
    with evaluation_mode(model):
        return model.decode(z) if y is None else model.decode(z, y)


def over_leading_axes(
    network: nn.Module, z: Float[Tensor, "*n d"]
) -> Float[Tensor, "..."]:
    """Apply `network`, which takes [n d], to any number of leading axes."""
    if z.ndim == 2:
        return network(z)
    items = network(z.reshape(-1, z.shape[-1]))
    return items.view(*z.shape[:-1], *items.shape[1:])


def with_class(
    x: Float[Tensor, "b c *hw"], y: Int64[Tensor, "b"], classes: int
) -> Float[Tensor, "b more *hw"]:
    """Append `classes` channels to x: 1 everywhere in that of the class."""
    told = one_hot(y, classes, len(x), x.dtype).view(
        len(x), classes, *[1] * (x.ndim - 2)
    )
    return torch.cat([x, told.expand(-1, -1, *x.shape[2:])], dim=1)


def one_hot(
    y: Int64[Tensor, "b"], classes: int, n: int, dtype: torch.dtype
) -> Float[Tensor, "b classes"]:
    """The classes of n items, one-hot. Values are checked on the CPU only.

    Elsewhere that would wait for the device, which refuses them itself.
    """
    if y.shape != (n,):
        raise ValueError(
            f"y of shape {list(y.shape)} for {n} items: one class an item"
        )
    if y.dtype.is_floating_point:
        raise ValueError(f"y of {y.dtype}: classes are whole numbers")
    if y.device.type == "cpu" and not torch.compiler.is_compiling():
        check_classes(y, classes)
    return F.one_hot(y.long(), classes).to(dtype)


def wide(x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """At least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def check_at_least_one(**numbers: int) -> None:
    """Refuse a number below 1, by name."""
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} = {number}: at least 1")


def check_noise(mean: Tensor, log_variance: Tensor, noise: Tensor) -> None:
    """Refuse shapes that would broadcast in silence."""
    if not mean.shape == log_variance.shape == noise.shape[-2:]:
        raise ValueError(
            f"noise of shape {list(noise.shape)} for a code of shape "
            f"{list(mean.shape)} with log variances {list(log_variance.shape)}"
            ": only axes of samples may come before"
        )


def check_finite(**tensors: Tensor) -> None:
    """Refuse values that are no numbers, by name; waits for the device."""
    for name, x in tensors.items():
        if not bool(x.isfinite().all()):
            bad = int((~x.isfinite()).sum())
            raise ValueError(
                f"{name}: {bad} of {x.numel()} values are not finite"
            )


def check_classes(y: Int64[Tensor, "b"], classes: int) -> None:
    """Refuse labels that are no class."""
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < classes:
        raise ValueError(
            f"y from {int(y.min())} to {int(y.max())}: labels of "
            f"{classes} classes run from 0 to {classes - 1}"
        )

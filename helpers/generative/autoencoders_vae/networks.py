"""Autoencoders and variational autoencoders over any encoder and decoder.

Kingma & Welling 2014, arXiv:1312.6114. The usual networks are in `builders`.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F


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
        return self.encoder(x)

    def decode(self, z: Float[Tensor, "*n d"]) -> Float[Tensor, "..."]:
        return over_leading_axes(self.decoder, z)

    def forward(self, x: Float[Tensor, "b *item"]) -> Float[Tensor, "b ..."]:
        return self.decode(self.encode(x))


class VAE(nn.Module):
    """q(z | x) = N(mean, diag(exp(log variance))), and p(x | z).

    `encoder` maps ``[b *item]`` to ``[b 2d]``, the mean before the log
    variance; `decoder` maps ``[n d]`` to ``[n *item]``. `dim` is d.
    Outputs in half precision are widened to float32 for the bounds.
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
                f"{[len(x), 2 * self.dim]}: for dim = {self.dim} it ends in "
                f"{self.dim} means and {self.dim} log variances"
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
        [samples b d], replaces the standard normal numbers.
        """
        mean, log_variance = self.encode(x)
        z = draw(mean, log_variance, samples, noise)
        return VAEOutput(self.decode(z), z, mean, log_variance)


class ConditionalVAE(VAE):
    """q(z | x, y) and p(x | z, y) for a class y (Sohn et al. 2015).

    The class enters one-hot: as `classes` more channels of the encoder's
    input, and as `classes` more numbers of the decoder's.
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
        planes = self.one_hot(y, x).view(len(y), -1, *[1] * (x.ndim - 2))
        planes = planes.expand(-1, -1, *x.shape[2:])  # b classes h w
        return super().encode(torch.cat([x, planes], dim=1))

    def decode(
        self, z: Float[Tensor, "*n d"], y: Int64[Tensor, "b"]
    ) -> Float[Tensor, "..."]:
        code = self.one_hot(y, z).expand(*z.shape[:-1], -1)
        return super().decode(torch.cat([z, code], dim=-1))

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

    def one_hot(
        self, y: Int64[Tensor, "b"], like: Tensor
    ) -> Float[Tensor, "b classes"]:
        if y.device.type == "cpu" and not torch.compiler.is_compiling():
            check_classes(y, self.classes)  # elsewhere it would wait
        return F.one_hot(y, self.classes).to(like.dtype)


def reparameterise(
    mean: Float[Tensor, "b d"],
    log_variance: Float[Tensor, "b d"],
    noise: Float[Tensor, "*samples b d"],
) -> Float[Tensor, "*samples b d"]:
    """z = mean + σ · noise: a sample of N(mean, σ²) with a gradient.

    `noise` is standard normal (Kingma & Welling 2014, section 2.4).
    """
    return mean + (log_variance / 2).exp() * noise


def draw(
    mean: Float[Tensor, "b d"],
    log_variance: Float[Tensor, "b d"],
    samples: int | None = None,
    noise: Tensor | None = None,
) -> Float[Tensor, "*samples b d"]:
    """Samples of q, from `noise` or from fresh standard normal numbers."""
    if noise is None:
        leading = () if samples is None else (samples,)
        noise = torch.randn(
            *leading, *mean.shape, dtype=mean.dtype, device=mean.device
        )
    elif noise.ndim < 2 or noise.shape[-2:] != mean.shape:
        raise ValueError(
            f"noise of shape {list(noise.shape)} for a code of shape "
            f"{list(mean.shape)}: only axes of samples may come before"
        )
    return reparameterise(mean, log_variance, noise)


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
    generator's device, and without one on the model's.
    """
    weight = next(model.parameters())
    where = weight.device if generator is None else generator.device
    z = torch.randn(
        n, model.dim, generator=generator, device=where, dtype=weight.dtype
    ).to(weight.device)
    return model.decode(z) if y is None else model.decode(z, y)


def over_leading_axes(
    network: nn.Module, z: Float[Tensor, "*n d"]
) -> Float[Tensor, "..."]:
    """Apply `network`, which takes [n d], to any number of leading axes."""
    if z.ndim == 2:
        return network(z)
    items = network(z.reshape(-1, z.shape[-1]))
    return items.view(*z.shape[:-1], *items.shape[1:])


def wide(x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """At least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def check_at_least_one(**numbers: int) -> None:
    """Refuse a number below 1, by name."""
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} = {number}: at least 1")


def check_classes(y: Int64[Tensor, "b"], classes: int) -> None:
    """Refuse labels that are no class."""
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < classes:
        raise ValueError(
            f"y from {int(y.min())} to {int(y.max())}: labels of "
            f"{classes} classes run from 0 to {classes - 1}"
        )

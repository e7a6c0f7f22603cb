"""The two-step update of Goodfellow et al. 2014 (algorithm 1), for every loss: one `update` for `helpers.training.fit`."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from helpers.generative.autoencoders_vae.networks import check_at_least_one, wide
from helpers.generative.gans.losses import LossPair, clip_weights, gradient_penalty
from helpers.training import Batch, Metrics, Update, evaluation_mode


def discriminator_step(
    generator: nn.Module,
    discriminator: nn.Module,
    optimizer: Optimizer,
    losses: LossPair,
    batch: Batch,
    z: Float[Tensor, "b latent"],
    *,
    penalty: float = 0.0,
    mix: Float[Tensor, "b"] | None = None,
    one_sided: bool = False,
) -> Float[Tensor, ""]:
    """Move D with G held fixed; `batch` is (x,) or (x, y)."""
    x, *y = batch
    with torch.no_grad():
        fake = generator(z, *y)  # a constant here
    optimizer.zero_grad()
    real = wide(discriminator(x, *y))
    loss = losses.discriminator(real, wide(discriminator(fake, *y)))
    if penalty:
        fake = fake.to(x.dtype)
        slope = gradient_penalty(
            discriminator, x, fake, mix, *y, one_sided=one_sided
        )
        loss = loss + penalty * slope
    loss.backward()
    optimizer.step()
    return loss.detach()


def generator_step(
    generator: nn.Module,
    discriminator: nn.Module,
    optimizer: Optimizer,
    losses: LossPair,
    batch: Batch,
    z: Float[Tensor, "b latent"],
) -> Float[Tensor, ""]:
    """Move G with D held fixed; the gradient comes through D."""
    _, *y = batch
    optimizer.zero_grad()
    with frozen(discriminator):
        fake = discriminator(generator(z, *y), *y)
        loss = losses.generator(wide(fake))
        loss.backward()
    optimizer.step()
    return loss.detach()


def adversarial_update(
    generator: nn.Module,
    discriminator: nn.Module,
    g_optimizer: Optimizer,
    d_optimizer: Optimizer,
    losses: LossPair,
    *,
    latent: int,
    random: torch.Generator,
    d_steps: int = 1,
    clip: float | None = None,
    penalty: float = 0.0,
    one_sided: bool = False,
    dtype: torch.dtype | None = None,
) -> Update:
    """`d_steps` steps of D, then one of G, as one update.

    The batch is cut into `d_steps` parts, equal up to one sample: each
    step of D sees data of its own. `clip` bounds D's weights after each of its steps,
    `penalty` weighs the gradient penalty, `one_sided` or not; `dtype` is
    that of autocast.
    `random` draws the noise. Metrics: "discriminator loss" and
    "generator loss", means over their steps. Raises `ValueError` for a
    network in evaluation mode, for settings that make no sense and for a
    batch whose columns differ in length.
    """
    check(latent, d_steps, clip, penalty)
    d_settings = dict(penalty=penalty, one_sided=one_sided)

    def draw(n: int, like: Tensor, uniform: bool = False) -> Tensor:
        where = dict(generator=random, device=random.device)
        if uniform:
            return torch.rand(n, **where).to(like)
        return torch.randn(n, latent, **where).to(like)

    def update(batch: Batch) -> Metrics:
        check_modes(generator, discriminator)
        check_batch(batch, d_steps)
        x = batch[0]
        ends = [len(x) * i // d_steps for i in range(d_steps + 1)]
        total = 0.0
        cast = nullcontext()
        if dtype is not None:
            cast = torch.autocast(x.device.type, dtype)
        with cast:
            for start, end in pairwise(ends):
                part = tuple(column[start:end] for column in batch)
                n = end - start
                if penalty:
                    d_settings["mix"] = draw(n, x, uniform=True)
                total += discriminator_step(
                    generator, discriminator, d_optimizer, losses,
                    part, draw(n, x), **d_settings,
                )  # fmt: skip
                if clip is not None:
                    clip_weights(discriminator, clip)
            g_loss = generator_step(
                generator, discriminator, g_optimizer, losses,
                part, draw(n, x),
            )  # fmt: skip
        return {
            "discriminator loss": (total, d_steps),
            "generator loss": (g_loss, 1),
        }

    return update


@torch.no_grad()
def generate(
    generator: nn.Module,
    z: Float[Tensor, "n latent"],
    *condition: Tensor,
) -> Float[Tensor, "n *shape"]:
    """Samples from `z` in evaluation mode; the mode is put back."""
    with evaluation_mode(generator):
        return generator(z, *condition)


@contextmanager
def frozen(net: nn.Module) -> Iterator[None]:
    """Give the parameters of `net` no gradient meanwhile."""
    wanted = [p for p in net.parameters() if p.requires_grad]
    for p in wanted:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in wanted:
            p.requires_grad_(True)


def check(latent: int, d_steps: int, clip: float | None, penalty: float) -> None:
    """Refuse settings with which there is no game."""
    check_at_least_one(latent=latent, d_steps=d_steps)
    if clip is not None and not clip > 0:
        raise ValueError(f"clip = {clip}: a bound is above 0, like 0.01")
    if not 0 <= penalty < float("inf"):
        raise ValueError(f"penalty = {penalty}: its weight is 0 or more, like 10")


def check_batch(batch: Batch, d_steps: int) -> None:
    """Refuse columns of two lengths, and fewer samples than steps of D."""
    sizes = [len(column) for column in batch]
    if min(sizes) < max(sizes):
        raise ValueError(f"columns of {sizes} items: as many of each")
    if sizes[0] < d_steps:
        raise ValueError(f"d_steps = {d_steps}: the batch has {sizes[0]} samples")


def check_modes(generator: nn.Module, discriminator: nn.Module) -> None:
    """Refuse a player in evaluation mode, where batch norm does not learn."""
    for name, net in (("generator", generator), ("discriminator", discriminator)):
        if not net.training:
            raise ValueError(f"the {name} is in evaluation mode: call {name}.train() before training it")

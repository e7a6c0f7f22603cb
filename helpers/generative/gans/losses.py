"""Loss pairs: what each player minimises, as functions of D's outputs alone.

`real` and `fake` are the outputs of one network on real and generated
samples: logits for the first three pairs, critic values for Wasserstein.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from helpers.generative.autoencoders_vae.networks import wide

Real = Float[Tensor, "real"]
Fake = Float[Tensor, "fake"]
Scalar = Float[Tensor, ""]


class LossPair(NamedTuple):
    """What the two players minimise: `discriminator(real, fake)` and `generator(fake)`."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


def cross_entropy(real: Real, fake: Fake) -> Scalar:
    """-E log D(x) - E log(1 - D(G(z))) with D = σ(output).

    This is -V of Goodfellow et al. 2014, equation 1.
    """
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def saturating(fake: Fake) -> Scalar:
    """E log(1 - D(G(z))): the generator's side of the minimax game."""
    return -F.softplus(fake).mean()


def non_saturating(fake: Fake) -> Scalar:
    """-E log D(G(z)): Goodfellow's trick, the same fixed point."""
    return F.softplus(-fake).mean()


def squares(
    real: Real, fake: Fake, *, a: float = -1.0, b: float = 1.0
) -> Scalar:
    """½ E (D(x) - b)² + ½ E (D(G(z)) - a)² (Mao et al. 2017)."""
    return ((real - b) ** 2).mean() / 2 + ((fake - a) ** 2).mean() / 2


def squares_generator(fake: Fake, *, c: float = 0.0) -> Scalar:
    """½ E (D(G(z)) - c)²."""
    return ((fake - c) ** 2).mean() / 2


def wasserstein(real: Real, fake: Fake) -> Scalar:
    """E f(G(z)) - E f(x): minus the gap that the critic opens.

    With f 1-Lipschitz and optimal, minus W₁ (Arjovsky et al. 2017).
    """
    return fake.mean() - real.mean()


def wasserstein_generator(fake: Fake) -> Scalar:
    """-E f(G(z)): climb the critic."""
    return -fake.mean()


LOSSES = {
    "minimax": LossPair(cross_entropy, saturating),
    "non-saturating": LossPair(cross_entropy, non_saturating),
    "least squares": LossPair(squares, squares_generator),
    "least squares 0-1": LossPair(
        partial(squares, a=0.0, b=1.0), partial(squares_generator, c=1.0)
    ),
    "wasserstein": LossPair(wasserstein, wasserstein_generator),
}


def loss_pair(name: str) -> LossPair:
    """The pair called `name`. Raises `ValueError` for an unknown one."""
    if name not in LOSSES:
        known = ", ".join(map(repr, LOSSES))
        raise ValueError(f"loss {name!r} is unknown: choose one of {known}")
    return LOSSES[name]


def gradient_penalty(
    critic: Callable[..., Float[Tensor, "b"]],
    real: Float[Tensor, "b *shape"],
    fake: Float[Tensor, "b *shape"],
    mix: Float[Tensor, "b"] | None,
    *condition: Tensor,
    one_sided: bool = False,
) -> Scalar:
    """E (‖∇f(x̂)‖ - 1)² at x̂ = mix · x + (1 - mix) · G(z).

    `mix` is uniform on [0, 1], one number a sample (Gulrajani et al.
    2017, arXiv:1704.00028); `one_sided` lets slopes below 1 go free. The
    gradient is taken sample by sample: raises `ValueError` for a critic
    whose batch norm mixes them, and for shapes that do not match.
    """
    check_penalty(critic, real, fake, mix)
    mix = mix.view(-1, *[1] * (real.ndim - 1))
    x = torch.lerp(fake, real, mix).detach().requires_grad_()
    f = critic(x, *condition)
    (slope,) = torch.autograd.grad(f.sum(), x, create_graph=True)
    excess = wide(slope).flatten(1).norm(dim=1) - 1
    return (excess.clamp(min=0) if one_sided else excess).square().mean()


@torch.no_grad()
def clip_weights(critic: nn.Module, limit: float) -> None:
    """Cut every parameter to ± `limit` (Arjovsky et al. 2017).

    A crude way to bound the Lipschitz constant.
    """
    if not limit > 0:
        raise ValueError(f"limit = {limit}: a bound is above 0, like 0.01")
    for p in critic.parameters():
        p.clamp_(-limit, limit)


def check_penalty(critic: Callable, real: Tensor, fake: Tensor, mix: Tensor | None) -> None:
    """Refuse what would broadcast in silence, and a critic whose output for one sample depends on the others."""
    if mix is None or mix.shape != real.shape[:1] or fake.shape != real.shape:
        drawn = None if mix is None else list(mix.shape)
        raise ValueError(
            f"real of shape {list(real.shape)}, fake of shape {list(fake.shape)}, mix of shape {drawn}: the penalty "
            "needs as many fakes as reals and one number of mix for each"
        )
    if isinstance(critic, nn.Module) and any(isinstance(m, _BatchNorm) and m.training for m in critic.modules()):
        raise ValueError("the critic has batch norm, which mixes samples: build it without, as with norm=False")

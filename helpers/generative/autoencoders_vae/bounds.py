"""Bounds on log p(x), their parts, and the losses made of them; in nats.

Kingma & Welling 2014, arXiv:1312.6114; Burda et al. 2016, arXiv:1509.00519.
Everything here is a function of what a network predicts, whatever network.
"""

from collections.abc import Callable
from itertools import count
from math import log, pi

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.generative.autoencoders_vae.networks import (
    VAEOutput,
    wide,
)
from helpers.training import Batch, Loss, Metrics, Schedule, tally

# log p(x | z) of each item, [*samples b], from x and the prediction.
Likelihood = Callable[[Tensor, Tensor], Tensor]


def kl_to_standard_normal(
    mean: Float[Tensor, "*n d"], log_variance: Float[Tensor, "*n d"]
) -> Float[Tensor, "*n d"]:
    """KL(N(mean, σ²), N(0, 1)) of each dimension; their sum is the KL.

    ½ (mean² + σ² - 1 - ln σ²), Kingma & Welling 2014, appendix B; expm1
    gives σ² - 1 without loss where σ is near 1. Raises `ValueError` for
    two shapes.
    """
    check_alike(mean=mean, log_variance=log_variance)
    mean, log_variance = wide(mean), wide(log_variance)
    return (mean**2 + (log_variance.expm1() - log_variance)) / 2


def kl_between_normals(
    mean: Float[Tensor, "*n d"],
    covariance: Float[Tensor, "d d"],
    other_mean: Float[Tensor, "*n d"],
    other_covariance: Float[Tensor, "d d"],
) -> Float[Tensor, "*n"]:
    """KL(N(mean, covariance), N(other mean, other covariance)).

    ½ Σ (shift² + λ - 1 - ln λ) with the variances λ in units of the other
    distribution, added axis by axis, so that nothing large cancels.
    Raises `ValueError` for a covariance that is not positive definite.
    """
    root = cholesky(other_covariance, "other_covariance")
    own = cholesky(covariance, "covariance")
    shift = torch.linalg.solve_triangular(
        root, (other_mean - mean)[..., None], upper=False
    )
    ratio = torch.linalg.solve_triangular(root, own, upper=False)
    s = torch.linalg.svdvals(ratio)
    excess = (s - 1) * (s + 1)  # λ - 1
    return ((shift**2).sum((-2, -1)) + (excess - excess.log1p()).sum()) / 2


def log_normal(
    x: Float[Tensor, "..."],
    mean: Float[Tensor, "..."] | float = 0.0,
    log_variance: Float[Tensor, "..."] | float = 0.0,
) -> Float[Tensor, "..."]:
    """log N(x; mean, variance) of each number."""
    x = wide(x)
    log_variance = torch.as_tensor(
        log_variance, dtype=x.dtype, device=x.device
    )
    square = (x - mean) ** 2 / log_variance.exp()
    return -(square + log_variance + log(2 * pi)) / 2


def bernoulli(
    x: Float[Tensor, "b *item"], logits: Float[Tensor, "..."]
) -> Float[Tensor, "..."]:
    """log p(x | z) for pixels that are 1 with probability sigmoid(logits).

    Grey pixels count as probabilities, as everybody does; what comes out
    is then the negative cross-entropy, not a log probability. Raises
    `ValueError` for x outside [0, 1], on the CPU.
    """
    check_prediction(x, logits)
    logits = wide(logits)
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        low, high = (float(value) for value in x.detach().aminmax())
        if not (low >= 0 and high <= 1):  # true of NaN as well
            raise ValueError(
                f"x from {low:.3g} to {high:.3g}: Bernoulli pixels lie in "
                "[0, 1]; rescale them, or use `gaussian`"
            )
    target = x.to(logits.dtype).expand_as(logits)
    loss = F.binary_cross_entropy_with_logits(
        logits, target, reduction="none"
    )
    return -over_item(loss, x)


def gaussian(
    x: Float[Tensor, "b *item"],
    mean: Float[Tensor, "..."],
    variance: float | Float[Tensor, ""] = 1.0,
) -> Float[Tensor, "..."]:
    """log p(x | z) for pixels N(mean, variance), one variance for all.

    Raises `ValueError` for a number `variance` that is not positive.
    """
    check_prediction(x, mean)
    if not isinstance(variance, Tensor) and not 0 < variance < float("inf"):
        raise ValueError(f"variance = {variance}: positive and finite")
    mean = wide(mean)
    variance = torch.as_tensor(
        variance, dtype=mean.dtype, device=mean.device
    )
    each = log_normal(x.to(mean.dtype), mean, variance.log())
    return over_item(each, x)


def elbo(
    x: Float[Tensor, "b *item"],
    output: VAEOutput,
    likelihood: Likelihood = bernoulli,
) -> Float[Tensor, "*samples b"]:
    """The evidence lower bound log p(x | z) - KL(q(z | x), p(z)).

    One value for each sample of z; their mean estimates the bound
    (Kingma & Welling 2014, equation 7).
    """
    kl = kl_to_standard_normal(output.mean, output.log_variance).sum(-1)
    return likelihood(x, output.prediction) - kl


def iwae_bound(
    x: Float[Tensor, "b *item"],
    output: VAEOutput,
    likelihood: Likelihood = bernoulli,
) -> Float[Tensor, "b"]:
    """log of the mean of k weights p(x, z) / q(z | x), each z from q.

    Equals one draw of the ELBO at k = 1 and rises to log p(x) with k
    (Burda et al. 2016, equation 8). Raises `ValueError` for an output
    without an axis of samples: call `model(x, samples=k)`.
    """
    if output.z.ndim != 3:
        raise ValueError(
            f"z of shape {list(output.z.shape)}: the bound needs samples "
            "[k b d], call model(x, samples=k)"
        )
    log_weight = (
        likelihood(x, output.prediction)
        + log_normal(output.z).sum(-1)
        - log_normal(output.z, output.mean, output.log_variance).sum(-1)
    )
    return log_weight.logsumexp(0) - log(len(log_weight))


def negative_elbo(
    model: nn.Module,
    batch: Batch,
    *,
    likelihood: Likelihood = bernoulli,
    beta: float = 1.0,
    free_bits: float = 0.0,
) -> tuple[Tensor, Metrics]:
    """The loss of a VAE, for `gradient_update`: - log p(x | z) + β KL.

    `model(*batch)` predicts, so that a batch is x alone, or x and y for
    a `ConditionalVAE`. `beta` weighs the KL (Higgins et al. 2017);
    `free_bits` are the nats a dimension may cost for nothing, on average
    over the batch (Kingma et al. 2016, arXiv:1606.04934, appendix C).
    Metrics "elbo", "distortion" and "kl" are true means, with β = 1 and
    nothing for free.
    """
    check_not_negative(beta=beta, free_bits=free_bits)
    output = model(*batch)
    log_likelihood = likelihood(batch[0], output.prediction)
    kl = kl_to_standard_normal(output.mean, output.log_variance)
    loss = -log_likelihood.mean()
    if beta:  # 0 · inf would be no number
        price = kl.mean(0).clamp(min=free_bits).sum()  # over b, then d
        loss = loss + beta * price
    return loss, {
        "elbo": tally(log_likelihood - kl.sum(1)),
        "distortion": tally(-log_likelihood),
        "kl": tally(kl.sum(1)),
    }


def negative_iwae_bound(
    model: nn.Module,
    batch: Batch,
    *,
    samples: int,
    likelihood: Likelihood = bernoulli,
) -> Tensor:
    """The loss of an importance-weighted autoencoder with k = `samples`."""
    output = model(*batch, samples=samples)
    return -iwae_bound(batch[0], output, likelihood).mean()


def warmed_up(loss: Loss, schedule: Schedule) -> Loss:
    """`loss` with beta = schedule(step), step counting calls in training.

    `schedule = linear_decay(n, start=0.0, end=1.0)` is KL warm-up over n
    steps (Bowman et al. 2016; Sønderby et al. 2016). The count lives in
    the returned function, not in a checkpoint.
    """
    steps = count()
    beta = schedule(0)

    def loss_at_step(model: nn.Module, batch: Batch):
        nonlocal beta
        if model.training:
            beta = schedule(next(steps))
        return loss(model, batch, beta=beta)

    return loss_at_step


def reconstruction_loss(
    model: nn.Module,
    batch: Batch,
    *,
    corrupt: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Squared distance from x to model(x), mean over the batch.

    With `corrupt` the model sees corrupt(x) and still owes x: a denoising
    autoencoder (Vincent et al. 2008). Raises `ValueError` for a batch
    that holds more than x.
    """
    if len(batch) != 1:
        raise ValueError(
            f"a batch of {len(batch)} columns: this loss takes (x,) alone"
        )
    (x,) = batch
    prediction = wide(model(x if corrupt is None else corrupt(x)))
    check_prediction(x, prediction)
    return over_item((prediction - x) ** 2, x).mean()


def over_item(
    values: Float[Tensor, "..."], x: Float[Tensor, "b *item"]
) -> Float[Tensor, "..."]:
    """Sum `values` over the axes that x has behind its batch."""
    return values.sum(tuple(range(1 - x.ndim, 0))) if x.ndim > 1 else values


def check_prediction(x: Tensor, prediction: Tensor) -> None:
    """Refuse shapes that would broadcast in silence."""
    if prediction.shape[-x.ndim :] != x.shape:
        raise ValueError(
            f"prediction of shape {list(prediction.shape)} for x of shape "
            f"{list(x.shape)}: only axes of samples may come before"
        )


def cholesky(
    covariance: Float[Tensor, "d d"], name: str
) -> Float[Tensor, "d d"]:
    """The lower triangular root, or a `ValueError` that says which."""
    root, failed = torch.linalg.cholesky_ex(covariance)
    if bool(failed.any()) or not bool(root.isfinite().all()):
        raise ValueError(
            f"{name} is not positive definite: add to its diagonal"
        )
    return root


def check_alike(**tensors: Tensor) -> None:
    """Refuse two shapes, by name: they would broadcast in silence."""
    (a, x), (b, y) = tensors.items()
    if x.shape != y.shape:
        raise ValueError(
            f"{a} of shape {list(x.shape)}, {b} of shape {list(y.shape)}: "
            "one shape for both"
        )


def check_not_negative(**numbers: float) -> None:
    """Refuse a number below 0, by name."""
    for name, number in numbers.items():
        if not number >= 0:
            raise ValueError(f"{name} = {number}: 0 or more")

"""Two gradients of an expectation over N(mean, σ²), sample by sample.

Both are unbiased; they differ in variance. Williams 1992 (REINFORCE);
Kingma & Welling 2014, arXiv:1312.6114, section 2.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from helpers.generative.autoencoders_vae.networks import check_noise

Function = Callable[[Float[Tensor, "n d"]], Float[Tensor, "n"]]
Gradients = tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]


def pathwise_gradient(
    f: Function,
    mean: Float[Tensor, "d"],
    log_variance: Float[Tensor, "d"],
    noise: Float[Tensor, "n d"],
) -> Gradients:
    """d f(mean + σ noise) by mean and by log σ²: through the sample.

    Raises `ValueError` for an f without a derivative.
    """
    check_noise(mean[None], log_variance[None], noise[:, None])
    sigma = (log_variance / 2).exp()
    z = (mean + sigma * noise).detach().requires_grad_()
    with torch.enable_grad():
        value = values(f, z)
    if not value.requires_grad:
        raise ValueError(
            "f(z) has no derivative by z: take score_function_gradient"
        )
    (slope,) = torch.autograd.grad(value.sum(), z)
    return slope, slope * sigma * noise / 2


def score_function_gradient(
    f: Function,
    mean: Float[Tensor, "d"],
    log_variance: Float[Tensor, "d"],
    noise: Float[Tensor, "n d"],
    *,
    baseline: float | Float[Tensor, ""] = 0.0,
) -> Gradients:
    """(f(z) - baseline) d log q(z), by mean and by log σ².

    f need not have a derivative. A `baseline` that does not depend on
    the sample leaves the mean as it is and may lower the variance.
    """
    check_noise(mean[None], log_variance[None], noise[:, None])
    if isinstance(baseline, Tensor) and baseline.ndim:
        raise ValueError(
            f"baseline of shape {list(baseline.shape)}: one number for all"
        )
    sigma = (log_variance / 2).exp()
    with torch.no_grad():
        advantage = values(f, mean + sigma * noise)[:, None] - baseline
    by_mean = noise / sigma  # d log q / d mean
    by_log_variance = (noise**2 - 1) / 2  # d log q / d log σ²
    return advantage * by_mean, advantage * by_log_variance


def values(f: Function, z: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
    """f(z), of which there is one for each sample."""
    found = f(z)
    if found.shape != z.shape[:1]:
        raise ValueError(
            f"f(z) of shape {list(found.shape)} for z of shape "
            f"{list(z.shape)}: one value a sample, {list(z.shape[:1])}"
        )
    return found

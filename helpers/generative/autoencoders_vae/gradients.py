"""Two gradients of an expectation over N(mean, σ²), sample by sample.

Both are unbiased; they differ in variance. Williams 1992 (REINFORCE);
Kingma & Welling 2014, arXiv:1312.6114, section 2.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Function = Callable[[Float[Tensor, "n d"]], Float[Tensor, "n"]]
Gradients = tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]


def pathwise_gradient(
    f: Function,
    mean: Float[Tensor, "d"],
    log_variance: Float[Tensor, "d"],
    noise: Float[Tensor, "n d"],
) -> Gradients:
    """d f(mean + σ noise) by mean and by log σ²: through the sample."""
    sigma = (log_variance / 2).exp()
    z = (mean + sigma * noise).detach().requires_grad_()
    (slope,) = torch.autograd.grad(f(z).sum(), z)
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
    sigma = (log_variance / 2).exp()
    with torch.no_grad():
        advantage = (f(mean + sigma * noise) - baseline)[:, None]
    by_mean = noise / sigma  # d log q / d mean
    by_log_variance = (noise**2 - 1) / 2  # d log q / d log σ²
    return advantage * by_mean, advantage * by_log_variance

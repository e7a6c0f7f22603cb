"""Autoencoders and variational autoencoders (Kingma & Welling 2014, arXiv:1312.6114).

`networks` ties any encoder to any decoder, `builders` has the usual ones; `bounds` has the lower bounds on
log p(x) and the losses; `gradients` the two gradients of an expectation; `linear_gaussian` the model whose bound is
known in closed form; `classifiers` the Gaussian classifiers of p(x, y); `latent` what one does with a code.
"""

from helpers.generative.autoencoders_vae.bounds import (
    Likelihood,
    bernoulli,
    elbo,
    gaussian,
    iwae_bound,
    kl_between_normals,
    kl_to_standard_normal,
    log_normal,
    negative_elbo,
    negative_iwae_bound,
    reconstruction_loss,
    warmed_up,
)
from helpers.generative.autoencoders_vae.builders import (
    conv_autoencoder,
    conv_decoder,
    conv_encoder,
    conv_vae,
    mlp_autoencoder,
    mlp_decoder,
    mlp_encoder,
    mlp_vae,
)
from helpers.generative.autoencoders_vae.classifiers import GaussianClassifier
from helpers.generative.autoencoders_vae.gradients import pathwise_gradient, score_function_gradient
from helpers.generative.autoencoders_vae.latent import (
    active_dimensions,
    interpolate,
    manifold_grid,
    nearest_distance,
    power_spectrum,
)
from helpers.generative.autoencoders_vae.linear_gaussian import LinearGaussian
from helpers.generative.autoencoders_vae.networks import (
    VAE,
    Autoencoder,
    ConditionalVAE,
    VAEOutput,
    reparameterise,
    sample,
)

__all__ = [
    "VAE",
    "Autoencoder",
    "ConditionalVAE",
    "GaussianClassifier",
    "Likelihood",
    "LinearGaussian",
    "VAEOutput",
    "active_dimensions",
    "bernoulli",
    "conv_autoencoder",
    "conv_decoder",
    "conv_encoder",
    "conv_vae",
    "elbo",
    "gaussian",
    "interpolate",
    "iwae_bound",
    "kl_between_normals",
    "kl_to_standard_normal",
    "log_normal",
    "manifold_grid",
    "mlp_autoencoder",
    "mlp_decoder",
    "mlp_encoder",
    "mlp_vae",
    "nearest_distance",
    "negative_elbo",
    "negative_iwae_bound",
    "pathwise_gradient",
    "power_spectrum",
    "reconstruction_loss",
    "reparameterise",
    "sample",
    "score_function_gradient",
    "warmed_up",
]

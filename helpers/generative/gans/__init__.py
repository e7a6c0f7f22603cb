"""Generative adversarial networks: two players, one update, five pairs of losses.

`losses` has the pairs, `game` the two-step update, `networks` the players, for points and for images, and the
condition. `exact` knows the optima on a line, `toys` the worlds whose modes can be counted, `metrics` the distances
between samples and data.
"""

from helpers.generative.gans.exact import (
    game_value,
    jensen_shannon,
    kl,
    normal_mixture,
    optimal_discriminator,
    optimal_squares,
    pearson_chi2,
    squares_value,
    value_at_optimum,
    wasserstein_density,
    wasserstein_samples,
)
from helpers.generative.gans.game import adversarial_update, discriminator_step, frozen, generate, generator_step
from helpers.generative.gans.losses import LOSSES, LossPair, clip_weights, gradient_penalty, loss_pair
from helpers.generative.gans.metrics import (
    Classifier,
    frechet_distance,
    latent_arithmetic,
    nearest,
    precision_recall,
)
from helpers.generative.gans.networks import (
    DCGAN,
    Conditional,
    DCGANDiscriminator,
    DCGANGenerator,
    MLPDiscriminator,
    MLPGenerator,
)
from helpers.generative.gans.toys import around, covered, endless, grid, line, ring

__all__ = [
    "DCGAN",
    "LOSSES",
    "Classifier",
    "Conditional",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "LossPair",
    "MLPDiscriminator",
    "MLPGenerator",
    "adversarial_update",
    "around",
    "clip_weights",
    "covered",
    "discriminator_step",
    "endless",
    "frechet_distance",
    "frozen",
    "game_value",
    "generate",
    "generator_step",
    "gradient_penalty",
    "grid",
    "jensen_shannon",
    "kl",
    "latent_arithmetic",
    "line",
    "loss_pair",
    "nearest",
    "normal_mixture",
    "optimal_discriminator",
    "optimal_squares",
    "pearson_chi2",
    "precision_recall",
    "ring",
    "squares_value",
    "value_at_optimum",
    "wasserstein_density",
    "wasserstein_samples",
]

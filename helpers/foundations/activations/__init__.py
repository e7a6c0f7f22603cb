"""Activation functions: what stands between two linear layers, and what it does to the gradient.

`pointwise` has those that act on each number alone: Sigmoid, Tanh, ReLU, LeakyReLU, ELU, AbsoluteValue. `learned` has those
with weights of their own: PReLU, Maxout. `units` looks at single units: Mixed layers, dead_units, fill_biases, majority_sign.
"""

from helpers.foundations.activations.learned import Maxout, PReLU
from helpers.foundations.activations.pointwise import ELU, AbsoluteValue, LeakyReLU, ReLU, Sigmoid, Tanh, slope
from helpers.foundations.activations.units import Mixed, dead_units, fill_biases, majority_sign

__all__ = [
    "ELU",
    "AbsoluteValue",
    "LeakyReLU",
    "Maxout",
    "Mixed",
    "PReLU",
    "ReLU",
    "Sigmoid",
    "Tanh",
    "dead_units",
    "fill_biases",
    "majority_sign",
    "slope",
]

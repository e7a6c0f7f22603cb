"""Perceptrons: learning by mistakes, the theorem that says when it ends, and what a hidden layer adds.

`rule` has the perceptron's rule, the same without its threshold, and the largest margin that bounds its mistakes;
`two_layers` a network of two layers in NumPy; `functions` ReLU layers that are built by hand; `words` an embedding layer.
"""

from helpers.foundations.perceptrons.functions import bump, piecewise_linear
from helpers.foundations.perceptrons.rule import delta_rule, largest_margin, mistake_bound, perceptron_rule, step
from helpers.foundations.perceptrons.two_layers import forward, gradients, train_two_layers
from helpers.foundations.perceptrons.words import Embedding

__all__ = [
    "Embedding",
    "bump",
    "delta_rule",
    "forward",
    "gradients",
    "largest_margin",
    "mistake_bound",
    "perceptron_rule",
    "piecewise_linear",
    "step",
    "train_two_layers",
]

"""Linear classifiers: one template a class, two losses that choose the templates, and the probe that later pages call.

`losses` has the multiclass hinge and the softmax loss with their gradients by hand, `templates` the classifier with one or
more templates a class, `probe` a linear probe on frozen features, `lines` the best straight line there is.
"""

from helpers.foundations.linear_classifiers.lines import best_line
from helpers.foundations.linear_classifiers.losses import (
    softmax_gradient,
    softmax_loss,
    svm_gradient,
    svm_loss,
)
from helpers.foundations.linear_classifiers.probe import linear_probe
from helpers.foundations.linear_classifiers.templates import Templates

__all__ = [
    "Templates",
    "best_line",
    "linear_probe",
    "softmax_gradient",
    "softmax_loss",
    "svm_gradient",
    "svm_loss",
]

"""The optimizers of deep learning as their equations, with torch's argument names.

`first_order` knows the gradient alone: SGD, Momentum, Nesterov, AdaGrad, RMSProp, Adam, AdamW. `curvature` knows or
learns the Hessian: Newton, BFGS, LBFGS. `landscapes` has the surfaces that the chapter walks on.
"""

from helpers.foundations.optimizers.curvature import BFGS, LBFGS, Newton
from helpers.foundations.optimizers.first_order import SGD, AdaGrad, Adam, AdamW, Momentum, Nesterov, RMSProp
from helpers.foundations.optimizers.landscapes import beale, bowl, descend, rosenbrock, saddle

__all__ = [
    "BFGS",
    "LBFGS",
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Momentum",
    "Nesterov",
    "Newton",
    "RMSProp",
    "beale",
    "bowl",
    "descend",
    "rosenbrock",
    "saddle",
]

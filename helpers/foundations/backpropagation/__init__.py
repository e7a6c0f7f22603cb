"""Backpropagation: slopes by trying, gates that know their own slopes, a tape that chains them, and its price in memory.

`differences` has numerical gradients and the check, `gates` the forward and backward pass of single operations, `tape` an
engine that records and reverses, `checkpointing` the exchange of memory for a second forward pass.
"""

from helpers.foundations.backpropagation.checkpointing import checkpoint_sequential
from helpers.foundations.backpropagation.differences import gradient_check, numerical_gradient
from helpers.foundations.backpropagation.gates import (
    Add,
    AveragePool,
    Convolve,
    MatMul,
    Max,
    MaxPool,
    Multiply,
    Sigmoid,
)
from helpers.foundations.backpropagation.tape import Node, Tape

__all__ = [
    "Add",
    "AveragePool",
    "Convolve",
    "MatMul",
    "Max",
    "MaxPool",
    "Multiply",
    "Node",
    "Sigmoid",
    "Tape",
    "checkpoint_sequential",
    "gradient_check",
    "numerical_gradient",
]

"""What a framework does between a formula and the numbers: graphs that are said before they run, or while they run.

A define-then-run graph in the manner of TensorFlow 1 (Abadi et al. 2016, arXiv:1605.08695): `placeholder`, `variable`, `Session`,
`gradients`, control flow as nodes, passes that make it smaller, a text that holds it, and an interpreter of one file that runs
that text. One two-layer net trained in six ways. A high-level wrapper in the manner of Keras (Chollet 2015). Nets and solvers in
Caffe's text format (Jia et al. 2014, arXiv:1408.5093).
"""

from helpers.foundations.frameworks.caffe_net import CaffeNet, net_from_prototxt
from helpers.foundations.frameworks.caffe_solver import (
    Solution,
    caffe_step,
    hdf5_batches,
    learning_rate,
    solve,
    write_hdf5,
)
from helpers.foundations.frameworks.control import cond, record, while_loop
from helpers.foundations.frameworks.differentiation import gradients
from helpers.foundations.frameworks.graph import (
    Graph,
    Session,
    Symbol,
    assign,
    batch_norm,
    constant,
    conv2d,
    group,
    mean,
    operation,
    placeholder,
    relu,
    square,
    variable,
)
from helpers.foundations.frameworks.interpreter import Function, Node, execute, load, order
from helpers.foundations.frameworks.passes import fold_constants, fuse, optimise, remove_dead, stages
from helpers.foundations.frameworks.prototxt import Field, Message, PrototxtError, Word, parse, print_message
from helpers.foundations.frameworks.saving import save
from helpers.foundations.frameworks.two_layer import (
    TwoLayer,
    train_autograd,
    train_graph,
    train_module,
    train_numpy,
    train_tensors,
    train_wrapper,
    two_layer_graph,
)
from helpers.foundations.frameworks.wrapper import Dense, Sequential
from helpers.foundations.frameworks.zoo import LENET, LENET_SOLVER, LENET_TRAIN, alexnet

__all__ = [
    "LENET",
    "LENET_SOLVER",
    "LENET_TRAIN",
    "CaffeNet",
    "Dense",
    "Field",
    "Function",
    "Graph",
    "Message",
    "Node",
    "PrototxtError",
    "Sequential",
    "Session",
    "Solution",
    "Symbol",
    "TwoLayer",
    "Word",
    "alexnet",
    "assign",
    "batch_norm",
    "caffe_step",
    "cond",
    "constant",
    "conv2d",
    "execute",
    "fold_constants",
    "fuse",
    "gradients",
    "group",
    "hdf5_batches",
    "learning_rate",
    "load",
    "mean",
    "net_from_prototxt",
    "operation",
    "optimise",
    "order",
    "parse",
    "placeholder",
    "print_message",
    "record",
    "relu",
    "remove_dead",
    "save",
    "solve",
    "square",
    "stages",
    "train_autograd",
    "train_graph",
    "train_module",
    "train_numpy",
    "train_tensors",
    "train_wrapper",
    "two_layer_graph",
    "variable",
    "while_loop",
    "write_hdf5",
]

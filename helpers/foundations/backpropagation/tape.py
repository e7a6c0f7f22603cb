"""An engine for gradients: a tape records every operation, and is read backwards (Linnainmaa 1970; Griewank 1989).

Values are NumPy arrays in float64. Broadcasting is undone on the way back.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Node:
    """A value on a tape; after `backward`, its gradient in `grad`."""

    __array_ufunc__ = None  # an array to the left leaves the work to us

    def __init__(self, value: Any, tape: "Tape", name: str = "") -> None:
        self.value = np.asarray(value, dtype=float)
        self.tape, self.name, self.grad = tape, name, None

    def __add__(self, other):
        return self.tape.record(
            "+", lambda a, b: a + b, lambda g, a, b: (g, g), self, other)

    def __mul__(self, other):
        return self.tape.record(
            "*", lambda a, b: a * b, lambda g, a, b: (g * b, g * a),
            self, other)

    def __sub__(self, other):
        return self.tape.record(
            "-", lambda a, b: a - b, lambda g, a, b: (g, -g), self, other)

    def __truediv__(self, other):
        return self.tape.record(
            "/", lambda a, b: a / b,
            lambda g, a, b: (g / b, -g * a / b**2), self, other)

    def __matmul__(self, other):
        return self.tape.record(
            "@", matrices, lambda g, a, b: (g @ b.T, a.T @ g), self, other)

    def __pow__(self, n: float | int):
        if n == 0:
            return self * 0.0 + 1.0
        return self.tape.record(
            f"^{n:g}", lambda a: a**n, lambda g, a: (g * n * a ** (n - 1),),
            self)

    def __neg__(self):
        return self * -1.0

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other):
        return -self + other

    def __rtruediv__(self, other):
        return self.tape.node(other) / self

    def __rmatmul__(self, other):
        return self.tape.node(other) @ self

    def maximum(self, other):
        def back(g, a, b):
            share = (a > b) + 0.5 * (a == b)
            return g * share, g * (1 - share)

        return self.tape.record("max", np.maximum, back, self, other)

    def relu(self):
        return self.tape.record(
            "relu", lambda a: a * (a > 0), lambda g, a: (g * (a > 0),), self)

    def sigmoid(self):
        def forth(a):
            return 0.5 * (1 + np.tanh(a / 2))

        def back(g, a):
            return (g * forth(a) * (1 - forth(a)),)

        return self.tape.record("σ", forth, back, self)

    def exp(self):
        return self.tape.record(
            "exp", np.exp, lambda g, a: (g * np.exp(a),), self)

    def log(self):
        return self.tape.record("ln", np.log, lambda g, a: (g / a,), self)

    def sum(self, axis: int | None = None):
        def back(g, a):
            g = g if axis is None else np.expand_dims(g, axis)
            return (np.broadcast_to(g, a.shape),)

        return self.tape.record("sum", lambda a: a.sum(axis), back, self)

    def pick(self, columns):
        """One entry of each row: [n k] to [n]."""
        rows = np.arange(len(columns))

        def back(g, a):
            whole = np.zeros_like(a)
            whole[rows, columns] = g
            return (whole,)

        return self.tape.record(
            "pick", lambda a: a[rows, columns], back, self)


class Entry(NamedTuple):
    """One operation: its sign, inputs, output, and the way back."""

    sign: str
    inputs: tuple[Node, ...]
    output: Node
    back: Callable


class Tape:
    """Records operations on its nodes in the order in which they happen."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def variable(self, value: Any, name: str = "") -> Node:
        """A new node that no operation has made."""
        return Node(value, self, name)

    def record(self, sign: str, forth: Callable, back: Callable, *inputs):
        """Compute an output and write down how it was made.

        Numbers and arrays among the inputs become nodes. Raises
        `ValueError` for a node of another tape.
        """
        nodes = tuple(self.node(thing) for thing in inputs)
        output = Node(forth(*(node.value for node in nodes)), self)
        self.entries.append(Entry(sign, nodes, output, back))
        return output

    def backward(self, loss: Node) -> None:
        """Set `grad` of every node that `loss` depends on; else None.

        Reads the tape from its end to its beginning. Raises `ValueError`
        for a loss that is no single number or not on this tape.
        """
        self.check_loss(loss)
        for entry in self.entries:
            for node in (entry.output, *entry.inputs):
                node.grad = None
        loss.grad = np.ones_like(loss.value)
        for entry in reversed(self.entries):
            upstream = entry.output.grad
            if upstream is None:
                continue  # the loss does not depend on it
            values = (node.value for node in entry.inputs)
            for node, g in zip(entry.inputs, entry.back(upstream, *values)):
                g = unbroadcast(g, node.value.shape)
                node.grad = g if node.grad is None else node.grad + g

    def node(self, thing: Any) -> Node:
        if not isinstance(thing, Node):
            return self.variable(thing)
        if thing.tape is not self:
            raise ValueError(
                f"{thing.name or 'a node'} is on another tape: begin both "
                "with variable() of one tape"
            )
        return thing

    def check_loss(self, loss: Node) -> None:
        if loss.tape is not self:
            raise ValueError("the loss is on another tape: call its backward")
        if loss.value.size != 1:
            raise ValueError(
                f"a loss of shape {list(loss.value.shape)}: backward begins "
                "at one number, as loss.sum()"
            )


def matrices(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The product of two matrices, and of nothing else."""
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(
            f"a product of shapes {list(a.shape)} and {list(b.shape)}: the "
            "tape multiplies matrices; write a vector as [1 n] or [n 1]"
        )
    return a @ b


def unbroadcast(g: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Add up a gradient over the axes along which a value was repeated."""
    g = np.asarray(np.sum(g, axis=tuple(range(np.ndim(g) - len(shape)))))
    repeated = tuple(i for i, n in enumerate(shape) if n == 1 < g.shape[i])
    return g.sum(repeated, keepdims=True) if repeated else g

"""Define, then run: placeholders, variables, sessions, as TensorFlow 1 had them (Abadi et al. 2016, arXiv:1605.08695).

Inside `with Graph() as graph:` each operation adds a node and computes nothing; `Session(graph).run(fetches, feed)` computes.
Inside `with Graph(eager=True)` each operation also computes at once, and the graph is a record of what was done.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from helpers.foundations.frameworks.interpreter import Function, Node, compute, execute

Array = np.ndarray | np.generic | float  # an operation on numbers gives a number


class Symbol(Node):
    """A node under construction: it takes part in formulas, and has a value only in an eager graph."""

    graph: "Graph"
    value: Any = None

    def __add__(self, other):
        return operation("add", self, other)

    def __radd__(self, other):
        return operation("add", other, self)

    def __sub__(self, other):
        return operation("subtract", self, other)

    def __rsub__(self, other):
        return operation("subtract", other, self)

    def __mul__(self, other):
        return operation("multiply", self, other)

    def __rmul__(self, other):
        return operation("multiply", other, self)

    def __truediv__(self, other):
        return operation("divide", self, other)

    def __rtruediv__(self, other):
        return operation("divide", other, self)

    def __matmul__(self, other):
        return operation("matmul", self, other)

    def __gt__(self, other):
        return operation("greater", self, other)

    def __lt__(self, other):
        return operation("less", self, other)

    def __bool__(self) -> bool:
        if self.graph.eager:
            return bool(self.value)
        raise TypeError(
            f"node {self.name!r} has no value while the graph is built, so Python cannot branch on it: "
            "use cond(predicate, then, otherwise, …) or while_loop(test, body, …)"
        )

    def __repr__(self) -> str:
        return f"<{self.name} = {self.op}({', '.join(self.inputs)})>"


class Graph:
    """All nodes that are made while it is open, by name, in the order in which they were made."""

    opened: ClassVar[list["Graph"]] = []

    def __init__(self, *, eager: bool = False) -> None:
        self.nodes: dict[str, Symbol] = {}
        self.eager = eager

    def __enter__(self) -> "Graph":
        Graph.opened.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        Graph.opened.pop()

    def add(self, op: str, inputs: Sequence[Symbol], name: str | None = None, **attributes: Any) -> Symbol:
        """A new node. Raises `ValueError` for a name that is taken and for an input of another graph."""
        for source in inputs:
            if self.nodes.get(source.name) is not source:
                raise ValueError(f"node {source.name!r} belongs to another graph: build both in one `with Graph()`")
        if name is None:
            count = sum(node.op == op for node in self.nodes.values()) + 1
            name = f"{op}_{count}"
            while name in self.nodes:
                name += "_"
        if name in self.nodes:
            raise ValueError(f"name = {name!r}: this graph has such a node already, choose another")
        node = Symbol(name, op, tuple(source.name for source in inputs), attributes)
        node.graph = self
        if self.eager and op != "placeholder":
            node.value = compute(node, [source.value for source in inputs])
        self.nodes[name] = node
        return node

    def function(
        self, inputs: Sequence[Symbol], outputs: Sequence[Symbol], values: Mapping[str, Array] | None = None
    ) -> Function:
        """The graph as plain data, its variables frozen at `values` (a session's), by default at their initial values."""
        nodes = {}
        for name, node in self.nodes.items():
            if node.op == "variable":
                value = (values or {}).get(name, node.attributes["initial"])
                nodes[name] = Node(name, "constant", (), {"value": value})
            elif node.op not in ("assign", "group"):
                nodes[name] = Node(name, node.op, node.inputs, dict(node.attributes))
        return Function(tuple(node.name for node in inputs), nodes, tuple(node.name for node in outputs))


def current() -> Graph:
    """The graph that is open. Raises `ValueError` where there is none."""
    if not Graph.opened:
        raise ValueError("no graph is open: build nodes inside `with Graph() as graph:`")
    return Graph.opened[-1]


def operation(op: str, *inputs: Any, name: str | None = None, **attributes: Any) -> Symbol:
    """Add a node to the open graph; numbers and arrays among its inputs become constants."""
    nodes = [value if isinstance(value, Symbol) else constant(value) for value in inputs]
    return current().add(op, nodes, name, **attributes)


def placeholder(name: str, shape: Sequence[int | None] | None = None, value: Any = None) -> Symbol:
    """A node whose value is fed at every run; None in `shape` stands for any size. An eager graph wants its `value`."""
    graph = current()
    if graph.eager and value is None:
        raise ValueError(f"placeholder {name!r}: an eager graph computes at once, pass value=")
    node = graph.add("placeholder", (), name, shape=None if shape is None else tuple(shape))
    if graph.eager:
        node.value = np.asarray(value)
    return node


def constant(value: Any, name: str | None = None) -> Symbol:
    """A node whose value is known now. A Python number takes the precision of what it meets, an array keeps its own."""
    return current().add("constant", (), name, value=value if isinstance(value, int | float) else np.asarray(value))


def variable(initial: Any, name: str | None = None) -> Symbol:
    """A node whose value lives in the session, from run to run, until an `assign` changes it."""
    return current().add("variable", (), name, initial=np.array(initial))


def assign(target: Symbol, value: Symbol, name: str | None = None) -> Symbol:
    """A node that, *when it is run*, gives a variable a new value. Raises `ValueError` for a target that is none."""
    if target.op != "variable":
        raise ValueError(f"assign to {target.name!r}, a {target.op}: only a variable keeps what it is given")
    return operation("assign", target, value, name=name)


def group(*nodes: Symbol, name: str | None = None) -> Symbol:
    """A dummy node without a value: fetching it runs `nodes`."""
    return operation("group", *nodes, name=name)


def relu(x: Symbol, name: str | None = None) -> Symbol:
    """max(x, 0), entry by entry."""
    return operation("relu", x, name=name)


def square(x: Symbol, name: str | None = None) -> Symbol:
    """x², entry by entry."""
    return operation("square", x, name=name)


def mean(x: Symbol, name: str | None = None) -> Symbol:
    """The mean over all entries."""
    return operation("mean", x, name=name)


def conv2d(x: Symbol, w: Any, b: Any, *, padding: int = 0, name: str | None = None) -> Symbol:
    """Convolution of images [n c h w] with filters [k c i j], plus a shift [k 1 1]; stride 1."""
    return operation("conv2d", x, w, b, name=name, padding=padding)


def batch_norm(
    x: Symbol, mean: Any, variance: Any, scale: Any, shift: Any, *, eps: float = 1e-5, prefix: str = "norm"
) -> Symbol:
    """Normalisation with fixed statistics, [k 1 1] each, written out: (x - mean) / √(variance + eps) · scale + shift."""
    deviation = operation("sqrt", operation("add", variance, eps, name=f"{prefix}_eps"), name=f"{prefix}_std")
    x = operation("subtract", x, mean, name=f"{prefix}_centre")
    x = operation("divide", x, deviation, name=f"{prefix}_divide")
    x = operation("multiply", x, scale, name=f"{prefix}_scale")
    return operation("add", x, shift, name=f"{prefix}_shift")


class Session:
    """Runs a graph. Between runs it keeps the variables and nothing else.

    After a run, `executed` names the nodes that were computed, and
    `copied` counts the bytes that crossed between Python and the
    session: what was fed and what was fetched.
    """

    def __init__(self, graph):
        self.graph = graph
        self.variables = {name: node.attributes["initial"].copy()
                          for name, node in graph.nodes.items()
                          if node.op == "variable"}
        self.executed, self.copied = [], 0

    def run(self, fetches, feed=None):
        """The values of `fetches`, one node or a list of nodes."""
        single = isinstance(fetches, Node | str)
        wanted = [self.find(f) for f in ([fetches] if single else fetches)]
        fed = {self.find(n): checked(self.graph.nodes[self.find(n)], v)
               for n, v in (feed or {}).items()}
        values = {**self.variables, **fed}
        known = set(values)
        results = execute(self.graph.nodes, wanted, values)
        self.executed = [name for name in values if name not in known]
        for name in self.executed:  # updates take effect after the run
            node = self.graph.nodes[name]
            if node.op == "assign":
                self.variables[node.inputs[0]] = values[name]
        moved = [*fed.values(), *(r for r in results if r is not None)]
        self.copied = sum(np.asarray(value).nbytes for value in moved)
        return results[0] if single else results

    def find(self, node: Symbol | str) -> str:
        """The name of a node of this graph. Raises `ValueError` for any other."""
        name = node if isinstance(node, str) else node.name
        found = self.graph.nodes.get(name)
        if found is None or not isinstance(node, str) and found is not node:
            raise ValueError(f"node {name!r} is none of this graph: it has {', '.join(self.graph.nodes)}")
        return name


def checked(node: Symbol, value: Any) -> Array:
    """What is fed to a node, as an array of its own. Raises `ValueError` where the shape does not fit."""
    array, shape = np.array(value), node.attributes.get("shape")
    if node.op == "constant":
        raise ValueError(f"{node.name!r} is a constant: feed a placeholder")
    if shape is not None:
        fits = len(shape) == array.ndim and all(n is None or n == m for n, m in zip(shape, array.shape))
        if not fits:
            wanted = ["any" if n is None else n for n in shape]
            raise ValueError(f"{node.name!r} was fed the shape {list(array.shape)}: it takes {wanted}")
    return array

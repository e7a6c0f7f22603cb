"""Run a saved graph with NumPy and nothing else: `python interpreter.py graph.json input.npy output.npy`.

This file is the whole runtime of the mini-graph. The book's sessions use it, and a copy of it runs in a process that has
neither the book's package nor torch. After the executor of TensorFlow (Abadi et al. 2016, arXiv:1605.08695, section 5).
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray | np.generic | float  # an operation on numbers gives a number


@dataclass(eq=False)
class Node:
    """One operation: its name, what it does, the names of the nodes it reads, and settings that are no inputs."""

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Function:
    """A graph with named inputs and outputs, as plain data: what is optimised, saved, and run elsewhere."""

    inputs: tuple[str, ...]
    nodes: dict[str, Node]
    outputs: tuple[str, ...]

    def __call__(self, *arguments: Array) -> list[Any]:
        """The outputs for these inputs, in the order of `inputs`. Raises `ValueError` for another number of them."""
        if len(arguments) != len(self.inputs):
            raise ValueError(f"{len(arguments)} arguments for the inputs {', '.join(self.inputs)}: give one for each")
        return execute(self.nodes, self.outputs, dict(zip(self.inputs, arguments)))


def execute(nodes, fetches, values):
    """The values of `fetches`; `values` holds what is known already.

    It is filled in place, by what the fetches need and nothing else.
    """
    for name in order(nodes, fetches, known=values):
        if name not in values:
            node = nodes[name]
            arguments = [values[source] for source in node.inputs]
            values[name] = compute(node, arguments)
    return [values[name] for name in fetches]


def compute(node: Node, arguments: Sequence[Any]) -> Any:
    """The value of one node. Raises `ValueError` for a placeholder without value and for shapes that do not fit."""
    if node.op == "constant":
        return node.attributes["value"]
    if node.op in ("placeholder", "variable"):
        raise ValueError(f"{node.op} {node.name!r} has no value: feed one, as run(fetches, {{{node.name!r}: array}})")
    if node.op == "cond":
        return choose(*arguments, **node.attributes)
    if node.op == "while":
        return repeat(*arguments, **node.attributes)
    if node.op not in KERNELS:
        raise ValueError(f"node {node.name!r}: no operation {node.op!r}; there are {', '.join(KERNELS)}, cond, while")
    try:
        return KERNELS[node.op](*arguments, **node.attributes)
    except ValueError as error:
        shapes = ", ".join(str(list(np.shape(value))) for value in arguments)
        what = f"node {node.name!r} = {node.op}({', '.join(node.inputs)})"
        raise ValueError(f"{what} got the shapes {shapes}, which do not fit: {error}") from None


def choose(predicate, *arguments, then, otherwise):
    """One branch runs, the other does not: the graph's `if`."""
    return (then if predicate else otherwise)(*arguments)[0]


def repeat(*state, test, body):
    """The graph's `while`: the body's outputs are its next inputs."""
    while test(*state)[0]:
        state = body(*state)
    return tuple(state)


def order(nodes: Mapping[str, Node], fetches: Iterable[str], known: Iterable[str] = ()) -> list[str]:
    """What `fetches` need, each after what it reads; what reads nothing more, `known` already, comes as it is.

    Raises `ValueError` for a cycle, and for a name that no node has.
    """
    known, found = set(known), {}

    def sources(name: str, reader: str) -> Iterator[str]:
        if name not in nodes:
            raise ValueError(f"{reader} reads {name!r}, and no node has this name")
        return iter(() if name in known else nodes[name].inputs)

    for fetch in fetches:
        path = {} if fetch in found else {fetch: sources(fetch, "a fetch")}
        while path:
            name = next(reversed(path))
            for source in path[name]:
                if source in path:
                    cycle = [*list(path)[list(path).index(source) :], source]
                    raise ValueError(f"a cycle: {' reads '.join(cycle)}. One of them must be known without the others")
                if source not in found:
                    path[source] = sources(source, f"node {name!r}")
                    break
            else:
                found[name] = path.pop(name)
    return list(found)


# -- kernels: what an operation does to arrays -------------------------------------------------------------------------


def relu(x: Array) -> Array:
    """max(x, 0)."""
    return np.maximum(x, 0)


def positive(x: Array) -> Array:
    """1 where x > 0, else 0: the slope of ReLU."""
    return (x > 0).astype(x.dtype)


def sum_like(g: Array, x: Array) -> Array:
    """Undo broadcasting: sum `g` over the axes along which `x` was repeated."""
    g = np.asarray(g)
    g = g.sum(axis=tuple(range(g.ndim - np.ndim(x))))
    repeated = tuple(i for i, size in enumerate(np.shape(x)) if size == 1 and g.shape[i] != 1)
    return g.sum(axis=repeated, keepdims=True)


def spread_mean(g: Array, x: Array) -> Array:
    """Each entry's share of a mean over `x`: g / size, in the shape of x."""
    return np.full_like(x, g / np.size(x))


def conv2d(x: Array, w: Array, b: Array, padding: int = 0) -> Array:
    """Images [n c h w], filters [k c i j], shift [k 1 1]; stride 1, zeros around."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))
    return np.moveaxis(np.tensordot(windows, w, ((1, 4, 5), (1, 2, 3))), 3, 1) + b


def conv2d_relu(x: Array, w: Array, b: Array, padding: int = 0) -> Array:
    """Both in one pass: the result of the convolution is overwritten."""
    y = conv2d(x, w, b, padding)
    return np.maximum(y, 0, out=y)


def max_pool2d(x: Array, size: int) -> Array:
    """The largest of each square of `size` by `size` pixels; images [n c h w] whose sides `size` divides."""
    n, c, h, w = x.shape
    return x.reshape(n, c, h // size, size, w // size, size).max(axis=(3, 5))


def flatten(x: Array) -> Array:
    """One row for each sample."""
    return x.reshape(len(x), -1)


def group(*values: Any) -> None:
    """No value: a name for doing several things."""


def keep(variable: Array, value: Array) -> Array:
    """An assignment gives the new value; the session stores it when the run is over."""
    if np.shape(variable) != np.shape(value):
        raise ValueError("a variable keeps its shape")
    return value


def item(values: Sequence[Array], index: int) -> Array:
    """One of several results."""
    return values[index]


KERNELS = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "matmul": np.matmul,
    "transpose": np.transpose,
    "sqrt": np.sqrt,
    "square": np.square,
    "mean": np.mean,
    "greater": np.greater,
    "less": np.less,
    "relu": relu,
    "positive": positive,
    "sum_like": sum_like,
    "spread_mean": spread_mean,
    "conv2d": conv2d,
    "conv2d_relu": conv2d_relu,
    "max_pool2d": max_pool2d,
    "flatten": flatten,
    "group": group,
    "assign": keep,
    "item": item,
}


# -- text ------------------------------------------------------------------------------------------------------------


def load(text: str) -> Function:
    """The function that `helpers.foundations.frameworks.save` wrote. Raises `ValueError` for what is no such text."""
    try:
        return decode(json.loads(text))
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this text holds no graph: {error!r}. Write one with save(function)") from None


def decode(record: dict) -> Any:
    """A function or an array out of what JSON can hold."""
    if "array" in record:
        return np.array(record["array"], dtype=record["dtype"]).reshape(record["shape"])
    nodes = {}
    for name, entry in record["nodes"].items():
        attributes = {key: decode(v) if isinstance(v, dict) else v for key, v in entry.get("attributes", {}).items()}
        nodes[name] = Node(name, entry["op"], tuple(entry.get("inputs", ())), attributes)
    function = Function(tuple(record["inputs"]), nodes, tuple(record["outputs"]))
    order(nodes, [*function.inputs, *function.outputs])  # refuses cycles and missing names
    return function


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        saved = load(file.read())
    np.save(sys.argv[3], saved(np.load(sys.argv[2]))[0])
    print(json.dumps([name for name in ("torch", "helpers") if name in sys.modules]))

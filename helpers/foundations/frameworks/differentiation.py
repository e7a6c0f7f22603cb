"""The gradient as more graph: for each operation, the nodes that carry a gradient back (backpropagation on symbols)."""

from collections.abc import Sequence

from helpers.foundations.frameworks.graph import Symbol, constant, operation
from helpers.foundations.frameworks.interpreter import order


def gradients(loss: Symbol, variables: Sequence[Symbol]) -> list[Symbol]:
    """Nodes that hold the derivative of `loss`, a number, by each of `variables`.

    The graph of `loss` is walked from its end to its start; nothing is
    computed. Raises `ValueError` for an operation without a rule and for
    a variable on which the loss does not depend.
    """
    nodes = loss.graph.nodes
    needed = order(nodes, [loss.name])
    arrived = {loss.name: constant(1.0)}
    for name in reversed(needed):  # every reader comes before
        node = nodes[name]
        if name not in arrived or not node.inputs:
            continue
        sources = [nodes[source] for source in node.inputs]
        for source, g in zip(sources, backward(node, sources, arrived[name])):
            if g is not None:
                before = arrived.get(source.name)
                arrived[source.name] = g if before is None else before + g
    for target in variables:
        if target.name not in arrived:
            raise ValueError(f"{loss.name!r} does not depend on {target.name!r}: there is no gradient")
    return [arrived[target.name] for target in variables]


def backward(node: Symbol, inputs: Sequence[Symbol], g: Symbol) -> list[Symbol | None]:
    """The gradient `g` of a node's output, carried to each of its inputs."""
    if node.op == "matmul":
        a, b = inputs
        return [g @ operation("transpose", b), operation("transpose", a) @ g]
    if node.op == "add":
        return [like(g, x) for x in inputs]
    if node.op == "subtract":
        return [like(g, inputs[0]), like(g * -1.0, inputs[1])]
    if node.op == "multiply":
        a, b = inputs
        return [like(g * b, a), like(g * a, b)]
    if node.op == "divide":
        a, b = inputs
        return [like(g / b, a), like(g * node / b * -1.0, b)]
    if node.op == "relu":
        return [g * operation("positive", inputs[0])]
    if node.op == "square":
        return [g * inputs[0] * 2.0]
    if node.op == "mean":
        return [operation("spread_mean", g, inputs[0])]
    raise ValueError(f"node {node.name!r}: {node.op} has no rule for its gradient")


def like(g: Symbol, x: Symbol) -> Symbol | None:
    """`g` summed to the shape of `x`; nothing for a constant, which needs no gradient."""
    return None if x.op == "constant" else operation("sum_like", g, x)

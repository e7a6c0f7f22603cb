"""What is done to a graph before it runs: constants folded, operations fused, dead nodes removed.

Folding and removal as in TensorFlow (Abadi et al. 2016, arXiv:1605.08695); that a convolution absorbs a fixed normalisation is
common in later compilers. Each pass takes a function and returns another with equal outputs.
"""

import numpy as np

from helpers.foundations.frameworks.interpreter import Function, Node, compute, order

KEPT = ("placeholder", "variable", "assign", "group", "constant", "while")


def fold_constants(function):
    """Compute now what depends on constants alone."""
    nodes = {}
    for name in everything(function):
        node = function.nodes[name]
        sources = [nodes[source] for source in node.inputs]
        known = all(source.op == "constant" for source in sources)
        if known and node.op not in KEPT:
            values = [source.attributes["value"] for source in sources]
            value = np.asarray(compute(node, values))
            node = Node(name, "constant", (), {"value": value})
        nodes[name] = node
    return Function(function.inputs, nodes, function.outputs)


def fuse(function):
    """Let a convolution absorb the arithmetic and the ReLU after it.

    (x * w + b) s = x * (w s) + b s, and so on for +, - and /, where s is a
    constant for each channel and nothing else reads the convolution.
    """
    nodes = dict(function.nodes)
    for name in everything(function):
        node = nodes[name]
        if not node.inputs or not absorbable(function, nodes, node):
            continue
        conv, *others = operands(nodes, node)
        x, w, b = conv.inputs
        fused = Node(name, "conv2d", conv.inputs, conv.attributes)
        if node.op == "relu":
            fused.op = "conv2d_relu"
        else:
            values = [nodes[n].attributes["value"] for n in (w, b)]
            s = others[0].attributes["value"]
            folded = absorb(node.op, *values, s)
            new = [f"{name}_w", f"{name}_b"]
            for each, value in zip(new, folded):
                nodes[each] = Node(each, "constant", (), {"value": value})
            fused.inputs = (x, *new)
        nodes[name] = fused
    return Function(function.inputs, nodes, function.outputs)


def absorb(op, w, b, s):
    """Filters [k c i j] and shift [k 1 1] after one step of arithmetic."""
    filters = np.reshape(s, (-1, 1, 1, 1))  # one number for each filter
    if op == "add":
        return w, b + s
    if op == "subtract":
        return w, b - s
    if op == "multiply":
        return w * filters, b * s
    return w / filters, b / s


def remove_dead(function):
    """Keep what the outputs need, and the inputs."""
    needed = order(function.nodes, [*function.inputs, *function.outputs])
    nodes = {name: function.nodes[name] for name in needed}
    return Function(function.inputs, nodes, function.outputs)


def optimise(function: Function) -> Function:
    """All three passes: fold, fuse, fold what fusing made constant, remove what nobody reads."""
    return remove_dead(fold_constants(fuse(fold_constants(function))))


def stages(function: Function) -> dict[str, Function]:
    """The function after each pass, by what the pass did; what a pass leaves without a reader goes with it."""
    found = {"as written": function}
    for name, step in {"dead nodes removed": None, "constants folded": fold_constants, "fused": fuse}.items():
        function = remove_dead(step(function) if step else function)
        found[name] = function
    return found


def everything(function: Function) -> list[str]:
    """All nodes, dead ones too, each after what it reads."""
    return order(function.nodes, function.nodes)


def absorbable(function: Function, nodes: dict[str, Node], node: Node) -> bool:
    """Whether `node` does arithmetic or a ReLU on a convolution that it alone reads, with constants for each channel."""
    conv, *others = operands(nodes, node)
    readers = [n for n in function.nodes.values() if conv.name in n.inputs]
    if conv.op != "conv2d" or len(readers) > 1 or conv.name in function.outputs:
        return False
    if node.op == "relu":
        return True
    if node.op not in ("add", "subtract", "multiply", "divide"):
        return False
    other = others[0]
    if any(nodes[n].op != "constant" for n in (*conv.inputs[1:], other.name)):
        return False
    channels = len(nodes[conv.inputs[1]].attributes["value"])
    shape = np.shape(other.attributes["value"])
    return shape == () or shape == (channels, 1, 1) or shape == (1, 1, 1)


def operands(nodes: dict[str, Node], node: Node) -> list[Node]:
    """The inputs of a node; of a sum or a product the convolution first."""
    inputs = [nodes[name] for name in node.inputs]
    if node.op in ("add", "multiply") and inputs[1].op == "conv2d":
        inputs.reverse()
    return inputs

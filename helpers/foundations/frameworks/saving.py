"""A graph as text: JSON that names every node, with its constants, for `interpreter.load` to read."""

import json
from typing import Any

import numpy as np

from helpers.foundations.frameworks.interpreter import Function


def save(function: Function) -> str:
    """The function as JSON; every number keeps all its bits. Raises `ValueError` for an attribute that has no such form."""
    return json.dumps(encode(function))


def encode(value: Any) -> Any:
    """What JSON can hold, for a function, an array, or a plain setting."""
    if isinstance(value, Function):
        nodes = {}
        for node in value.nodes.values():
            attributes = {key: encode(setting) for key, setting in node.attributes.items()}
            nodes[node.name] = {"op": node.op, "inputs": list(node.inputs), "attributes": attributes}
        return {"inputs": list(value.inputs), "nodes": nodes, "outputs": list(value.outputs)}
    if isinstance(value, np.ndarray | np.generic):
        return {"array": value.tolist(), "dtype": str(value.dtype), "shape": list(value.shape)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [encode(entry) for entry in value]
    raise ValueError(f"{value!r} in an attribute: a saved graph holds arrays, numbers, words and graphs")

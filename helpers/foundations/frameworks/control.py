"""Control flow as nodes: a branch and a loop that are part of the graph, so that they can be saved with it.

TensorFlow's conditionals and loops (Abadi et al. 2016, arXiv:1605.08695, section 3.4), here with a function as an attribute
in place of Switch and Merge.
"""

from collections.abc import Callable, Sequence

from helpers.foundations.frameworks.graph import Graph, Symbol, constant, current, operation, placeholder
from helpers.foundations.frameworks.interpreter import Function

Step = Callable[..., Symbol | Sequence[Symbol]]


def cond(predicate: Symbol, then: Step, otherwise: Step, *inputs: Symbol, name: str | None = None) -> Symbol:
    """A node that runs one of two branches, decided when the graph runs. Both branches are built now.

    `then` and `otherwise` are functions of nodes, each called once, with one result.
    """
    branches = {"then": body_of(then, len(inputs), 1), "otherwise": body_of(otherwise, len(inputs), 1)}
    return operation("cond", predicate, *inputs, name=name, **branches)


def while_loop(test: Step, body: Step, *state: Symbol | float | int, name: str | None = None) -> list[Symbol]:
    """The state after a loop that goes on while `test(*state)` is true, and replaces the state by `body(*state)`.

    Both are called once, now. Raises `ValueError` for a body that returns another number of values than it takes.
    """
    parts = {"test": body_of(test, len(state), 1), "body": body_of(body, len(state), len(state))}
    loop = operation("while", *state, name=name, **parts)
    return [operation("item", loop, index=i) for i in range(len(state))]


def body_of(step: Step, inputs: int, outputs: int) -> Function:
    """What `step` builds out of placeholders, as a function."""
    if current().eager:
        raise ValueError("an eager graph needs no control-flow node: write Python's if and while")
    with Graph() as inner:
        arguments = [placeholder(f"in_{i}") for i in range(inputs)]
        made = step(*arguments)
        made = list(made) if isinstance(made, Sequence) else [made]
        made = [node if isinstance(node, Symbol) else constant(node) for node in made]
    if len(made) != outputs:
        raise ValueError(f"{step.__name__} returns {len(made)} values: {outputs} wanted")
    for node in made:
        if node.graph is not inner:
            raise ValueError(f"{step.__name__} returns {node.name!r} of the graph around it: pass it as an input")
    return inner.function(arguments, made)


def record(function: Callable[..., Symbol], *example: float | int) -> Function:
    """Run Python once on `example` and keep what it did: the record of one path, without the decisions that led there."""
    with Graph(eager=True) as graph:
        arguments = [placeholder(f"in_{i}", value=value) for i, value in enumerate(example)]
        result = function(*arguments)
    return graph.function(arguments, [result])

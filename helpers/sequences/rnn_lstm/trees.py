"""Recursive networks: one composition applied along each input's own parse tree (Socher et al. 2011).

Expressions are nested tuples such as `("max", 3, ("+", 2, 4))`; all arithmetic is modulo the number of digits.
"""

import random
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

Tree = int | tuple  # a digit, or (operator, left tree, right tree)
OPERATORS = ("max", "min", "+")


def expression(depth: int, draw: random.Random, digits: int = 5) -> Tree:
    """A random expression whose longest branch has `depth` operators.

    Raises `ValueError` for a negative depth and for less than one digit.
    """
    if depth < 0 or digits < 1:
        raise ValueError(f"depth = {depth}, digits = {digits}: depth 0 is a digit, and there is at least 1")
    if depth == 0:
        return draw.randrange(digits)
    deep = expression(depth - 1, draw, digits)
    other = expression(draw.randrange(depth), draw, digits)
    pair = (deep, other) if draw.random() < 0.5 else (other, deep)
    return draw.choice(OPERATORS), *pair


def value(tree: Tree, digits: int = 5) -> int:
    """What the expression is, modulo `digits`.

    Raises `ValueError` for what is no expression of these digits, as do
    all functions below.
    """
    if isinstance(tree, int):
        return digit(tree, digits)
    operator, left, right = branches(tree)
    a, b = value(left, digits), value(right, digits)
    if operator == "+":
        return (a + b) % digits
    return max(a, b) if operator == "max" else min(a, b)


def digit(leaf: int, digits: int) -> int:
    """The leaf, if it is one of 0 … digits - 1."""
    if not 0 <= leaf < digits:
        raise ValueError(f"leaf {leaf}: with digits = {digits} it is one of 0 … {digits - 1}")
    return leaf


def branches(tree: tuple) -> tuple[str, Tree, Tree]:
    """Operator, left and right branch of an expression that is no digit."""
    if not isinstance(tree, tuple) or len(tree) != 3 or tree[0] not in OPERATORS:
        raise ValueError(f"expression {tree!r}: a digit, or ({' | '.join(OPERATORS)}, left, right)")
    return tree


def height(tree: Tree) -> int:
    """The number of operators on the longest branch."""
    return 0 if isinstance(tree, int) else 1 + max(map(height, branches(tree)[1:]))


def spell(tree: Tree) -> list[str]:
    """The expression as a flat sequence of words, with all brackets."""
    if isinstance(tree, int):
        return [str(tree)]
    operator, left, right = branches(tree)
    return ["(", *spell(left), operator, *spell(right), ")"]


def flat(
    trees: Sequence[Tree],
    digits: int = 5,
) -> tuple[Int[Tensor, "b t"], Int[Tensor, "b"]]:
    """Spelled expressions as tokens for a flat network, padded, and their
    lengths. The vocabulary has digits + 5 words and 0 for padding."""
    check_some(trees)
    for tree in trees:
        value(tree, digits)  # refuses what is no expression
    words = ["<pad>", *map(str, range(digits)), *OPERATORS, "(", ")"]
    index = {word: i for i, word in enumerate(words)}
    rows = [torch.tensor([index[w] for w in spell(tree)]) for tree in trees]
    lengths = torch.tensor([len(row) for row in rows])
    return nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths


class TreeNet(nn.Module):
    """Digits are vectors; an operator makes one vector of two.

    The same composition, a network with one hidden layer, works at every
    node of every tree.
    """

    def __init__(self, *, digits: int = 5, dim: int, hidden: int) -> None:
        super().__init__()
        self.leaf = nn.Embedding(digits, dim)
        self.operator = nn.Embedding(len(OPERATORS), dim)
        self.compose = nn.Sequential(
            nn.Linear(3 * dim, hidden),
            nn.ReLU(),
            nn.Linear(hidden, dim),
            nn.Tanh(),
        )
        self.head = nn.Linear(dim, digits)

    def fold(self, tree: Tree) -> Float[Tensor, "d"]:
        """The vector of one tree, by recursion: the whole idea."""
        if isinstance(tree, int):
            return self.leaf.weight[digit(tree, len(self.leaf.weight))]
        operator, left, right = branches(tree)
        name = self.operator.weight[OPERATORS.index(operator)]
        parts = [name, self.fold(left), self.fold(right)]
        return self.compose(torch.cat(parts))

    def forward(self, trees: Sequence[Tree]) -> Float[Tensor, "b digits"]:
        """`head(fold(tree))` for a batch: all nodes of equal height, of
        whatever tree, are composed together."""
        check_some(trees)
        rows: list[list] = []  # of each height: (operator, left, right)
        roots = [place(tree, rows, self.leaf.num_embeddings) for tree in trees]
        device = self.leaf.weight.device
        offsets, vectors = [0], self.leaf.weight  # where a height begins
        for nodes in rows:
            offsets.append(len(vectors))
            heights, numbers = zip(
                *(at for _, *both in nodes for at in both)
            )
            first = torch.tensor([offsets[h] for h in heights])
            at = (first + torch.tensor(numbers)).to(device)
            children = vectors[at].unflatten(0, (-1, 2)).flatten(1)
            names = torch.tensor([node[0] for node in nodes], device=device)
            parts = torch.cat([self.operator(names), children], 1)
            vectors = torch.cat([vectors, self.compose(parts)])
        at = torch.tensor([offsets[h] + number for h, number in roots])
        return self.head(vectors[at.to(device)])


def place(tree: Tree, rows: list[list], digits: int) -> tuple[int, int]:
    """Note the nodes of a tree by height; height and number of its root."""
    if isinstance(tree, int):
        return 0, digit(tree, digits)
    operator, *both = branches(tree)
    left, right = (place(branch, rows, digits) for branch in both)
    level = max(left[0], right[0])
    if level == len(rows):
        rows.append([])
    rows[level].append((OPERATORS.index(operator), left, right))
    return level + 1, len(rows[level]) - 1


def check_some(trees: Sequence[Tree]) -> None:
    """Refuse a batch of no trees."""
    if not len(trees):
        raise ValueError("no expressions: a batch has at least 1")

"""Toy tasks with known answers: what must be remembered, and for how long, is set by hand.

Generators are torch's, on the CPU; batches come first. The adding problem and recall are of Hochreiter & Schmidhuber 1997.
"""

from collections import Counter
from itertools import product

import torch
from jaxtyping import Float, Int
from torch import Tensor

Generator = torch.Generator | None


def recall(
    n: int,
    lag: int,
    *,
    symbols: int = 4,
    generator: Generator = None,
) -> tuple[Int[Tensor, "n t"], Int[Tensor, "n"]]:
    """A cue, distractors, a question: which cue was it, `lag` steps ago?

    Cues are the tokens 0 … symbols - 1, distractors as many others, and
    the question is the last token of the `2 symbols + 1`. Chance is
    1 / symbols, and its cross-entropy log(symbols).
    """
    check(n=n, lag=lag, symbols=symbols)
    cue = torch.randint(symbols, (n, 1), generator=generator)
    noise = torch.randint(symbols, (n, lag - 1), generator=generator)
    question = torch.full((n, 1), 2 * symbols)
    return torch.cat([cue, symbols + noise, question], 1), cue[:, 0]


def adding_problem(
    n: int,
    steps: int,
    *,
    generator: Generator = None,
) -> tuple[Float[Tensor, "n t 2"], Float[Tensor, "n"]]:
    """Numbers in [0, 1] and marks: the sum of the two marked numbers.

    One mark lies in the first half, one in the second. Who always says 1
    has the mean squared error 1/6.
    """
    check(n=n)
    if steps < 2:
        raise ValueError(f"steps = {steps}: at least 2, for two marks")
    numbers = torch.rand(n, steps, generator=generator)
    half = steps // 2
    first = torch.randint(half, (n, 1), generator=generator)
    second = torch.randint(half, steps, (n, 1), generator=generator)
    marks = torch.zeros(n, steps).scatter(1, torch.cat([first, second], 1), 1)
    return torch.stack([numbers, marks], 2), (numbers * marks).sum(1)


def markov_chain(
    transition: Float[Tensor, "k k"],
    n: int,
    steps: int,
    *,
    generator: Generator = None,
) -> Int[Tensor, "n t"]:
    """Walks through the states of a chain, begun in its stationary
    distribution; row i of `transition` holds the chances after state i.
    """
    check(n=n, steps=steps)
    start = stationary(transition).float()
    walk = [torch.multinomial(start, n, True, generator=generator)]
    for _ in range(steps - 1):
        row = transition[walk[-1]].float()
        drawn = torch.multinomial(row, 1, generator=generator)
        walk.append(drawn[:, 0])
    return torch.stack(walk, 1)


def stationary(transition: Float[Tensor, "k k"]) -> Float[Tensor, "k"]:
    """The distribution that the chain leaves as it is: π = π P.

    Of several (in a chain of parts that do not meet) the one of smallest
    norm. Raises `ValueError` when a chance is negative, or when a row of
    `transition` does not sum to 1.
    """
    P = chances(transition)
    k = len(P)
    balance = torch.cat([P.T - torch.eye(k).to(P), P.new_ones(1, k)])
    total = torch.cat([P.new_zeros(k), P.new_ones(1)])
    pi = torch.linalg.pinv(balance) @ total
    return pi.clamp(min=0)  # a state that dies out may come as -1e-17


def chances(transition: Float[Tensor, "k k"]) -> Float[Tensor, "k k"]:
    """The matrix in float64, with rows that sum to 1 as nearly as that
    allows, if they do so in its own precision."""
    P = transition.double()
    sums = P.sum(1, keepdim=True)
    slack = max(1e-5, len(P) * torch.finfo(transition.dtype).eps)
    if not (P >= 0).all() or not (sums - 1).abs().max() <= slack:
        raise ValueError(
            f"chances from {P.min():g}, in rows that sum to "
            f"{sums.flatten().tolist()}: chances are not negative and sum to 1"
        )
    return P / sums


def entropy_rate(transition: Float[Tensor, "k k"]) -> float:
    """-Σ π_i Σ P_ij log P_ij, in nats a step: no forecast does better."""
    P = chances(transition)
    rows = -torch.xlogy(P, P).sum(1)
    return (stationary(transition) @ rows).item()


def reversal(
    n: int,
    length: int,
    *,
    symbols: int = 8,
    generator: Generator = None,
) -> tuple[Int[Tensor, "n t"], Int[Tensor, "n t"]]:
    """A string of `symbols` letters, and the same string backwards."""
    check(n=n, length=length, symbols=symbols)
    source = torch.randint(symbols, (n, length), generator=generator)
    return source, source.flip(1)


SUBJECTS = ("plot", "cast", "score", "ending", "pace")
GOOD = ("good", "bright", "moving", "funny")
BAD = ("bad", "dull", "weak", "noisy")
WORDS = ("<pad>", "the", "was", "not", "very", "but", ".", *SUBJECTS, *GOOD, *BAD)


def reviews(
    n: int,
    *,
    generator: Generator = None,
) -> tuple[Int[Tensor, "n t"], Int[Tensor, "n"], Int[Tensor, "n"]]:
    """Film reviews by a small grammar: words as indices into `WORDS`,
    padded with 0, their lengths, and 1 for praise or 0 for blame.

    One clause or, three times in four, two around *but*, of which the
    second counts; *not* turns a clause round. No bag of words can always tell.
    """
    check(n=n)
    rows, labels = [], []
    for _ in range(n):
        draw = torch.randint(2**16, (10,), generator=generator).tolist()
        words: list[str] = []
        for pick in (draw[:5], draw[5:])[: 1 + (draw[0] % 4 > 0)]:
            _, subject, negated, very, word = pick
            word = (BAD, GOOD)[word % 2][word // 2 % 4]
            words += ["but"] * bool(words)
            said, label = clause(SUBJECTS[subject % 5], negated % 2, very % 2, word)
            words += said
        labels.append(label)
        rows.append(torch.tensor([WORDS.index(w) for w in [*words, "."]]))
    lengths = torch.tensor([len(row) for row in rows])
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return padded, lengths, torch.tensor(labels)


def clause(subject: str, negated: int, very: int, word: str) -> tuple[list[str], int]:
    """A clause's words, and 1 for praise or 0 for blame."""
    said = ["the", subject, "was", *["not"] * negated, *["very"] * very, word]
    return said, int(word in GOOD) ^ negated


def bag_of_words_limit() -> float:
    """The share of `reviews` that no bag of words surpasses.

    Exact, by listing all pairs of clauses. The best bag knows how often
    each word occurs, and answers what most reviews with these words are.
    One clause alone (a quarter of the reviews) it understands.
    """
    clauses = [clause(*choice) for choice in product(SUBJECTS, (0, 1), (0, 1), GOOD + BAD)]
    seen = Counter()
    for (first, _), (second, label) in product(clauses, clauses):
        seen[tuple(sorted(first + second)), label] += 1
    right = sum(max(seen[bag, 0], seen[bag, 1]) for bag in {bag for bag, _ in seen})
    return 1 / 4 + 3 / 4 * right / len(clauses) ** 2


DIRECTIONS = torch.tensor([[-1, 0], [0, 1], [1, 0], [0, -1]])  # ↑ → ↓ ←


def moving_dot(
    n: int,
    frames: int,
    *,
    size: int = 8,
    turns: float = 0.2,
    generator: Generator = None,
) -> tuple[Float[Tensor, "n f h w"], Int[Tensor, "n f"]]:
    """Clips of a dot that moves up, right, down or left and sometimes
    turns; the label of a frame is the last move (the first frame's, which
    no forward reader can know, is the move to come). The edges are glued together.
    With the chance `turns` a move is drawn anew, so that it may stay.
    """
    check(n=n, frames=frames, size=size)
    if not 0 <= turns <= 1:
        raise ValueError(f"turns = {turns}: a chance in [0, 1]")
    way = torch.randint(4, (n,), generator=generator)
    place = torch.randint(size, (n, 2), generator=generator)
    clips, labels = torch.zeros(n, frames, size, size), []
    for f in range(frames):
        if f:
            turn = torch.rand(n, generator=generator) < turns
            fresh = torch.randint(4, (n,), generator=generator)
            way = torch.where(turn & (f > 1), fresh, way)
            place = (place + DIRECTIONS[way]) % size
        clips[torch.arange(n), f, place[:, 0], place[:, 1]] = 1
        labels.append(way)
    return clips, torch.stack(labels, 1)


def check(**counts: int) -> None:
    """Refuse counts below 1."""
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} = {count}: at least 1")

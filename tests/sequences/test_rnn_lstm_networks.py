"""The tasks' answers, the three wirings of one recurrence, and the network along a tree."""

import random
from functools import partial
from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from helpers.sequences.rnn_lstm import (
    DIRECTIONS,
    GRU,
    LSTM,
    RNN,
    WORDS,
    EncoderDecoder,
    Reader,
    TreeNet,
    Writer,
    adding_problem,
    bag_of_words_limit,
    entropy_rate,
    expression,
    flat,
    height,
    markov_chain,
    moving_dot,
    recall,
    reversal,
    reviews,
    spell,
    stationary,
    value,
)
from helpers.sequences.rnn_lstm.networks import check_read

close = partial(torch.testing.assert_close, rtol=0, atol=1e-10)
KINDS = [RNN, LSTM, GRU]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
CHAIN = torch.tensor([[0.9, 0.1, 0.0], [0.0, 0.5, 0.5], [0.3, 0.3, 0.4]])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_parameter_count():
    d, h, k, v = 4, 6, 3, 11
    gru = 3 * h * (d + h + 2)
    assert count(Reader(dim=d, hidden=h, classes=k)) == gru + h * k + k
    assert count(Reader(dim=d, hidden=h, classes=k, vocab=v)) == v * d + gru + h * k + k
    assert count(Reader(dim=d, hidden=h, classes=k, bidirectional=True)) == 2 * gru + 2 * h * k + k
    writer = (v + 1) * d + gru + h * v + v
    assert count(Writer(dim=d, hidden=h, vocab=v)) == writer
    assert count(EncoderDecoder(dim=d, hidden=h, vocab=v)) == v * d + gru + writer
    tree = TreeNet(digits=5, dim=d, hidden=h)
    assert count(tree) == 5 * d + 3 * d + (3 * d * h + h) + (h * d + d) + (d * 5 + 5)


@given(n=st.integers(1, 20), lag=st.integers(1, 30), symbols=st.integers(2, 6))
@settings(max_examples=30, deadline=None)
def test_recall_asks_for_the_first_token(n, lag, symbols):
    tokens, y = recall(n, lag, symbols=symbols, generator=generator())
    assert tokens.shape == (n, lag + 1) and torch.equal(tokens[:, 0], y)
    assert (tokens[:, -1] == 2 * symbols).all() and (y < symbols).all()
    assert ((tokens[:, 1:-1] >= symbols) & (tokens[:, 1:-1] < 2 * symbols)).all()


@given(steps=st.integers(2, 40))
@settings(max_examples=20, deadline=None)
def test_adding_problem_marks_one_number_in_each_half(steps):
    x, y = adding_problem(50, steps, generator=generator(steps))
    numbers, marks = x.unbind(2)
    assert (marks[:, : steps // 2].sum(1) == 1).all() and (marks[:, steps // 2 :].sum(1) == 1).all()
    close(y, (numbers * marks).sum(1))


def test_marks_and_distractors_reach_every_place():
    for steps in (2, 7):
        x, _ = adding_problem(500, steps, generator=generator())
        assert (x[..., 1].sum(0) > 0).all()
    tokens, _ = recall(200, 4, generator=generator())
    assert tokens[:, 1:-1].unique().tolist() == [4, 5, 6, 7] and tokens[:, 0].unique().tolist() == [0, 1, 2, 3]


def test_adding_problem_has_the_baseline_it_names():
    _, y = adding_problem(200_000, 10, generator=generator())
    assert ((y - 1) ** 2).mean().item() == pytest.approx(1 / 6, rel=0.01)


def test_markov_chain_matches_reference():
    """Frequencies of states and pairs, and the entropy rate against the power method and a plain sum."""
    walk = markov_chain(CHAIN, 2000, 50, generator=generator())
    pi = torch.matrix_power(CHAIN.double(), 1000)[0]
    close(stationary(CHAIN), pi / pi.sum(), rtol=0, atol=1e-6)
    for step in (0, 49):
        close(F.one_hot(walk[:, step], 3).double().mean(0), pi, rtol=0, atol=0.04)
    pairs = torch.zeros(3, 3).index_put((walk[:, :-1].flatten(), walk[:, 1:].flatten()), torch.tensor(1.0), True)
    close(pairs / pairs.sum(1, True), CHAIN, rtol=0, atol=0.02)
    expected = -sum(pi[i] * p * log(p) for i, row in enumerate(CHAIN.tolist()) for p in row if p)
    assert entropy_rate(CHAIN) == pytest.approx(float(expected), abs=1e-5)
    assert entropy_rate(torch.full((4, 4), 0.25)) == pytest.approx(log(4))


def test_reviews_follow_their_grammar():
    tokens, lengths, labels = reviews(300, generator=generator())
    good, bad = {"good", "bright", "moving", "funny"}, {"bad", "dull", "weak", "noisy"}
    for row, length, label in zip(tokens.tolist(), lengths.tolist(), labels.tolist()):
        words = [WORDS[i] for i in row]
        assert "<pad>" not in words[:length] and set(words[length:]) <= {"<pad>"}
        last = " ".join(words[:length]).split(" but ")[-1].split()
        praise = bool(good & set(last)) != ("not" in last)
        assert praise == bool(label) and bool(good & set(last)) != bool(bad & set(last))
    assert 0.4 < labels.double().mean() < 0.6
    assert tokens.unique().tolist() == list(range(len(WORDS)))  # every word is said


def test_no_bag_of_words_surpasses_its_limit():
    """The best rule by hand, tried on reviews: two clauses tell where kind and negation are the same in both."""
    tokens, _, labels = reviews(20_000, generator=generator())
    good = {WORDS.index(word) for word in ("good", "bright", "moving", "funny")}
    bad = {WORDS.index(word) for word in ("bad", "dull", "weak", "noisy")}
    sure, right, praise = [], [], []
    for row, label in zip(tokens.tolist(), labels.tolist()):
        praised, blamed = sum(token in good for token in row), sum(token in bad for token in row)
        negations, clauses = row.count(WORDS.index("not")), praised + blamed
        sure.append(negations % clauses == 0 and not (praised and blamed))
        if clauses == 1:
            sure[-1] = True
        right.append(((praised > 0) ^ (negations > 0)) == label)
        praise.append(label)
    sure, right, praise = map(torch.tensor, (sure, right, praise))
    assert right[sure].all()
    assert praise[~sure].double().mean().item() == pytest.approx(0.5, abs=0.02)  # a coin
    share = sure.double().mean().item()
    assert share + (1 - share) / 2 == pytest.approx(bag_of_words_limit(), abs=0.01)
    assert bag_of_words_limit() == 1 / 4 + 3 / 4 * 5 / 8


def test_reversal_turns_each_string_round():
    source, target = reversal(50, 6, symbols=3, generator=generator())
    assert source.shape == (50, 6) and source.unique().tolist() == [0, 1, 2]
    assert target.tolist() == [row[::-1] for row in source.tolist()]


def test_moves_are_drawn_anew_as_often_as_said():
    for turns in (0.0, 0.2, 1.0):
        _, labels = moving_dot(4000, 6, turns=turns, generator=generator())
        changes = (labels[:, 2:] != labels[:, 1:-1]).double().mean().item()
        assert changes == pytest.approx(3 / 4 * turns, abs=0.02)  # one draw in four is the move that was


@pytest.mark.parametrize("size", [5, 8])
def test_moving_dot_moves_as_labelled(size):
    clips, labels = moving_dot(40, 12, size=size, generator=generator())
    assert clips.shape[2:] == (size, size) and clips.sum((2, 3)).eq(1).all()
    place = torch.stack(torch.where(clips.flatten(0, 1) > 0)[1:], 1).view(40, 12, 2)
    assert place.unique().tolist() == list(range(size))
    close((place[:, :-1] + DIRECTIONS[labels[:, 1:]]) % size, place[:, 1:])
    assert torch.equal(labels[:, 0], labels[:, 1]) and labels.unique().tolist() == [0, 1, 2, 3]


@given(depth=st.integers(0, 6), digits=st.integers(1, 10), seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_expressions_mean_what_python_says(depth, digits, seed):
    tree = expression(depth, random.Random(seed), digits)
    assert height(tree) == depth

    def python(tree):
        if isinstance(tree, int):
            return str(tree)
        a, b = map(python, tree[1:])
        return f"(({a}+{b})%{digits})" if tree[0] == "+" else f"{tree[0]}({a},{b})"

    assert value(tree, digits) == eval(python(tree))
    words, stack = spell(tree), []
    for word in words:  # read the spelling back
        if word == ")":
            a, operator, b = stack[-3:]
            stack[-4:] = [(operator, a, b)]
        else:
            stack.append(int(word) if word.isdigit() else word)
    assert stack == [tree]


def test_branches_are_of_all_kinds():
    trees = [expression(3, random.Random(seed)) for seed in range(300)]
    assert {operator for operator, *_ in trees} == {"max", "min", "+"}
    pairs = {(height(left), height(right)) for _, left, right in trees}
    assert pairs == {(2, 0), (2, 1), (2, 2), (0, 2), (1, 2)}


def test_flat_has_a_token_for_each_word():
    trees = [expression(d, random.Random(d)) for d in (0, 2, 4)]
    tokens, lengths = flat(trees)
    assert lengths.tolist() == [len(spell(tree)) for tree in trees]
    assert tokens[0].tolist()[1:] == [0] * (tokens.shape[1] - 1)
    assert tokens.max() <= 10 and (tokens > 0).sum() == lengths.sum()
    tokens, _ = flat([("max", 6, ("min", 5, ("+", 4, 3)))], digits=7)  # digits from 1 on, then max, min, + and brackets
    assert tokens.tolist() == [[11, 7, 8, 11, 6, 9, 11, 5, 10, 4, 12, 12, 12]]


@given(depths=st.lists(st.integers(0, 5), min_size=1, max_size=6), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_matches_reference_tree_in_batches(depths, seed):
    """All trees together give what the recursion gives for each, gradients included."""
    torch.manual_seed(seed)
    net, draw = TreeNet(dim=6, hidden=8).double(), random.Random(seed)
    trees = [expression(d, draw) for d in depths]
    alone = torch.stack([net.head(net.fold(tree)) for tree in trees])
    together = net(trees)
    close(together, alone)
    parameters = list(net.parameters())
    a, b = (torch.autograd.grad(out.sin().sum(), parameters, allow_unused=True) for out in (alone, together))
    for p, x, y in zip(parameters, a, b):
        close(torch.zeros_like(p) if x is None else x, torch.zeros_like(p) if y is None else y)


@pytest.mark.parametrize("leaf", [-1, 5, 7])
def test_a_leaf_is_never_taken_for_a_branch(leaf):
    """Leaves and composed vectors lie one below the other: number 5 would be the first branch."""
    net = TreeNet(dim=6, hidden=8)
    for tree in (leaf, ("+", ("max", ("+", 1, 2), 3), leaf)):
        with pytest.raises(ValueError, match=f"leaf {leaf}: with digits = 5 it is one of 0 … 4"):
            net([tree])
        with pytest.raises(ValueError, match=f"leaf {leaf}"):
            net.fold(tree)


def test_tree_depends_on_the_parse_and_not_on_the_words_alone():
    net = TreeNet(dim=6, hidden=8).double()
    a, b = ("+", ("max", 1, 2), 3), ("max", 1, ("+", 2, 3))
    assert [w for w in spell(a) if w not in "()"] == [w for w in spell(b) if w not in "()"]
    out = net([a, b])
    assert (out[0] - out[1]).abs().max() > 1e-4


@every_kind
def test_matches_reference_reader(kind):
    """By torch's own layer, with lengths by cutting each sequence."""
    torch.manual_seed(0)
    options = dict(dim=3, hidden=5, classes=2, num_layers=2)
    x, lengths = torch.randn(4, 6, 3).double(), torch.tensor([6, 1, 4, 3])
    for bidirectional in (False, True):
        ways = 1 + bidirectional
        theirs = getattr(nn, kind.__name__)(3, 5, 2, batch_first=True, bidirectional=bidirectional).double()
        for read in ("last", "mean", "every"):
            reader = Reader(kind, read=read, bidirectional=bidirectional, **options).double()
            reader.layer.load_state_dict(theirs.state_dict())
            out = reader(x, lengths)
            for row, n in enumerate(lengths):
                h, last = theirs(x[row : row + 1, :n])
                last = last[0] if kind is LSTM else last
                seen = {"last": last[-ways:].flatten()[None], "mean": h.mean(1), "every": h[0]}[read]
                close(out[row, :n] if read == "every" else out[row : row + 1], reader.head(seen))
            close(reader(x), reader(x, torch.full((4,), 6)))


def test_reader_knows_three_ways_to_read():
    with pytest.raises(ValueError, match="read = 'max': one of last, mean, every"):
        check_read("max")


def test_writing_has_no_dropout_and_gives_each_module_its_mode_back():
    torch.manual_seed(0)
    net = EncoderDecoder(dim=4, hidden=6, vocab=5, num_layers=2, dropout=0.9)
    net.embed.eval()
    source = torch.randint(5, (20, 7))
    assert torch.equal(net.translate(source, 6), net.eval().translate(source, 6))
    net.train()
    net.embed.eval()
    state = net.encode(source)
    assert torch.equal(net.decoder.write(state, 6), net.decoder.write(state, 6))
    with pytest.raises(ValueError):
        net.translate(source[:, :0], 6)
    assert net.training and net.encoder.training and net.decoder.layer.training and not net.embed.training


def test_a_state_that_dies_out_has_no_negative_chance():
    chain = torch.tensor([[0.9, 0.1, 0.0], [0.05, 0.9, 0.05], [0.0, 0.0, 1.0]])
    close(stationary(chain), torch.tensor([0.0, 0.0, 1.0]).double(), rtol=0, atol=1e-12)
    assert (stationary(chain) >= 0).all()
    assert (markov_chain(chain, 5, 4, generator=generator()) == 2).all()


def test_half_precision_changes_no_verdict_on_chances():
    tenth = torch.full((10, 10), 0.1)
    for dtype in (torch.bfloat16, torch.float16):
        close(stationary(tenth.to(dtype)), torch.full((10,), 0.1).double(), rtol=0, atol=1e-8)
        assert entropy_rate(tenth.to(dtype)) == pytest.approx(log(10))
        walk = markov_chain(CHAIN.to(dtype), 3, 4, generator=generator())
        assert walk.shape == (3, 4)


@every_kind
def test_padded_sources_are_encoded_up_to_their_lengths(kind):
    """As if each were alone: in what is read, in the logits and in what is written."""
    torch.manual_seed(0)
    net = EncoderDecoder(kind, dim=4, hidden=6, vocab=5, num_layers=2).double()
    source, target, lengths = torch.randint(5, (3, 7)), torch.randint(5, (3, 4)), torch.tensor([7, 2, 4])
    together = net(source, target, lengths), net.translate(source, 4, lengths)
    for row, n in enumerate(lengths.tolist()):
        alone = source[row : row + 1, :n]
        close(together[0][row], net(alone, target[row : row + 1])[0])
        assert torch.equal(together[1][row], net.translate(alone, 4)[0])
        last = net.encode(source, lengths), net.encode(alone)
        h, c = ((state[0] if isinstance(state, tuple) else state) for state in last)
        close(h[:, row], c[:, 0])


@every_kind
def test_writing_is_reading_its_own_tokens(kind):
    torch.manual_seed(0)
    net = EncoderDecoder(kind, dim=4, hidden=6, vocab=5).double()
    source = torch.randint(5, (3, 7))
    tokens = net.translate(source, 6)
    close(net(source, tokens).argmax(2), tokens)
    prefix = net(source, tokens[:, :3])
    close(prefix, net(source, tokens)[:, :3])


def test_target_vocabulary_is_the_writers_alone():
    net = EncoderDecoder(dim=4, hidden=6, vocab=5, target_vocab=7)
    assert net.embed.num_embeddings == 5 and net.decoder.embed.num_embeddings == 8 and net.decoder.start == 7
    source, target = torch.randint(5, (3, 2)), torch.randint(7, (3, 4))
    assert net(source, target).shape == (3, 4, 7)


@every_kind
def test_gradients_reach_every_parameter(kind):
    torch.manual_seed(0)
    net = EncoderDecoder(kind, dim=4, hidden=6, vocab=5)
    F.cross_entropy(net(torch.arange(5)[None], torch.arange(5)[None]).flatten(0, 1), torch.arange(5)).backward()
    assert all(p.grad.abs().sum() > 0 for p in net.parameters())
    tree = TreeNet(dim=4, hidden=8)
    tree([("max", 0, ("min", 1, ("+", 2, ("+", 3, 4))))]).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in tree.parameters())


def test_learns_toy_problem():
    """An encoder and decoder turn strings of three letters round."""
    torch.manual_seed(0)
    net = EncoderDecoder(dim=8, hidden=32, vocab=4)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    draw = generator()
    for _ in range(250):
        source, target = reversal(64, 3, symbols=4, generator=draw)
        optimizer.zero_grad()
        F.cross_entropy(net(source, target).flatten(0, 1), target.flatten()).backward()
        optimizer.step()
    source, target = reversal(200, 3, symbols=4, generator=draw)
    assert (net.translate(source, 3) == target).all(1).double().mean() > 0.9


def test_tree_learns_toy_problem():
    torch.manual_seed(0)
    net, draw = TreeNet(dim=16, hidden=64), random.Random(0)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(200):
        trees = [expression(draw.randrange(1, 3), draw) for _ in range(64)]
        optimizer.zero_grad()
        F.cross_entropy(net(trees), torch.tensor(list(map(value, trees)))).backward()
        optimizer.step()
    trees = [expression(3, draw) for _ in range(200)]
    right = net(trees).argmax(1) == torch.tensor(list(map(value, trees)))
    assert right.double().mean() > 0.8


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@every_kind
def test_device_and_dtype(kind, device):
    net = EncoderDecoder(kind, dim=4, hidden=6, vocab=5).to(device)
    source = torch.randint(5, (3, 7), device=device)
    with torch.autocast(device, torch.bfloat16):
        assert net(source, source).float().isfinite().all()
    assert net.translate(source, 4).device.type == device
    again = EncoderDecoder(kind, dim=4, hidden=6, vocab=5).to(device)
    again.load_state_dict(net.state_dict())
    assert torch.equal(again(source, source), net(source, source))
    tree = TreeNet(dim=4, hidden=8).to(device)
    assert tree([3, ("max", 1, 2)]).device.type == device


def test_bad_input_is_named():
    for draw, message in (
        (lambda: recall(3, 0), "lag = 0: at least 1"),
        (lambda: recall(0, 3), "n = 0: at least 1"),
        (lambda: adding_problem(3, 1), "steps = 1: at least 2, for two marks"),
        (lambda: markov_chain(CHAIN, 3, 0), "steps = 0: at least 1"),
        (lambda: reversal(3, 0), "length = 0: at least 1"),
        (lambda: reviews(0), "n = 0: at least 1"),
        (lambda: moving_dot(1, 0), "frames = 0: at least 1"),
        (lambda: moving_dot(1, 2, turns=1.5), r"turns = 1.5: a chance in \[0, 1\]"),
        (lambda: expression(-1, random.Random(0)), "depth = -1, digits = 5: depth 0 is a digit"),
        (lambda: stationary(CHAIN / 2), "rows that sum to .*: chances are not negative and sum to 1"),
        (lambda: stationary(CHAIN * torch.nan), "chances from nan"),
        (lambda: entropy_rate(torch.tensor([[1.5, -0.5], [0.5, 0.5]])), "chances from -0.5"),
        (lambda: Reader(dim=2, hidden=3, classes=2, vocab=0), "vocab = 0: at least 1"),
        (lambda: EncoderDecoder(dim=2, hidden=3, vocab=4, target_vocab=0), "vocab = 0: at least 1"),
        (lambda: EncoderDecoder(dim=2, hidden=3, vocab=4, bidirectional=True), "bidirectional = True: a writer cannot"),
        (lambda: Writer(dim=2, hidden=3, vocab=4, bidirectional=True), "bidirectional = True: a writer cannot"),
        (lambda: Writer(dim=2, hidden=3, vocab=4).write(torch.zeros(1, 1, 3), 0), "steps = 0: at least 1"),
        (lambda: value(7), "leaf 7: with digits = 5 it is one of 0 … 4"),
        (lambda: value(("*", 1, 2)), r"expression \('\*', 1, 2\): a digit, or \(max \| min \| \+, left, right"),
        (lambda: height(("+", 1)), "a digit, or"),
        (lambda: flat([]), "no expressions: a batch has at least 1"),
        (lambda: flat([("+", 1, 7)]), "leaf 7"),
        (lambda: TreeNet(dim=2, hidden=3)([]), "no expressions"),
        (lambda: TreeNet(dim=2, hidden=3).fold(("-", 1, 2)), "a digit, or"),
    ):
        with pytest.raises(ValueError, match=message):
            draw()

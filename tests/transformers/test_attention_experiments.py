"""What the page on attention runs and draws: measures against formulas, recipes against what they promise."""

from functools import partial

import matplotlib
import pytest
import torch
from torch import nn

from helpers.training import recipe
from helpers.transformers.attention import (
    DIGIT,
    END,
    TARGETS,
    WORDS,
    MultiHeadAttention,
    Searcher,
    Translator,
    causal_mask,
    experiments,
    figures,
    sinusoidal,
)
from helpers.transformers.attention.tasks import Pairs

matplotlib.use("Agg")

TOKENS = ["seven", "hundred", "six"]
SMALL = dict(dim=8, heads=2, hidden=8, depth=1)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_statistics_of_a_softmax_match_their_formulas():
    """Equal scores: the entropy is log s, and the Jacobian (δ - 1/s) / s has the norm √(s - 1) / s."""
    found = experiments.softmax_statistics(torch.full((5, 16), 3.0, dtype=torch.float64))
    expected = torch.tensor([0.0, torch.tensor(16.0).log(), 15**0.5 / 16], dtype=torch.float64)
    torch.testing.assert_close(found, expected)
    scores = noise(4, 6)
    jacobian = torch.stack([torch.autograd.functional.jacobian(partial(torch.softmax, dim=0), row) for row in scores])
    torch.testing.assert_close(experiments.softmax_statistics(scores)[2], jacobian.norm(dim=(1, 2)).mean())
    torch.testing.assert_close(experiments.softmax_statistics(scores)[0], scores.var())


def test_moving_the_future_moves_what_may_see_it():
    layer, x = MultiHeadAttention(dim=8, heads=2).double(), noise(2, 5, 8)
    assert experiments.outputs_that_move(partial(layer, causal=True), x) == [(0, True)] * 4
    assert experiments.outputs_that_move(layer, x) == [(t + 1, True) for t in range(4)]
    assert experiments.outputs_that_move(torch.zeros_like, x) == [(0, False)] * 4


def test_inputs_that_reach_an_output_are_counted():
    x = noise(1, 7, 3).requires_grad_()
    assert experiments.inputs_that_reach(x[0, 2:5].sum(), x) == 3
    assert experiments.inputs_that_reach((0 * x).sum() + x[0, 0, 0], x) == 1


@pytest.mark.parametrize("tokens", [16, 64])
def test_bytes_kept_are_those_of_the_tensors(tokens):
    """By the equation n² weights of four bytes in each of two heads come on top of what grows with n."""
    least = 2 * tokens**2 * 4
    doubled = experiments.bytes_kept(2 * tokens, fused=False) - 4 * least
    assert doubled == 2 * (experiments.bytes_kept(tokens, fused=False) - least) > 0
    inputs = 3 * 2 * tokens * 16 * 4
    fused = experiments.bytes_kept(tokens, fused=True)
    assert inputs < fused and experiments.bytes_kept(2 * tokens, fused=True) == 2 * fused


def test_the_recipe_warms_up_and_cools_down(monkeypatch):
    model = nn.Linear(1, 1)
    rates = []

    def loss(model, batch):
        rates.append(optimizers[0].param_groups[0]["lr"])
        return (model(batch[0]) - 1).square().mean()

    optimizers, adam = [], recipe.AdamW
    monkeypatch.setattr(recipe, "AdamW", lambda *a, **b: optimizers.append(adam(*a, **b)) or optimizers[-1])
    generator = torch.Generator().manual_seed(0)
    trained = experiments.learn(model, loss, (torch.ones(70, 1),), generator, steps=150, rate=0.4)
    assert trained is model and not model.training
    assert rates[0] == 0 and rates[25] == pytest.approx(0.2) and max(rates) == rates[50] == pytest.approx(0.4)
    assert rates[-1] == pytest.approx(0.02, rel=0.05) and len(rates) == 150
    with pytest.raises(ValueError, match="rise = 50, steps = 50: the rate climbs within fewer steps"):
        experiments.learn(model, loss, (torch.ones(70, 1),), generator, steps=50)


def test_both_reversers_see_the_same_strings_and_neither_its_own_test(monkeypatch):
    seen = {}

    def learn(model, loss, pairs, generator, **options):
        seen[type(model)] = (pairs, options, generator.get_state())
        return model.eval()

    monkeypatch.setattr(experiments, "learn", learn)
    held = [experiments.train_reverser(kind, 3, letters=9, steps=60) for kind in ("one state", "attention")]
    (pairs, options, state), (others, same, theirs) = seen.values()
    assert torch.equal(pairs[0], others[0]) and options == same and torch.equal(state, theirs)
    assert torch.equal(held[0].source, held[1].source) and len(held[0].source) == 500 and len(pairs[0]) == 6000
    assert torch.equal(held[0].target, held[0].source.flip(1)) and isinstance(held[1].model, Searcher)
    assert not {tuple(row) for row in pairs[0].tolist()} & {tuple(row) for row in held[0].source.tolist()}
    with pytest.raises(ValueError, match="kind = 'two states': 'one state' or 'attention'"):
        experiments.reverser("two states")


def test_a_string_counts_when_all_of_it_is_right():
    source = torch.randint(8, (500, 4), generator=torch.Generator().manual_seed(0))
    target = source.flip(1)
    wrong = target.clone()
    wrong[:125, 2] = (wrong[:125, 2] + 1) % 8

    def answers(source, target):
        return nn.functional.one_hot(wrong, 8).float()

    assert experiments.strings_exact(experiments.Reverser(answers, source, target)) == 0.75


def test_number_words_have_a_vocabulary_of_their_own(monkeypatch):
    monkeypatch.setattr(experiments, "learn", lambda model, *others, **options: model.eval())
    options = dict(count=40, longest=6, steps=60, rate=0.01) | SMALL
    for task, vocab in (("number words", len(WORDS)), ("sort", TARGETS)):
        model, score = experiments.train_translator(task, 1, **options)
        assert model.source_embedding.num_embeddings == vocab and 0 <= score < 0.1
    training, held = experiments.examples("sort", 1, count=40, longest=6)
    assert len(training.source) == 40 and len(held.source) == 500
    assert not {tuple(row) for row in training.source.tolist()} & {tuple(row) for row in held.source.tolist()}
    with pytest.raises(ValueError, match="task = 'shuffle': one of copy, reverse, sort, number words"):
        experiments.examples("shuffle", 1, count=40, longest=6)


@pytest.fixture
def attends(monkeypatch):
    """Lets a test say where a model attends: places in the source, [n t]."""

    def to(places, width):
        weights = nn.functional.one_hot(places, width).double()[:, None]
        monkeypatch.setattr(experiments, "cross_weights", lambda model, source, target: weights)

    return to


def test_alignment_counts_digits_that_attend_to_their_copy(attends):
    source = torch.tensor([[5, 6, 7, END], [8, 9, END, 0]])
    target = torch.tensor([[1, 7, 6, 5, END], [1, 9, 8, END, 0]])
    model = Translator(vocab=TARGETS, context=8, **SMALL)
    attends(torch.tensor([[2, 1, 0, 3], [1, 0, 2, 2]]), 4)
    assert experiments.aligned_share(model, Pairs(source, target)) == 1
    attends(torch.tensor([[2, 1, 3, 3], [0, 0, 2, 2]]), 4)
    assert experiments.aligned_share(model, Pairs(source, target)) == pytest.approx(3 / 5)


def test_zeros_at_words_of_place_are_counted(attends):
    read = [WORDS.index(word) for word in ("seven", "hundred", "six")]
    source = torch.tensor([[*read, END]])
    target = torch.tensor([[1, DIGIT + 7, DIGIT, DIGIT + 6, END]])
    model = Translator(vocab=len(WORDS), target_vocab=TARGETS, context=8, **SMALL)
    for place, share in ((1, 1), (2, 0)):
        attends(torch.tensor([[1, place, 1, 1]]), 4)
        assert experiments.zeros_at_place_words(model, Pairs(source, target)) == share


def test_logits_by_cache_are_those_of_one_pass():
    model = Translator(vocab=TARGETS, context=8, **SMALL).double()
    source, target = torch.tensor([[5, 6, 7, END]]), torch.tensor([[1, 7, 6]])
    torch.testing.assert_close(experiments.logits_by_cache(model, source, target), model(source, target))


def test_timing_leaves_the_cache_as_it_was():
    decoding = experiments.in_the_middle(2, torch.Generator().manual_seed(0), past=12, texts=3)
    assert decoding.cache.numbers() == 2 * 3 * 2 * 12 * 32
    before = decoding.cache.held()[0].clone()
    assert experiments.seconds_of_eight_steps(decoding) > 0
    assert decoding.cache.length == 12 and torch.equal(decoding.cache.held()[0], before)


def test_matrices_stand_side_by_side():
    X = torch.tensor([[1.0, 10], [-0.0, 2], [3, 4]])
    text = figures.side_by_side(TOKENS, X=X, weights=X.softmax(1))
    assert text.splitlines() == [
        "         X      weights",
        "seven     1 10  0.00 1.00",
        "hundred   0  2  0.12 0.88",
        "six       3  4  0.27 0.73",
    ]
    with pytest.raises(ValueError, match="X has 2 rows: give one for each of seven, hundred, six"):
        figures.side_by_side(TOKENS, X=X[:2])


def drawn(name):
    """The texts of one of the page's figures."""
    weights = torch.eye(3)
    figure = {
        "dictionary": lambda: figures.dictionary(noise(3, 2), noise(3) + 20, noise(2), (1.0, 4.0, 40.0)),
        "alignment": lambda: figures.alignment(weights, TOKENS, TOKENS),
        "shared_weights": lambda: figures.shared_weights(TOKENS, dict.fromkeys("abcd", weights)),
        "statistics": lambda: figures.statistics_by_width([4, 16], noise(3, 2, 3).exp(), noise(3, 2, 3).exp(), 4.2),
        "masks": lambda: figures.masks({"causal": causal_mask(4), "all": causal_mask(4)}),
        "clock": lambda: figures.clock(sinusoidal(torch.arange(30), 8), (5, 20)),
        "transformer": lambda: figures.transformer(TOKENS, ["begin", "7"], ["7", "0"]),
        "heads": lambda: figures.heads(torch.stack([weights, weights]), TOKENS, TOKENS),
        "memory": lambda: figures.memory([4, 8], {"fused": torch.tensor([100, 200])}),
    }[name]()
    figure.canvas.draw()
    texts = {text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()}
    matplotlib.pyplot.close(figure)
    return texts


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dictionary", {"length 40.0", "weight of each value"}),
        ("alignment", {"letter read", *TOKENS}),
        ("shared_weights", {"a", "d", "1.00", *TOKENS}),
        ("statistics", {"q · k / √d", "entropy (nats)", "16"}),
        ("masks", {"causal", "all", "query"}),
        ("clock", {"with 5", "with 20", "product"}),
        ("transformer", {"cross-\nattention", "causal self-\nattention", "seven hundred six", "begin 7", "7 0"}),
        ("heads", {"head 1", "head 2", "written", *TOKENS}),
        ("memory", {"megabytes kept", "fused", "8"}),
    ],
)
def test_figures_name_what_they_show(name, words):
    assert words <= drawn(name)


def test_shallow_networks_learn_at_one_rate_but_not_while_it_rises():
    assert experiments.train_at_one_rate(True, 1, seed=0) > 0.2
    assert experiments.train_at_one_rate(True, 1, seed=0, rise=119) < experiments.train_at_one_rate(True, 1, seed=0)

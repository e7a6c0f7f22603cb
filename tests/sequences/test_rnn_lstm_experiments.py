"""What the page on recurrent networks runs and draws: tasks are learned, and scores are those of what is said."""

import random

import matplotlib
import pytest
import torch
from matplotlib import pyplot
from torch import nn

from helpers.data import ImageSet
from helpers.sequences.rnn_lstm import GRU, LSTM, RNN, experiments, figures

matplotlib.use("Agg")


def test_readers_begin_at_the_bias_of_their_lag():
    net = experiments.reader(LSTM, 0, 20, vocab=9, dim=8, classes=4)
    forget = (net.layer.bias_ih_l0 + net.layer.bias_hh_l0)[24:48]
    torch.testing.assert_close(forget, torch.full((24,), 20.0).log())
    same = experiments.reader(RNN, 0, 20, vocab=9, dim=8, classes=4)
    again = experiments.reader(RNN, 0, 3, vocab=9, dim=8, classes=4)
    assert torch.equal(same.layer.weight_hh_l0, again.layer.weight_hh_l0)


def test_a_short_lag_is_recalled_and_an_untrained_network_guesses():
    assert experiments.recall_score(GRU, 0, 3, steps=60) > 0.9
    assert experiments.recall_score(GRU, 0, 3, steps=1) < 0.6


def test_learning_gives_the_loss_of_each_step():
    curve = experiments.adding_curve(GRU, 0, span=4, steps=40)
    assert curve.shape == (40,) and curve[-10:].mean() < 0.5 * curve[0]
    assert experiments.direction_score(0, steps=2, bidirectional=True).shape == (8,)
    assert 0.5 < experiments.chain_loss(torch.full((4, 4), 0.25), 0, steps=3) < 3


def test_what_is_asked_at_the_end_is_the_cue():
    x, y = experiments.asked_at_the_end(5, 6, torch.Generator().manual_seed(0))
    assert x.shape == y.shape == (7, 5) and torch.equal(x[0], y[-1]) and (y[:-1] == -100).all()
    logits = torch.zeros(7, 5, 4)
    torch.testing.assert_close(experiments.loss_at_the_end(logits, y), 5 * torch.tensor(4.0).log())
    assert 0 <= experiments.truncated_score(3, 0, lag=2, steps=2) <= 1


def test_names_are_spelled():
    labels = torch.arange(200) % 10
    images = nn.functional.one_hot(labels, 16).float().view(-1, 1, 4, 4)
    digits = ImageSet(images, labels, tuple("0123456789"))
    speller = experiments.train_speller(digits, 0, steps=150)
    words = speller.spell(images[:10])
    assert sum(word == name for word, name in zip(words, experiments.NAMES, strict=True)) >= 8


class Backwards(nn.Module):
    """Logits that name the last letter of the source first."""

    def forward(self, source, target):
        return 50 * nn.functional.one_hot(source.flip(1), 8).float()


def test_a_cut_string_is_still_reversed():
    source = torch.randint(8, (20, experiments.LONGEST), generator=torch.Generator().manual_seed(0))
    losses = [experiments.reversal_loss(Backwards(), (source, source.flip(1))) for _ in range(10)]
    assert max(losses) < 1e-6
    assert experiments.reversal_scores(0, 8, lengths=(1, 2), steps=2).shape == (2,)


def test_a_bag_forgets_the_order():
    bag = experiments.BagOfWords(0)
    x = torch.tensor([[3, 4, 5, 0], [5, 3, 4, 0]])
    out = bag(x, torch.tensor([3, 3]))
    torch.testing.assert_close(out[0], out[1])


def test_expressions_grow_to_their_depth_and_are_scored():
    draw = random.Random(0)
    assert all(isinstance(tree, tuple) for tree in experiments.grow(2, 5, draw))
    scores = experiments.expression_scores(0, depths=(1, 2), steps=3)
    assert scores.shape == (2, 2) and 0 <= scores.min() <= scores.max() <= 1


@pytest.mark.parametrize("label", ["$c_{t-1}$", "$c_t$", "$h_{t-1}$", "$h_t$", "$x_t$", "$f$", "$i$", "$g$", "$o$"])
def test_the_cell_is_labelled_like_its_equations(label):
    assert label in [text.get_text() for text in figures.lstm_cell().texts]
    pyplot.close("all")

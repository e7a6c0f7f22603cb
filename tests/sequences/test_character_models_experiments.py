"""What the page on character models runs and draws: networks of one size, what they write, pickers against a threshold."""

import matplotlib
import pytest
import torch
from matplotlib import pyplot

from helpers.sequences import character_models as cm
from helpers.sequences.character_models import experiments, figures

matplotlib.use("Agg")

TEXT = "spam (eggs)\n" * 40
VOCABULARY = cm.Vocabulary(TEXT)
CODES = VOCABULARY.encode(TEXT)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


def test_the_networks_have_about_as_many_weights():
    counts = {name: sum(p.numel() for p in experiments.network(name, 96, 0).parameters()) for name in experiments.RATES}
    assert min(counts.values()) > 55_000 and max(counts.values()) < 1.2 * min(counts.values()), counts
    assert experiments.network("WaveNet", 96, 0, layers=8).receptive_field == 256
    with pytest.raises(ValueError, match="name = 'CNN': one of RNN, LSTM, GRU, WaveNet"):
        experiments.network("CNN", 96, 0)


def test_a_network_learns_a_line_and_is_that_of_its_seed():
    train = experiments.train_network
    model, losses = train("GRU", CODES, len(VOCABULARY), 0, steps=60, length=12, batch_size=8)
    assert len(losses) == 60 and losses[-5:].mean() < 0.5 * losses[0]
    _, again = train("GRU", CODES, len(VOCABULARY), 0, steps=22, length=12, batch_size=8)
    assert again[0] == losses[0]
    pieces = experiments.write_text(model, VOCABULARY, 30, run=1, temperature=0.1, rows=2).split("\n\n")
    assert "spam" in pieces[0]
    assert experiments.write_text(model, VOCABULARY, 30, run=1) == experiments.write_text(model, VOCABULARY, 30, run=1)


def test_words_and_brackets_are_judged():
    assert experiments.words_of("a_b 1 spam-eggs") == ["a", "b", "spam", "eggs"]
    assert experiments.known_words("spam spim an", {"spam"}) == 0.5  # "an" is too short to count
    assert experiments.known_words("1 2", {"spam"}) == 0
    assert experiments.brackets_that_fit("(a [b]) ]") == pytest.approx(2 / 3)
    assert experiments.brackets_that_fit("(a]") == 0
    assert experiments.brackets_that_fit("none") == 0


def test_a_threshold_finds_loud_arrivals_and_a_network_is_read_at_its_peaks():
    draw = torch.Generator().manual_seed(0)
    learn, test = cm.synthesise(200, draw), cm.synthesise(60, draw)
    found = experiments.judged(experiments.classical_picks(learn, test), test)
    assert 0.6 < found[0] <= 1 and all(0 <= share <= 1 for share in found)
    perfect = experiments.network_picks(cm.targets(test))
    assert experiments.judged(perfect, test) == [1, 1, 1]
    late = perfect._replace(p=perfect.p + 7, s=perfect.s + 6)
    assert experiments.judged(late, test) == [1, 0, 1]
    assert experiments.f1(torch.tensor([True, True]), torch.tensor([True, False])) == pytest.approx(2 / 3)


def test_a_picker_is_trained_on_its_records():
    picker = experiments.train_picker(0, steps=22, records=40)
    assert len(picker.train.waves) == 40 and picker.heads.shape == (400, 3, picker.test.waves.shape[2])
    assert 0 <= picker.heads.min() < picker.heads.max() <= 1
    assert len(figures.record(picker.test, picker.heads, 3).axes) == 2


def test_blanks_are_seen_on_pages():
    assert figures.lines_of("\nab cd\n   \n\nx", 4) == ["ab ", "cd", "···", "", "x"]
    figure = figures.pages({"one": "a b\n  \n" * 9, "two": "c"}, lines=3)
    assert [text.get_text() for text in figure.axes[0].texts] == ["one", "a b", "··", "a b", "two", "c"]


def test_bars_have_the_range_of_their_seeds():
    (ax,) = figures.bits({"3-gram": [2.5], "LSTM": [2.0, 3.0]}).axes
    assert [bar.get_width() for bar in ax.patches] == [2.5, 2.5]
    assert list(ax.lines[0].get_xdata()) == [2.0, 3.0]

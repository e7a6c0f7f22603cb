"""Text, n-grams, compressors and detectors: against naive loops and scikit-learn."""

import bz2
import lzma
import zlib
from collections import Counter
from math import log2

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from helpers.data import docstrings
from helpers.sequences.character_models import (
    NGram,
    Vocabulary,
    auc,
    bits_per_character,
    compressed_bits,
    distance_since,
    find_detector,
    inside,
    on_lines,
    split_documents,
    windows,
)

TEXT = "the cat sat on the mat; the rat that sat on the cat ran off with the hat. " * 4


class Echo(nn.Module):
    """Guesses from the sum of all that it has read, which is its state."""

    def __init__(self, vocab):
        super().__init__()
        self.table = nn.Embedding(vocab, vocab)

    def forward(self, x, state=None):
        h = self.table(x).cumsum(1)
        h = h if state is None else h + state
        return h, h[:, -1:]


def naive(text, order, vocab, context, character):
    """Witten-Bell by its definition, from the text itself."""
    p = 1 / vocab
    for length in range(min(order, len(context) + 1)):
        h = context[len(context) - length :]
        follow = Counter(text[i + length] for i in range(len(text) - length) if text[i : i + length] == h)
        n, types = sum(follow.values()), len(follow)
        if n:
            p = (follow[character] + types * p) / (n + types)
    return p


@pytest.mark.parametrize("order", [1, 2, 5])
def test_matches_reference_ngram(order):
    vocabulary = Vocabulary(TEXT + "xyz")
    model = NGram(order, len(vocabulary)).fit(vocabulary.encode(TEXT))
    held = "the fox sat on that maze"
    ours = model.log2_probabilities(vocabulary.encode(held))
    expected = [log2(naive(TEXT, order, len(vocabulary), held[:t], c)) for t, c in enumerate(held)]
    assert_close(ours, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-10)
    assert model.bits_per_character(vocabulary.encode(held)) == pytest.approx(-sum(expected) / len(held))
    for context in ("", "t", "zz", "on the c"):
        p = model.next_probabilities(vocabulary.encode(context))
        assert p.sum().item() == pytest.approx(1)
        assert p[vocabulary.index["a"]].item() == pytest.approx(naive(TEXT, order, len(vocabulary), context, "a"))


def test_higher_orders_fit_their_own_text_better():
    vocabulary = Vocabulary(TEXT)
    codes = vocabulary.encode(TEXT)
    bits = [NGram(order, len(vocabulary)).fit(codes).bits_per_character(codes) for order in range(1, 6)]
    assert bits == sorted(bits, reverse=True) and bits[0] > 3 and bits[-1] < 0.6


def test_vocabulary_goes_there_and_back():
    vocabulary = Vocabulary(TEXT)
    assert vocabulary.decode(vocabulary.encode(TEXT)) == TEXT
    assert vocabulary.characters == "".join(sorted(set(TEXT)))


def test_near_copies_lie_on_the_same_side():
    train, held = (part.split("\n\n\n") for part in split_documents(docstrings()))
    ends = [{document.partition("\n")[0].rpartition(".")[2] for document in part} for part in (train, held)]
    assert not ends[0] & ends[1]
    assert sorted(train + held) == sorted(docstrings().split("\n\n\n"))
    assert 0.05 < len(held) / len(train + held) < 0.15


@pytest.mark.parametrize("held_out", [2, 4])
def test_as_many_documents_are_held_out_as_said(held_out):
    names = [f"module{i % 3}.function{i}" for i in range(600)]
    train, held = split_documents("\n\n\n".join(f"{name}\nIts text." for name in names), held_out)
    share = held.count("Its text.") / 600
    assert train.count("Its text.") + held.count("Its text.") == 600
    assert share == pytest.approx(1 / held_out, abs=0.06)


def test_windows_share_one_character():
    cut = windows(torch.arange(12), 4)
    assert cut.tolist() == [[0, 1, 2, 3, 4], [4, 5, 6, 7, 8]]


@pytest.mark.parametrize("rows, chunk", [(1, 1000), (4, 7), (4, 1)])
def test_bits_per_character(rows, chunk):
    vocabulary = Vocabulary(TEXT)
    codes, model = vocabulary.encode(TEXT), Echo(len(vocabulary)).double()
    per_row = len(codes) // rows
    text = codes[: rows * per_row].view(rows, per_row)
    logits, _ = model(text[:, :-1])
    nats = F.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten()).item()
    assert bits_per_character(model, codes, rows=rows, chunk=chunk) == pytest.approx(nats / 0.6931471805599453)
    assert model.training


def test_bits_in_half_precision():
    """The sum over many characters is not one of float16, which ends at 65,504."""
    vocabulary = Vocabulary(TEXT)
    codes = vocabulary.encode(TEXT * 60)
    model = Echo(len(vocabulary)).half()
    model.table.weight.data.zero_()
    bits = bits_per_character(model, codes, rows=64, chunk=10_000)
    assert bits == pytest.approx(log2(len(vocabulary)), abs=2e-3)


def test_compressors():
    data, primer = TEXT.encode(), b"on the mat, the cat sat. " * 9
    sizes = {
        "zlib": lambda d: len(zlib.compress(d, 9)),
        "bz2": lambda d: len(bz2.compress(d, 9)),
        "lzma": lambda d: len(lzma.compress(d, preset=9 | lzma.PRESET_EXTREME)),
    }
    for name, size in sizes.items():
        assert compressed_bits(name, TEXT) == 8 * size(data) / len(data)
        primed = 8 * (size(primer + data) - size(primer)) / len(data)
        assert compressed_bits(name, TEXT, primer.decode()) == primed
        accents = "déjà vu, où ça? " * 20  # more bytes than characters
        assert compressed_bits(name, accents) == 8 * size(accents.encode()) / len(accents)


def test_auc_matches_reference():
    metrics = pytest.importorskip("sklearn.metrics")
    generator = torch.Generator().manual_seed(0)
    activations = torch.randn(300, 4, generator=generator).double()
    activations[:, 2] = activations[:, 2].round()  # ties
    truth = activations[:, 0] + torch.randn(300, generator=generator) > 0.5
    activations[:, 3] = -truth.double()
    areas = auc(activations, truth)
    for unit in range(4):
        expected = metrics.roc_auc_score(truth.numpy(), activations[:, unit].numpy())
        assert areas[unit].item() == pytest.approx(expected)
    assert areas[3] == 0
    halves = auc(activations.bfloat16(), truth)
    assert halves.dtype == torch.float64
    expected = metrics.roc_auc_score(truth.numpy(), activations[:, 0].bfloat16().double().numpy())
    assert halves[0].item() == pytest.approx(expected)
    detector = find_detector(activations, truth)
    assert detector[:2] == (3, -1) and detector.found == detector.confirmed == 1


def test_a_detector_is_chosen_on_one_half_and_judged_on_the_other():
    truth = torch.arange(400) % 3 == 0
    noise = torch.rand(400, 2, generator=torch.Generator().manual_seed(0)).double()
    activations = noise.clone()
    activations[:200, 0] = -truth[:200].double() - noise[:200, 0]  # upside down on the first half, noise on the second
    activations[200:, 1] = truth[200:].double()  # the other way round
    detector = find_detector(activations, truth)
    assert detector[:2] == (0, -1) and detector.found == 1
    assert detector.confirmed == pytest.approx(1 - auc(activations[200:, :1], truth[200:]).item())
    assert 0.35 < detector.confirmed < 0.65


def test_inside_reads_brackets_and_quotes():
    marks = lambda truth: "".join("x" if t else "." for t in truth)  # noqa: E731
    assert marks(inside("a(b[c]d)e", "([", ")]")) == ".xxxxxx.."
    assert marks(inside("a'b'c''d", "'", "'")) == ".xx..x.."
    assert marks(inside("(a\nb\n\nc)", "(", ")")) == "xxxxx..."
    assert marks(inside(")a(", "(", ")")) == "..x"
    assert marks(on_lines(">>> x\n1\n>>>y", ">>>")) == "...xx......x"
    assert distance_since("ab(cd)", "()").tolist() == [1, 2, 0, 1, 2, 0]


def test_bad_input_is_refused():
    vocabulary, codes = Vocabulary("abc"), torch.zeros(5, dtype=torch.long)
    for call, words in [
        (lambda: Vocabulary(""), "the text is empty"),
        (lambda: vocabulary.encode("abd"), "character 'd' is not among the 3 of the vocabulary"),
        (lambda: vocabulary.decode([0, 3]), "code 3: the 3 characters have the codes 0 to 2"),
        (lambda: split_documents("a", held_out=1), "held_out = 1"),
        (lambda: windows(codes, 5), "length = 5: a text of 5 characters has windows of 1 to 4"),
        (lambda: bits_per_character(Echo(3), codes, rows=3), "rows = 3 of 5 characters"),
        (lambda: compressed_bits("zip", "a"), "no compressor is called 'zip': there are zlib, bz2, lzma"),
        (lambda: compressed_bits("zlib", ""), "nothing to compress"),
        (lambda: NGram(0, 5), "order = 0: an n-gram has 1 to 9"),
        (lambda: NGram(3, 300), "vocab = 300: 1 to 128"),
        (lambda: NGram(6, 5).fit(codes), "a text of 5 characters has no 6-gram"),
        (lambda: inside("a", "", ")"), "give at least one character each"),
        (lambda: auc(torch.zeros(3, 1), torch.ones(3).bool()), "3 places are true and 0 are not"),
        (lambda: auc(torch.zeros(3, 1) * torch.nan, torch.arange(3) > 1), "not numbers have no order"),
        (lambda: bits_per_character(Echo(3), codes, rows=1, chunk=0), "chunk = 0: read at least 1"),
        (lambda: NGram(2, 5).bits_per_character(codes), r"nothing was counted: call fit\(codes\) first"),
        (lambda: NGram(2, 5).fit(codes + 5), "codes from 5 to 5: with vocab = 5 they are 0 … 4"),
        (lambda: NGram(2, 5).fit(codes).next_probabilities(codes - 1), "codes from -1 to -1"),
        (lambda: NGram(2, 5).fit(codes).log2_probabilities(codes + 7), "codes from 7 to 7"),
        (lambda: NGram(2, 5).fit(codes).bits_per_character(codes[:0]), "the text is empty"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()

"""CLIP's byte-pair encoding against transformers' CLIPTokenizer and a naive trainer."""

import gzip
from collections import Counter
from functools import cache
from pathlib import Path

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.data import DataUnavailable, data_folder
from helpers.multimodal.clip import Tokenizer, published_tokenizer, read_merges, split_words, train_merges
from helpers.multimodal.clip.tokenizer import BEGIN, END, PUBLISHED, byte_symbols, clean, merged, symbols

CORPUS = [
    "a red star",
    "a blue star and a red disk",
    "the reddest of stars",
    "don't, can't: 12 stars!",
    "naïve café über",
]


@pytest.fixture(scope="module")
def trained() -> Tokenizer:
    prose = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
    return Tokenizer(train_merges([*CORPUS, prose[:10_000]], 200))


@pytest.fixture(scope="module")
def theirs(trained):
    return reference(trained)


@cache
def reference(tokenizer: Tokenizer):
    """transformers' tokenizer of the same vocabulary."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer(vocab=tokenizer.number, merges=list(tokenizer.rank))


def test_vocabulary_is_bytes_bytes_that_end_merges_and_two():
    tokenizer = Tokenizer([("a", "b"), ("ab", "c</w>")])
    assert tokenizer.vocab == 512 + 2 + 2 and (tokenizer.begin, tokenizer.end) == (514, 515)
    assert tokenizer.names[:3] == ["!", '"', "#"] and tokenizer.names[256:258] == ["!</w>", '"</w>']
    assert tokenizer.names[512:] == ["ab", "abc</w>", BEGIN, END]
    assert sorted(byte_symbols()) == list(range(256)) and len(set(byte_symbols().values())) == 256
    assert byte_symbols()[ord("a")] == "a" and byte_symbols()[ord(" ")] == "Ġ"


def test_merging_by_hand():
    assert symbols("star") == ("s", "t", "a", "r</w>")
    assert merged(("a", "a", "a", "b"), ("a", "a")) == ("aa", "a", "b")
    tokenizer = Tokenizer([("s", "t"), ("a", "r</w>"), ("st", "ar</w>")])
    assert [tokenizer.names[token] for token in tokenizer.encode("star tsar")] == ["star</w>", "t", "s", "ar</w>"]


def test_training_matches_the_naive_algorithm():
    """Count all pairs anew at each step, in strings of symbols set apart by spaces."""
    words = Counter(word for text in CORPUS for word in split_words(text))
    vocabulary = {f" {' '.join(symbols(word))} ": n for word, n in words.items()}
    expected = []
    for _ in range(40):
        pairs = Counter()
        for word, n in vocabulary.items():
            parts = word.split()
            for i in range(len(parts) - 1):
                pairs[parts[i], parts[i + 1]] += n
        top = max(pairs.values())
        best = sorted(pair for pair, n in pairs.items() if n == top)[0]
        expected.append(best)
        vocabulary = {word.replace(f" {' '.join(best)} ", f" {''.join(best)} "): n for word, n in vocabulary.items()}
    assert train_merges(CORPUS, 40) == expected


def test_training_ends_with_whole_words():
    tokenizer = Tokenizer(train_merges(CORPUS, 10_000))
    assert len(tokenizer.rank) < 100
    assert tokenizer.encode("reddest stars") == [tokenizer.number["reddest</w>"], tokenizer.number["stars</w>"]]


TEXTS = [
    "A photo of a cat.",
    "  two\tspaces\n and lines ",
    "I'll say it's 2026, don't they've we're I'm he'd 'tis",
    "!!! --- ... a-b_c d's'",
    "naïve ＣＡＦÉ ŒUVRE 北京 😀😀 नमस्ते Ⅷ ½ x²",
    "ΣΊΣΥΦΟΣ İstanbul",
    "e\u0301 combining",
    "",
]


@pytest.mark.parametrize("text", TEXTS)
def test_matches_reference(trained, theirs, text):
    """Words and tokens are those of transformers, which leaves out the cleaning."""
    assert [trained.begin, *trained.encode(text), trained.end] == theirs(clean(text))["input_ids"]


# What ftfy 6.3.1 with its settings as they are, html.unescape twice and str.lower make of a text, as in OpenAI's file.
CLEANED = {
    "we’ve “red” dogs’ ‚low‘ „x‟": "we've \"red\" dogs' 'low' \"x\"",
    "fish &amp;amp;amp; chips &rsquo;s &#8217;t &Eacute;": "fish & chips 's 't é",
    "<b> &rsquo;s &amp;amp; &copy": "<b> ’s & ©",
    "this&not that": "this¬ that",
    "ΟΔΟΣ ΣΊΣΥΦΟΣ": "οδος σίσυφος",
    "ﬁne ﬄ Ǆ ŉ æ": "fine ffl dž 'n æ",
    "ＣＡＦÉ\u3000ｶﾞ": "café ガ",
    "a\x0bb\ufeff\u200b\u206a": "ab\u200b",
    "e\u0301 İ": "é i̇",
    "a\r\nb\u2028c": "a\n\nb\nc",
    "x\ud83d\ude00 \ud83d": "x😀 \ufffd",
}


@pytest.mark.parametrize("text", CLEANED)
def test_cleaning_is_that_of_the_released_models(text):
    assert clean(text).split() == CLEANED[text].split()


def test_cleaned_words():
    assert split_words("We’ve “red” dogs") == ["we", "'ve", '"', "red", '"', "dogs"]
    assert split_words("fish &amp; chips") == ["fish", "&", "chips"]
    assert split_words(f'"{END} {BEGIN.upper()}x') == ['"', END, BEGIN, "x"]  # special words are tokens anywhere


SMALL = Tokenizer(train_merges(CORPUS, 60))


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=30))
def test_matches_reference_on_any_text(text):
    if BEGIN not in text and END not in text:
        assert [SMALL.begin, *SMALL.encode(text), SMALL.end] == reference(SMALL)(clean(text))["input_ids"]


def test_rows_are_padded_as_openai_does(trained, theirs):
    rows = trained(CORPUS, context=30)
    assert rows.dtype == torch.long and rows.shape == (5, 30)
    for row, text in zip(rows, CORPUS, strict=True):
        ids = theirs(text)["input_ids"]
        assert row.tolist() == ids + [0] * (30 - len(ids))
    assert torch.equal(trained(CORPUS[0], context=30), rows[:1])
    cut = trained(CORPUS, context=5, truncate=True)
    assert torch.equal(cut[:, :4], rows[:, :4]) and (cut[:, 4] == trained.end).all()


@pytest.mark.parametrize("text", ["a red star", "naïve 北京 😀", "don't stop"])
def test_decoding_gives_the_words_back(trained, theirs, text):
    row = trained(text, context=40)[0]
    assert trained.decode(row) == " ".join(split_words(text)) == theirs.decode(trained.encode(text))
    assert trained.decode(trained.encode(f"{text}{END}{text}")) == " ".join(split_words(text))


def test_two_special_tokens_are_known(trained, theirs):
    text = f"{BEGIN}a star{END}"
    assert trained.encode(text) == theirs(text)["input_ids"][1:-1]
    assert trained.encode(text)[0] == trained.begin and trained.encode(text)[-1] == trained.end


@pytest.mark.parametrize("name", ["merges.txt", "merges.txt.gz"])
def test_reads_files_in_the_published_form(tmp_path, name):
    merges = train_merges(CORPUS, 20)
    lines = "\n".join(['"a version"', *(" ".join(pair) for pair in merges), ""]).encode()
    (tmp_path / name).write_bytes(gzip.compress(lines) if name.endswith("gz") else lines)
    assert read_merges(tmp_path / name) == merges
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(lines)[:-30])
    (tmp_path / "page.txt.gz").write_bytes(b"<html>")
    for broken in ("cut.txt.gz", "page.txt.gz"):
        with pytest.raises(ValueError, match=f"{broken} cannot be read as merges .*: fetch it anew"):
            read_merges(tmp_path / broken)
    (tmp_path / "broken.txt").write_text("version\na b\na b c\n")
    with pytest.raises(ValueError, match="broken.txt: a line holds other than 2 pieces"):
        read_merges(tmp_path / "broken.txt")


def test_reads_no_more_merges_than_the_models_use(tmp_path):
    (tmp_path / "long.txt").write_text("version\n" + "a b\n" * 60_000)
    assert len(read_merges(tmp_path / "long.txt")) == 48_894


def test_published_merges_are_checked_and_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("DLE_DATA", str(tmp_path))
    with pytest.raises(DataUnavailable, match="CLIP's merges"):
        published_tokenizer(download=False)


def test_published_numbers():
    """With the published file, where this machine has it, the numbers of "a photo of a cat" in every CLIP."""
    path = data_folder() / "clip" / PUBLISHED.path
    if not path.exists():
        pytest.skip("needs CLIP's published merges in the data folder (published_tokenizer() fetches them)")
    tokenizer = published_tokenizer(download=False)
    assert (tokenizer.vocab, tokenizer.begin, tokenizer.end) == (49_408, 49_406, 49_407)
    assert tokenizer.encode("a photo of a cat") == [320, 1125, 539, 320, 2368]


def test_bad_input_is_named(trained, unchecked):
    with pytest.raises(ValueError, match=r"\d+ tokens in a context of 4: shorten 'a blue star and a red disk', or cut"):
        trained("a blue star and a red disk", context=4)
    with pytest.raises(ValueError, match="0 texts: give 1 or more"):
        trained([])
    with pytest.raises(ValueError, match="context = 1"):
        trained("a", context=1)
    with pytest.raises(ValueError, match="count = -1"):
        train_merges(CORPUS, -1)
    with pytest.raises(ValueError, match="texts = 'a red star': a list of texts"):
        train_merges("a red star", 1)
    with pytest.raises(ValueError, match="text 3 is no str"):
        trained(["a", 3])
    assert trained(numpy.array(["a", "b"])).shape == (2, 77)
    for token in (-1, trained.vocab):
        with pytest.raises(ValueError, match=f"token {token}: the {trained.vocab} tokens are 0 to"):
            trained.decode([token])

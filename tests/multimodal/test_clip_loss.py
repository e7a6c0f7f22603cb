"""CLIP's loss: against cross-entropy and autograd, in chunks, and in two processes against one."""

from functools import partial
from math import log
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.testing import assert_close

from helpers.multimodal.clip import chunked_loss, contrastive_loss, gathered_loss, pull_and_push, symmetric_loss
from tests.training.processes import alone_and_in_two

PROGRAM = Path(__file__).with_name("gathered.py")
close = partial(assert_close, rtol=1e-9, atol=1e-12)


def features(n: int, d: int = 6, seed: int = 0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    images, texts = (F.normalize(torch.randn(n, d, generator=generator, dtype=dtype), dim=1) for _ in range(2))
    scale = torch.tensor(5.0, dtype=dtype)
    return [x.requires_grad_() for x in (images, texts, scale)]


@pytest.mark.parametrize("n", [2, 7, 100])
def test_equal_logits_give_log_n(n):
    assert symmetric_loss(torch.full((n, n), 3.0, dtype=torch.float64)).item() == pytest.approx(log(n), abs=1e-12)
    same = torch.ones(n, 4, dtype=torch.float64) / 2
    assert contrastive_loss(same, same, torch.tensor(9.0).double()).item() == pytest.approx(log(n), abs=1e-12)


def test_matches_reference():
    from transformers.models.clip.modeling_clip import image_text_contrastive_loss

    images, texts, scale = features(5)
    logits = scale * images @ texts.T
    close(symmetric_loss(logits), image_text_contrastive_loss(logits.T))
    close(contrastive_loss(images, texts, scale), image_text_contrastive_loss(logits.T))
    total = 0
    for i in range(5):
        row = torch.stack([scale * images[i] @ texts[j] for j in range(5)])
        column = torch.stack([scale * images[j] @ texts[i] for j in range(5)])
        total = total - row[i] + row.exp().sum().log() - column[i] + column.exp().sum().log()
    close(symmetric_loss(logits), total / 10)
    rows, columns = F.cross_entropy(logits, torch.arange(5)), F.cross_entropy(logits.T, torch.arange(5))
    assert abs(rows - columns) > 0.01
    close(symmetric_loss(logits), symmetric_loss(logits.T))


@settings(max_examples=20, deadline=None)
@given(n=st.integers(2, 9), seed=st.integers(0, 20))
def test_gradient_is_push_less_pull(n, seed):
    images, texts, scale = features(n, seed=seed)
    (gradient,) = torch.autograd.grad(contrastive_loss(images, texts, scale), images)
    pull, push = pull_and_push(images, texts, scale)
    close(push - pull, gradient)
    close(pull, scale / n * texts)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(2, 9), chunk=st.integers(1, 12), seed=st.integers(0, 20))
def test_chunked_loss_equals_the_plain_one(n, chunk, seed):
    given = features(n, seed=seed)
    plain, chunked = contrastive_loss(*given), chunked_loss(*given, chunk=chunk)
    close(chunked, plain)
    close(torch.autograd.grad(chunked, given), torch.autograd.grad(plain, given))


def kept(loss, *given) -> int:
    """The largest number of elements of what autograd keeps."""
    sizes = []

    def pack(x):
        sizes.append(x.numel())
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        loss(*given)
    return max(sizes)


def test_chunked_loss_keeps_no_square():
    given = features(96)
    assert kept(contrastive_loss, *given) == 96**2
    assert kept(partial(chunked_loss, chunk=8), *given) <= 96 * 96 // 8


def test_alone_gathering_changes_nothing():
    given = features(6)
    plain, gathered = contrastive_loss(*given), gathered_loss(*given)
    close(gathered, plain)
    close(torch.autograd.grad(gathered, given), torch.autograd.grad(plain, given))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What the program found alone, and in each of two processes."""
    return alone_and_in_two(PROGRAM, tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("run", ["gathered, one step", "gathered, ten steps"])
@pytest.mark.parametrize("what", ["loss", "gradients", "parameters"])
def test_two_processes_equal_one(runs, run, what):
    alone, first, second = runs
    close(first[run][what], alone[run][what])
    assert_close(second[run][what], first[run][what], rtol=0, atol=0)


def test_alone_the_program_learns_by_the_plain_loss(runs):
    close(runs[0]["gathered, one step"], runs[0]["each its own"])


def test_without_gathering_each_process_has_fewer_to_contrast(runs):
    """So its loss is another one: four pairs a process, not eight."""
    alone, first, _ = runs
    assert abs(first["each its own"]["loss"] - alone["each its own"]["loss"]).item() > 0.1


def test_gradients_come_back_from_everybody(runs):
    _, first, second = runs
    close(first["features"], torch.tensor([[1.0, 1.0], [2.0, 2.0]]))
    close(first["features"], second["features"])
    close(first["gradient"], torch.full((1, 2), 1.0 * 1 + 1.0 * 2))  # weight 1 in process 0 and 2 in process 1
    close(second["gradient"], torch.full((1, 2), 2.0 * 1 + 2.0 * 2))


@pytest.mark.gpu
def test_device_and_dtype(runs):
    alone, first, second = runs
    assert_close(first["device"]["loss"], alone["gathered, ten steps"]["loss"], rtol=1e-6, atol=1e-9)
    assert_close(second["device"], first["device"], rtol=0, atol=0)


@pytest.mark.parametrize("loss", [contrastive_loss, gathered_loss, partial(chunked_loss, chunk=2), pull_and_push])
def test_one_pair_is_refused(loss):
    with pytest.raises(ValueError, match="n = 1: a contrastive loss compares each pair with the other"):
        loss(*features(1))


def test_half_precision_in_chunks():
    """Cold and well matched: a small loss, the difference of logits near 100, is not lost."""
    x = F.normalize(torch.eye(8) + 0.05, dim=1)
    scale = torch.tensor(20.0)
    for dtype in (torch.bfloat16, torch.float16):
        given = [part.to(dtype) for part in (x, x, scale)]
        plain, chunked = contrastive_loss(*given).float(), chunked_loss(*given, chunk=3).float()
        assert_close(chunked, plain, rtol=2e-2, atol=1e-6)


@pytest.mark.parametrize("loss", [contrastive_loss, gathered_loss, partial(chunked_loss, chunk=2), pull_and_push])
def test_what_are_no_pairs_is_refused(loss, unchecked):
    images, texts, scale = features(5)
    for one, other in ((images, texts[:3]), (images, texts[:1]), (images[None], texts), (images, texts[:, :4])):
        with pytest.raises(ValueError, match=r"features of images .* and of texts .*: \[n, d\] both"):
            loss(one, other, scale)


def test_bad_input_is_named(unchecked):
    with pytest.raises(ValueError, match=r"logits of \(3, 2\): \[n, n\]"):
        symmetric_loss(torch.ones(3, 2))
    with pytest.raises(ValueError, match="chunk = 0: it is at least 1 row"):
        chunked_loss(*features(3), chunk=0)
    with pytest.raises(ValueError, match="n = 1"):
        symmetric_loss(torch.ones(1, 1))

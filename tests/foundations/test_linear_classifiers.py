"""Linear classifiers against torch and scikit-learn: the two losses, their gradients by hand, the probe, the best line."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from helpers.foundations.linear_classifiers import (
    Templates,
    best_line,
    linear_probe,
    softmax_gradient,
    softmax_loss,
    svm_gradient,
    svm_loss,
)

LOSSES = {svm_loss: svm_gradient, softmax_loss: softmax_gradient}
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda f: f.__name__)


def scores_and_labels(seed: int, b: int, k: int, size: float = 2.0, dtype=torch.float64):
    noise = torch.Generator().manual_seed(seed)
    return (size * torch.randn(b, k, generator=noise)).to(dtype), torch.randint(k, (b,), generator=noise)


def test_parameter_count():
    assert sum(p.numel() for p in Templates(dim=784, classes=10).parameters()) == 7_850
    assert sum(p.numel() for p in Templates(dim=400, classes=16, each=2).parameters()) == 2 * 16 * 401
    assert Templates(dim=6, classes=4, each=3).weight.shape == (4, 3, 6)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 7), st.integers(1, 6), st.sampled_from([0.1, 1.0, 2.5]))
def test_matches_reference(seed, b, k, margin):
    scores, labels = scores_and_labels(seed, b, k)
    assert_close(svm_loss(scores, labels, margin), k * F.multi_margin_loss(scores, labels, margin=margin))
    assert_close(softmax_loss(scores, labels), F.cross_entropy(scores, labels))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 7), st.integers(1, 6))
def test_gradients_by_hand_are_those_of_autograd(seed, b, k):
    scores, labels = scores_and_labels(seed, b, k)
    scores.requires_grad_()
    for loss, gradient in LOSSES.items():
        (g,) = torch.autograd.grad(loss(scores, labels), scores)
        assert_close(gradient(scores.detach(), labels), g)
        assert_close(g.sum(1), torch.zeros(b, dtype=torch.float64))  # a shift of all scores changes nothing


@every_loss
def test_losses_before_training(loss):
    """C - 1 and ln C, where all scores are equal."""
    for k in (2, 10, 1000):
        expected = {svm_loss: k - 1, softmax_loss: math.log(k)}[loss]
        assert loss(torch.zeros(3, k), torch.tensor([0, 1, k - 1])).item() == pytest.approx(expected, rel=1e-6)


def test_scores_of_ten_thousand_do_not_overflow():
    scores = torch.tensor([[1e4, 9_999.0, -1e4], [-1e4, 0.0, 1e4]])
    labels = torch.tensor([1, 0])
    assert_close(softmax_loss(scores, labels), torch.tensor((1 + math.log1p(math.exp(-1)) + 2e4) / 2))
    assert softmax_gradient(scores, labels).isfinite().all()
    assert svm_loss(scores, labels).item() == pytest.approx((2 + 10_001 + 20_001) / 2)


def test_hinge_counts_the_classes_within_the_margin():
    scores, labels = torch.tensor([[2.0, 1.5, 0.0, 2.5]]), torch.tensor([0])
    assert svm_loss(scores, labels).item() == pytest.approx(0.5 + 1.5)
    assert svm_gradient(scores, labels).tolist() == [[-2, 1, 0, 1]]
    assert svm_loss(scores, labels, margin=0.25).item() == pytest.approx(0.75)
    assert svm_loss(torch.tensor([[3.0, 2.0]]), labels).item() == 0  # exactly at the margin
    assert svm_gradient(torch.tensor([[3.0, 2.0]]), labels).tolist() == [[0, 0]]


def test_templates_are_a_linear_layer_and_the_best_of_several():
    torch.manual_seed(0)
    one, several = Templates(dim=12, classes=5), Templates(dim=12, classes=5, each=3)
    x = torch.randn(4, 3, 2, 2)
    assert one(x).tolist() == torch.zeros(4, 5).tolist()
    reference = nn.Linear(12, 5)
    one.linear.load_state_dict(reference.state_dict())
    assert_close(one(x), reference(x.flatten(1)))
    matches = torch.einsum("bd,ked->bke", x.flatten(1), several.weight)
    assert_close(several(x), matches.max(2).values)


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    model = Templates(dim=6, classes=3)
    softmax_loss(model(torch.randn(8, 6)), torch.arange(8) % 3).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("l2", [1e-3, 0.3])
def test_probe_matches_scikit_learn(classes, l2):
    from sklearn.linear_model import LogisticRegression

    noise = torch.Generator().manual_seed(classes)
    x = torch.randn(90, 5, generator=noise, dtype=torch.float64)
    y = (x @ torch.randn(5, classes, generator=noise, dtype=torch.float64) + torch.randn(90, classes)).argmax(1)
    probe = linear_probe(x, y, l2=l2)
    reference = LogisticRegression(C=1 / (len(x) * l2), tol=1e-10, max_iter=10_000).fit(x.numpy(), y.numpy())
    p = torch.from_numpy(reference.predict_proba(x.numpy()))
    if classes > 2:  # with two classes scikit-learn has one row of weights, penalised otherwise
        assert_close(probe(x).softmax(1), p, atol=1e-5, rtol=0)
        assert_close(probe.weight.detach(), torch.from_numpy(reference.coef_), atol=1e-4, rtol=1e-4)
    x.requires_grad_(False)
    g = torch.autograd.grad(softmax_loss(probe(x), y) + l2 / 2 * probe.weight.square().sum(), probe.parameters())
    assert max(part.abs().max() for part in g) < 1e-6  # it is the minimum


def test_hinge_of_two_classes_has_the_minimum_of_a_linear_svm():
    """With W = (w, 0) the hinge of two classes is the binary one: scikit-learn's optimum is a minimum of ours."""
    from sklearn.svm import SVC

    noise = torch.Generator().manual_seed(3)
    x = torch.randn(60, 2, generator=noise, dtype=torch.float64)
    y = (x.sum(1) + 0.7 * torch.randn(60, generator=noise) > 0).long()
    svm = SVC(kernel="linear", C=1.0, tol=1e-8).fit(x.numpy(), y.numpy())
    w, b = torch.tensor(svm.coef_[0]), torch.tensor(svm.intercept_)[0]

    def objective(w, b):
        s = x @ w + b
        return 60 * svm_loss(torch.stack([torch.zeros_like(s), s], 1), y) + 0.5 * w @ w

    best = objective(w, b)
    for _ in range(200):
        dw, db = (1e-2 * torch.randn(n, generator=noise, dtype=torch.float64) for n in (2, 1))
        assert objective(w + dw, b + db) >= best - 1e-6


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(2, 8), st.booleans())
def test_best_line_is_no_worse_than_any_line(seed, n, bias):
    """Against 4,000 random lines, and what it says it reaches, it reaches."""
    noise = torch.Generator().manual_seed(seed)
    points = torch.randn(n, 2, generator=noise)
    labels = torch.randint(2, (n,), generator=noise)
    line = best_line(points, labels, bias=bias)
    sides = points.double() @ line.w + line.b > 0
    assert (sides == labels.bool()).double().mean().item() == pytest.approx(line.accuracy)
    assert bias or line.b == 0
    w = torch.randn(4000, 2, generator=noise)
    b = 2 * torch.randn(4000, generator=noise) if bias else torch.zeros(4000)
    others = ((points @ w.T + b > 0) == labels.bool()[:, None]).double().mean(0)
    assert others.max() <= line.accuracy + 1e-9


def test_best_line_on_xor_and_on_what_can_be_separated():
    corners = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    assert best_line(corners, torch.tensor([0, 1, 1, 0])).accuracy == 0.75
    assert best_line(corners, torch.tensor([0, 0, 0, 1])).accuracy == 1
    assert best_line(corners, torch.tensor([1, 0, 0, 0])).accuracy == 1
    shifted = corners + 1
    assert best_line(shifted, torch.tensor([0, 0, 0, 1]), bias=False).accuracy < 1


@every_loss
def test_learns_toy_problem(loss):
    noise = torch.Generator().manual_seed(0)
    middles = 3 * torch.tensor([[1.0, 0], [-1, 1], [-1, -1]])
    y = torch.arange(90) % 3
    x = middles[y] + 0.5 * torch.randn(90, 2, generator=noise)
    model = Templates(dim=2, classes=3)
    method = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(100):
        method.zero_grad()
        loss(model(x), y).backward()
        method.step()
    assert (model(x).argmax(1) == y).float().mean() > 0.97


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_device_and_dtype(unchecked, loss, dtype):
    scores, labels = scores_and_labels(0, 6, 5, dtype=dtype)
    for kind in (torch.int32, torch.int64):
        value = loss(scores, labels.to(kind))
        assert value.dtype == (dtype if dtype == torch.float64 else torch.float32)
        assert_close(value, loss(scores.double(), labels), check_dtype=False)
    assert LOSSES[loss](scores, labels).dtype == value.dtype
    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    assert_close(compiled(scores, labels), loss(scores, labels))


@pytest.mark.gpu
@every_loss
def test_device_and_dtype_on_a_gpu(loss):
    scores, labels = scores_and_labels(0, 6, 5)
    assert_close(loss(scores.cuda(), labels.cuda()).cpu(), loss(scores, labels))


def test_probe_keeps_the_dtype_and_works_without_gradients():
    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        probe = linear_probe(x, (x[:, 0] > 0).int(), classes=3)
    assert probe.weight.dtype == torch.float32 and probe.out_features == 3 and not probe.training
    assert (probe(x).argmax(1) == (x[:, 0] > 0)).all()


BAD_LOSS = {
    "labels from 0 to 3: 3 classes are 0 to 2": (torch.zeros(2, 3), torch.tensor([0, 3])),
    "labels from -1 to 1: 3 classes are 0 to 2": (torch.zeros(2, 3), torch.tensor([-1, 1])),
    "labels of torch.bool: they are numbers of classes": (torch.zeros(2, 3), torch.tensor([True, False])),
    "scores of shape [0, 3], labels of shape [0]: give [b k] and [b], with b at least 1": (
        torch.zeros(0, 3),
        torch.zeros(0, dtype=torch.long),
    ),
    "labels of shape [3]: give [b k]": (torch.zeros(2, 3), torch.zeros(3, dtype=torch.long)),
}


@every_loss
@pytest.mark.parametrize("message", BAD_LOSS)
def test_bad_input_of_losses(unchecked, loss, message):
    for function in (loss, LOSSES[loss]):
        with pytest.raises(ValueError) as error:
            function(*BAD_LOSS[message])
        assert message in str(error.value)


@pytest.mark.parametrize("margin", [0.0, -1.0, math.inf, math.nan])
def test_bad_margin(margin):
    with pytest.raises(ValueError, match="the lead that is asked for is positive"):
        svm_loss(torch.zeros(1, 2), torch.tensor([0]), margin)


def test_bad_input_of_the_others(unchecked):
    x, y = torch.randn(4, 2), torch.tensor([0, 1, 0, 1])
    cases = {
        "l2 = 0: it is above 0": lambda: linear_probe(x, y, l2=0),
        "classes = 1: a probe tells 2 or more apart": lambda: linear_probe(x, 0 * y),
        "labels from 0 to 1: 1 classes are 0 to 0": lambda: linear_probe(x, y, classes=1),
        "1 features are not finite": lambda: linear_probe(torch.tensor([[1.0, np.nan]] * 1), y[:1]),
        "features of shape [4, 2], labels of shape [3]": lambda: linear_probe(x, y[:3]),
        "labels [0, 1, 2] for 3 points: a line tells 0 from 1": lambda: best_line(x[:3], torch.tensor([0, 1, 2])),
        "points of shape [4, 3]: give [n 2]": lambda: best_line(torch.zeros(4, 3), y),
        "each = 0: it is at least 1": lambda: Templates(dim=2, classes=2, each=0),
    }
    for message, call in cases.items():
        with pytest.raises(ValueError) as error:
            call()
        assert message in str(error.value)

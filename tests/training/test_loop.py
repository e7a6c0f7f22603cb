import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from helpers.data import batches, once
from helpers.training import History, accumulated_update, evaluate, fit, gradient_update, tally
from helpers.training.loop import check_at_least_one, measured, needs_closure


def loss(model, batch):
    x, y = batch
    logits = model(x)
    return nn.functional.cross_entropy(logits, y), {"accuracy": tally(logits.argmax(1) == y)}


@pytest.fixture
def task():
    """A model, its optimizer and 50 samples with two classes that a line separates."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 2)).double()
    x = torch.randn(50, 3, dtype=torch.double)
    return model, torch.optim.SGD(model.parameters(), lr=0.5), (x, (x[:, 0] > 0).long())


def test_matches_reference(task):
    model, optimizer, (x, y) = task
    reference = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)).double()
    model[2].p = 0.0
    reference.load_state_dict({k.replace("3.", "2."): v for k, v in model.state_dict().items()})
    losses, by_hand = [], torch.optim.SGD(reference.parameters(), lr=0.5)
    for _ in range(5):
        value = nn.functional.cross_entropy(reference(x), y)
        by_hand.zero_grad()
        value.backward()
        by_hand.step()
        losses.append(value.item())

    history = fit(gradient_update(model, optimizer, loss), itertools.repeat((x, y)), 5)
    assert_close(list(model.parameters()), list(reference.parameters()), rtol=0, atol=0)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-14)
    assert history.steps("loss").tolist() == [1, 2, 3, 4, 5] and history.step == 5


def test_evaluate_is_exact_over_uneven_batches(task):
    model, _, (x, y) = task
    model[1].eval()  # a frozen batch norm inside a model that trains
    modes = [module.training for module in model.modules()]
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = evaluate(model, loss, once(x, y, batch_size=7))
    assert [module.training for module in model.modules()] == modes and modes[0] and not modes[2]
    assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
    model.eval()
    logits = model(x)
    correct = (logits.argmax(1) == y).double()
    expected = {"loss": nn.functional.cross_entropy(logits, y).item(), "accuracy": correct.mean().item()}
    assert found == pytest.approx(expected, rel=1e-12)


def test_evaluate_restores_the_mode_after_an_error_and_needs_no_gradient(task):
    model, _, data = task

    def broken(model, batch):
        assert not model.training and not model(batch[0]).requires_grad
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        evaluate(model, broken, [data])
    assert all(module.training for module in model.modules())


def test_evaluate_takes_metrics_alone(task):
    model, _, (x, y) = task
    assert evaluate(model, lambda model, batch: {"entries": (batch[0].sum(), 2)}, [(x, y)] * 2) == pytest.approx(
        {"entries": x.sum().item() / 2}
    )


def test_fit_evaluates_on_its_beat_and_at_the_end(task):
    model, optimizer, data = task
    calls = itertools.count(1)
    history = fit(
        gradient_update(model, optimizer, loss),
        itertools.repeat(data),
        10,
        evaluate={"validation": lambda: {"accuracy": (3, 4)}, "test": lambda: {"call": next(calls)}},
        every=4,
    )
    assert history.steps("test call").tolist() == [4, 8, 10] and history["test call"].tolist() == [1, 2, 3]
    assert history["validation accuracy"].tolist() == [0.75] * 3
    assert list(history) == ["loss", "accuracy", "validation accuracy", "test call"]
    only_last = fit(lambda batch: {}, itertools.repeat(data), 3, evaluate=lambda: {"loss": 1.0})
    assert only_last.steps("validation loss").tolist() == [3]


def test_metrics_may_come_at_some_steps_only():
    def update(batch):
        (i,) = batch
        return {"even": (i, 1)} if i % 2 == 0 else {"odd": (i, 2)}

    history = fit(update, zip(itertools.count(1)), 6)
    assert history.steps("even").tolist() == [2, 4, 6] and history["odd"].tolist() == [0.5, 1.5, 2.5]
    assert "even" in history and "loss" not in history


def test_metrics_keep_no_graph_alive():
    x = torch.ones((), requires_grad=True)
    history = History()
    history.add(1, {"loss": (x * 2, 1)})
    assert not history._waiting[0][2].requires_grad
    history.settle(finite=True)
    assert history["loss"].tolist() == [2.0]


def test_state_dict_keeps_every_bit():
    history, copy = History(), History()
    for step in range(1, 4):
        history.add(step, {"loss": (torch.tensor(step / 3), 7), "x": (0.1, 0)})
    history.settle(finite=True)
    copy.load_state_dict(history.state_dict())
    assert copy.step == 3 and copy["loss"].tobytes() == history["loss"].tobytes()
    assert np.isnan(copy["x"]).all() and copy.steps("x").tolist() == [1, 2, 3]


def test_learns_toy_problem(task):
    model, optimizer, data = task
    stream = batches(*data, batch_size=8, generator=torch.Generator().manual_seed(0))
    history = fit(gradient_update(model, optimizer, loss), stream, 60, evaluate=lambda: evaluate(model, loss, [data]))
    assert history["loss"][-7:].mean() < history["loss"][:7].mean() / 2
    assert history["validation accuracy"][-1] > 0.9


@pytest.mark.gpu
def test_device_metrics_are_fetched_in_bundles():
    waits = []

    def update(batch):
        return {"loss": (batch[0].sum(), 1)}

    stream = itertools.repeat((torch.ones(3, device="cuda"),))
    settle = History.settle
    try:
        History.settle = lambda self, finite: (waits.append(self.step), settle(self, finite))
        history = fit(update, stream, 120)
    finally:
        History.settle = settle
    assert waits == [51, 102, 120] and history["loss"].tolist() == [3.0] * 120


@pytest.mark.parametrize("numbers, message", [({"steps": 0}, "steps = 0"), ({"steps": 3, "every": -1}, "every = -1")])
def test_numbers_below_one(numbers, message):
    with pytest.raises(ValueError, match=f"{message}: it is at least 1"):
        fit(lambda batch: {}, itertools.repeat(()), **numbers)


def test_batches_that_end(task):
    model, optimizer, data = task
    with pytest.raises(ValueError, match="no batch is left for step 3: give fit a stream without end"):
        fit(gradient_update(model, optimizer, loss), [data, data], 5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_loss_that_is_not_finite(bad):
    def update(batch):
        return {"critic loss": (torch.tensor(bad if batch[0] == 3 else 1.0), 2), "ratio": (math.inf, 1)}

    with pytest.raises(FloatingPointError, match=f"critic loss = {bad} at step 3: .* Lower the learning rate"):
        fit(update, zip(itertools.count(1)), 5)
    history = fit(update, zip(itertools.count(1)), 5, finite=False)
    assert np.isfinite(history["critic loss"]).tolist() == [True, True, False, True, True]


def test_model_in_evaluation_mode(task):
    model, optimizer, data = task
    model.eval()
    with pytest.raises(ValueError, match=r"evaluation mode: call model.train\(\)"):
        fit(gradient_update(model, optimizer, loss), [data], 1)


def test_evaluation_without_batch_or_without_end(task):
    model, _, (x, y) = task
    with pytest.raises(ValueError, match="no batch to evaluate"):
        evaluate(model, loss, [])
    with pytest.raises(ValueError, match="without end: evaluate its .epoch()"):
        evaluate(model, loss, batches(x, y, batch_size=5))


def test_unknown_name(task):
    model, optimizer, data = task
    history = fit(gradient_update(model, optimizer, loss), [data], 1)
    with pytest.raises(KeyError, match="nothing is recorded as 'los'; there is 'loss', 'accuracy'"):
        history["los"]


def test_batches_that_are_tensors():
    """A DataLoader over a tensor gives tensors: their first row is no column, and its length no number of samples."""
    x = torch.randn(10, 3, dtype=torch.double)
    net = nn.Linear(3, 2).double()

    def squares(model, batch):
        return model(batch[0] if isinstance(batch, list) else batch).square().mean()

    loader = torch.utils.data.DataLoader
    with pytest.raises(ValueError, match=r"a batch is a tensor of shape \[4, 3\]: it is a tuple of columns, \(x,\)"):
        evaluate(net, squares, loader(x, 4))
    rows = loader(torch.utils.data.TensorDataset(x), 4)
    assert evaluate(net, squares, rows)["loss"] == pytest.approx(net(x).square().mean().item(), rel=1e-12)


@pytest.mark.parametrize(
    "batch, message",
    [
        ({"x": torch.ones(3)}, "a batch is of type dict"),
        ((), "a batch is of type tuple"),
        ((torch.ones(5, 4), torch.ones(4)), r"columns a tensor of shape \[5, 4\], a tensor of shape \[4\]: the first"),
        ((torch.ones(4), [1, 2, 3]), "a tensor of shape .4., of type list"),
        ((torch.tensor(1.0),), r"a tensor of shape \[\]"),
        ((torch.ones(0, 2),), r"a tensor of shape \[0, 2\]"),
    ],
)
def test_bad_batches(batch, message):
    with pytest.raises(ValueError, match=message):
        measured(lambda model, batch: torch.ones(()), nn.Identity(), batch)


@pytest.mark.parametrize(
    "result, message",
    [
        (torch.ones(4), r"the loss is a tensor of shape \[4\]: return the mean over the batch"),
        (1.5, "the loss is of type float"),
        ((torch.ones(()), {}, 3), r"the loss is \(a tensor of shape \[\], of type dict, of type int\)"),
        ({"hits": (1, 2)}, r"returns metrics alone \(hits\): return \(mean, metrics\) to train"),
    ],
)
@pytest.mark.parametrize("update", [gradient_update, lambda *args: accumulated_update(*args, parts=2)])
def test_losses_that_are_none(task, update, result, message):
    model, optimizer, data = task
    with pytest.raises(ValueError, match=message):
        update(model, optimizer, lambda model, batch: result)(data)


@pytest.mark.parametrize(
    "result, error, message",
    [
        (None, TypeError, "at step 1 came a NoneType: an update and an evaluation return metrics"),
        ({"hits": torch.ones(3)}, ValueError, "metric 'hits' is .*: give .sum, count."),
        ({"hits": (1, 2, 3)}, ValueError, "metric 'hits' is .1, 2, 3."),
        ({"hits": "many"}, ValueError, "metric 'hits' is .'many', 1."),
    ],
)
def test_metrics_that_are_none(result, error, message):
    with pytest.raises(error, match=message):
        History().add(1, result)


def test_tally_of_16_bits():
    ones = torch.ones(70_001)
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.bool):
        total, count = tally(ones.to(dtype))
        assert total.item() == count == 70_001


def test_optimizers_with_a_closure(task):
    model, optimizer, data = task
    update = gradient_update(model, torch.optim.LBFGS(model.parameters()), loss)
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(ValueError, match=r"LBFGS.step needs a closure .*: call it in an update of your own"):
        update(data)
    assert_close([p.detach() for p in model.parameters()], before, rtol=0, atol=0)
    assert not needs_closure(type(optimizer))


def test_settings_without_effect(task):
    *_, data = task
    with pytest.raises(ValueError, match="every = 5 without evaluate"):
        fit(lambda batch: {}, itertools.repeat(data), 10, every=5)
    with pytest.raises(ValueError, match="without end: evaluate a list of batches"):
        evaluate(nn.Identity(), loss, itertools.cycle([data]))
    for number, message in ((2.5, "steps = 2.5: it is a whole number"), (math.nan, "steps = nan: it is at least 1")):
        with pytest.raises(ValueError, match=message):
            check_at_least_one(steps=number)


def test_a_history_that_does_not_fit_changes_nothing():
    history = History()
    history.add(1, {"loss": 2.0})
    history.settle(finite=True)
    state = history.state_dict()
    state["steps"]["loss"] = torch.tensor([1, 2])
    with pytest.raises(ValueError, match="shorter than"):
        history.load_state_dict(state | {"step": 9})
    assert history.step == 1 and history["loss"].tolist() == [2.0]

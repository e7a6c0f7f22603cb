import itertools

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler
from torch.testing import assert_close

from helpers.training import (
    constant,
    cosine_decay,
    exponential_decay,
    fit,
    gradient_update,
    inverse_time_decay,
    linear_decay,
    scheduled,
    step_decay,
    warmup,
)

DATA = (torch.eye(3),)
PAIRS = {
    "constant": (constant(), lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
    "step": (step_decay(30, 0.5), lambda o: lr_scheduler.StepLR(o, 30, 0.5)),
    "exponential": (exponential_decay(0.97), lambda o: lr_scheduler.ExponentialLR(o, 0.97)),
    "inverse time": (inverse_time_decay(0.1), lambda o: lr_scheduler.LambdaLR(o, lambda t: 1 / (1 + 0.1 * t))),
    "cosine": (cosine_decay(100, end=0.0), lambda o: lr_scheduler.CosineAnnealingLR(o, 100)),
    "linear": (linear_decay(40, start=0.25, end=1.0), lambda o: lr_scheduler.LinearLR(o, 0.25, 1.0, 40)),
    "warm-up": (
        warmup(10, cosine_decay(90), start=0.1),
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.LinearLR(o, 0.1, 1.0, 10), lr_scheduler.CosineAnnealingLR(o, 90)], [10]
        ),
    ),
}


def loss(model, batch):
    return model(batch[0]).square().mean()


def optimizer_of(model):
    """Two groups with rates of their own."""
    return torch.optim.SGD([{"params": [model.weight]}, {"params": [model.bias], "lr": 0.02}], lr=0.3)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.filterwarnings("ignore:The epoch parameter")
def test_matches_reference(name):
    schedule, build = PAIRS[name]
    model, theirs = nn.Linear(3, 1), nn.Linear(3, 1)
    theirs.load_state_dict(model.state_dict())
    optimizer, other = optimizer_of(model), optimizer_of(theirs)
    reference = build(other)
    update = scheduled(gradient_update(model, optimizer, loss), optimizer, schedule)
    for _ in range(100):
        expected = [group["lr"] for group in other.param_groups]
        metrics = update(DATA)
        assert_close([group["lr"] for group in optimizer.param_groups], expected, rtol=1e-9, atol=1e-12)
        assert metrics["learning rate"] == (optimizer.param_groups[0]["lr"], 1)
        other.zero_grad()
        loss(theirs, DATA).backward()
        other.step()
        reference.step()
    assert_close(list(model.parameters()), list(theirs.parameters()))


def test_end_values():
    assert [cosine_decay(4, end=0.1)(t) for t in (0, 2, 4, 9)] == pytest.approx([1, 0.55, 0.1, 0.1])
    assert [linear_decay(4)(t) for t in (0, 1, 4, 9)] == [1, 0.75, 0, 0]
    assert [warmup(2, step_decay(1, 0.5))(t) for t in range(5)] == [0, 0.5, 1, 0.5, 0.25]


def test_resumes_from_the_optimizers_state():
    straight = nn.Linear(3, 1)
    halves = nn.Linear(3, 1)
    halves.load_state_dict(straight.state_dict())

    def run(model, optimizer, steps):
        update = scheduled(gradient_update(model, optimizer, loss), optimizer, cosine_decay(20))
        return lambda: fit(update, itertools.repeat(DATA), steps)["learning rate"]

    rates = run(straight, optimizer_of(straight), 20)()
    first = optimizer_of(halves)
    early = run(halves, first, 10)()
    second = optimizer_of(halves)
    late = run(halves, second, 10)
    second.load_state_dict(first.state_dict())  # as a checkpoint does, after the update was built
    assert [*early, *late()] == rates.tolist()
    assert_close(list(halves.parameters()), list(straight.parameters()), rtol=0, atol=0)


@pytest.mark.parametrize("build", [cosine_decay, linear_decay, step_decay, lambda n: warmup(n, constant())])
def test_lengths_below_one(build):
    with pytest.raises(ValueError, match="= 0: it is at least 1"):
        build(0)


def test_a_rate_that_is_a_tensor_is_filled_in_place():
    """A compiled step reads the same tensor each time, as with torch's own schedules."""
    model, theirs = nn.Linear(3, 1), nn.Linear(3, 1)
    theirs.load_state_dict(model.state_dict())
    rate = torch.tensor(0.1)
    mine, other = torch.optim.Adam(model.parameters(), lr=rate), torch.optim.Adam(theirs.parameters(), lr=0.1)
    history = fit(scheduled(gradient_update(model, mine, loss), mine, cosine_decay(4)), itertools.repeat(DATA), 4)
    fit(scheduled(gradient_update(theirs, other, loss), other, cosine_decay(4)), itertools.repeat(DATA), 4)
    assert mine.param_groups[0]["lr"] is rate
    assert_close(list(model.parameters()), list(theirs.parameters()))
    assert history["learning rate"] == pytest.approx([0.1, 0.0853553, 0.05, 0.0146447], rel=1e-5)


@pytest.mark.parametrize("factor", [float("nan"), -0.5, float("inf")])
def test_bad_factors(factor):
    optimizer = optimizer_of(nn.Linear(3, 1))
    with pytest.raises(ValueError, match=r"schedule\(0\) = .*: a factor of the learning rate is a finite number"):
        scheduled(lambda batch: {}, optimizer, lambda step: factor)(DATA)
    assert [group["lr"] for group in optimizer.param_groups] == [0.3, 0.02]
    for build in (exponential_decay, inverse_time_decay, lambda factor: step_decay(1, factor)):
        with pytest.raises(ValueError, match="(factor|rate) = .*: a factor of the learning rate"):
            build(factor)

import itertools

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.testing import assert_close

from helpers.training import (
    accumulated_update,
    autocast,
    average_of,
    averaged,
    clipped,
    constant,
    evaluate,
    fit,
    float16_update,
    gradient_update,
    move_average,
    scheduled,
    tally,
)

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def network(*middle, dtype=torch.double):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), *middle, nn.Tanh(), nn.Linear(8, 3)).to(dtype)


def data(samples=11, dtype=torch.double):
    torch.manual_seed(1)
    return torch.randn(samples, 5, dtype=dtype), torch.randint(3, (samples,))


def loss(model, batch):
    logits = model(batch[0])
    return cross_entropy(logits, batch[1]), {"accuracy": tally(logits.argmax(1) == batch[1])}


def gradients(model):
    return [p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("limit", [{"norm": 0.05}, {"value": 0.01}, {"norm": 1e9}])
def test_clipping_matches_reference(limit):
    model, theirs = network(), network()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    metrics = clipped(gradient_update(model, optimizer, loss), optimizer, **limit)(data())
    loss(theirs, data())[0].backward()
    length = torch.cat([p.grad.flatten() for p in theirs.parameters()]).norm()
    with torch.no_grad():
        for p in theirs.parameters():
            if "value" in limit:
                p -= p.grad.clamp(-limit["value"], limit["value"])
            else:
                p -= p.grad * (limit["norm"] / length).clamp(max=1)
    assert_close(list(model.parameters()), list(theirs.parameters()), rtol=1e-5, atol=1e-9)
    if "norm" in limit:
        assert_close(metrics["gradient norm"], (length, 1))
    before = [p.clone() for p in model.parameters()]
    optimizer.zero_grad()
    loss(model, data())[0].backward()
    raw = gradients(model)
    optimizer.step()  # outside the update nothing is clipped
    assert_close(list(model.parameters()), [p - g for p, g in zip(before, raw)])


@pytest.mark.parametrize("parts", [1, 2, 3, 11])
def test_accumulation_equals_the_large_batch(parts):
    model, theirs = network(), network()
    small = accumulated_update(model, torch.optim.SGD(model.parameters(), lr=0.1), loss, parts=parts)
    large = gradient_update(theirs, torch.optim.SGD(theirs.parameters(), lr=0.1), loss)
    for _ in range(2):
        mine, reference = small(data()), large(data())
        assert_close(gradients(model), gradients(theirs), rtol=1e-12, atol=1e-14)
        assert_close(mine, reference, rtol=1e-12, atol=0)
    assert_close(list(model.parameters()), list(theirs.parameters()), rtol=1e-12, atol=1e-14)


def test_accumulation_needs_the_memory_of_one_part():
    seen = []
    model = network()
    model[0].register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    accumulated_update(model, torch.optim.SGD(model.parameters()), loss, parts=4)(data())
    assert seen == [2, 3, 3, 3]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_device_and_dtype(device, dtype):
    model = network(dtype=torch.float32).to(device)
    batch = tuple(t.to(device) for t in data(64, torch.float32))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    seen = []
    model[0].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    if dtype == torch.bfloat16:
        update = gradient_update(model, optimizer, autocast(loss))
    else:
        update = float16_update(model, optimizer, loss, torch.amp.GradScaler(device, init_scale=2.0**8))
    history = fit(clipped(update, optimizer, norm=1.0), itertools.repeat(batch), 60)
    assert set(seen) == {dtype}
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in model.parameters())
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    exact = network(dtype=torch.float32).to(device)
    loss(exact, batch)[0].backward()
    length = torch.cat([g.flatten() for g in gradients(exact)]).norm().item()
    assert history["gradient norm"][0] == pytest.approx(length, rel=0.02)  # clipped after the scale is divided out


def test_float16_leaves_out_a_step_that_overflows():
    model = network(dtype=torch.float32)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    before = [p.clone() for p in model.parameters()]
    float16_update(model, optimizer, loss, scaler)(data(dtype=torch.float32))
    assert_close(list(model.parameters()), before, rtol=0, atol=0)
    assert scaler.get_scale() == 2.0**39


def test_average_matches_reference():
    model = network(nn.BatchNorm1d(8))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    average = average_of(model)
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    theirs.update_parameters(model)  # the first call only copies
    update = averaged(gradient_update(model, optimizer, loss), model, average, decay=0.9)
    for _ in range(10):
        update(data())
        theirs.update_parameters(model)
    assert_close(list(average.parameters()), list(theirs.module.parameters()), rtol=1e-12, atol=1e-14)
    assert_close(average[1].running_mean, model[1].running_mean, rtol=0, atol=0)
    assert average[1].num_batches_tracked == 10
    assert not average.training and not any(p.requires_grad for p in average.parameters())
    assert (average[0].weight - model[0].weight).abs().max() > 1e-3
    assert evaluate(average, loss, [data()]).keys() == {"loss", "accuracy"}


def test_average_by_hand():
    a, b = nn.Linear(1, 1), nn.Linear(1, 1)
    nn.init.constant_(a.weight, 1.0)
    nn.init.constant_(b.weight, 3.0)
    move_average(a, b, 0.75)
    assert a.weight.item() == 1.5 and b.weight.item() == 3.0


def test_wrappers_compose():
    model, theirs = network(), network()
    optimizer, other = (torch.optim.SGD(m.parameters(), lr=0.1) for m in (model, theirs))
    average, shadow = average_of(model), average_of(theirs)
    inside = clipped(accumulated_update(model, optimizer, loss, parts=3), optimizer, norm=0.1)
    one = averaged(scheduled(inside, optimizer, constant()), model, average, decay=0.5)
    outside = averaged(gradient_update(theirs, other, loss), theirs, shadow, decay=0.5)
    two = clipped(scheduled(outside, other, constant()), other, norm=0.1)
    for _ in range(3):
        assert one(data()).keys() == two(data()).keys() == {"loss", "accuracy", "gradient norm", "learning rate"}
    assert_close(list(average.parameters()), list(shadow.parameters()), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "limits", [{}, {"norm": 1.0, "value": 1.0}, {"norm": 0.0}, {"value": -1.0}, {"norm": float("nan")}]
)
def test_bad_limits(limits):
    optimizer = torch.optim.SGD(network().parameters())
    with pytest.raises(ValueError, match="give one, above 0"):
        clipped(lambda batch: {}, optimizer, **limits)


def test_bad_parts_and_decay():
    model = network()
    optimizer = torch.optim.SGD(model.parameters())
    with pytest.raises(ValueError, match="parts = 0: it is at least 1"):
        accumulated_update(model, optimizer, loss, parts=0)
    with pytest.raises(ValueError, match="parts = 12: the batch has 11 samples"):
        accumulated_update(model, optimizer, loss, parts=12)(data())
    with pytest.raises(ValueError, match=r"decay = 1.0: it lies in \[0, 1\), like 0.999"):
        averaged(lambda batch: {}, model, average_of(model), decay=1.0)


def test_an_average_of_another_model_is_refused():
    """zip would stop at the shorter of the two, and a weight of one column would be broadcast."""
    one, other, longer = nn.Linear(1, 3), nn.Linear(5, 3), nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 3))
    with pytest.raises(
        ValueError, match=r"the average has \[3, 5\] where the model has \[3, 1\]: make it with average_of"
    ):
        move_average(other, one, 0.9)
    with pytest.raises(ValueError, match="the average has 2 where the model has 4"):
        move_average(nn.Linear(5, 3), longer, 0.9)
    with pytest.raises(ValueError, match=r"decay = 1.5: it lies in \[0, 1\)"):
        move_average(one, one, 1.5)


def test_an_average_of_16_bits():
    model = nn.Linear(2, 2)
    average = average_of(model)
    before = average.weight.clone()
    half = model.bfloat16()
    with torch.no_grad():
        half.weight.copy_(before + 1)
    move_average(average, half, 0.999)  # an average in float32 follows a model in bfloat16
    assert_close(average.weight, before + 0.001, rtol=0, atol=2e-5)
    with pytest.raises(ValueError, match="decay = 0.999: torch.bfloat16 loses such small steps"):
        move_average(average_of(half), half, 0.999)
    move_average(average_of(half), half, 0.9)


def test_clipping_cannot_reach_into_a_closure():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in (lambda batch: optimizer.step(lambda: None), lambda batch: optimizer.step(closure=lambda: None)):
        with pytest.raises(ValueError, match="a step with a closure: clip within the closure"):
            clipped(step, optimizer, norm=1.0)(data())


def test_bad_precision():
    model = network()
    with pytest.raises(ValueError, match="dtype = torch.float32: autocast computes in torch.bfloat16 or torch.float16"):
        autocast(loss, torch.float32)
    with pytest.raises(ValueError, match=r"0.weight is torch.float16: parameters stay float32, call model.float\(\)"):
        float16_update(model.half(), torch.optim.SGD(model.parameters()), loss, torch.amp.GradScaler("cpu"))


def test_autocast_of_a_batch_that_begins_with_a_list():
    model = network(dtype=torch.float32)
    x, y = data(dtype=torch.float32)
    names = [str(i) for i in range(len(x))]
    seen = []
    model[0].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    autocast(lambda model, batch: cross_entropy(model(batch[1]), batch[2]))(model, (names, x, y))
    assert seen == [torch.bfloat16]

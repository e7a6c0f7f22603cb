"""Crowds learn as their members would alone; hints and maps of attention; what a student saves."""

from functools import partial
from itertools import count

import pytest
import torch
from torch import nn

from helpers.convnets.architectures.resnet import resnet_small
from helpers.convnets.output_size import Conv, Linear, Pool, as_module
from helpers.efficiency import distillation as kd
from helpers.efficiency.distillation import cost
from helpers.foundations.optimizers import Adam
from helpers.training import fit, gradient_update

close = partial(torch.testing.assert_close, rtol=0, atol=1e-10)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
SEEDS = (3, 4, 5)
CONVNET = {"conv": Conv(4, 3, padding=1), "pool": Pool(2, 2), "out": Linear(5)}


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make(plan=CONVNET) -> nn.Module:
    return as_module(plan, (1, 6, 6)).double()


def alone(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return make()


def test_parameter_count():
    """Those of all members: the first weights are those that each would draw alone."""
    crowd = kd.Crowd(make, SEEDS)
    one = sum(p.numel() for p in make().parameters())
    assert sum(p.numel() for p in crowd.parameters()) == len(SEEDS) * one
    for i, seed in enumerate(SEEDS):
        for mine, theirs in zip(crowd.member(i).parameters(), alone(seed).parameters()):
            assert torch.equal(mine, theirs)


def test_matches_reference():
    """Three trained together are the three trained alone, on data of their own, to rounding."""
    x, y, v = noise(40, 3, 1, 6, 6), torch.arange(120).view(40, 3) % 5, 2 * noise(40, 3, 5, seed=1)
    loss = kd.distilling(temperature=3, weight=0.6)
    orders = [torch.randperm(40, generator=torch.Generator().manual_seed(i))[:16] for i in range(12)]

    def train(model, who):
        stream = ((x[o][:, who], y[o][:, who], v[o][:, who]) for o in orders)
        fit(gradient_update(model, Adam(model.parameters(), 1e-2), loss), stream, 12, progress=False)
        return model

    crowd = train(kd.Crowd(make, SEEDS), slice(None))
    for i, seed in enumerate(SEEDS):
        single = train(alone(seed), i)
        for mine, theirs in zip(crowd.member(i).parameters(), single.parameters()):
            close(mine, theirs)
        close(crowd(x)[:, i], single(x[:, i]))


def test_gradients_reach_every_parameter():
    """And stay with their own member."""
    crowd, x = kd.Crowd(make, SEEDS), noise(7, 3, 1, 6, 6)
    crowd(x)[:, 1].square().sum().backward()
    for p in crowd.parameters():
        assert p.grad[1].abs().sum() > 0
        assert p.grad[0].abs().sum() == 0 and p.grad[2].abs().sum() == 0


def test_same_seeds_give_the_same_crowd():
    """And making one draws nothing from the page's generator."""
    torch.manual_seed(9)
    before = torch.get_rng_state()
    first, second = kd.Crowd(make, SEEDS), kd.Crowd(make, SEEDS)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters()))
    assert not torch.equal(first.member(0)[0].weight, first.member(1)[0].weight)


def test_members_drop_units_of_their_own():
    crowd = kd.Crowd(lambda: nn.Sequential(nn.Dropout(0.5)).append(nn.Linear(50, 50)), SEEDS)
    with torch.no_grad():
        for weights in crowd.weights:
            weights.copy_(torch.eye(50) if weights.ndim == 3 else torch.zeros(50))
    first, second, third = (crowd(torch.ones(1, 3, 50)) == 0)[0]
    assert not torch.equal(first, second) and not torch.equal(second, third)


def test_mode_reaches_the_members():
    crowd = kd.Crowd(lambda: nn.Sequential(nn.Linear(4, 50), nn.Dropout(0.5)), SEEDS)
    x = torch.ones(2, 3, 4)
    assert (crowd(x) == 0).any() and not torch.equal(crowd(x), crowd(x))
    crowd.eval()
    assert torch.equal(crowd(x), crowd(x)) and (crowd(x) != 0).all()
    assert not crowd.member(0).training


@pytest.mark.parametrize("device", DEVICES)
def test_device_and_dtype(device):
    crowd = kd.Crowd(lambda: as_module(CONVNET, (1, 6, 6)), SEEDS).to(device)
    x = kd.each(torch.rand(4, 1, 6, 6, device=device), 3)
    assert crowd(x).shape == (4, 3, 5) and crowd(x).device.type == device
    other = kd.Crowd(lambda: as_module(CONVNET, (1, 6, 6)), (7, 8, 9)).to(device)
    other.load_state_dict(crowd.state_dict())
    assert torch.equal(other(x), crowd(x))
    assert torch.allclose(crowd.member(2)(x[:, 2]), crowd(x)[:, 2], atol=1e-5)
    assert x.untyped_storage().nbytes() == 4 * 36 * 4  # one copy for all


def test_regressor_brings_features_to_the_teacher_s_shape():
    assert kd.Regressor((8, 4, 4), (32, 4, 4)).conv.kernel_size == (1, 1)
    guide = kd.Regressor((8, 7, 6), (32, 5, 5))
    assert guide.conv.kernel_size == (3, 2)
    x, hint = torch.randn(2, 8, 7, 6), torch.randn(2, 32, 5, 5, requires_grad=True)
    loss = kd.hint_loss(guide(x), hint)
    assert loss.item() == pytest.approx((hint - guide(x)).square().sum().item() / 4, rel=1e-5)
    loss.backward()
    assert hint.grad is None and guide.conv.weight.grad.abs().sum() > 0


def test_attention_map_by_hand():
    a = noise(2, 3, 4, 5)
    for power in (1.0, 2.0):
        by_hand = torch.stack([sum(abs(channel) ** power for channel in image) for image in a])
        by_hand = torch.stack([m / m.square().sum().sqrt() for m in by_hand])
        close(kd.attention_map(a, power), by_hand)
    close(kd.attention_map(a), kd.attention_map(-2 * a[:, [2, 0, 1]]))


def test_attention_loss_is_half_the_squared_distance():
    a, b = noise(3, 2, 4, 4).requires_grad_(), noise(3, 6, 4, 4, seed=1).requires_grad_()
    gap = (kd.attention_map(a) - kd.attention_map(b)).square().sum() / 3
    loss = kd.attention_loss([a, a], [b, b])
    close(loss, gap)  # two layers, half of each
    loss.backward()
    assert b.grad is None and a.grad.abs().sum() > 0
    assert kd.attention_loss([a], [3 * a]).item() == pytest.approx(0, abs=1e-12)


def test_hints_from_a_network_of_the_house():
    torch.manual_seed(0)
    teacher, student = resnet_small(depth=14, width=8), resnet_small(depth=8, width=4)
    images = torch.rand(2, 3, 32, 32)
    theirs, mine = teacher.features(images), student.features(images)
    loss = kd.attention_loss(list(mine.values()), list(theirs.values()))
    guide = kd.Regressor(mine["layer2"].shape[1:], theirs["layer2"].shape[1:])
    (loss + kd.hint_loss(guide(mine["layer2"]), theirs["layer2"])).backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert all(p.grad is not None for n, p in student.named_parameters() if not n.startswith("fc"))


def test_size_and_energy_by_hand():
    net = as_module({"conv": Conv(2, 3), "out": Linear(5)}, (1, 6, 6))
    weights, work = kd.size(net, (1, 6, 6))
    assert weights == 2 * 9 + 2 + 32 * 5 + 5 and work == 16 * 9 * 2 + 32 * 5
    assert kd.microjoules(10**6) == pytest.approx(3.7 + 0.9)
    assert kd.microjoules(0, 1000) == pytest.approx(0.64)


def test_speed_up_takes_turns(monkeypatch):
    """A machine that slows down changes nothing."""
    slow, fast, pace, turns = nn.Identity(), nn.Flatten(), count(), []

    def latency(net, images, repeats):
        turns.append(net)
        return (4.0 if net is slow else 1.0) * (1 + next(pace) // 2)

    monkeypatch.setattr(cost, "latency", latency)
    assert kd.speed_up(slow, fast, torch.ones(1), turns=5) == pytest.approx(4)
    assert turns == [slow, fast] * 5


def test_speed_up_is_a_median(monkeypatch):
    """One turn in five in which something else ran does not count."""
    slow, fast, turn = nn.Identity(), nn.Flatten(), count()

    def latency(net, images, repeats):
        return 100.0 if next(turn) == 4 else 3.0 if net is slow else 1.0

    monkeypatch.setattr(cost, "latency", latency)
    assert kd.speed_up(slow, fast, torch.ones(1), turns=5) == 3


def test_large_net_is_slower():
    torch.manual_seed(0)
    slow, fast = nn.Sequential(nn.Linear(800, 800), nn.ReLU(), nn.Linear(800, 800)), nn.Linear(800, 1)
    assert kd.speed_up(slow, fast, torch.randn(64, 800), turns=5) > 3


def test_what_is_frozen_stays_frozen():
    def frozen():
        net = make()
        net[0].weight.requires_grad_(False)
        return net

    crowd = kd.Crowd(frozen, SEEDS)
    learned = dict(zip(crowd.names, crowd.weights, strict=True))
    assert [name for name, w in learned.items() if not w.requires_grad] == ["0.weight"]


@pytest.mark.parametrize("dtype, factor", [(torch.float16, 300.0), (torch.float32, 1e-9), (torch.float32, 1e25)])
def test_attention_map_has_length_one_at_any_scale(dtype, factor):
    a = noise(2, 3, 4, 5)
    found = kd.attention_map((factor * a).to(dtype))
    torch.testing.assert_close(found.flatten(1).norm(dim=1), torch.ones(2))
    torch.testing.assert_close(found, kd.attention_map(a).float(), rtol=1e-2, atol=1e-3)
    x = a.clone().requires_grad_()
    (g,) = torch.autograd.grad(kd.attention_map(x)[0, 0, 0], x)
    by_hand = a.square().sum(1)
    (e,) = torch.autograd.grad((x.square().sum(1)[0, 0, 0] / x[0].square().sum(0).norm()), x)
    close(g, e)
    close(kd.attention_map(a)[0], by_hand[0] / by_hand[0].norm())
    assert not kd.attention_map(torch.zeros(1, 2, 3, 3)).any()


def test_hint_loss_in_half_precision_does_not_overflow():
    hint = torch.full((1, 4, 20, 20), 20.0).half()
    assert kd.hint_loss(torch.zeros_like(hint), hint).item() == 1600 * 400 / 2


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: kd.Crowd(make, ()), "seeds is empty: a crowd has a network for each"),
        (lambda: kd.Crowd(lambda: nn.BatchNorm1d(3), (0,)), "the networks hold buffers, as batch norm does"),
        (lambda: kd.Regressor((8, 3, 3), (8, 4, 4)), r"features of \(8, 3, 3\) cannot become \(8, 4, 4\)"),
        (lambda: kd.Crowd(make, SEEDS)(noise(4, 2, 1, 6, 6)), r"images of \(4, 2, 1, 6, 6\) for 3 networks"),
        (lambda: kd.Crowd(make, SEEDS).member(3), "index = 3: the 3 networks are 0 to 2"),
        (lambda: kd.each(torch.ones(2, 3), 0), "seeds = 0: a crowd has at least 1"),
        (lambda: kd.Regressor((2, 8, 4, 4), (2, 8, 4, 4)), r"features of \(2, 8, 4, 4\) and .* without the batch"),
        (
            lambda: kd.hint_loss(torch.ones(4, 2, 3, 3), torch.ones(1, 2, 3, 3)),
            r"a guess of \(4, 2, 3, 3\) at a hint of \(1, 2, 3, 3\)",
        ),
        (lambda: kd.attention_map(torch.ones(2, 3, 3)), r"features of \(2, 3, 3\): \[images, channels, h, w\]"),
        (lambda: kd.attention_loss([], []), "0 layers of the student and 0 of the teacher"),
        (
            lambda: kd.attention_loss([torch.ones(4, 2, 3, 3)], [torch.ones(1, 2, 3, 3)]),
            "features of 4 and of 1 images: show both networks the same",
        ),
        (lambda: kd.microjoules(float("nan")), "multiply_adds = nan"),
        (lambda: kd.attention_map(torch.ones(1, 2, 3, 3), 0), "power = 0: it is above 0, usually 2"),
        (lambda: kd.attention_loss([torch.ones(1, 2, 3, 3)], []), "1 layers of the student and 0 of the teacher"),
        (
            lambda: kd.attention_loss([torch.ones(1, 2, 3, 3)], [torch.ones(1, 2, 4, 4)]),
            r"maps of \(3, 3\) and of \(4, 4\) pixels: pair layers of one size",
        ),
        (lambda: kd.microjoules(-1), "multiply_adds = -1, fetched = 0: counts are not negative"),
        (lambda: kd.speed_up(nn.Identity(), nn.Identity(), torch.ones(1), turns=0), "turns = 0: at least 1"),
    ],
)
def test_bad_input_is_named(call, message, unchecked):
    with pytest.raises(ValueError, match=message):
        call()

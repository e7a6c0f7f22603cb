"""What a running network costs: exact multiply-adds, and clocks that the test turns."""

import pytest
import torch
from torch import nn

from helpers.convnets.output_size import inputs_per_second, latency, multiply_adds, running


def test_multiply_adds_of_layers_are_exact():
    assert multiply_adds(lambda: nn.Linear(7, 5)(torch.zeros(3, 7))) == 3 * 7 * 5
    conv = nn.Conv2d(3, 4, 3, padding=1)
    assert multiply_adds(lambda: conv(torch.zeros(2, 3, 8, 6))) == 2 * 8 * 6 * 4 * 27
    assert multiply_adds(lambda: torch.zeros(5).relu()) == 0


def test_multiply_adds_of_fused_attention_and_recurrence():
    """On CPUs some versions of torch count neither."""
    q, kv = torch.zeros(2, 3, 5, 4), torch.zeros(2, 3, 7, 4)
    fused = torch.nn.functional.scaled_dot_product_attention
    assert multiply_adds(lambda: fused(q, kv, kv)) == 2 * (2 * 3 * 5 * 7 * 4)
    net = nn.LSTM(3, 4, num_layers=2, batch_first=True)
    assert multiply_adds(lambda: net(torch.zeros(2, 5, 3))) == 2 * 5 * (16 * 7 + 16 * 8)


def test_cudnn_formula_has_all_layers_and_no_biases():
    assert running.cudnn_flops((5, 2, 3), [(16, 3), (16, 4), (16,), (16,), (16, 4), (16, 4)], "more") == 20 * (
        16 * 7 + 16 * 8
    )


def test_speed_is_that_of_the_best_repeat(monkeypatch):
    ticks = iter([0.0, 4.0, 10.0, 12.0, 20.0, 25.0])
    monkeypatch.setattr(running, "process_time", lambda: next(ticks))
    calls = []
    rate = inputs_per_second(lambda x: calls.append(len(x)), torch.zeros(6, 3, 4, 4))
    assert calls == [6, 6, 6] and rate == 3.0


def test_latency_leaves_the_net_as_it_was():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.BatchNorm2d(2).eval())
    before = {k: v.clone() for k, v in net.state_dict().items()}
    assert latency(net, torch.rand(2, 1, 8, 8), repeats=2) > 0
    assert [module.training for module in net.modules()] == [True, True, True, False]
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_latency_leaves_out_the_first_pass_and_takes_the_median(monkeypatch):
    ticks = iter([0.0, 90.0, 100.0, 101.0, 110.0, 117.0, 120.0, 122.0])  # passes of 90, 1, 7 and 2 seconds
    monkeypatch.setattr(running, "perf_counter", lambda: next(ticks))
    assert latency(nn.Identity(), torch.zeros(1), repeats=3) == 2.0


def test_a_model_is_as_it_was_after_an_error():
    net = nn.Sequential(nn.Linear(1, 1), nn.Dropout())
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        latency(net, torch.zeros(1, 2))
    assert net.training and net[1].training
    with pytest.raises(ZeroDivisionError):
        multiply_adds(lambda: 1 // 0)
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize(
    "call",
    [
        lambda: latency(nn.Identity(), torch.zeros(1), repeats=0),
        lambda: inputs_per_second(nn.Identity(), torch.zeros(1), repeats=0),
    ],
)
def test_bad_input(call):
    with pytest.raises(ValueError, match="repeats = 0: at least 1"):
        call()

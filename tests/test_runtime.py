import random

import numpy as np
import pytest
import torch

from helpers.runtime import by_scale, pick_device, seed_everything


def draws() -> tuple:
    return random.random(), np.random.rand(), torch.rand(()).item()


def test_seed_fixes_every_generator():
    generator = seed_everything(3)
    first, own = draws(), torch.rand((), generator=generator).item()
    generator = seed_everything(3)
    assert (first, own) == (draws(), torch.rand((), generator=generator).item())
    seed_everything(4)
    assert all(a != b for a, b in zip(first, draws(), strict=True))
    assert torch.are_deterministic_algorithms_enabled() and not torch.utils.deterministic.fill_uninitialized_memory


@pytest.mark.parametrize("name", ["gpu", "cuda:one", ""])
def test_device_without_a_sensible_name(name):
    with pytest.raises(ValueError, match=f"device '{name}': torch knows no such name; 'cpu', 'cuda' or 'cuda:1'"):
        pick_device(name)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seed_out_of_range_is_named(seed):
    with pytest.raises(ValueError, match=f"seed = {seed}: .*between 0 and"):
        seed_everything(seed)


def test_device_follows_name_then_hardware(monkeypatch):
    assert pick_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert pick_device() == torch.device("cpu")
    with pytest.raises(ValueError, match="'cuda:1': this machine has 0 CUDA devices"):
        pick_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert pick_device() == torch.device("cuda:1")


@pytest.mark.gpu
def test_device_is_the_gpu_where_there_is_one():
    assert torch.ones(1, device=pick_device()).is_cuda


def test_scale_is_chosen_never_guessed():
    assert by_scale("lecture", lecture=1, gpu=2) == 1
    assert by_scale("gpu", lecture=1, gpu=2) == 2
    with pytest.raises(ValueError, match="scale = 'GPU': the book knows 'lecture' and 'gpu'"):
        by_scale("GPU", lecture=1, gpu=2)

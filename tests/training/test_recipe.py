from math import cos, pi
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from helpers.data import batches
from helpers.training import train
from tests.training.processes import alone_and_in_two
from tests.training.recipe_parallel import BATCH, CLIP, RATE, RISE, SETTINGS, STEPS, data, loss, made

PROGRAM = Path(__file__).with_name("recipe_parallel.py")


def test_matches_a_loop_written_out():
    model, reference = made(), made()
    history = train(model, loss, data(), STEPS, seed=3, betas=(0.8, 0.9), weight_decay=0.2, **SETTINGS)
    optimizer = torch.optim.AdamW(reference.parameters(), RATE, (0.8, 0.9), weight_decay=0.2)
    stream = batches(*data(), batch_size=BATCH, generator=torch.Generator().manual_seed(3), drop_last=True)
    losses, rates = [], []
    for step, batch in zip(range(STEPS), stream):
        later = (step - RISE) / (STEPS - RISE)
        factor = step / RISE if step < RISE else 0.1 + 0.9 * (1 + cos(pi * later)) / 2
        optimizer.param_groups[0]["lr"] = RATE * factor
        optimizer.zero_grad()
        value, _ = loss(reference, batch)
        value.backward()
        nn.utils.clip_grad_norm_(reference.parameters(), CLIP)
        optimizer.step()
        losses.append(value.item())
        rates.append(RATE * factor)
    for mine, other in zip(model.parameters(), reference.parameters()):
        assert_close(mine, other, rtol=1e-10, atol=1e-12)
    assert history["loss"].tolist() == pytest.approx(losses, rel=1e-10)
    assert history["learning rate"].tolist() == pytest.approx(rates, rel=1e-10)
    assert history["gradient norm"].max() > CLIP and "accuracy" in history


def test_every_batch_is_full_and_a_generator_goes_on():
    sizes, order = [], torch.Generator().manual_seed(3)

    def counting(model, batch):
        sizes.append(len(batch[0]))
        return loss(model, batch)

    first, second = made(), made()
    train(first, counting, data(), 7, rate=RATE, batch_size=BATCH, seed=order)
    assert sizes == [BATCH] * 7  # 44 samples give five batches an epoch
    train(second, counting, data(), 7, rate=RATE, batch_size=BATCH, seed=3)
    assert all(map(torch.equal, first.parameters(), second.parameters()))
    assert not torch.equal(order.get_state(), torch.Generator().manual_seed(3).get_state())


def test_without_a_cosine_the_rate_stays():
    history = train(made(), loss, data(), 4, rate=RATE, batch_size=BATCH, seed=3, end=1.0)
    assert history["learning rate"].tolist() == [RATE] * 4 and "gradient norm" not in history


def test_comes_back_ready_to_be_used():
    model = made().eval()
    model.never.requires_grad_(False)
    before = model.never.weight.clone()
    seen = []

    def spying(model, batch):
        seen.append(model.training)
        if len(seen) == 3:
            raise ArithmeticError("enough")
        return loss(model, batch)

    with pytest.raises(ArithmeticError):
        train(model, spying, data(), 9, rate=RATE, batch_size=BATCH, seed=0, weight_decay=0.5)
    assert seen == [True] * 3 and not model.training
    assert torch.equal(model.never.weight, before)  # frozen: no decay either


def test_two_processes_match_one(tmp_path):
    alone, first, second = alone_and_in_two(PROGRAM, tmp_path)
    assert_close(first, alone, rtol=1e-9, atol=1e-12)  # weights, losses, accuracies and norms
    assert_close(second, first, rtol=0, atol=0)


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(rise=12), r"rise = 12, steps = 12: .* fewer steps"),
        (dict(rise=-1), r"rise = -1"),
        (dict(steps=0), r"steps = 0: it is at least 1"),
        (dict(batch_size=45), r"batch_size = 45 with drop_last leaves no batch of 44 samples"),
        (dict(clip=0.0), r"norm = 0.0"),
        (dict(every=3), r"every = 3 without evaluate"),
    ],
)
def test_bad_settings(settings, message):
    settings = dict(rate=RATE, batch_size=BATCH, seed=0, steps=STEPS) | settings
    with pytest.raises(ValueError, match=message):
        train(made(), loss, data(), **settings)


@pytest.mark.gpu
def test_device_and_dtype():
    there, here = made().cuda(), made()
    columns = [column.cuda() for column in data()]
    train(there, loss, columns, STEPS, seed=3, **SETTINGS)
    train(here, loss, data(), STEPS, seed=3, **SETTINGS)
    assert_close([p.cpu() for p in there.parameters()], list(here.parameters()), rtol=1e-6, atol=1e-9)

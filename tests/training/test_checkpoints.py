import os
import random
import signal
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from helpers.data import batches
from helpers.training import (
    Checkpoint,
    CheckpointError,
    average_of,
    averaged,
    cosine_decay,
    evaluate,
    fit,
    gradient_update,
    load_checkpoint,
    save_checkpoint,
    scheduled,
    tally,
)
from helpers.training.checkpoints import RandomState


def loss(model, batch):
    logits = model(batch[0])
    noise = np.random.rand()  # not Python's `random`: beartype draws from it to choose what it checks
    return noise * nn.functional.cross_entropy(logits, batch[1]), {"accuracy": tally(logits.argmax(1) == batch[1])}


def train(path, *, kill_at=None, device="cpu"):
    """20 steps with shuffling, dropout, batch norm, a schedule and an average; with `kill_at` the process dies there."""
    np.random.seed(0)
    generator = torch.manual_seed(0)
    x, y = torch.randn(50, 6), torch.randint(3, (50,))
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 3)).to(device)
    x, y = x.to(device), y.to(device)
    average = average_of(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    update = scheduled(gradient_update(model, optimizer, loss), optimizer, cosine_decay(20))
    update = averaged(update, model, average, decay=0.9)

    def killable(batch, calls=[0]):  # noqa: B006
        calls[0] += 1
        if calls[0] == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return update(batch)

    history = fit(
        killable,
        batches(x, y, batch_size=8, generator=torch.Generator().manual_seed(1)),
        20,
        evaluate=lambda: evaluate(average, loss, [(x, y)]),
        every=3,
        checkpoint=Checkpoint(path, every=5, model=model, optimizer=optimizer, average=average, own=generator),
    )
    return model, average, optimizer, history


def states(model, average, optimizer, history):
    return [*model.state_dict().values(), *average.state_dict().values()], optimizer.state_dict(), history.state_dict()


def flat(thing):
    """The bytes of everything, in order."""
    if isinstance(thing, torch.Tensor):
        return thing.cpu().numpy().tobytes()
    if isinstance(thing, dict):
        return [(key, flat(value)) for key, value in thing.items()]
    return [flat(item) for item in thing] if isinstance(thing, list | tuple) else repr(thing)


def test_resume_is_bit_identical_after_a_kill(tmp_path):
    straight = train(tmp_path / "straight.pt")
    killed = tmp_path / "killed.pt"
    if (child := os.fork()) == 0:
        torch.set_num_threads(1)
        train(killed, kill_at=13)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert load_checkpoint(killed)["history"]["step"] == 10
    resumed = train(killed)
    assert flat(states(*resumed)) == flat(states(*straight))
    assert straight[-1].steps("validation loss").tolist() == [3, 6, 9, 12, 15, 18, 20]
    again = train(killed)  # done already: nothing is trained, all is loaded
    assert flat(states(*again)) == flat(states(*straight))


@pytest.mark.gpu
def test_resume_is_bit_identical_on_a_gpu(tmp_path):
    straight = train(tmp_path / "straight.pt", device="cuda")
    train(tmp_path / "resumed.pt", device="cuda")
    parts = load_checkpoint(tmp_path / "resumed.pt")
    assert "cuda" in parts["random"]["processes"][0]
    assert flat(states(*train(tmp_path / "resumed.pt", device="cuda"))) == flat(states(*straight))


def test_generators_of_the_program():
    state = RandomState().state_dict()
    first = random.random(), np.random.randn(), torch.rand(3).tolist()
    second = random.random(), np.random.randn(), torch.rand(3).tolist()
    RandomState().load_state_dict(state)
    assert (random.random(), np.random.randn(), torch.rand(3).tolist()) == first != second
    state["processes"] *= 2
    with pytest.raises(ValueError, match="state of 2 processes, here are 1: start as many"):
        RandomState().load_state_dict(state)


def test_plain_data_and_generators(tmp_path):
    path = tmp_path / "new" / "parts.pt"
    generator = torch.Generator().manual_seed(3)
    save_checkpoint(path, numbers=[1, 2.5], name="a", tensor=torch.ones(2), generator=generator)
    drawn = torch.rand(2, generator=generator)
    found = load_checkpoint(path, generator=generator)
    assert found["numbers"] == [1, 2.5] and found["name"] == "a" and found["tensor"].tolist() == [1, 1]
    assert torch.equal(torch.rand(2, generator=generator), drawn)
    assert [file.name for file in path.parent.iterdir()] == ["parts.pt"]


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, moment):
    path = tmp_path / "model.pt"
    save_checkpoint(path, tensor=torch.zeros(1000))
    before = path.read_bytes()

    def fail(*args):
        raise OSError(28, "No space left on device")

    if moment == "write":

        def half(states, file):
            file.write(before[: len(before) // 2])
            fail()

        monkeypatch.setattr(torch, "save", half)
    else:
        monkeypatch.setattr(os, moment, fail)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(path, tensor=torch.ones(1000))
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["model.pt"]
    assert load_checkpoint(path)["tensor"].sum() == 0


def test_a_kill_within_the_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.pt"
    save_checkpoint(path, tensor=torch.zeros(1000))

    def die(descriptor):
        os._exit(7)

    if (child := os.fork()) == 0:
        os.fsync = die
        save_checkpoint(path, tensor=torch.ones(1000))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert load_checkpoint(path)["tensor"].sum() == 0


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_truncated_file(tmp_path, share):
    path = tmp_path / "model.pt"
    save_checkpoint(path, model=nn.Linear(100, 10))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match="model.pt is no whole checkpoint .* delete it or take an older copy"):
        load_checkpoint(path, model=nn.Linear(100, 10))


def test_changed_byte(tmp_path):
    path = tmp_path / "model.pt"
    save_checkpoint(path, model=nn.Linear(100, 10))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="bytes of .* have changed"):
        load_checkpoint(path, model=nn.Linear(100, 10))


def test_parts_that_differ(tmp_path):
    path = tmp_path / "model.pt"
    save_checkpoint(path, model=nn.Linear(2, 3), step=4)
    with pytest.raises(CheckpointError, match=r"holds \['model', 'step'\], wanted is \['net'\]: \['net'\] differ"):
        load_checkpoint(path, net=nn.Linear(2, 3))
    with pytest.raises(CheckpointError, match=r"\['step'\] differ"):
        load_checkpoint(path, exact=True, model=nn.Linear(2, 3))
    with pytest.raises(CheckpointError, match="(?s)'model' was saved from something else. .*size mismatch for weight"):
        load_checkpoint(path, model=nn.Linear(2, 4))
    with pytest.raises(CheckpointError, match="A int takes no state: read it from what load_checkpoint returns"):
        load_checkpoint(path, step=0)
    with pytest.raises(FileNotFoundError, match="there is no checkpoint .*other.pt"):
        load_checkpoint(tmp_path / "other.pt")


def test_fit_refuses_what_it_could_not_resume(tmp_path):
    with pytest.raises(TypeError, match="batches is a list, which has no state_dict"):
        fit(lambda batch: {}, [()], 1, checkpoint=Checkpoint(tmp_path / "a.pt", every=1))
    with pytest.raises(TypeError, match="scale is a float"):
        Checkpoint(tmp_path / "a.pt", every=1, scale=0.5).resume()
    with pytest.raises(ValueError, match="every = 0: it is at least 1"):
        Checkpoint(tmp_path / "a.pt", every=0)
    with pytest.raises(ValueError, match="a part is called 'history': batches, history, random are saved in any case"):
        Checkpoint(tmp_path / "a.pt", every=1, history=nn.Linear(1, 1))
    data = batches(torch.arange(4), batch_size=2, generator=torch.Generator())
    fit(lambda batch: {}, data, 3, checkpoint=Checkpoint(tmp_path / "b.pt", every=3))
    with pytest.raises(ValueError, match="steps = 2: .*b.pt is of step 3, name another file"):
        fit(lambda batch: {}, data, 2, checkpoint=Checkpoint(tmp_path / "b.pt", every=3))


@pytest.mark.parametrize(
    "thing", [Path("a"), lambda x: x, threading.Lock(), {"inner": [np.zeros(2)]}, (i for i in "ab")], ids=type
)
def test_what_could_not_be_loaded_again_is_not_written(tmp_path, thing):
    with pytest.raises(CheckpointError, match="was not written: 'thing' is no plain data"):
        save_checkpoint(tmp_path / "x.pt", model=nn.Linear(1, 1), thing=thing, last=3)
    assert not list(tmp_path.iterdir())


def test_torchs_older_format_is_read(tmp_path):
    """No zip archive, and whole: nothing to delete."""
    path = tmp_path / "older.pt"
    net, fresh = nn.Linear(3, 2), nn.Linear(3, 2)
    torch.save({"model": net.state_dict()}, path, _use_new_zipfile_serialization=False)
    load_checkpoint(path, model=fresh)
    assert torch.equal(fresh.weight, net.weight)


def other_archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello", "world")


@pytest.mark.parametrize(
    "write, message",
    [
        (other_archive, "is not a checkpoint of plain data"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec"), "is not a checkpoint of plain data"),
        (lambda path: torch.save(nn.Linear(1, 1), path), "is not a checkpoint of plain data.*Unpickler"),
        (lambda path: torch.save({"a": Path("b")}, path), "read it with torch.load and save its parts anew"),
        (lambda path: torch.save(torch.ones(2), path), "holds a Tensor, not parts by name"),
        (lambda path: torch.save({3: 4}, path), "holds a dict, not parts by name"),
    ],
)
def test_a_whole_file_of_something_else_is_not_called_damaged(tmp_path, write, message):
    path = tmp_path / "model.pt"
    write(path)
    with pytest.raises(CheckpointError, match=f"(?s){message}") as error:
        load_checkpoint(path)
    assert "delete it" not in str(error.value)


def test_what_the_system_refuses_is_not_called_damaged(tmp_path):
    with pytest.raises(IsADirectoryError):
        load_checkpoint(tmp_path)


METHODS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "Adam": lambda p: torch.optim.Adam(p, amsgrad=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, momentum=0.9, centered=True),
    "Adagrad": torch.optim.Adagrad,
    "Adadelta": torch.optim.Adadelta,
    "Rprop": torch.optim.Rprop,
    "ASGD": torch.optim.ASGD,
    "LBFGS": lambda p: torch.optim.LBFGS(p, max_iter=3),
}


def started(method, width):
    """An optimizer two steps on."""
    net, x = nn.Linear(width, 2), torch.randn(7, width)
    optimizer = method(net.parameters())

    def closure():
        optimizer.zero_grad()
        value = net(x).square().mean()
        value.backward()
        return value

    for _ in range(2):
        optimizer.step(closure)
    return optimizer


@pytest.mark.parametrize("name", METHODS)
def test_moments_of_another_shape_are_refused(tmp_path, name):
    """torch takes them over, and fails at the next step or broadcasts."""
    path = tmp_path / "optimizer.pt"
    old, fitting, new = (started(METHODS[name], width) for width in (3, 3, 5))
    save_checkpoint(path, optimizer=old)
    load_checkpoint(path, optimizer=fitting)
    assert flat(fitting.state_dict()) == flat(old.state_dict())
    before = flat(new.state_dict())
    with pytest.raises(CheckpointError, match="'optimizer' was saved from something else.*saved from another model"):
        load_checkpoint(path, optimizer=new)
    assert flat(new.state_dict()) == before


def test_all_parts_or_none(tmp_path):
    """A model whose last weight does not fit keeps its first; so do the parts before it."""
    path = tmp_path / "parts.pt"
    old = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    data = batches(torch.arange(6), batch_size=2, generator=torch.Generator().manual_seed(5))
    next(data)
    save_checkpoint(path, data=data, generator=torch.Generator().manual_seed(7), model=old)
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 5))
    stream, generator = batches(torch.arange(6), batch_size=2, generator=torch.Generator()), torch.Generator()
    before = flat([stream.state_dict(), generator.get_state(), model.state_dict()])
    with pytest.raises(CheckpointError, match="'model' was saved from something else"):
        load_checkpoint(path, data=stream, generator=generator, model=model)
    assert flat([stream.state_dict(), generator.get_state(), model.state_dict()]) == before
    save_checkpoint(path, model=3)
    with pytest.raises(CheckpointError, match="'model' was saved from something else"):
        load_checkpoint(path, model=model)

from itertools import islice

import pytest
import torch

from helpers.data import batches, once
from helpers.data.batches import _samples


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def indices(stream, steps):
    return [batch[0].tolist() for batch in islice(stream, steps)]


@pytest.mark.parametrize("n, batch_size, drop_last, sizes", [
    (10, 4, False, [4, 4, 2]),
    (10, 4, True, [4, 4]),
    (8, 4, False, [4, 4]),
    (8, 4, True, [4, 4]),
    (3, 8, False, [3]),
    (1, 1, True, [1]),
])  # fmt: skip
def test_each_epoch_covers_each_sample_once(n, batch_size, drop_last, sizes):
    stream = batches(torch.arange(n), batch_size=batch_size, generator=seeded(), drop_last=drop_last)
    assert stream.steps_per_epoch == len(sizes)
    for _ in range(3):
        epoch = indices(stream, stream.steps_per_epoch)
        assert [len(batch) for batch in epoch] == sizes
        seen = sorted(sum(epoch, []))
        assert seen == list(range(n)) if not drop_last else len(set(seen)) == sum(sizes)
    assert stream.epochs == 3


def test_epochs_differ_and_follow_from_the_seed():
    streams = [batches(torch.arange(50), batch_size=50, generator=seeded(seed)) for seed in (0, 0, 1)]
    first, same, other = (indices(stream, 2) for stream in streams)
    assert first == same != other
    assert first[0] != first[1] and first[0] != list(range(50))


def test_tensors_stay_together():
    x = torch.arange(20)
    for a, b in islice(batches(x, -2.0 * x, batch_size=3, generator=seeded()), 15):
        assert torch.equal(-2.0 * a, b)


def test_epoch_finishes_the_one_that_is_begun():
    stream = batches(torch.arange(10), batch_size=4, generator=seeded())
    first = next(stream)[0].tolist()
    rest = [batch[0].tolist() for batch in stream.epoch()]
    assert [len(batch) for batch in rest] == [4, 2]
    assert sorted(sum(rest, first)) == list(range(10))
    assert [len(batch[0]) for batch in stream.epoch()] == [4, 4, 2]
    assert len(list(batches(torch.arange(4), batch_size=4, generator=seeded()).epoch())) == 1


def test_without_a_generator_the_global_seed_decides():
    runs = []
    for _ in range(2):
        torch.manual_seed(3)
        runs.append(indices(batches(torch.arange(30), batch_size=7), 6))
    assert runs[0] == runs[1]


@pytest.mark.parametrize("steps", [0, 1, 3, 4, 8])
def test_resume_goes_on_with_the_same_batches(steps, tmp_path):
    data = torch.randn(10, 2, generator=seeded(1))
    stream = batches(data, batch_size=3, generator=seeded())
    list(islice(stream, steps))
    torch.save(stream.state_dict(), tmp_path / "state.pt")
    expected = list(islice(stream, 9))
    resumed = batches(data, batch_size=3, generator=seeded(99))
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for (a,), (b,) in zip(expected, islice(resumed, 9), strict=True):
        assert torch.equal(a, b)
    assert resumed.epochs == stream.epochs


def test_a_state_does_not_change_as_the_stream_goes_on():
    stream = batches(torch.arange(10), batch_size=3, generator=seeded())
    next(stream)
    state = stream.state_dict()
    expected = indices(stream, 6)
    stream.load_state_dict(state)
    assert indices(stream, 6) == expected


@pytest.mark.parametrize("world_size, n, drop_last", [(2, 12, False), (4, 14, True), (1, 7, False)])
def test_shards_are_equal_and_their_union_is_the_batch(world_size, n, drop_last):
    common = dict(batch_size=4, drop_last=drop_last)
    alone = batches(torch.arange(n), generator=seeded(), **common)
    ranks = [
        batches(torch.arange(n), generator=seeded(), rank=rank, world_size=world_size, **common)
        for rank in range(world_size)
    ]
    for _ in range(2 * alone.steps_per_epoch):
        shards = [next(stream)[0] for stream in ranks]
        assert len({len(shard) for shard in shards}) == 1
        assert torch.equal(torch.cat(shards), next(alone)[0])


def test_a_run_on_one_process_goes_on_with_two():
    alone = batches(torch.arange(12), batch_size=4, generator=seeded())
    list(islice(alone, 2))
    pair = [batches(torch.arange(12), batch_size=4, generator=seeded(7), rank=rank, world_size=2) for rank in (0, 1)]
    for stream in pair:
        stream.load_state_dict(alone.state_dict())
    for _ in range(4):
        assert torch.equal(torch.cat([next(stream)[0] for stream in pair]), next(alone)[0])


def test_once_goes_in_order_and_copies_nothing():
    x, y = torch.arange(10), torch.arange(10) * 2
    passes = list(once(x, y, batch_size=4))
    assert [len(a) for a, _ in passes] == [4, 4, 2]
    assert torch.equal(torch.cat([a for a, _ in passes]), x) and torch.equal(torch.cat([b for _, b in passes]), y)
    assert passes[0][0].data_ptr() == x.data_ptr()


@pytest.mark.gpu
def test_gpu_sees_the_order_of_the_cpu():
    host = batches(torch.arange(100), batch_size=7, generator=seeded())
    device = batches(torch.arange(100, device="cuda"), batch_size=7, generator=seeded())
    for (a,), (b,) in islice(zip(host, device, strict=True), 40):
        assert b.is_cuda and torch.equal(a, b.cpu())
    host.load_state_dict(device.state_dict())
    assert torch.equal(next(host)[0], next(device)[0].cpu())


@pytest.mark.parametrize(
    "tensors, options, message",
    [
        ([10, 9], {}, r"tensors of lengths \[10, 9\]"),
        ([], {}, r"tensors of lengths \[\]"),
        ([0], {}, r"tensors of lengths \[0\]"),
        ([10], dict(batch_size=0), "batch_size = 0: a batch holds a whole number of samples, at least 1"),
        ([10], dict(batch_size=11, drop_last=True), "batch_size = 11 with drop_last leaves no batch of 10 samples"),
        ([10], dict(rank=2, world_size=2), "rank = 2, world_size = 2"),
        ([12], dict(batch_size=3, world_size=2), "batch_size = 3 is no multiple of world_size = 2"),
        ([11], dict(world_size=2), "last batch of 3 samples is no multiple of world_size = 2: pass drop_last=True"),
        ([12], dict(world_size=2, generator=None), "generators of the same seed"),
    ],
)
def test_bad_input_is_named(tensors, options, message):
    with pytest.raises(ValueError, match=message):
        batches(*map(torch.zeros, tensors), **(dict(batch_size=4, generator=seeded()) | options))


def test_bad_devices_are_named():
    with pytest.raises(ValueError, match="tensors on cpu and meta: move them to one device"):
        once(torch.zeros(3), torch.zeros(3, device="meta"), batch_size=1)


def test_a_state_of_other_data_is_refused():
    stream = batches(torch.arange(10), batch_size=3, generator=seeded())
    next(stream)
    with pytest.raises(ValueError, match="the state orders 10 samples, these tensors hold 11"):
        batches(torch.arange(11), batch_size=3, generator=seeded()).load_state_dict(stream.state_dict())


@pytest.mark.parametrize(
    "change, message",
    [
        ({"order": torch.zeros(10, dtype=torch.long)}, "names samples twice"),
        ({"position": 11}, "position = 11 of 10 samples"),
        ({"epochs": -1}, "epochs = -1"),
        ({"generator": torch.zeros(3, dtype=torch.uint8)}, "RNG state"),
    ],
)
def test_a_state_that_is_none_changes_nothing(change, message):
    stream, other = (batches(torch.arange(10), batch_size=3, generator=seeded(seed)) for seed in (0, 1))
    next(stream), next(other)
    expected = batches(torch.arange(10), batch_size=3, generator=seeded(0))
    next(expected)
    with pytest.raises((ValueError, RuntimeError), match=message):
        stream.load_state_dict(other.state_dict() | change)
    assert indices(stream, 7) == indices(expected, 7)


def test_batches_keep_channels_last():
    images = torch.rand(10, 3, 4, 4).to(memory_format=torch.channels_last)
    for (batch,) in islice(batches(images, batch_size=4, generator=seeded()), 3):
        assert batch.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("batch_size", [2.5, float("nan")])
def test_sizes_that_are_no_whole_number(batch_size):
    with pytest.raises(ValueError, match=f"batch_size = {batch_size}: a batch holds a whole number of samples"):
        _samples((torch.zeros(3),), batch_size)


def test_what_is_no_tensor_is_named():
    with pytest.raises(ValueError, match="a list among the tensors: give tensors, as set.images and set.labels"):
        _samples((torch.zeros(3), [1, 2, 3]), 1)

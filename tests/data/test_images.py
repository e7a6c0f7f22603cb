import pytest
import torch

from helpers.data import ImageSet, digits


def small(n=10):
    images = torch.linspace(0, 1, n * 6).reshape(n, 1, 2, 3)
    return ImageSet(images, torch.arange(n) % 3, ("a", "b", "c"), {"angle": torch.arange(n) / n})


def test_subset_keeps_images_labels_and_attributes_together():
    whole = small()
    picks = {
        "positions": torch.tensor([7, 0]),
        "mask": torch.tensor([True] + [False] * 6 + [True] + [False] * 2),
        "slice": slice(2, 4),
    }
    for rows, pick in zip(([7, 0], [0, 7], [2, 3]), picks.values(), strict=True):
        part = whole.subset(pick)
        assert len(part) == 2 and part.classes == whole.classes
        torch.testing.assert_close(part.images, whole.images[rows])
        torch.testing.assert_close(part.labels, whole.labels[rows])
        torch.testing.assert_close(part.attributes["angle"], whole.attributes["angle"][rows])


@pytest.mark.parametrize("fractions, sizes", [((0.8, 0.2), [1438, 359]), ((0.5, 0.25, 0.25), [898, 450, 449])])
def test_split_is_a_shuffled_partition(fractions, sizes):
    whole = digits()
    numbered = ImageSet(whole.images, whole.labels, whole.classes, {"index": torch.arange(len(whole))})
    parts = numbered.split(*fractions, generator=torch.Generator().manual_seed(1))
    again = numbered.split(*fractions, generator=torch.Generator().manual_seed(1))
    order = torch.cat([part.attributes["index"] for part in parts])
    assert [len(part) for part in parts] == sizes
    assert torch.equal(order.sort().values, torch.arange(len(whole)))
    assert not torch.equal(order, torch.arange(len(whole)))
    assert all(torch.equal(one.images, two.images) for one, two in zip(parts, again, strict=True))
    for part in parts:
        assert torch.equal(part.images, whole.images[part.attributes["index"]])
        assert torch.equal(part.labels, whole.labels[part.attributes["index"]])


def test_a_stratified_split_cuts_every_class():
    n, labels = 90, torch.tensor([0] * 60 + [1] * 20 + [2] * 10)
    whole = ImageSet(torch.zeros(n, 1, 1, 1), labels, ("a", "b", "c"), {"index": torch.arange(n)})
    parts = whole.split(0.5, 0.3, 0.2, generator=torch.Generator().manual_seed(2), stratified=True)
    assert [part.labels.bincount().tolist() for part in parts] == [[30, 10, 5], [18, 6, 3], [12, 4, 2]]
    order = torch.cat([part.attributes["index"] for part in parts])
    assert torch.equal(order.sort().values, torch.arange(n))
    (other,) = whole.split(0.5, generator=torch.Generator().manual_seed(3), stratified=True)
    assert not torch.equal(other.attributes["index"].sort().values, parts[0].attributes["index"].sort().values)


def test_split_may_leave_a_rest():
    parts = small().split(0.3, 0.3, generator=torch.Generator())
    assert [len(part) for part in parts] == [3, 3]


@pytest.mark.gpu
def test_to_moves_everything():
    moved = small().to("cuda")
    tensors = (moved.images, moved.labels, moved.attributes["angle"], moved.subset(torch.tensor([1])).images)
    assert {tensor.device.type for tensor in tensors} == {"cuda"}


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(images=torch.zeros(3, 4, 4)), r"images are float32 \[3, 4, 4\]: .* \[n c h w\]"),
        (dict(images=torch.zeros(3, 1, 4, 4, dtype=torch.uint8)), r"images are uint8"),
        (dict(images=torch.full((3, 1, 4, 4), 255.0)), r"from 255 to 255: scale them into 0 … 1"),
        (dict(images=torch.full((3, 1, 4, 4), torch.nan)), r"from nan to nan"),
        (dict(labels=torch.tensor([0, 1])), r"labels are int64 \[2\]: 3 images take an int64 tensor of 3"),
        (dict(labels=torch.tensor([0.0, 1.0, 1.0])), r"labels are float32 \[3\]"),
        (dict(labels=torch.tensor([0, 1, 2])), r"labels reach from 0 to 2: with 2 classes they lie in 0 … 1"),
        (dict(labels=torch.tensor([-2, 1, 1])), r"labels reach from -2 to 1"),
        (
            dict(attributes={"angle": torch.zeros(4)}),
            r"attribute 'angle' is float32 \[4\]: .* counts 3 images",
        ),
    ],
)
def test_bad_fields_are_named(change, message):
    fields = dict(images=torch.zeros(3, 1, 4, 4), labels=torch.tensor([0, 1, -1]), classes=("cat", "dog"))
    ImageSet(**fields)
    # The type checker of the tests would speak first: read what a reader without it reads.
    broken = object.__new__(ImageSet)
    vars(broken).update(dict(attributes={}) | fields | change)
    with pytest.raises(ValueError, match=message):
        broken.__post_init__()
    with pytest.raises(Exception):  # noqa: B017
        ImageSet(**(fields | change))


@pytest.mark.parametrize(
    "indices, message",
    [
        (torch.tensor([True]), r"indices are bool \[1\]: give positions, 3 booleans, or a slice"),
        (torch.tensor([0.0, 1.0]), r"indices are float32 \[2\]"),
        (torch.tensor(1), r"indices are int64 \[\]"),
        (torch.tensor([0, 3]), "indices reach from 0 to 3: the set has the images 0 to 2"),
        (torch.tensor([-4]), "indices reach from -4 to -4"),
    ],
)
def test_bad_indices_are_named(indices, message):
    with pytest.raises(ValueError, match=message):
        ImageSet(torch.zeros(3, 1, 4, 4), torch.zeros(3, dtype=torch.long), ("a",)).subset(indices)


def test_a_share_of_less_than_an_image_is_named():
    with pytest.raises(ValueError, match="fraction 0.001 of .* images is less than one: ask for more"):
        small().split(0.5, 0.001, generator=torch.Generator())
    assert len(small().split(0.0, 1.0, generator=torch.Generator())[0]) == 0


@pytest.mark.parametrize("fractions", [(), (0.8, 0.3), (1.2, -0.2), (0.5, float("nan"))])
def test_bad_fractions_are_named(fractions):
    with pytest.raises(ValueError, match="sum to one at the most"):
        small().split(*fractions, generator=torch.Generator())

"""Each picture holds what it was given: extents, pixels, boxes, outlines and colours are read back from the artists."""

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from torchvision.utils import flow_to_image

from helpers import plotting


def words(ax):
    return [text.get_text() for text in ax.texts]


def test_grid_places_every_image():
    images = torch.rand(7, 3, 4, 6)
    ax = plotting.image_grid(images, labels=range(7), columns=3, rows=["a", "b", "c"])
    assert len(ax.images) == 7
    for shown, image in zip(ax.images, images, strict=True):
        np.testing.assert_allclose(shown.get_array(), image.permute(1, 2, 0), atol=1e-6)
    corners = [(shown.get_extent()[0], shown.get_extent()[3]) for shown in ax.images]
    assert len({x for x, _ in corners}) == 3 and len({y for _, y in corners}) == 3
    assert corners[3][0] == 0 and corners[3][1] > corners[0][1]  # the fourth image begins the second row
    assert words(ax) == [*map(str, range(7)), "a", "b", "c"]
    left, right, bottom, top = ax.images[6].get_extent()
    (x1, x2), (y1, y2) = ax.get_xlim(), ax.get_ylim()
    assert x1 <= left and max(image.get_extent()[1] for image in ax.images) <= x2 and bottom <= y1 and y2 < top


def test_grid_of_one_has_pixel_coordinates():
    ax = plotting.image_grid(torch.rand(1, 5, 8))
    assert ax.images[0].get_extent() == [0, 8, 5, 0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.uint8, torch.bool])
def test_grid_takes_any_dtype(dtype):
    image = torch.tensor([[[0.0, 1.0]]])
    image = (255 * image).to(dtype) if dtype == torch.uint8 else image.to(dtype)
    shown = plotting.image_grid(image.requires_grad_(dtype.is_floating_point)).images[0].get_array()
    assert shown[0, :, 0].tolist() == [0, 1]


def test_grid_limits():
    images = torch.tensor([[[-1.0, 0.0, 1.0]], [[0.0, 5.0, 10.0]]])
    stretched = plotting.image_grid(images, limits=None).images
    assert [shown.get_array()[0, :, 0].tolist() for shown in stretched] == [[0, 0.5, 1]] * 2
    (named,) = plotting.image_grid(images[:1], limits=(-1, 3)).images
    assert named.get_array()[0, :, 0].tolist() == [0, 0.25, 0.5]
    assert plotting.image_grid(torch.full((1, 2, 2), 7.0), limits=None).images[0].get_array().max() == 0


def test_grid_on_given_axes():
    _, axes = pyplot.subplots(1, 2)
    assert plotting.image_grid(torch.rand(4, 3, 3), ax=axes[1], columns=2) is axes[1]
    assert len(axes[1].images) == 4 and not axes[0].images


@pytest.mark.parametrize("labels", [torch.tensor([1, 2]), np.array(["1", "2"]), [torch.tensor(1), np.int64(2)], (1, 2)])
def test_labels_come_from_data_sets_and_detectors(labels):
    image, corners = torch.rand(3, 8, 8), torch.tensor([[0.0, 0, 4, 4], [1, 1, 5, 5]])
    layers = torch.zeros(2, 8, 8)
    layers[0, 1, 1] = layers[1, 5, 5] = 1
    assert words(plotting.image_grid(torch.rand(2, 1, 8, 8), labels)) == ["1", "2"]
    assert words(plotting.boxes(image, corners, labels)) == ["1", "2"]
    assert words(plotting.masks(image, layers, labels)) == ["1", "2"]
    assert words(plotting.image_grid(torch.rand(2, 8, 8), columns=1, rows=labels)) == ["1", "2"]


def test_boxes():
    corners = torch.tensor([[1, 2, 5, 7], [0, 0, 3, 3], [2, 2, 4, 4]])
    ax = plotting.boxes(torch.rand(3, 8, 8), corners, ["cat", "dog", "cat"], torch.tensor([0.9, 0.5, 0.25]))
    drawn = [patch for patch in ax.patches if patch.get_linewidth() == 2]
    assert [patch.get_bbox().extents.tolist() for patch in drawn] == corners.tolist()
    assert words(ax) == ["cat 0.90", "dog 0.50", "cat 0.25"]
    edges = [patch.get_edgecolor()[:3] for patch in drawn]
    assert edges[0] == edges[2] != edges[1]
    again = plotting.boxes(ax, corners[:1], colour="red")
    assert again is ax and isinstance(ax.patches[-1], Rectangle) and ax.patches[-1].get_edgecolor()[:3] == (1, 0, 0)


def test_no_boxes_is_a_picture_too():
    assert len(plotting.boxes(torch.rand(4, 4), torch.empty(0, 4), [], []).texts) == 0


def test_masks():
    masks = torch.zeros(2, 4, 4)
    masks[0, :2, :2] = 1
    masks[1, 3, 3] = 0.6
    ax = plotting.masks(torch.rand(3, 8, 8), masks, ["corner", "dot"], opacity=0.4)
    _, *layers = ax.images
    assert [layer.get_extent() for layer in layers] == [[0, 8, 8, 0]] * 2  # stretched over the image
    np.testing.assert_allclose(layers[1].get_array()[..., 3], 0.4 * masks[1])
    assert tuple(layers[0].get_array()[0, 0, :3]) == to_rgb(plotting.COLOURS[0])
    outline = ax.collections[0].get_paths()[0].vertices
    assert outline.min() < 1 and outline.max() == pytest.approx(4)  # half-way between pixel centres 3 and 5
    assert words(ax) == ["corner", "dot"]


def test_flow_colours_match_torchvision():
    flow = torch.randn(2, 20, 30, generator=torch.Generator().manual_seed(0))
    ours = plotting.flow_colours(flow)
    assert (
        255 * ours - flow_to_image(flow).float()
    ).abs().max() <= 2.01  # theirs is rounded down to bytes, and so is their wheel


def test_flow_colours_limit():
    flow = torch.tensor([[[0.0, 1.0, 2.0, 4.0]], [[0.0] * 4]])
    colours = plotting.flow_colours(flow, limit=2)
    assert colours[:, 0, 0].tolist() == [1, 1, 1]
    assert (1 - colours[:, 0, 2]).tolist() == pytest.approx((2 - 2 * colours[:, 0, 1]).tolist())  # saturation grows
    assert colours[:, 0, 3].max().item() == pytest.approx(0.75)  # beyond the limit
    assert plotting.flow_colours(torch.zeros(2, 3, 3)).min() == 1


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: plotting.image_grid(torch.rand(2, 4, 3, 3)), r"shape \(4, 3, 3\): 1 or 3 channels come first"),
        (lambda: plotting.image_grid(torch.randn(2, 9, 9) * 5), "exceed limits = .0, 1.: clamp them, name the limits"),
        (lambda: plotting.image_grid(torch.rand(2, 3, 3), columns=0), "columns = 0: a grid has at least 1"),
        (lambda: plotting.image_grid(torch.rand(0, 3, 3)), "there is no image to show"),
        (lambda: plotting.image_grid(torch.rand(1, 3, 3), limits=(1, 0)), r"limits = \(1, 0\): the first is"),
        (lambda: plotting.image_grid(torch.rand(2, 3, 3), ["a"]), "1 labels for 2 images: give one for each"),
        (lambda: plotting.image_grid(torch.rand(2, 3, 3), rows=["a", "b"]), "2 names in rows for 1 rows of images"),
        (lambda: plotting.image_grid(torch.full((1, 2, 2), float("nan"))), "4 values that are not finite"),
        (lambda: plotting.boxes(torch.rand(9, 9), torch.tensor([[5, 5, 2, 2]])), "x1 <= x2 and y1 <= y2, not"),
        (lambda: plotting.boxes(torch.rand(9, 9), torch.rand(1, 4).sort().values, [1, 2]), "2 labels for 1 boxes"),
        (lambda: plotting.masks(torch.rand(9, 9), torch.randn(1, 9, 9) * 9), "give probabilities, masks.sigmoid"),
        (lambda: plotting.flow_colours(torch.rand(2, 3, 3), limit=0), "limit = 0: .* is positive"),
        (lambda: plotting.flow_colours(torch.full((2, 1, 1), float("nan"))), "1 pixels that are not finite"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.gpu
def test_tensors_on_a_gpu():
    images = torch.rand(2, 3, 4, 4, device="cuda")
    assert len(plotting.image_grid(images).images) == 2
    assert plotting.flow_colours(images[0, :2]).device.type == "cuda"

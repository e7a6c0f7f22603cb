"""Histograms of oriented gradients against scikit-image."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.feature import hog as reference
from torch.testing import assert_close

from helpers.data import photograph
from helpers.foundations.early_vision import hog


def expected(images, **options):
    rows = [reference(image.permute(1, 2, 0).double().numpy(), channel_axis=-1, **options) for image in images]
    return torch.stack([torch.from_numpy(row) for row in rows])


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    channels=st.sampled_from([1, 3]),
    size=st.tuples(st.integers(20, 40), st.integers(20, 40)),
    orientations=st.integers(1, 12),
    cell=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    block=st.tuples(st.integers(1, 2), st.integers(1, 2)),
)
def test_matches_reference(seed, channels, size, orientations, cell, block):
    images = torch.rand(2, channels, *size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    options = dict(orientations=orientations, pixels_per_cell=cell, cells_per_block=block)
    assert_close(hog(images, **options), expected(images, **options))


def test_matches_reference_on_a_photograph_with_the_defaults():
    """In whole grey levels: equal strengths of two channels are then equal in both codes. The reference sums in float32."""
    image = (photograph("coffee")[None, :, 100:228, 200:328] * 255).round().double()
    assert_close(hog(image), expected(image), atol=1e-6, rtol=1e-5)
    assert_close(hog(image.float()), expected(image).float(), atol=1e-5, rtol=1e-4)


def test_length_is_that_of_the_paper():
    """64 x 128 pixels, 8 x 8 cells, blocks of 2 x 2, 9 bins: 7 * 15 * 36 = 3780 numbers (Dalal & Triggs 2005)."""
    assert hog(torch.zeros(1, 3, 128, 64), cells_per_block=2).shape == (1, 3780)


def test_gradients_reach_every_pixel_that_has_neighbours():
    images = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    options = dict(pixels_per_cell=6, cells_per_block=2)
    weights = torch.randn(36, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    images.requires_grad_()
    (hog(images, **options) @ weights).sum().backward()
    assert (images.grad != 0).sum() > 12 * 12 - 8 and images.grad.isfinite().all()
    assert torch.autograd.gradcheck(lambda x: hog(x, **options), images, eps=1e-8, atol=1e-4)


def test_flat_images_have_finite_gradients():
    images = torch.zeros(2, 3, 24, 24, requires_grad=True)
    hog(images).sum().backward()
    assert hog(images).eq(0).all() and images.grad.isfinite().all()


def test_brightness_and_contrast_do_not_matter():
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert_close(hog(0.3 * images + 0.5), hog(images), atol=1e-6, rtol=1e-4)
    assert_close(hog(1 - images), hog(images))  # a line and its negative have one direction


def test_device_and_dtype():
    images = torch.rand(1, 1, 24, 24)
    assert hog(images).dtype == torch.float32 and hog(images.double()).dtype == torch.float64
    if torch.cuda.is_available():
        assert_close(hog(images.cuda()).cpu(), hog(images))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(), "images of 23 x 24 pixels: one block of 3 x 3 cells takes 24 x 24; use larger images"),
        (dict(orientations=0), r"orientations = \(0,\): give whole numbers from 1 on"),
        (dict(pixels_per_cell=0), "pixels_per_cell"),
        (dict(cells_per_block=(1, 0)), "cells_per_block"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        hog(torch.zeros(1, 1, 23, 24), **options)

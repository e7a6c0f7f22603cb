"""Flickering light and frames that do not show it, by their definitions."""

import pytest
import torch
from torch.testing import assert_close

from helpers.video.optical_flow import even_light, flicker, lucas_kanade, stack_changes

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def clip(*shape: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return 0.2 + 0.4 * torch.rand(*shape, generator=random)


def test_light_is_a_plane_over_each_frame():
    """The ratio of lit to unlit is the same for all channels, flat to second order, and another one in each frame."""
    videos = clip(3, 4, 2, 7, 9)
    light = flicker(videos, 0.3, generator=torch.Generator().manual_seed(1)) / videos
    assert_close(light[:, :, 0], light[:, :, 1])
    light = light[:, :, 0]
    for axis in (2, 3):
        slope = light.diff(dim=axis)
        assert_close(slope, slope.mean((2, 3), keepdim=True).expand_as(slope), atol=1e-5, rtol=0)
    assert len(light.mean((2, 3)).unique()) == 12
    assert light.min() > 0.1 and light.max() < 1.9 and light.mean((2, 3)).std() > 0.1
    assert (light[..., -1] - light[..., 0]).std() > 0.1 and (light[:, :, -1] - light[:, :, 0]).std() > 0.1


def test_light_is_drawn_by_the_generator_and_cut_at_white():
    videos = clip(2, 3, 3, 8, 8)
    once, again = (flicker(videos, 0.2, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(once, again)
    assert torch.equal(flicker(videos, 0.0), videos)
    assert flicker(videos + 0.4, 0.3).max() == 1.0


def test_matches_reference():
    """Pixel by pixel, by the definition, where the window does not leave the frame."""
    videos = clip(1, 2, 3, 12, 13).double()
    even = even_light(videos, window=5, least=0.1)
    assert even.shape == (1, 2, 1, 12, 13)
    grey = videos.mean(2)[0, 1]
    off = torch.full_like(grey, torch.nan)
    for y in range(2, 10):
        for x in range(2, 11):
            off[y, x] = grey[y, x] - grey[y - 2 : y + 3, x - 2 : x + 3].mean()
    deviation = off[3:8, 4:9].square().mean().sqrt()
    assert_close(even[0, 1, 0, 5, 6], off[5, 6] / (deviation + 0.1))


def test_windows_are_mirrored_at_the_border():
    """In the corner, by hand: the pixels on the other side of the border are those on this side."""
    videos = clip(1, 1, 3, 7, 8).double()
    grey = videos.mean(2)[0, 0]
    large = torch.cat([grey[1:2], grey, grey[-2:-1]])
    large = torch.cat([large[:, 1:2], large, large[:, -2:-1]], 1)
    off = torch.stack([grey[y] - large[y : y + 3].unfold(1, 3, 1).mean((0, 2)) for y in range(7)])
    around = off[:2, :2].square()[[1, 0, 1]][:, [1, 0, 1]].mean()
    assert_close(even_light(videos, window=3, least=0.1)[0, 0, 0, 0, 0], off[0, 0] / (around.sqrt() + 0.1))


def test_more_light_shows_almost_nothing():
    """A fifth less light changes what a pixel says by less than a tenth; the flow between the two is far from none."""
    videos = clip(2, 1, 3, 24, 24)
    bright, dim = (even_light(light * videos) for light in (1.0, 0.8))
    assert (bright - dim).abs().mean() < 0.1 * bright.abs().mean()
    assert even_light(torch.full((1, 1, 3, 9, 9), 0.7)).abs().max() < 1e-4  # nothing to be seen
    moved = lucas_kanade(videos[:, 0], 0.8 * videos[:, 0], levels=1)
    assert moved.norm(dim=1).mean() > 0.1


def test_even_light_is_the_same_in_a_mirror():
    videos = clip(1, 3, 3, 10, 11)
    for axis in (1, 3, 4):
        assert_close(even_light(videos.flip(axis)), even_light(videos).flip(axis))


def test_changes_by_hand():
    videos = clip(2, 4, 3, 5, 6)
    changes = stack_changes(videos)
    assert changes.shape == (2, 9, 5, 6)
    for k in range(3):
        assert_close(changes[:, 3 * k : 3 * k + 3], videos[:, k + 1] - videos[:, k])


def test_gradients_reach_every_pixel():
    videos = clip(1, 2, 3, 9, 9).requires_grad_()
    stack_changes(even_light(videos)).square().sum().backward()
    assert (videos.grad != 0).all()


@pytest.mark.parametrize("device", DEVICES)
def test_device_and_dtype(device):
    videos = clip(1, 2, 3, 9, 9).to(device, torch.float64)
    lit = flicker(videos, 0.1, generator=torch.Generator().manual_seed(0))
    even = even_light(lit)
    assert lit.device.type == even.device.type == device and lit.dtype == even.dtype == torch.float64


def test_bad_input(unchecked):
    videos = clip(1, 2, 3, 9, 9)
    for strength in (-0.1, 0.5):
        with pytest.raises(ValueError, match=f"strength = {strength}: from 0 to 1/3"):
            flicker(videos, strength)
    for window in (1, 4):
        with pytest.raises(ValueError, match=f"window = {window}: an odd number"):
            even_light(videos, window=window)
    with pytest.raises(ValueError, match="window = 19: .* below twice the side of frames of 9x9"):
        even_light(videos, window=19)
    with pytest.raises(ValueError, match="least = 0: a positive number"):
        even_light(videos, least=0)


def test_other_axes(unchecked):
    videos = clip(2, 3, 9, 9)
    for function in (even_light, stack_changes, lambda x: flicker(x, 0.1)):
        with pytest.raises(ValueError, match=r"videos of shape \(2, 3, 9, 9\): give \[b f c h w\]; a single one is"):
            function(videos)
        with pytest.raises(ValueError, match="videos of torch.uint8"):
            function(torch.ones(1, 2, 3, 9, 9, dtype=torch.uint8))

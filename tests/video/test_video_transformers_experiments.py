"""What the chapter does with its networks: inputs, costs, first positions, and attention against area."""

import pytest
import torch
from torch.testing import assert_close

from helpers.convnets.output_size import multiply_adds
from helpers.video.video_transformers import timesformer_b
from helpers.video.video_transformers.experiments import (
    attention_on,
    base_cost,
    changes,
    fields,
    patch_shares,
    pixels,
    small_scheme,
    space_maps,
)


def rand(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_changes_are_blind_to_what_rests_and_to_contrast():
    videos = rand(3, 5, 3, 8, 8)
    seen = changes(videos)
    assert seen.shape == (3, 4, 3, 8, 8)
    assert_close(seen.std((1, 2, 3, 4)), torch.ones(3))
    step = videos[:, 1:] - videos[:, :-1]
    assert_close(seen, step / step.std((1, 2, 3, 4), keepdim=True))
    ground = rand(3, 1, 3, 8, 8)
    assert_close(changes(0.5 * videos + ground), seen, atol=1e-4, rtol=1e-4)
    assert_close(changes(videos.flip(1)), -seen.flip(1))
    assert_close(changes(0.02 * videos), seen, atol=1e-4, rtol=1e-4)  # also where little changes
    assert not changes(ground.expand(3, 5, 3, 8, 8)).any()  # a still clip gives zeros, no NaN


def test_pixels_and_fields_have_as_many_steps_as_changes():
    videos, flow = rand(2, 5, 3, 8, 8), rand(2, 4, 2, 8, 8)
    assert pixels(videos).shape == changes(videos).shape == (2, 4, 3, 8, 8)
    assert_close(fields(videos, flow), fields(videos, 3 * flow))
    assert_close(fields(videos, flow).std((1, 2, 3, 4)), torch.ones(2))
    plain = videos - videos.mean((1, 3, 4), keepdim=True)
    assert_close(pixels(videos), (plain / plain.std((1, 2, 3, 4), keepdim=True))[:, :-1])  # all frames but the last
    tint = rand(2, 1, 3, 1, 1)
    assert_close(pixels(videos + tint), pixels(videos), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("plan, frames, image", [("joint", 4, 64), ("divided", 2, 96)])
def test_base_cost_is_that_of_the_whole_network(plan, frames, image):
    with torch.device("meta"):
        network = timesformer_b(plan=plan, frames=frames, image=image)
        whole = multiply_adds(lambda: network(torch.empty(1, frames, 3, image, image)))
    assert base_cost(plan, frames, image) == whole


def test_positions_begin_loud():
    torch.manual_seed(0)
    network = small_scheme("divided", loud=0.5)
    assert 0.3 < network.times.std() < 0.7 and 0.3 < network.positions.std() < 0.7
    assert not hasattr(small_scheme("space"), "times")


def test_attention_against_area(unchecked):
    moving = torch.zeros(2, 3, 8, 8)
    moving[:, :, :4, :4] = 1  # a quarter of the area: one patch of four
    shares = patch_shares(moving, 4)
    assert shares[0, 0].tolist() == [[1, 0], [0, 0]]
    even = torch.full((2, 5, 3, 2, 2), 1 / 12)
    assert_close(attention_on(even, shares), 1.0)
    assert_close(attention_on(torch.zeros(2, 5, 3, 2, 2) + shares[:, None], shares), 4.0)
    assert_close(attention_on(torch.ones(2, 5, 3, 2, 2) - shares[:, None], shares), 0.0)
    with pytest.raises(ValueError, match="shares are all 0: give clips in which things move"):
        attention_on(even, torch.zeros_like(shares))
    with pytest.raises(ValueError, match="maps of shape .* shares of"):
        attention_on(even[:1], shares)
    with pytest.raises(ValueError, match="maps: 1 of 120 are no finite numbers"):
        broken = even.clone()
        broken[0, 0, 0, 0, 0] = torch.nan
        attention_on(broken, shares)


def test_attention_is_the_mean_over_heads():
    """One head on what moves and one on all else are together as even as none."""
    shares = torch.zeros(1, 2, 2, 2)
    shares[..., 0, 0] = 1
    for heads in ([shares, 1 - shares], [1 - shares, shares]):
        assert_close(attention_on(torch.stack(heads, 1), shares), 1.0)


@pytest.mark.parametrize("plan, looks", [("joint", 2), ("divided", 2), ("local_global", 4), ("axial", 0)])
def test_space_maps(plan, looks):
    torch.manual_seed(0)
    network, videos = small_scheme(plan, frames=4, image=16).eval(), rand(2, 4, 3, 16, 16)
    maps = space_maps(network, videos)
    assert [m.shape for m in maps] == looks * [(2, 2, 4, 2, 2)]
    if plan == "joint":
        total = maps[-1].sum((2, 3, 4))
        assert (total < 1).all() and (total > 0.5).all()  # the rest is the token's look at itself

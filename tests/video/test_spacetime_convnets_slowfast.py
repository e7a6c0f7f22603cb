"""SlowFast against pytorchvideo, its cost against the paper, its lateral connections by hand."""

import warnings
from functools import lru_cache, partial

import pytest
import torch

from helpers.convnets.output_size import layer_table
from helpers.video.spacetime_convnets import (
    Lateral,
    SlowFast,
    pathways,
    slow_places,
    slowfast_r50,
    slowfast_r50_4x16,
    slowfast_r101,
    slowfast_small,
)

close = partial(torch.testing.assert_close, rtol=0, atol=1e-10)
SMALL = dict(depths=(1, 1, 1, 1), width=16, kernel=5, classes=6)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fill(network: torch.nn.Module) -> torch.nn.Module:
    """Random numbers everywhere, statistics of norms included."""
    with torch.no_grad():
        for i, value in enumerate(network.state_dict().values()):
            if value.is_floating_point():
                new = noise(*value.shape, seed=i)
                value.copy_(new.abs() * 0.5 + 0.5 if value.ndim == 1 else new * value[0].numel() ** -0.5)
    return network


def theirs(**options):
    """pytorchvideo's builder; it uses what torch has since declared old."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytorchvideo.models.slowfast import create_slowfast
    return create_slowfast(**options)


def small_reference():
    options = dict(model_depth=18, stem_dim_outs=(16, 2), slowfast_fusion_conv_kernel_size=(5, 1, 1), model_num_class=6)
    return fill(theirs(**options, head_pool_kernel_sizes=((2, 1, 1), (8, 1, 1)), dropout_rate=0.0).double())


@lru_cache
def multiply_adds(builder, **options) -> dict[str, int]:
    """Of both pathways and what joins them, for 32 frames of 256 pixels."""
    with torch.device("meta"):
        rows = layer_table(builder(**options), (32, 3, 256, 256))
    parts = {"slow": "multipathway_blocks.0", "fast": "multipathway_blocks.1", "lateral": "fusion", "head": "proj"}
    return {part: sum(row.multiply_adds for row in rows if word in row.layer) for part, word in parts.items()}


@pytest.mark.parametrize(
    "builder, options",
    [
        (slowfast_r50, {}),
        (slowfast_r101, dict(model_depth=101, slowfast_fusion_conv_kernel_size=(5, 1, 1))),
    ],
)
def test_parameter_count(builder, options):
    with torch.device("meta"):
        ours, reference = builder(), theirs(**options)
    shapes = {name: tuple(value.shape) for name, value in reference.state_dict().items()}
    assert {name: tuple(value.shape) for name, value in ours.state_dict().items()} == shapes
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in reference.parameters())


@pytest.mark.parametrize(
    "builder, options, billions",
    [
        (slowfast_r50, {}, 65.7),  # the paper's tables 2 and 5, at 256 pixels
        (slowfast_r50_4x16, {}, 36.1),
        (slowfast_r50, dict(fast=False), 54.5),
        (slowfast_r50_4x16, dict(fast=False), 27.3),
    ],
)
def test_multiply_adds_of_the_paper(builder, options, billions, unchecked):
    assert round(sum(multiply_adds(builder, **options).values()) / 1e9, 1) == billions


def test_the_fast_pathway_is_cheap(unchecked):
    """About a fifth of the paper's 4x16, as it says; half of that in the 8x8, whose slow pathway sees twice the frames."""
    costs = {builder: multiply_adds(builder) for builder in (slowfast_r50_4x16, slowfast_r50)}
    share = {builder: cost["fast"] / sum(cost.values()) for builder, cost in costs.items()}
    assert 0.18 < share[slowfast_r50_4x16] < 0.22 and 0.10 < share[slowfast_r50] < 0.11
    assert costs[slowfast_r50_4x16]["fast"] == costs[slowfast_r50]["fast"]


def test_matches_reference():
    """Outputs and gradients of pytorchvideo's, whose state is taken as it is."""
    reference = small_reference().eval()
    ours = SlowFast(**SMALL).double().eval()
    ours.load_state_dict(reference.state_dict())
    videos = noise(2, 8, 3, 32, 32).requires_grad_()
    out, expected = ours(videos), reference([*pathways(videos, 4)])
    close(out, expected)
    weights = noise(2, 6, seed=1)
    gradients = torch.autograd.grad((out * weights).sum(), [videos, *ours.parameters()])
    references = dict(zip(map(id, reference.parameters()), torch.autograd.grad((expected * weights).sum(),
                      [*reference.parameters()], retain_graph=True)))  # fmt: skip
    by_name = [references[id(reference.get_parameter(name))] for name, _ in ours.named_parameters()]
    close(gradients[1:], tuple(by_name))
    close(gradients[0], torch.autograd.grad((expected * weights).sum(), videos)[0])


def test_matches_reference_in_training():
    """With the statistics of the batch."""
    reference = small_reference().train()
    ours = SlowFast(**SMALL, dropout=0.0).double().train()
    ours.load_state_dict(reference.state_dict())
    videos = noise(3, 8, 3, 32, 32)
    close(ours(videos), reference([*pathways(videos, 4)]))
    close(ours.state_dict(), reference.state_dict())


def test_first_weights():
    """As He et al. 2015 by the outputs, as the paper says, and a last layer near nothing."""
    torch.manual_seed(0)
    network = slowfast_small()
    for m in network.modules():
        if isinstance(m, torch.nn.Conv3d) and m.weight.numel() > 2000:
            outputs = m.weight[:, 0].numel()
            torch.testing.assert_close(m.weight.std().item(), (2 / outputs) ** 0.5, rtol=0.1, atol=0)
    assert 0.005 < network.blocks[-1].proj.weight.std() < 0.02 and not network.blocks[-1].proj.bias.any()


def test_dropout_before_the_last_layer():
    """Half of what the last layer sees, of both pathways, while it learns, and nothing after."""
    network, seen = slowfast_small(dropout=0.5), []
    network.features = lambda videos: {"0": torch.ones(50, 256, 1, 1, 1), "1": torch.ones(50, 64, 1, 1, 1)}
    network.blocks[-1].proj.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    for mode, share in ((True, 0.5), (False, 0.0)):
        network.train(mode)(torch.zeros(50, 8, 3, 16, 16))
        for part in seen[-1].split([256, 64], 1):
            assert abs((part == 0).double().mean() - share) < 0.05


def test_pathways():
    videos = torch.arange(8.0).view(1, 8, 1, 1, 1)
    slow, fast = pathways(videos, 4)
    assert slow.flatten().tolist() == [0, 7] and fast.flatten().tolist() == list(range(8))
    slow, _ = pathways(torch.arange(32.0).view(1, 32, 1, 1, 1), 4)
    assert slow.flatten().tolist() == [0, 4, 8, 13, 17, 22, 26, 31]


def test_laterals_by_hand():
    fast = noise(1, 2, 8, 3, 3)
    packed = Lateral(2, kind="time-to-channel", alpha=4, kernel=5)
    told = packed.told(fast)
    assert packed.outputs == 8 and told.shape == (1, 8, 2, 3, 3)
    close(told[0, 1 * 4 + 2, 1], fast[0, 1, 6])  # channel 1, the third frame of the second four
    close(Lateral(2, kind="sampling", alpha=4, kernel=5).told(fast), fast[:, :, [0, 4]])
    convolved = fill(Lateral(2, kind="convolution", alpha=4, kernel=5).double()).eval()
    out = convolved.told(fast)
    assert out.shape == (1, 4, 2, 3, 3)
    weight = convolved.conv_fast_to_slow.weight[:, :, :, 0, 0]
    middle = torch.einsum("oct,cthw->ohw", weight, fast[0, :, 2:7])  # frames 2 … 6 around frame 4
    close(out[:, :, 1], convolved.activation(convolved.norm(middle[None, :, None]))[:, :, 0])
    slow = noise(1, 3, 2, 3, 3)
    close(convolved(slow, fast), torch.cat([slow, out], 1))


@pytest.mark.parametrize("lateral", ["convolution", "time-to-channel", "sampling"])
def test_motion_reaches_the_slow_pathway_only_through_laterals(lateral):
    """A frame between the slow ones moves the slow maps if a lateral looks at it, never the other way."""
    network = fill(slowfast_small(lateral=lateral, depths=(1, 1), width=8).double()).eval()
    videos = noise(1, 8, 3, 8, 8).requires_grad_()
    maps = network.features(videos)
    (slope,) = torch.autograd.grad(maps["0"].square().sum(), videos, retain_graph=True)
    assert (slope.abs().sum((0, 2, 3, 4)) > 0).all()
    paths = dict(zip("01", pathways(videos, 4)))
    cut = paths["0"].detach().requires_grad_()
    out = {"0": cut, "1": paths["1"]}
    for level in network.blocks[:-2]:
        out = level(out)
    assert torch.autograd.grad(out["1"].sum(), cut, allow_unused=True) == (None,)
    alone = fill(slowfast_small(fast=False, depths=(1, 1), width=8).double()).eval()
    (slope,) = torch.autograd.grad(alone(videos).square().sum(), videos)
    assert (slope.abs().sum((0, 2, 3, 4)) > 0).tolist() == [True, *6 * [False], True]


def test_each_pathway_alone():
    videos = torch.rand(1, 8, 3, 16, 16)
    both = slowfast_small(classes=3)
    slow, fast = slowfast_small(classes=3, fast=False), slowfast_small(classes=3, slow=False)
    for network in (both, slow, fast):
        assert network(videos).shape == (1, 3)
    assert slow.blocks[-1].proj.in_features + fast.blocks[-1].proj.in_features == both.blocks[-1].proj.in_features
    own = {name: value.shape for name, value in fast.state_dict().items() if "proj" not in name}
    assert all(both.state_dict()[name].shape == shape for name, shape in own.items())
    assert not any("fusion" in name for name in own)


def test_no_layer_strides_in_time():
    with torch.device("meta"):
        network = slowfast_r50()
    strides = {name: m.stride[0] for name, m in network.named_modules() if isinstance(m, torch.nn.Conv3d)}
    assert {name for name, stride in strides.items() if stride != 1} == {name for name in strides if "fusion" in name}


def test_bad_input():
    with pytest.raises(ValueError, match="clips of 9 frames, alpha = 4: give a multiple of alpha, such as 8"):
        slowfast_small()(torch.zeros(1, 9, 3, 16, 16))
    with pytest.raises(ValueError, match="clips of 2 frames, alpha = 4: .* such as 4"):
        slowfast_small()(torch.zeros(1, 2, 3, 16, 16))
    with pytest.raises(ValueError, match="lateral = 'sum': choose convolution, time-to-channel, sampling"):
        slowfast_small(lateral="sum")
    with pytest.raises(ValueError, match="lateral = 'sum'"):
        slowfast_small(lateral="sum", fast=False)
    with pytest.raises(ValueError, match="kernel = 4: an odd number of frames"):
        slowfast_small(kernel=4)
    with pytest.raises(ValueError, match="width = 16, beta = 5"):
        slowfast_small(beta=5)
    with pytest.raises(ValueError, match="keep one pathway"):
        slowfast_small(slow=False, fast=False)


@pytest.mark.parametrize("frames, alpha, places", [(8, 4, [0, 7]), (32, 8, [0, 10, 20, 31]), (9, 3, [0, 4, 8])])
def test_slow_places(frames, alpha, places):
    """From the first frame to the last; what `pathways` hands to the slow pathway."""
    assert slow_places(frames, alpha).tolist() == places
    videos = noise(1, frames, 3, 2, 2)
    close(pathways(videos, alpha)[0], videos.transpose(1, 2)[:, :, places])


def test_without_laterals_the_pathways_meet_in_the_last_layer():
    """The slow maps know nothing of the frames that only the fast pathway sees; with a lateral they do."""
    for lateral, knows in ((None, False), ("convolution", True), ("sampling", True), ("time-to-channel", True)):
        network = fill(slowfast_small(lateral=lateral, depths=(1, 1), width=8, beta=2).double()).eval()
        videos = noise(1, 8, 3, 16, 16).requires_grad_()
        (seen,) = torch.autograd.grad(network.features(videos)["0"].sum(), videos)
        assert bool(seen[:, 1:7].abs().max() > 0) == knows, lateral
        (seen,) = torch.autograd.grad(network(videos).sum(), videos)
        assert (seen.abs().amax((0, 2, 3, 4)) > 0).all()

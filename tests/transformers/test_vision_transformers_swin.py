"""Swin against torchvision, and its shifted windows against windows that are shifted."""

import math
from functools import partial

import pytest
import torch
import torchvision
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.swin_transformer import SwinTransformer

from helpers.transformers.vision_transformers import (
    Swin,
    WindowAttention,
    attention_cost,
    shift_mask,
    swin_b,
    swin_s,
    swin_small,
    swin_t,
    windows,
)
from helpers.transformers.vision_transformers.swin import Block, joined
from tests.transformers.reference import close, compare, fill, made, noise

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
SMALL = dict(dim=8, depths=(2, 2), heads=(2, 4), window=3, patch=2, classes=5)
small = partial(made, Swin, SMALL)


def theirs(**options) -> SwinTransformer:
    words = dict(patch_size=[2, 2], embed_dim=8, depths=[2, 2], num_heads=[2, 4], window_size=[3, 3], num_classes=5)
    return SwinTransformer(**words | dict(stochastic_depth_prob=0.0) | options)


@pytest.mark.parametrize("builder, parameters", [(swin_t, 28_288_354), (swin_s, 49_606_258), (swin_b, 87_768_224)])
def test_parameter_count(builder, parameters):
    with torch.device("meta"):
        ours, reference = builder(), torchvision.models.get_model(builder.__name__)
    assert sum(p.numel() for p in ours.parameters()) == parameters
    shapes = {name: tuple(p.shape) for name, p in reference.state_dict().items()}
    assert {name: tuple(p.shape) for name, p in ours.state_dict().items()} == shapes
    chances = [1 - m.survival for m in ours.modules() if hasattr(m, "survival")]
    dropped = [m.p for m in reference.modules() if isinstance(m, torchvision.ops.StochasticDepth)]
    assert chances == pytest.approx(dropped)


def test_shapes_by_stage():
    with torch.device("meta"):
        x, network, shapes = torch.empty(2, 3, 224, 224), swin_t(classes=7), []
        assert network(x).shape == (2, 7)
        assert swin_t(classes=None)(x).shape == (2, 768)
        for stage in network.features:
            shapes.append(tuple((x := stage(x)).shape[1:]))
    assert shapes[1::2] == [(56, 56, 96), (28, 28, 192), (14, 14, 384), (7, 7, 768)]


@pytest.mark.parametrize("h, w", [(24, 24), (22, 16), (6, 12)], ids=["whole windows", "padded", "one window high"])
def test_matches_reference(h, w):
    """Outputs and gradients of torchvision's, whose state is taken as it is."""
    reference = fill(theirs().double()).eval()
    ours = Swin(**SMALL).double().eval()
    ours.load_state_dict(reference.state_dict())
    images = noise(2, 3, h, w).requires_grad_()
    compare(ours(images), reference(images), ours, reference, inputs=images)


def test_matches_reference_in_float32():
    reference = fill(theirs()).eval()
    ours = Swin(**SMALL).eval()
    ours.load_state_dict(reference.state_dict())
    images = noise(2, 3, 24, 24).float()
    torch.testing.assert_close(ours(images), reference(images), rtol=0, atol=1e-5)


def test_matches_reference_while_training():
    """The same branches are dropped under the same seed."""
    reference = fill(theirs(stochastic_depth_prob=0.5).double())
    ours = Swin(**SMALL, survival=0.5).double()
    ours.load_state_dict(reference.state_dict())
    images, out = noise(6, 3, 12, 12), []
    for network in (ours, reference):
        torch.manual_seed(3)
        out.append(network(images))
    close(*out)
    assert (out[0] - ours.eval()(images)).abs().max() > 1e-3


def test_dropout_acts_on_both_branches():
    """All dropped, a block hands on its input as it is; all of one branch alone would not do that."""
    block = fill(Block(dim=8, heads=2, window=3, shift=1, hidden=12, dropout=1.0).double())
    x = noise(2, 6, 6, 8)
    assert torch.equal(block(x), x)
    mixed = x + block.eval().attn(block.norm1(x))
    close(block(x), mixed + block.mlp(block.norm2(mixed)))


def test_first_weights_are_those_that_torchvision_draws():
    torch.manual_seed(5)
    ours = Swin(**SMALL)
    torch.manual_seed(5)
    reference = theirs()
    for name, p in reference.named_parameters():
        assert torch.equal(ours.get_parameter(name), p), name


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_shifted_windows_are_truly_shifted(shift):
    """Each token beside those of its own window, cut from the map at the shifted borders, one window at a time."""
    layer = fill(WindowAttention(dim=8, heads=2, window=3, shift=shift).double())
    x, (h, w), expected = noise(2, 9, 6, 8), (9, 6), torch.zeros(2, 9, 6, 8, dtype=torch.float64)
    table = layer.relative_position_bias_table.unflatten(0, (5, 5))
    for top in range(shift - 3, h, 3):
        for left in range(shift - 3, w, 3):
            at = [(i, j) for i in range(top, top + 3) for j in range(left, left + 3) if 0 <= i < h and 0 <= j < w]
            if not at:
                continue
            rows, columns = map(list, zip(*at))
            q, k, v = layer.qkv(x[:, rows, columns]).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
            bias = torch.stack([torch.stack([table[i - a + 2, j - b + 2] for a, b in at]) for i, j in at])
            scores = q @ k.transpose(2, 3) / 2 + bias.permute(2, 0, 1)
            mixed = (scores.softmax(3) @ v).transpose(1, 2).flatten(2)
            expected[:, rows, columns] = layer.proj(mixed)
    close(layer(x), expected)


def test_a_token_reaches_its_window_only():
    layer = fill(WindowAttention(dim=8, heads=2, window=3, shift=1).double())
    x = noise(1, 9, 9, 8).requires_grad_()
    for i, j, rows, columns in [(0, 0, [0], [0]), (4, 5, [4, 5, 6], [4, 5, 6]), (8, 2, [7, 8], [1, 2, 3])]:
        (gradient,) = torch.autograd.grad(layer(x)[0, i, j].sum(), x)
        seen = gradient[0].abs().sum(2) > 0
        expected = torch.zeros(9, 9, dtype=torch.bool)
        expected[torch.tensor(rows)[:, None], torch.tensor(columns)] = True
        assert torch.equal(seen, expected)


def test_shift_mask_by_hand():
    """A map of 4 x 4 in windows of 2, shifted by 1: the first window is whole, the last in four pieces."""
    mask = shift_mask(4, 4, 2, 1, 1)
    assert mask[0].all()
    halves = torch.tensor([[True, False], [False, True]])
    assert torch.equal(mask[1], halves.repeat(2, 2))  # left of the seam, right of it
    assert torch.equal(mask[2], halves.repeat_interleave(2, 0).repeat_interleave(2, 1))
    assert torch.equal(mask[3], torch.eye(4, dtype=torch.bool))


def test_windows_and_back():
    x = noise(2, 4, 6, 3)
    cut = windows(x, 2)
    assert cut.shape == (2, 6, 4, 3)
    close(cut[:, 4], x[:, 2:4, 2:4].flatten(1, 2))
    close(joined(cut, 4, 6, 2), x)


def test_attention_cost():
    assert attention_cost(56, 56, 96) / attention_cost(56, 56, 96, 7) == pytest.approx(13.8, abs=0.05)
    assert attention_cost(112, 112, 96, 7) == 4 * attention_cost(56, 56, 96, 7)
    for side, window in ((6, 3), (6, 6), (5, 3)):
        layer = WindowAttention(dim=8, heads=2, window=window, shift=0)
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            layer(torch.zeros(1, side, 6, 8))
        assert counter.get_total_flops() == 2 * attention_cost(side, 6, 8, window)  # two flops in a multiply-add
    assert attention_cost(6, 6, 8) == attention_cost(6, 6, 8, 6)
    assert attention_cost(5, 4, 8, 3) == attention_cost(6, 6, 8, 3)  # padded, as the layer does


def test_gradients_reach_every_parameter():
    network = small()
    network(noise(2, 3, 24, 24)).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in network.parameters())


def test_learns_toy_problem():
    """Stripes as wide as a window, and laid as windows are: only shifted ones see whether they lie or stand."""
    labels = torch.arange(4) % 2
    lying = torch.tensor([1.0, 1, -1, -1]).repeat(2)[:, None].expand(8, 8)
    images = torch.stack([lying, lying.mT, -lying, -lying.mT])[:, None].contiguous()
    losses = {}
    for shift in (1, 0):
        torch.manual_seed(0)
        network = swin_small(dim=16, depths=(2,), heads=(2,), patch=1, window=2, classes=2, channels=1)
        assert network.features[1][1].attn.shift == 1
        network.features[1][1].attn.shift = shift
        optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
        for _ in range(150):
            loss = F.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses[shift] = loss.item()
    assert losses[1] < 0.1
    assert losses[0] == pytest.approx(math.log(2), abs=0.01)  # chance


@pytest.mark.parametrize("device", DEVICES)
def test_device_and_dtype(device):
    network = small().float().to(device)
    images = noise(2, 3, 24, 24).float().to(device)
    out = network(images)
    assert out.device.type == device
    lasting = small().float().to(device, memory_format=torch.channels_last)
    torch.testing.assert_close(lasting(images.to(memory_format=torch.channels_last)), out, rtol=0, atol=1e-5)
    with torch.autocast(device, torch.bfloat16):
        torch.testing.assert_close(network(images).float(), out, rtol=0, atol=0.1)
    assert network.bfloat16()(images.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("image, patch", [(8, 1), (16, 2), (28, 2), (32, 2)])
def test_the_small_one_takes_small_images(image, patch):
    assert swin_small(patch=patch)(torch.zeros(1, 3, image, image)).shape == (1, 10)


def test_bad_input(unchecked):
    with pytest.raises(ValueError, match="image = 25, patch = 2: .* resize or pad to 24"):
        small()(noise(1, 3, 24, 25))
    with pytest.raises(ValueError, match=r"depths = \(2, 2\), heads = \(2,\): give one number of blocks"):
        Swin(**SMALL | dict(heads=(2,)))
    with pytest.raises(ValueError, match=r"depths = \(0,\)"):
        Swin(**SMALL | dict(depths=(0,), heads=(2,)))
    with pytest.raises(ValueError, match="dim = 8, heads = 3: each head takes an equal share"):
        Swin(**SMALL | dict(heads=(3, 3)))
    with pytest.raises(ValueError, match="window = 0, shift = 0: a window has 1 token"):
        Swin(**SMALL | dict(window=0))
    with pytest.raises(ValueError, match="window = 3, shift = 3: .* shifted by less"):
        WindowAttention(dim=8, heads=2, window=3, shift=3)
    for survival in (0.0, -0.5, 1.5):
        with pytest.raises(ValueError, match=f"survival = {survival}: a share above 0"):
            Swin(**SMALL, survival=survival)
    for window in (0, 4):
        with pytest.raises(ValueError, match=f"a map of 6x9 in windows of {window}: pad it to a multiple"):
            windows(noise(1, 6, 9, 2), window)
    with pytest.raises(ValueError, match=r"window = \(3, 3\): windows are square, give one number"):
        Swin(**SMALL | dict(window=(3, 3)))
    for images in (noise(3, 24, 24), noise(1, 1, 24, 24)):
        with pytest.raises(ValueError, match=r"images of shape .*: give \[b 3 h w\]; image\[None\]"):
            small()(images)
    with pytest.raises(ValueError, match=r"a map of shape \(6, 6, 8\): give \[b h w 8\]"):
        WindowAttention(dim=8, heads=2, window=3, shift=0).double()(noise(6, 6, 8))
    with torch.device("meta"), pytest.raises(ValueError, match="swin_t's published weights .* this network has 10"):
        swin_t(classes=10, weights="imagenet")

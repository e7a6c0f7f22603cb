"""The Perceiver against transformers, its symmetry, and what it costs."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from helpers.transformers.vision_transformers import Perceiver, fourier_features, grid
from tests.transformers.reference import close, compare, fill, made, noise

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
SMALL = dict(channels=6, latents=4, dim=8, depth=2, heads=2, classes=5)
small = partial(made, Perceiver, SMALL)


def renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """transformers' names to ours; its queries, keys and values among latents are three layers."""
    names = {
        "self_attends.": "think.layers.",
        "cross_attention.": "cross.0.",
        "attention.output.dense.": "output.",
        "attention.self.layernorm1.": "norm.",
        "attention.self.layernorm2.": "input_norm.",
        "attention.self.": "",
        ".layernorm.": ".mlp_norm.",
        ".mlp.dense1.": ".mlp.0.",
        ".mlp.dense2.": ".mlp.3.",
    }
    inner = {".norm.": ".norm1.", ".mlp_norm.": ".norm2.", ".mlp.0.": ".linear1.", ".mlp.3.": ".linear2."}
    inner |= {".output.": ".self_attn.out_proj."}
    found, parts = {}, {}
    for key, value in state.items():
        for old, new in names.items():
            key = key.replace(old, new)
        if key.startswith("think"):
            for old, new in inner.items():
                key = key.replace(old, new)
            stem, _, last = key.rpartition(".")
            if stem.endswith(("query", "key", "value")):
                parts.setdefault(f"{stem.rpartition('.')[0]}.self_attn.in_proj_{last}", []).append(value)
                continue
        found[key] = value
    return found | {key: torch.cat(values) for key, values in parts.items()}


@pytest.mark.parametrize("rounds", [1, 3])
def test_matches_reference(rounds):
    """One look, then the same stack `rounds` times, as in transformers: outputs and gradients."""
    from transformers.models.perceiver.modeling_perceiver import PerceiverConfig, PerceiverEncoder

    words = dict(d_latents=8, num_self_attends_per_block=2, num_blocks=rounds, num_self_attention_heads=2)
    words |= dict(
        num_cross_attention_heads=2, cross_attention_shape_for_attention="q", attention_probs_dropout_prob=0.0
    )
    words |= dict(self_attention_widening_factor=4, cross_attention_widening_factor=4, qk_channels=8, v_channels=8)
    reference = fill(PerceiverEncoder(PerceiverConfig(**words), kv_dim=6).double())
    ours = small(cross_heads=2)
    missing, unexpected = ours.load_state_dict(renamed(reference.state_dict()), strict=False)
    assert sorted(missing) == ["head.bias", "head.weight", "latents", "norm.bias", "norm.weight"] and not unexpected
    inputs, latents = noise(2, 7, 6), ours.latents.expand(2, -1, -1)
    expected = reference(latents, inputs=inputs).last_hidden_state
    out = ours.cross[0](latents, inputs)
    for _ in range(rounds):
        out = ours.think(out)
    if rounds == 1:
        close(ours.features(inputs), expected)
    compare(out, expected, ours, reference, renamed=renamed)


def test_positions_match_reference():
    from transformers.models.perceiver.modeling_perceiver import generate_fourier_features

    sides = (5, 4)
    assert grid(*sides)[[0, 1, -1]].tolist() == [[-1, -1], [-1, pytest.approx(-1 / 3)], [1, 1]]
    expected = generate_fourier_features(grid(*sides)[None], 3, sides)[0]
    torch.testing.assert_close(fourier_features(grid(*sides), bands=3, sides=sides), expected, rtol=0, atol=1e-6)


def test_later_looks_share_their_weights():
    counts = [sum(p.numel() for p in small(looks=looks).parameters()) for looks in (1, 2, 5)]
    cross = sum(p.numel() for p in small().cross[0].parameters())
    assert counts[1] == counts[0] + cross and counts[2] == counts[1]
    network, inputs = small(looks=3), noise(2, 7, 6)
    x = network.latents.expand(2, -1, -1)
    for block in (network.cross[0], network.cross[1], network.cross[1]):
        x = network.think(block(x, inputs))
    close(network.features(inputs), x)


def test_the_answer_is_read_from_the_mean_of_the_latents():
    network, inputs = small(), noise(2, 7, 6)
    mean = sum(network.features(inputs).unbind(1)) / 4
    answer = F.linear(F.layer_norm(mean, (8,), network.norm.weight, network.norm.bias), network.head.weight)
    close(network(inputs), answer + network.head.bias)


def test_latents_begin_small():
    """Section 3.2: a truncated normal distribution with standard deviation 0.02."""
    torch.manual_seed(0)
    latents = Perceiver(**SMALL | dict(latents=64, dim=64)).latents
    assert latents.std().item() == pytest.approx(0.02, rel=0.05) and abs(latents.mean().item()) < 0.002


def test_the_order_of_inputs_tells_nothing():
    network, inputs = small(looks=2), noise(2, 7, 6)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(1))
    close(network(inputs), network(inputs[:, order]))
    assert (network(inputs) - network(inputs.flip(2))).abs().max() > 1e-3


def test_cost_is_linear_in_the_inputs():
    def flops(s, depth=2):
        with FlopCounterMode(display=False) as counter:
            small(depth=depth)(noise(1, s, 6))
        return counter.get_total_flops()

    assert flops(40) - flops(30) == flops(30) - flops(20) > 0
    assert flops(40, depth=5) - flops(40) == flops(20, depth=5) - flops(20) > 0  # the latents' share does not grow


def test_one_network_takes_any_number_of_inputs():
    network = small()
    for sides in ((9,), (3, 4), (2, 3, 2)):
        places = grid(*sides)
        assert network(noise(2, len(places), 6)).shape == (2, 5)
    image, line = fourier_features(grid(3, 4), bands=2, sides=(3, 4)), fourier_features(grid(9), bands=2, sides=(9,))
    assert (image.shape, line.shape) == ((12, 2 + 2 * 2 * 2), (9, 1 + 2 * 2))


def test_gradients_reach_every_parameter():
    network = small(looks=2)
    network(noise(2, 7, 6)).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in network.parameters())


def test_learns_toy_problem():
    """In which quarter of the image the bright pixel is; the place is among its features."""
    torch.manual_seed(0)
    places, at = fourier_features(grid(4, 4), bands=2, sides=(4, 4)), torch.arange(16)
    inputs = torch.cat([4 * torch.eye(16)[:, :, None], places.expand(16, -1, -1)], 2)
    labels = at // 8 * 2 + at % 4 // 2
    network = Perceiver(channels=11, latents=4, dim=32, depth=1, heads=4, classes=4)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    for _ in range(150):
        loss = F.cross_entropy(network(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (network(inputs).argmax(1) == labels).all()


@pytest.mark.parametrize("device", DEVICES)
def test_device_and_dtype(device):
    network, inputs = small().float().to(device), noise(2, 7, 6).float().to(device)
    out = network(inputs)
    assert out.device.type == device
    with torch.autocast(device, torch.bfloat16):
        torch.testing.assert_close(network(inputs).float(), out, rtol=0.05, atol=0.1)
    assert network.bfloat16()(inputs.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_positions_in_half_precision_are_those_in_single_rounded(dtype):
    """At 112 turns half a period is 0.004 of the way: angles themselves do not fit into halves."""
    at = grid(224)
    whole = fourier_features(at.to(dtype).float(), bands=8, sides=(224,))
    assert torch.equal(fourier_features(at.to(dtype), bands=8, sides=(224,)), whole.to(dtype))


def test_bad_input(unchecked):
    network = small()
    for inputs in (noise(7, 6), noise(2, 7, 5), noise(2, 6, 3, 3)):
        with pytest.raises(ValueError, match=r"inputs of shape .*: give \[b s 6\], a row of features for each"):
            network(inputs)
    with pytest.raises(ValueError, match="places of torch.int64: give floats"):
        fourier_features(torch.zeros(3, 1, dtype=torch.long), bands=2, sides=(3,))
    with pytest.raises(ValueError, match="0 inputs: there is nothing"):
        network(noise(2, 0, 6))
    with pytest.raises(ValueError, match="depth = 0: a stack has at least 1"):
        Perceiver(**SMALL | dict(depth=0))
    with pytest.raises(ValueError, match=r"bands = 2, sides = \(0,\) for 1 axes"):
        fourier_features(grid(3), bands=2, sides=(0,))
    with pytest.raises(ValueError, match="latents = 0, looks = 1: at least 1 latent"):
        Perceiver(**SMALL | dict(latents=0))
    with pytest.raises(ValueError, match="dim = 8, heads = 3: each head takes an equal share"):
        Perceiver(**SMALL | dict(cross_heads=3))
    with pytest.raises(ValueError, match=r"bands = 2, sides = \(3,\) for 2 axes"):
        fourier_features(grid(3, 3), bands=2, sides=(3,))
    with pytest.raises(ValueError, match=r"sides = \(\): give 1 axis or more"):
        grid()

"""Positions: sinusoids turn, rotary products see differences alone, buckets are T5's."""

import math
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from helpers.transformers.attention import (
    LearnedPositions,
    MultiHeadAttention,
    RelativeBias,
    angles,
    relative_bucket,
    rotate,
    sinusoidal,
)

close = partial(torch.testing.assert_close, rtol=0, atol=1e-10)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_sinusoids_match_the_formula():
    table = sinusoidal(torch.arange(50), 8)
    for p in (0, 1, 7, 49):
        for i in range(4):
            turn = p / 10_000 ** (2 * i / 8)
            close(table[p, 2 * i : 2 * i + 2].tolist(), [math.sin(turn), math.cos(turn)])


@pytest.mark.parametrize("k", [1, 5, -3])
def test_a_shift_is_one_rotation_for_all_positions(k):
    at, dim = torch.arange(3, 60), 16
    turn = angles(torch.tensor([k]), dim)[0]
    R = torch.zeros(dim, dim, dtype=torch.float64)
    for i, a in enumerate(turn.tolist()):  # (sin, cos) of p + k from those of p
        turned = [[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]]
        R[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = torch.tensor(turned, dtype=torch.float64)
    close(sinusoidal(at + k, dim), sinusoidal(at, dim) @ R.T)
    close(R @ R.T, torch.eye(dim, dtype=torch.float64))


def test_rotary_matches_transformers():
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    q, k, at = noise(2, 3, 7, 8), noise(2, 3, 7, 8, seed=1), torch.arange(4, 11)
    turn = torch.cat(2 * [angles(at, 8)], 1)[None]
    expected = apply_rotary_pos_emb(q, k, turn.cos(), turn.sin())
    close((rotate(q, at), rotate(k, at)), expected)


def test_rotary_products_depend_on_the_difference_alone():
    q, k = noise(1, 1, 1, 8), noise(1, 1, 1, 8, seed=1)

    def product(m, n):
        return (rotate(q, torch.tensor([m])) * rotate(k, torch.tensor([n]))).sum()

    for m, n in ((0, 0), (3, 1), (2, 9)):
        for shift in (1, 40, 1000):
            close(product(m + shift, n + shift), product(m, n))
    assert abs(product(3, 1) - product(3, 2)) > 1e-3
    close(rotate(q, torch.tensor([77])).norm(), q.norm())
    assert torch.equal(rotate(q, torch.tensor([0])), q)


def test_rotary_layer_turns_queries_and_keys_but_no_values():
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    layer, at = MultiHeadAttention(dim=16, heads=2, kv_heads=1, rotary=True).double(), torch.arange(6)
    x = noise(1, 6, 16)
    q, k, v = F.linear(x, layer.in_proj_weight, layer.in_proj_bias).split([16, 8, 8], 2)
    q, k, v = (part.unflatten(2, (-1, 8)).transpose(1, 2) for part in (q, k, v))
    turn = torch.cat(2 * [angles(at, 8)], 1)[None]
    out = F.scaled_dot_product_attention(*apply_rotary_pos_emb(q, k, turn.cos(), turn.sin()), v, enable_gqa=True)
    close(layer(x), layer.out_proj(out.transpose(1, 2).flatten(2)))
    memory = noise(1, 4, 16, seed=1)
    order = torch.tensor([2, 0, 3, 1])
    close(layer(x, memory[:, order]), layer(x, memory))  # other sequences have no common positions


@pytest.mark.parametrize("both_ways", [True, False])
@pytest.mark.parametrize(("buckets", "distance"), [(32, 128), (8, 20)])
def test_buckets_match_t5(buckets, distance, both_ways):
    from transformers.models.t5.modeling_t5 import T5Attention

    difference = torch.arange(-300, 301)[None]
    found = relative_bucket(difference, buckets=buckets, distance=distance, both_ways=both_ways)
    expected = T5Attention._relative_position_bucket(difference, both_ways, buckets, distance)
    assert torch.equal(found, expected)
    assert found.unique().numel() == buckets - both_ways  # T5 leaves one of the future's buckets empty


def test_relative_bias():
    bias = RelativeBias(heads=3, buckets=8, distance=20, both_ways=False)
    with torch.no_grad():
        bias.table.weight.copy_(noise(8, 3))
    whole = bias(6)
    assert whole.shape == (1, 3, 6, 6)
    assert torch.equal(bias(2, 6), whole[:, :, 4:])
    assert torch.equal(whole[0, :, 3, 1], bias.table.weight[2]) and torch.equal(whole[0, :, 5, 3], whole[0, :, 2, 0])
    assert not RelativeBias(heads=2).table.weight.any()
    whole[:, :, 5].sum().backward()
    assert bias.table.weight.grad.abs().sum() > 0


def test_learned_positions():
    places = LearnedPositions(dim=4, context=6)
    assert torch.equal(places(torch.tensor([5, 0])), places.table.weight[[5, 0]])
    torch.manual_seed(0)
    first = LearnedPositions(dim=64, context=64).table.weight
    assert first.std().item() == pytest.approx(0.5, rel=0.05)  # half as wide as the tokens, which have variance 1


def test_positions_that_are_not_there_are_named(unchecked):
    places = LearnedPositions(dim=4, context=6)
    for bad in (-1, 6):
        with pytest.raises(
            ValueError, match=f"position {bad}: those learned are 0 to 5; build the table with a longer"
        ):
            places(torch.tensor([0, bad]))
    with pytest.raises(ValueError, match="context = 0: at least 1 position"):
        LearnedPositions(dim=4, context=0)
    with pytest.raises(ValueError, match="5 queries and 3 keys: .* no fewer keys"):
        RelativeBias(heads=2)(5, 3)
    with pytest.raises(ValueError, match="1 positions for 5 tokens: give each its own"):
        rotate(noise(1, 2, 5, 4), torch.tensor([3]))


def test_bad_input_is_named():
    for call in (lambda: sinusoidal(torch.arange(3), 5), lambda: rotate(noise(1, 1, 2, 5), torch.arange(2))):
        with pytest.raises(ValueError, match="dim = 5: sine and cosine come in pairs, so give an even number"):
            call()
    with pytest.raises(ValueError, match="buckets = 2, distance = 128: at least 4 buckets"):
        relative_bucket(torch.zeros(1, 1, dtype=torch.long), buckets=2)
    with pytest.raises(ValueError, match="buckets = 32, distance = 8: at least 4 buckets"):
        relative_bucket(torch.zeros(1, 1, dtype=torch.long), distance=8)

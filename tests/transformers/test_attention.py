"""Dot-product and multi-head attention against torch, in outputs, gradients and symmetries."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from helpers.sequences.character_models import Attention
from helpers.sequences.rnn_lstm import reversal
from helpers.transformers.attention import (
    AdditiveAttention,
    Cache,
    MultiHeadAttention,
    Searcher,
    Translator,
    additive,
    attend,
    attention_weights,
    causal_mask,
    padding_mask,
    tied,
    window_mask,
)

close = partial(torch.testing.assert_close, rtol=0, atol=1e-10)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
both_ways = pytest.mark.parametrize("fused", [True, False], ids=["fused", "by hand"])


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build(seed: int = 0, **words) -> MultiHeadAttention:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layer = MultiHeadAttention(**{"dim": 16, "heads": 4} | words).double()
    with torch.no_grad():  # biases begin at zero, which would hide their place
        for i, p in enumerate(p for p in layer.parameters() if p.ndim == 1):
            p.copy_(noise(*p.shape, seed=i))
    return layer


def gradients(out: torch.Tensor, inputs) -> list[torch.Tensor]:
    """Gradients of a random linear loss."""
    return list(torch.autograd.grad((out * noise(*out.shape, seed=9)).sum(), inputs, retain_graph=True))


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_parameter_count(kv_heads):
    layer = MultiHeadAttention(dim=16, heads=4, kv_heads=kv_heads)
    kv = 16 * kv_heads // 4
    assert sum(p.numel() for p in layer.parameters()) == 2 * (16 * 16 + 16) + 2 * (16 * kv + kv)
    shapes = {name: tuple(p.shape) for name, p in nn.MultiheadAttention(16, 4).named_parameters()}
    if kv_heads == 4:
        assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == shapes


def test_heads_cost_the_same_as_one():
    counts = {sum(p.numel() for p in MultiHeadAttention(dim=24, heads=h).parameters()) for h in (1, 2, 3, 8)}
    assert len(counts) == 1


def test_first_weights_are_those_that_torch_draws():
    torch.manual_seed(5)
    mine = MultiHeadAttention(dim=16, heads=4)
    torch.manual_seed(5)
    theirs = nn.MultiheadAttention(16, 4)
    for name, p in theirs.named_parameters():
        assert torch.equal(mine.get_parameter(name), p), name


@settings(max_examples=40, deadline=None)
@given(
    t=st.integers(1, 6),
    more=st.integers(0, 4),
    kv=st.sampled_from([4, 2, 1]),
    kind=st.sampled_from(["none", "bool", "float", "heads"]),
    causal=st.booleans(),
    fused=st.booleans(),
    seed=st.integers(0, 50),
)
def test_matches_reference(t, more, kv, kind, causal, fused, seed):
    """F.scaled_dot_product_attention(enable_gqa=True), given one mask of numbers for all that is hidden."""
    s = t + more
    q, k, v = (noise(2, h, n, 3, seed=seed + i).requires_grad_() for i, (h, n) in enumerate([(4, t), (kv, s), (kv, s)]))
    v.data = noise(2, kv, s, 5, seed=7)
    q = q.detach().requires_grad_()
    k, v = k.detach().requires_grad_(), v.detach().requires_grad_()
    mask, total = None, torch.zeros(2, 4, t, s, dtype=torch.float64)
    if kind == "bool":
        mask = noise(t, s, seed=seed) > -0.5
        mask[:, 0] = True
        total = total.masked_fill(~mask, -torch.inf)
    if kind == "float":
        mask = noise(t, s, seed=seed)
        total = total + mask
    if kind == "heads":
        mask = noise(1, 4, 1, s, seed=seed)
        total = total + mask
    if causal:
        hidden = torch.arange(s) > torch.arange(t)[:, None] + s - t
        total = total.masked_fill(hidden, -torch.inf)
    expected = F.scaled_dot_product_attention(q, k, v, total, enable_gqa=kv < 4)
    out = attend(q, k, v, mask, causal=causal, fused=fused)
    close(out, expected)
    close(gradients(out, (q, k, v)), gradients(expected, (q, k, v)))


def test_weights_match_the_naive_loop():
    q, k = noise(1, 2, 3, 5), noise(1, 2, 4, 5, seed=1)
    weights = attention_weights(q, k)
    for head in range(2):
        for i in range(3):
            scores = [torch.dot(q[0, head, i], k[0, head, j]) / 5**0.5 for j in range(4)]
            close(weights[0, head, i], torch.stack(scores).exp() / torch.stack(scores).exp().sum())
    close(weights.sum(3), torch.ones(1, 2, 3, dtype=torch.float64))


@both_ways
@pytest.mark.parametrize("added", [False, True], ids=["boolean", "added"])
def test_query_without_keys_gets_zeros_and_finite_gradients(added, fused):
    q, k, v = (noise(1, 1, 3, 4, seed=i).requires_grad_() for i in range(3))
    mask = torch.ones(3, 3, dtype=torch.bool)
    mask[1] = False
    if added:
        mask = additive(mask, torch.float64)
    for causal in (False, True):
        out = attend(q, k, v, mask, causal=causal, fused=fused)
        assert not out[0, 0, 1].any() and out[0, 0, 0].any()
        assert all(g.isfinite().all() for g in gradients(out, (q, k, v)))
    weights = attention_weights(q, k, mask)
    close(weights.sum(3), torch.tensor([[[1.0, 0, 1]]], dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    "masked", ["no", "boolean", "added", "added in single precision", "-1e9", "the lowest number", "bias"]
)
def test_both_forms_agree_in_every_precision(masked, dtype):
    """With rows that see nothing, few key heads, and scores of any size."""
    seen = noise(2, 1, 3, 5, seed=4) > 0
    seen[0, 0, 1] = False
    mask = {
        "no": None,
        "boolean": seen,
        "added": additive(seen, dtype),
        "added in single precision": additive(seen),
        "-1e9": torch.where(seen, 0.0, -1e9),
        "the lowest number": torch.where(seen, 0.0, torch.finfo(torch.float32).min),
        "bias": noise(3, 5, seed=5),
    }[masked]
    for scale in (1, 200):
        q, k, v = (scale * noise(2, 4, 3, 8), scale * noise(2, 2, 5, 8, seed=1), noise(2, 2, 5, 6, seed=2))
        q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
        for causal in (False, True):
            found = [attend(q, k, v, mask, causal=causal, fused=fused) for fused in (True, False)]
            assert all(out.dtype == dtype and out.isfinite().all() for out in found)
            torch.testing.assert_close(*found, rtol=8 * torch.finfo(dtype).eps, atol=8 * torch.finfo(dtype).eps)


@both_ways
def test_large_products_of_half_precision_do_not_overflow(fused):
    """30 · 30 · 128 is beyond float16, 300 · 300 · 128 also after the division by √128; autocast makes halves of singles."""
    v = torch.arange(256.0).view(1, 1, 2, 128)
    for size in (30.0, 300.0):
        q = torch.full((1, 1, 2, 128), size).half()
        assert attention_weights(q, q).tolist() == [[[[0.5, 0.5], [0.5, 0.5]]]]
        expected = v.mean(2, keepdim=True).expand(v.shape)
        torch.testing.assert_close(attend(q, q, v.half(), fused=fused).float(), expected, rtol=1e-3, atol=0)
        with torch.autocast("cpu", torch.float16):
            out = attend(q.float(), q.float(), v, fused=fused)
        torch.testing.assert_close(out.float(), expected, rtol=1e-3, atol=0)


def pair(seed: int = 0, **words):
    """Our layer and torch's, with the same weights."""
    ours = build(seed, **words)
    theirs = nn.MultiheadAttention(16, ours.heads, bias=ours.in_proj_bias is not None, batch_first=True).double()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@both_ways
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("masked", ["no", "causal", "padding", "window", "additive"])
def test_layer_matches_torch(masked, heads, bias, fused):
    ours, theirs = pair(heads=heads, bias=bias, fused=fused)
    x = noise(2, 5, 16).requires_grad_()
    lengths, words, torchs = torch.tensor([5, 3]), {}, {}
    if masked == "causal":
        words, torchs = {"causal": True}, {"attn_mask": ~causal_mask(5)}  # theirs: True hides
    if masked == "padding":
        words, torchs = {"mask": padding_mask(lengths, 5)}, {"key_padding_mask": torch.arange(5) >= lengths[:, None]}
    if masked == "window":
        words, torchs = {"mask": window_mask(5, 1)}, {"attn_mask": additive(~~window_mask(5, 1), torch.float64)}
    if masked == "additive":
        words, torchs = {"mask": noise(5, 5)}, {"attn_mask": noise(5, 5)}
    out = ours(x, **words)
    expected, weights = theirs(x, x, x, average_attn_weights=False, **torchs)
    close(out, expected)
    close(ours.weights(x, **words), weights)
    close(gradients(out, [x, *ours.parameters()]), gradients(expected, [x, *theirs.parameters()]))


@both_ways
def test_cross_attention_matches_torch(fused):
    ours, theirs = pair(fused=fused)
    x, memory = noise(2, 3, 16).requires_grad_(), noise(2, 5, 16, seed=1).requires_grad_()
    out, expected = ours(x, memory), theirs(x, memory, memory)[0]
    close(out, expected)
    close(gradients(out, [x, memory, *ours.parameters()]), gradients(expected, [x, memory, *theirs.parameters()]))


@both_ways
@pytest.mark.parametrize("kv_heads", [2, 1])
def test_shared_heads_equal_tied_projections(kv_heads, fused):
    shared = build(kv_heads=kv_heads, fused=fused)
    whole = tied(shared)
    x, theirs = noise(2, 5, 16), nn.MultiheadAttention(16, 4, batch_first=True).double()
    theirs.load_state_dict(whole.state_dict())
    for causal in (False, True):
        close(shared(x, causal=causal), whole(x, causal=causal))
    close(shared(x), theirs(x, x, x)[0])
    distinct = whole.in_proj_weight[16:32].unflatten(0, (4, 4)).unique(dim=0)
    assert len(distinct) == kv_heads
    resting = tied(build(kv_heads=kv_heads, fused=fused, dropout=0.5).eval())
    close(resting(x), shared(x))  # it drops nothing either
    assert resting.dropout == 0.5 and tied(build(kv_heads=kv_heads)).training
    turned = build(kv_heads=kv_heads, fused=fused, rotary=True)
    close(tied(turned)(x), turned(x))


def test_heads_are_a_concatenation_of_single_heads():
    layer, x = build(), noise(2, 5, 16)
    q, k, v = layer.in_proj_weight.split(16)
    bq, bk, bv = layer.in_proj_bias.split(16)
    heads = []
    for rows in torch.arange(16).split(4):
        parts = [F.linear(x, W[rows], b[rows])[:, None] for W, b in ((q, bq), (k, bk), (v, bv))]
        heads.append(F.scaled_dot_product_attention(*parts)[:, 0])
    close(layer(x), layer.out_proj(torch.cat(heads, 2)))


def test_gradients_reach_every_parameter():
    for words in ({}, {"kv_heads": 1}, {"rotary": True}):
        layer = build(**words)
        for (name, _), g in zip(layer.named_parameters(), gradients(layer(noise(2, 5, 16)), [*layer.parameters()])):
            rows = g[:16] if name.startswith("in_proj") else g  # a bias of the keys moves all scores of a row alike
            assert rows.abs().min(-1).values.max() > 0 if g.ndim > 1 else rows.abs().sum() > 0, name


@both_ways
@pytest.mark.parametrize("kv_heads", [4, 1])
def test_causal_to_the_bit(kv_heads, fused):
    layer = build(kv_heads=kv_heads, rotary=True, fused=fused).float()
    x = noise(2, 9, 16).float()
    before = layer(x, causal=True)
    for t in range(8):
        moved = x.clone()
        moved[:, t + 1 :] += 100
        after = layer(moved, causal=True)
        assert torch.equal(after[:, : t + 1], before[:, : t + 1])
        assert not torch.equal(after[:, t + 1], before[:, t + 1])


def test_permutation_equivariance_without_positions():
    x, order = noise(2, 7, 16), torch.tensor([3, 0, 6, 1, 5, 2, 4])
    layer, turned = build(), build(rotary=True)
    close(layer(x[:, order]), layer(x)[:, order])
    close(layer(x[:, :3], x[:, order]), layer(x[:, :3], x))  # the order of a memory does not matter
    assert (turned(x[:, order]) - turned(x)[:, order]).abs().max() > 1e-3


@both_ways
@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_cache_changes_nothing(kv_heads, rotary, fused):
    layer, x = build(kv_heads=kv_heads, rotary=rotary, fused=fused), noise(2, 7, 16)
    whole = layer(x, causal=True)
    for cuts in ([1] * 7, [3, 1, 3], [7]):
        cache = Cache(8)
        close(torch.cat([layer(part, causal=True, cache=cache) for part in x.split(cuts, 1)], 1), whole)
        assert cache.length == 7 and cache.numbers() == 2 * 2 * kv_heads * 7 * 4


def test_cache_reads_a_memory_once():
    layer, x, memory = build(), noise(2, 2, 16), noise(2, 5, 16, seed=1)
    cache, expected = Cache(8), layer(x, memory)
    close(layer(x[:, :1], memory, cache=cache), expected[:, :1])
    close(layer(x[:, 1:], memory * torch.nan, cache=cache), expected[:, 1:])


def filled(layer, *shape, memory=None) -> Cache:
    cache = Cache(8)
    layer(noise(*shape), memory, causal=memory is None, cache=cache)
    return cache


@both_ways
def test_a_cache_is_for_the_sequences_that_filled_it(fused, unchecked):
    layer, x, memory = build(fused=fused), noise(1, 1, 16), noise(2, 5, 16, seed=1)
    cache = filled(layer, 2, 3, 16)
    before = [part.clone() for part in cache.held()]
    with pytest.raises(
        ValueError, match="1 sequences, 4 key heads, and a cache that was filled for 2 with 4: begin with"
    ):
        layer(x, causal=True, cache=cache)
    with pytest.raises(ValueError, match="2 sequences, 2 key heads, and a cache that was filled for 2 with 4"):
        build(kv_heads=2)(noise(2, 1, 16), causal=True, cache=cache)
    with pytest.raises(ValueError, match="torch.float32, cpu. in a cache that was filled with .*torch.float64, cpu"):
        build().float()(noise(2, 1, 16).float(), causal=True, cache=cache)
    with pytest.raises(ValueError, match="mask of shape .3, 3. for 1 queries and 4 keys"):
        layer(noise(2, 1, 16), None, torch.ones(3, 3, dtype=torch.bool), causal=True, cache=cache)
    with pytest.raises(ValueError, match="position 9: this cache holds 8"):
        layer(noise(2, 6, 16), causal=True, cache=cache)
    assert cache.length == 3 and all(torch.equal(*pair) for pair in zip(cache.held(), before))  # nothing was written
    cache = filled(layer, 2, 1, 16, memory=memory)
    for other, shape in ((memory[:, :4], (2, 1, 16)), (memory[:1], (1, 1, 16))):
        with pytest.raises(ValueError, match="a memory of 4 tokens and a cache of one of 5|1 sequences, 4 key heads"):
            layer(noise(*shape), other, cache=cache)
    with (
        pytest.raises(
            ValueError, match="keys of shape .1, 1, 2, 3., values of shape .1, 1, 1, 3.: each key has a value"
        ),
    ):
        Cache(3).extend(noise(1, 1, 2, 3), noise(1, 1, 1, 3))


def test_masks():
    assert causal_mask(3).tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    assert causal_mask(2, 3).tolist() == [[True, True, False], [True, True, True]]
    assert window_mask(4, 1).long().tolist() == [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1]]
    assert padding_mask(torch.tensor([1, 3]), 3).squeeze().long().tolist() == [[1, 0, 0], [1, 1, 1]]
    q, k, v = (noise(1, 2, 4, 3, seed=i) for i in range(3))
    mask = window_mask(4, 1)
    close(attend(q, k, v, additive(mask, torch.float64)), attend(q, k, v, mask))
    cut = noise(1, 2, 4, 3, seed=2)
    cut[:, :, 3] = torch.nan  # what a window does not show has no effect at all
    close(attend(q[:, :, :2], k, cut.nan_to_num(99), mask[:2]), attend(q, k, v, mask)[:, :, :2])


def test_dropout_acts_on_the_weights_and_only_in_training():
    for fused in (True, False):
        layer, x = build(dropout=0.5, fused=fused), noise(2, 5, 16)
        torch.manual_seed(0)
        assert not torch.equal(layer(x), layer(x))
        close(layer.eval()(x), build()(x))
    q, k = noise(1, 4, 5, 4), noise(1, 2, 5, 4, seed=1)
    for fused in (True, False):  # of shared heads too
        assert (attend(q, k, k, dropout=0.5, fused=fused) - attend(q, k, k)).abs().max() > 1e-3
    ones = torch.ones(1, 1, 20, 20, dtype=torch.float64)
    torch.manual_seed(0)
    out = attend(ones, ones, torch.eye(20, dtype=torch.float64)[None, None], dropout=0.5, fused=False)
    assert set(out.round(decimals=12).unique().tolist()) == {0.0, 0.1}  # kept weights are doubled


def test_additive_score_is_that_of_the_chapter_before():
    theirs, ours = Attention(6).double(), AdditiveAttention(6, 6, hidden=4).double()
    ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if not k.startswith("norm")})
    h = noise(2, 5, 6)
    mixed, weights = ours(h, h)
    close(weights, theirs.weights(h))
    close(theirs.norm(h + mixed), theirs(h))
    q, k = noise(1, 2, 6), noise(1, 3, 6, seed=1)
    score = [[ours.score(torch.tanh(ours.query(a) + ours.key(b))) for b in k[0]] for a in q[0]]
    close(ours(q, k)[1][0], torch.stack([torch.cat(row) for row in score]).softmax(1))


def test_searcher_looks_back_at_every_step():
    """The answer is read from tanh of a mixture of the decoder's state and of what was found (Luong et al. 2015)."""
    torch.manual_seed(0)
    model = Searcher(dim=4, hidden=6, vocab=5).double()
    source, target = torch.randint(5, (2, 4)), torch.randint(5, (2, 3))
    memory, h = model.encoder(model.embed(source))
    before = torch.full((2,), 5)
    logits, weights = model.looks(source, target)
    for i in range(3):
        _, h = model.decoder.layer(model.decoder.embed(before[:, None]), h)
        found, seen = model.look(h[0][:, None], memory)
        mixed = torch.tanh(F.linear(torch.cat([h[0], found[:, 0]], 1), model.mix.weight, model.mix.bias))
        close(logits[:, i], model.decoder.head(mixed))
        close(weights[:, i], seen[:, 0])
        before = target[:, i]


def test_searcher_learns_toy_problem():
    """Reverse strings of five, and write them without being told the past."""
    torch.manual_seed(0)
    model, generator = Searcher(dim=8, hidden=24, vocab=4), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), 2e-2)
    for _ in range(120):
        source, target = reversal(64, 5, symbols=4, generator=generator)
        loss = F.cross_entropy(model(source, target).flatten(0, 1), target.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())
    assert (model.translate(source, 5) == target).all(1).double().mean() > 0.9
    logits, weights = model.looks(source, target)
    close(weights.sum(2).double(), torch.ones(64, 5).double(), atol=1e-5)
    changed = target.clone()
    changed[:, 2] = (target[:, 2] + 1) % 4
    assert torch.equal(model(source, changed)[:, :3], logits[:, :3])
    with pytest.raises(ValueError, match="strings of one length"):
        model(source, target, torch.tensor([5] * 64))
    with pytest.raises(ValueError, match="steps = 0: write at least 1"):
        model.translate(source, 0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kv_heads", [4, 1])
def test_device_and_dtype(kv_heads, device):
    layer, x = build(kv_heads=kv_heads).float().to(device), noise(2, 6, 16).float().to(device)
    exact = layer(x, causal=True)
    assert exact.device.type == device
    other = build(seed=1, kv_heads=kv_heads).float().to(device)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x, causal=True), exact)
    with torch.autocast(device, torch.bfloat16):
        out = layer(x, causal=True)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), exact, rtol=0.02, atol=0.05)
    out.float().square().sum().backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in layer.parameters())
    half = layer.bfloat16()
    for fused in (True, False):
        half.fused = fused
        torch.testing.assert_close(half(x.bfloat16(), causal=True).float(), exact, rtol=0.05, atol=0.1)


def test_torch_compile_gives_the_same(unchecked):
    """One graph, forward and backward; of learned positions, which differ from relative ones in one table, forward alone."""
    x, source, target = noise(2, 4, 8), torch.randint(1, 5, (2, 4)), torch.randint(1, 5, (2, 5))
    words = dict(dim=8, heads=4)
    sizes = dict(vocab=5, depth=1, context=6, kv_heads=2, hidden=16) | words
    jobs = [
        (MultiHeadAttention(kv_heads=1, **words), (x, None, causal_mask(4)), "aot_eager"),
        (MultiHeadAttention(rotary=True, fused=False, **words), (x,), "aot_eager"),
        (Translator(positions="learned", fused=False, **sizes), (source, target), "eager"),
        (Translator(positions="relative", **sizes), (source, target), "aot_eager"),
    ]
    for model, inputs, backend in jobs:
        found, model = [], model.double()
        for run in (model, torch.compile(model, backend=backend, fullgraph=True)):
            model.zero_grad()
            out = run(*inputs)
            out.square().sum().backward()
            found.append([out, *(p.grad.clone() for p in model.parameters())])
        torch.testing.assert_close(*found, rtol=0, atol=1e-10)
        assert max(g.abs().max() for g in found[0]) > 1e-3


def test_bad_input_is_named(unchecked):
    for match, words in {
        "dim = 16, heads = 5: each head takes an equal share": dict(heads=5),
        "dim = 16, heads = 0": dict(heads=0),
        "heads = 4, kv_heads = 3: the key heads are shared evenly": dict(kv_heads=3),
        "dropout = 1.0: from 0 to below 1": dict(dropout=1.0),
    }.items():
        with pytest.raises(ValueError, match=match):
            MultiHeadAttention(**{"dim": 16, "heads": 4} | words)
    layer, x = build(), noise(2, 5, 16)
    for mask in (torch.ones(4, 5), torch.ones(5, 4), torch.ones(2, 5, 5), torch.ones(2, 3, 5, 5), torch.ones(5, 1)):
        with pytest.raises(ValueError, match=r"mask of shape \(.*\) for 5 queries and 5 keys: give \[t s\] = \(5, 5\)"):
            layer(x, None, mask.bool())
    with pytest.raises(ValueError, match=r"mask of torch.int64: give booleans \(True: may look\), or floats"):
        layer(x, None, torch.ones(5, 5, dtype=torch.long))
    for fused in (True, False):
        with pytest.raises(ValueError, match="4 query heads and 3 key heads: .* a multiple"):
            attend(noise(1, 4, 2, 3), noise(1, 3, 2, 3), noise(1, 3, 2, 3), fused=fused)
        with pytest.raises(ValueError, match="3 queries and 2 keys: the causal mask"):
            attend(noise(1, 1, 3, 3), noise(1, 1, 2, 3), noise(1, 1, 2, 3), causal=True, fused=fused)
    for bad in (0, 6):
        with pytest.raises(
            ValueError, match=f"length {bad}: each lies in 1 to 5, the number of keys; cut the sequences"
        ):
            padding_mask(torch.tensor([bad, 4]), 5)
    with pytest.raises(ValueError, match="width = -1: 0 lets a position see itself"):
        window_mask(4, -1)
    with pytest.raises(ValueError, match="4 queries and 3 keys: at least 1 query"):
        causal_mask(4, 3)
    with pytest.raises(ValueError, match="position 4: this cache holds 3; build"):
        layer(x[:, :4], causal=True, cache=Cache(3))
    with pytest.raises(ValueError, match="context = 0: at least 1 position"):
        Cache(0)
    for ours in (1.0, 1.5, -0.1, torch.nan):
        with pytest.raises(ValueError, match=f"dropout = {ours}: from 0 to below 1"):
            attend(*3 * [noise(1, 1, 2, 3)], dropout=ours)
    with pytest.raises(ValueError, match="mask of torch.int64 as torch.float32: give booleans"):
        additive(torch.ones(2, 2, dtype=torch.long))


@both_ways
def test_shapes_that_do_not_fit_are_named_where_nothing_else_checks_them(fused, unchecked):
    q, other = noise(2, 4, 3, 8), noise(1, 4, 3, 8)
    for k, v in ((other, other), (q, other), (q, q[:, :, :2]), (q[..., :4], q), (q[:, :2], q)):
        with pytest.raises(ValueError, match="queries, keys and values of shapes .*: give all the same batch"):
            attend(q, k, v, fused=fused)
    with pytest.raises(ValueError, match=r"of shapes \(4, 3, 8\), .*: give each four axes, \[b heads t d\]; x"):
        attend(q[0], q[0], q[0], fused=fused)
    for k, v in ((q.float(), q.float()), (q, q.float())):
        with pytest.raises(ValueError, match="queries of torch.float64, keys of .*: give all the same floating"):
            attend(q, k, v, fused=fused)
    with pytest.raises(ValueError, match="queries of torch.int64"):
        attend(*3 * [q.long()], fused=fused)
    layer, x = build(fused=fused), noise(2, 5, 16)
    with pytest.raises(ValueError, match=r"x of shape \(5, 16\): give \[b t 16\], a batch of sequences"):
        layer(x[0])
    with pytest.raises(ValueError, match=r"memory of shape \(2, 5, 8\): give \[b t 16\]"):
        layer(x, x[..., :8])
    for look in (layer, layer.weights):
        with pytest.raises(ValueError, match="2 sequences look at the memories of 1: give each its own"):
            look(x, x[:1])
    additive_layer = AdditiveAttention(6, 4, hidden=3).double()
    for q, k in (((1, 2, 6), (2, 3, 4)), ((2, 2, 4), (2, 3, 4)), ((2, 6), (2, 3, 4))):
        with pytest.raises(ValueError, match=r"queries of shape .*: give \[b t 6\] and \[b s 4\], of one batch"):
            additive_layer(noise(*q), noise(*k))

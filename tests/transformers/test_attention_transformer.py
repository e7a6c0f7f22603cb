"""Blocks and the encoder-decoder against torch; the cache against none; tasks with known answers."""

from functools import cache, partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers.transformers.attention import (
    BEGIN,
    DIGIT,
    END,
    PAD,
    POSITIONS,
    TARGETS,
    WORDS,
    Cache,
    DecoderBlock,
    EncoderBlock,
    Pairs,
    Stack,
    Transformer,
    Translator,
    causal_mask,
    cross_weights,
    exact_match,
    greedy,
    number_words,
    padding_mask,
    strings,
    translation_loss,
    words,
    written,
)

pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor")  # torch's encoder, about its fast path

close = partial(torch.testing.assert_close, rtol=0, atol=1e-10)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
every_position = pytest.mark.parametrize("positions", POSITIONS)
SIZES = dict(dim=16, heads=4, hidden=20)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scatter(module: nn.Module) -> nn.Module:
    """Random numbers for biases and norms too, which begin at 0 and 1 and would hide their place."""
    with torch.no_grad():
        for i, p in enumerate(module.parameters()):
            if p.ndim == 1:
                p.copy_(p + 0.5 * noise(*p.shape, seed=i))
    return module


def gradients(out: torch.Tensor, inputs) -> list[torch.Tensor]:
    return list(torch.autograd.grad((out * noise(*out.shape, seed=9)).sum(), inputs))


def same(ours: nn.Module, theirs: nn.Module, out, expected, *inputs) -> None:
    """Outputs, and gradients of the inputs and of every parameter, under torch's names."""
    close(out, expected)
    names = dict(theirs.named_parameters())
    mine = gradients(out, [*inputs, *(ours.get_parameter(name) for name in names)])
    close(mine, gradients(expected, [*inputs, *names.values()]))


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("activation", [F.relu, F.gelu])
def test_encoder_layer_matches_torch(norm_first, activation):
    theirs = nn.TransformerEncoderLayer(16, 4, 20, 0.0, activation, batch_first=True, norm_first=norm_first).double()
    ours = EncoderBlock(**SIZES, activation=activation, norm_first=norm_first).double()
    ours.load_state_dict(scatter(theirs).state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x, lengths = noise(2, 5, 16).requires_grad_(), torch.tensor([5, 3])
    out = ours(x, padding_mask(lengths, 5))
    same(ours, theirs, out, theirs(x, src_key_padding_mask=torch.arange(5) >= lengths[:, None]), x)
    same(ours, theirs, ours(x, causal=True), theirs(x, ~causal_mask(5)), x)


@pytest.mark.parametrize("norm_first", [True, False])
def test_decoder_layer_matches_torch(norm_first):
    theirs = nn.TransformerDecoderLayer(16, 4, 20, 0.0, batch_first=True, norm_first=norm_first).double()
    ours = DecoderBlock(**SIZES, norm_first=norm_first).double()
    ours.load_state_dict(scatter(theirs).state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x, memory = noise(2, 5, 16).requires_grad_(), noise(2, 7, 16, seed=1).requires_grad_()
    lengths = torch.tensor([7, 4])
    out = ours(x, memory, None, padding_mask(lengths, 7))
    hidden = torch.arange(7) >= lengths[:, None]
    same(ours, theirs, out, theirs(x, memory, ~causal_mask(5), memory_key_padding_mask=hidden), x, memory)


@pytest.mark.parametrize("norm_first", [True, False])
def test_transformer_matches_torch(norm_first):
    theirs = nn.Transformer(16, 4, 2, 2, 20, 0.0, batch_first=True, norm_first=norm_first).double()
    ours = Transformer(**SIZES, depth=2, norm_first=norm_first).double()
    ours.load_state_dict(scatter(theirs).state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    source, target = noise(2, 6, 16).requires_grad_(), noise(2, 5, 16, seed=1).requires_grad_()
    expected = theirs(source, target, tgt_mask=~causal_mask(5))
    same(ours, theirs, ours(source, target), expected, source, target)


@pytest.mark.parametrize("norm_first", [True, False])
def test_layers_drop_where_torch_does(norm_first):
    """The same numbers are drawn for the same places (of one sequence: torch lays out several in another order)."""
    theirs = nn.TransformerDecoderLayer(16, 4, 20, 0.5, batch_first=True, norm_first=norm_first).double()
    ours = DecoderBlock(**SIZES, norm_first=norm_first, dropout=0.5).double()
    ours.load_state_dict(scatter(theirs).state_dict())
    out, (x, memory) = [], (noise(1, 5, 16), noise(1, 7, 16, seed=1))
    for call in (partial(ours, x, memory), partial(theirs, x, memory, ~causal_mask(5))):
        torch.manual_seed(3)
        out.append(call())
    close(*out)


def test_first_weights_fill_xaviers_range():
    """Uniform within ± √(6 / (inputs + outputs)), as torch.nn.Transformer has them."""
    torch.manual_seed(0)
    for name, p in Transformer(**SIZES, depth=1).named_parameters():
        if p.ndim > 1:
            bound = (6 / sum(p.shape)) ** 0.5
            assert p.abs().max() <= bound, name
            assert p.std().item() == pytest.approx(bound / 3**0.5, rel=0.1), name


def test_stack_matches_torchs_encoder():
    layer = nn.TransformerEncoderLayer(16, 4, 20, 0.0, batch_first=True).double()
    theirs = nn.TransformerEncoder(layer, 3).double()  # without a last norm
    ours = Stack([EncoderBlock(**SIZES, norm_first=False) for _ in range(3)], None).double()
    ours.load_state_dict(scatter(theirs).state_dict())
    x = noise(2, 5, 16).requires_grad_()
    same(ours, theirs, ours(x), theirs(x), x)


def test_options_of_a_model_reach_every_attention():
    """Whether the kernel is torch's, how many heads hold keys, how much is dropped; only self-attention is turned."""
    model = build("rotary", fused=False, kv_heads=2, dropout=0.25)
    found = {name: m for name, m in model.named_modules() if name.endswith("_attn")}
    assert len(found) == 2 + 2 * 2
    for name, layer in found.items():
        assert (layer.fused, layer.kv_heads, layer.dropout) == (False, 2, 0.25), name
        assert layer.rotary == name.endswith("self_attn"), name


def test_encoder_block_is_a_language_model_with_a_cache():
    block, x, cache = scatter(EncoderBlock(**SIZES, rotary=True, kv_heads=2).double()), noise(2, 6, 16), Cache(6)
    whole = block(x, causal=True)
    close(torch.cat([block(part, causal=True, cache=cache) for part in x.split([2, 1, 3], 1)], 1), whole)


def build(positions="sinusoidal", seed=0, vocab=13, **options) -> Translator:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        sizes = SIZES | dict(vocab=vocab, target_vocab=TARGETS, depth=2, context=12, positions=positions)
        model = scatter(Translator(**sizes | options)).double()
        if positions == "relative":  # these begin at zero
            for bias in (model.bias, model.past_bias):
                nn.init.normal_(bias.table.weight)
    return model


def tokens(*lengths: int, seed: int = 0) -> torch.Tensor:
    """Rows of digits, padded."""
    rows = torch.randint(DIGIT, TARGETS, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(seed))
    return rows.masked_fill(torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None], PAD)


def test_parameter_count():
    """The paper's base model: 37,000 shared tokens; table 3 says 65 million."""
    sizes = dict(vocab=37_000, dim=512, heads=8, hidden=2048, depth=6, context=1024, shared=True)
    with torch.device("meta"):
        model, theirs = Translator(**sizes), nn.Transformer(batch_first=True)
    count = sum(p.numel() for p in model.parameters())
    assert count == sum(p.numel() for p in theirs.parameters()) + 37_000 * 512 == 63_084_544
    attention, forward, norm = 4 * (512 * 512 + 512), 2 * 512 * 2048 + 2048 + 512, 2 * 512
    assert count == 37_000 * 512 + 6 * (3 * attention + 2 * forward + 5 * norm) + 2 * norm


@every_position
def test_gradients_reach_every_parameter(positions):
    model, source = build(positions, kv_heads=2), tokens(6, 4)
    target = torch.cat([torch.full((2, 1), BEGIN), tokens(5, 5, seed=1)], 1)
    translation_loss(model, (source, target)).backward()
    for name, p in model.named_parameters():
        assert p.grad.abs().sum() > 0, name


def test_embeddings_have_unit_variance_before_positions():
    model = build("none", vocab=200, target_vocab=200)
    for table in (model.source_embedding, model.target_embedding):
        x = model.embed(torch.arange(200).view(20, 10), table)
        assert x.std().item() == pytest.approx(1, abs=0.05)


@every_position
def test_embeddings_are_dropped_while_training(positions):
    """Section 5.4: of the sums of embeddings and positions, in both stacks; a half is lost, the other half doubled."""
    model = build(positions, dropout=0.5)
    for table in (model.source_embedding, model.target_embedding):
        whole = model.eval().embed(tokens(9, 9), table)
        torch.manual_seed(0)
        dropped = model.train().embed(tokens(9, 9), table)
        kept = dropped != 0
        close(dropped[kept], 2 * whole[kept])
        assert kept.double().mean().item() == pytest.approx(0.5, abs=0.1)


def test_the_encoder_has_two_directions_and_the_decoder_one():
    """In T5 half of the buckets are the future's, where there is one: 16 distances have a bucket each, else 8."""
    model = build("relative")
    ways, past = model.bias(16)[0, 0], model.past_bias(16)[0, 0]
    assert len(past[15].unique()) == 16 and len(ways[15].unique()) < 16
    assert ways[3, 5] != ways[5, 3] and past[3, 5] == past[3, 3]


def test_loss_is_the_mean_over_the_tokens_that_are_written():
    model, source = build(), tokens(6, 4)
    target = torch.cat([torch.full((2, 1), BEGIN), tokens(5, 2, seed=1)], 1)
    log_p = model(source, target[:, :-1]).log_softmax(2)
    paid = [-log_p[i, j - 1, target[i, j]] for i, j in [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (1, 1), (1, 2)]]
    close(translation_loss(model, (source, target)), torch.stack(paid).mean())


@every_position
def test_causal_to_the_bit(positions):
    model, source, target = build(positions, kv_heads=2), tokens(6, 4), tokens(6, 6, seed=1)
    before = model(source, target)
    for t in range(5):
        moved = target.clone()
        moved[:, t + 1 :] = DIGIT + (moved[:, t + 1 :] - DIGIT + 1) % 10
        after = model(source, moved)
        assert torch.equal(after[:, : t + 1], before[:, : t + 1])
        assert not torch.equal(after[:, t + 1], before[:, t + 1])


@pytest.mark.parametrize("fused", [True, False])
@every_position
def test_padding_has_no_effect(positions, fused):
    model, target = build(positions, fused=fused), tokens(5, seed=1)
    short, padded = tokens(4), torch.cat([tokens(4), torch.zeros(1, 5, dtype=torch.long)], 1)
    close(model(padded, target), model(short, target))
    nothing = torch.full((1, 3), PAD)  # a source without a token tells nothing, in all precisions alike
    out = model(nothing, target)
    assert torch.isfinite(out).all()
    torch.testing.assert_close(model.bfloat16()(nothing, target).double(), out, rtol=0, atol=0.1)


@every_position
def test_padding_is_the_token_that_is_said(positions):
    """With another one than 0, which then is a token like the others."""
    model, target = build(positions, padding=7), tokens(5, seed=1)
    short = torch.tensor([[3, 0, 5, 0]])
    padded = torch.cat([short, torch.full((1, 3), 7)], 1)
    close(model(padded, target), model(short, target))
    other = short.masked_fill(short == 0, 4)
    assert (model(short, target) - model(other, target)).abs().max() > 1e-3


def test_without_positions_the_order_of_the_source_is_lost():
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    source, target = tokens(6), tokens(5, seed=1)
    for positions in POSITIONS:
        model = build(positions)
        gap = (model(source[:, order], target) - model(source, target)).abs().max()
        assert gap < 1e-10 if positions == "none" else gap > 1e-3, positions


@every_position
@pytest.mark.parametrize("kv_heads", [4, 1])
def test_cached_decoding_equals_uncached(positions, kv_heads):
    model, source, target = build(positions, kv_heads=kv_heads), tokens(6, 4), tokens(9, 9, seed=1)
    memory, caches = model.encode(source), model.caches()
    steps = [model.decode(target[:, i : i + 1], memory, source, caches) for i in range(9)]
    close(torch.cat(steps, 1), model(source, target))
    own, other = caches[0]
    assert own.numbers() == 2 * 2 * 9 * kv_heads * 4 and other.numbers() == 2 * 2 * 6 * kv_heads * 4
    for steps in (1, 9):
        assert torch.equal(greedy(model, source, steps), greedy(model, source, steps, cache=False))


@pytest.mark.parametrize("part", ["greedy", "exact match", "cross weights"])
def test_each_part_gets_its_own_mode_back(part):
    model, source, target = build(dropout=0.5), tokens(6, 4), tokens(5, 5, seed=1)
    model.transformer.encoder.eval()  # as one that is not trained
    modes = [module.training for module in model.modules()]
    call = {"greedy": lambda x: greedy(model, x, 4), "exact match": lambda x: exact_match(model, x, target)}
    call = call.get(part, lambda x: cross_weights(model, x, target))
    first = call(source)
    assert torch.equal(call(source), first)  # nothing is dropped
    with pytest.raises(ValueError, match="token 99"):
        call(torch.full_like(source, 99))
    assert [module.training for module in model.modules()] == modes


def test_caches_of_another_source_are_refused(unchecked):
    model, source, target = build(), tokens(6, 4), tokens(5, 5, seed=1)
    memory, caches = model.encode(source), model.caches()
    whole = model(source, target)
    first = model.decode(target[:, :2], memory, source, caches)
    one = (target[:1, 2:3], memory[:1], source[:1])
    for bad, match in {
        one: "1 sequences, 4 key heads, and a cache that was filled for 2",
        (target[:, 2:3], memory[:, :5], source[:, :5]): "a memory of 5 tokens and a cache of one of 6",
        (target[:, 2:3], memory, source[:1]): r"memory of \(2, 6, 16\), source of \(1, 6\): give",
        (target[:1, 2:3], memory, source): "1 targets for the memories of 2 sources: give each its own",
        (target[0, 2:3], memory, source): r"target of shape \(1,\)",
    }.items():
        with pytest.raises(ValueError, match=match):
            model.decode(*bad, caches)
    for some in (caches[:1], [*caches, caches[0]], []):
        with pytest.raises(ValueError, match="[0-3] caches for 2 layers: give each its own"):
            model.decode(target[:, 2:3], memory, source, some)
    rest = model.decode(target[:, 2:], memory, source, caches)  # what was refused has left no trace
    close(torch.cat([first, rest], 1), whole)


def naive(model: Translator, source: torch.Tensor, steps: int) -> list[int]:
    """Greedy decoding of one source, written out."""
    written = [BEGIN]
    while len(written) <= steps and END not in written:
        written.append(int(model(source[None], torch.tensor([written]))[0, -1].argmax()))
    return written[1:]


def test_dropout_in_training_only():
    model, source, target = build(dropout=0.3), tokens(6), tokens(5, seed=1)
    assert not torch.equal(model(source, target), model(source, target))
    close(model.eval()(source, target), build()(source, target))


@pytest.mark.parametrize("task", ["copy", "reverse", "sort"])
def test_strings(task):
    pairs = strings(task, 300, torch.Generator().manual_seed(0), low=3, high=6)
    texts = [written(row) for row in pairs.source]
    assert len(set(texts)) == 300 and {len(text) for text in texts} == {3, 4, 5, 6}
    answer = {"copy": str, "reverse": lambda s: s[::-1], "sort": lambda s: "".join(sorted(s))}[task]
    assert [written(row) for row in pairs.target] == [answer(text) for text in texts]
    assert pairs.source.shape == (300, 7) and pairs.target.shape == (300, 8)
    assert (pairs.target[:, 0] == BEGIN).all()
    assert all(row.tolist()[len(text)] == END and not row[len(text) + 1 :].any() for row, text in zip(pairs[0], texts))
    train, held = pairs.split(50)
    assert len(train.source) == 250 and torch.equal(held.target, pairs.target[250:])


def test_number_words():
    assert words(0) == ["zero"] and words(90) == ["ninety"] and words(119) == ["one", "hundred", "nineteen"]
    assert " ".join(words(706_041)) == "seven hundred six thousand forty one"
    assert " ".join(words(999_999)).count("nine hundred ninety nine") == 2
    assert len({tuple(words(n)) for n in range(0, 1_000_000, 997)}) == len(range(0, 1_000_000, 997))
    pairs = number_words(200, torch.Generator().manual_seed(0))
    for source, target in zip(*pairs):
        text = [WORDS[token] for token in source.tolist() if token > END]
        assert words(int(written(target))) == text
        assert source[len(text)] == END and not source[len(text) + 1 :].any()
    lengths = [len(written(target)) for target in pairs.target]
    assert min(lengths) == 1 and lengths.count(6) > 20


@cache
def trained(task: str, kv_heads: int | None):
    """A small model, its held-out pairs, and its score on them before and after 150 steps."""
    generator = torch.Generator().manual_seed(0)
    pairs = (
        number_words(1100, generator, digits=4) if task == "words" else strings(task, 1100, generator, low=3, high=5)
    )
    train, held = pairs.split(100)
    torch.manual_seed(0)
    sizes = dict(dim=32, heads=2, hidden=64, depth=1, context=8, kv_heads=kv_heads)
    model = Translator(vocab=len(WORDS), target_vocab=TARGETS, **sizes)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    scores = [exact_match(model, *held).double().mean()]
    for step in range(150):
        at = torch.randint(len(train.source), (64,), generator=generator)
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * min(1, step / 20) * (1 - step / 150)
        loss = translation_loss(model, (train.source[at], train.target[at]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model, held, [*scores, exact_match(model, *held).double().mean()]


@pytest.mark.parametrize(("task", "kv_heads"), [("reverse", 1), ("words", None)])
def test_learns_toy_problem(task, kv_heads):
    before, after = trained(task, kv_heads)[2]
    assert before < 0.1 and after > 0.5


def test_greedy_is_the_naive_loop_and_exact_match_its_score():
    model, held, _ = trained("words", None)
    held = Pairs(*(rows[:12] for rows in held))  # the naive loop takes its time
    steps = held.target.shape[1] - 1
    guess = greedy(model, held.source, steps)
    expected = [naive(model, row, steps) for row in held.source]
    assert len({len(row) for row in expected}) > 1
    for row, by_hand in zip(guess, expected):
        assert row.tolist()[: len(by_hand)] == by_hand and not row[len(by_hand) :].any()
    target = held.target.clone()
    target[::3, 1] = DIGIT + (target[::3, 1] - DIGIT + 1) % 10  # as it is, the model knows nearly all
    right = [row.tolist()[: len(by)] == by for row, by in zip(target[:, 1:], expected)]
    assert exact_match(model, held.source, target).tolist() == right and 0 < sum(right) < 12
    assert model.training


def test_cross_weights_show_the_alignment():
    model, held, _ = trained("reverse", 1)
    weights = cross_weights(model, held.source, held.target[:, :-1])
    close(weights.sum(3), torch.ones(weights.shape[:3]), atol=1e-5)
    assert not weights[(held.source == PAD)[:, None, None].expand(weights.shape)].any()
    lengths = (held.source >= DIGIT).sum(1, keepdim=True)
    step = torch.arange(weights.shape[2])
    hits = (weights.mean(1).argmax(2) == lengths - 1 - step)[step < lengths]
    assert hits.double().mean() > 0.7
    assert not model.transformer.decoder.layers[-1].multihead_attn._forward_pre_hooks


def test_cross_weights_are_those_of_the_last_layer():
    model, source, target = build(), tokens(6, 4), tokens(5, 5, seed=1)
    memory, mask = model.encode(source), (source != PAD)[:, None, None]
    first, last = model.transformer.decoder.layers
    x = first(model.embed(target, model.target_embedding), memory, None, mask)
    x = last.residual(x, last.norm1, lambda h: last.self_attn(h, causal=True))
    expected = last.multihead_attn.weights(last.norm2(x), memory, mask)
    close(cross_weights(model, source, target), expected)


@pytest.mark.parametrize("device", DEVICES)
@every_position
def test_device_and_dtype(positions, device):
    model = build(positions).float().to(device)
    source, target = tokens(6, 4).to(device), tokens(5, 5, seed=1).to(device)
    exact = model(source, target)
    assert exact.device.type == device and greedy(model, source, 5).device.type == device
    other = build(positions, seed=1).float().to(device)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(source, target), exact)
    with torch.autocast(device, torch.bfloat16):
        out, loss = model(source, target), translation_loss(model, (source, target))
    assert out.dtype == torch.bfloat16
    assert (out.float() - exact).abs().max() < 0.05 * exact.abs().max()
    loss.backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in model.parameters())
    half = model.bfloat16()
    assert (half(source, target).float() - exact).abs().max() < 0.1 * exact.abs().max()


def test_bad_input_is_named(unchecked):
    model, source, target = build(), tokens(6), tokens(5, seed=1)
    for bad in (13, -1):
        wrong = source.clone()
        wrong[0, 1] = bad
        with pytest.raises(ValueError, match=f"token {bad}: the 13 tokens of this vocabulary are 0 to 12; encode with"):
            model(wrong, target)
        with pytest.raises(ValueError, match=f"token {bad}: the 13 tokens"):
            model(source, wrong)
    for long in ((tokens(13), target), (source, tokens(13))):
        with pytest.raises(ValueError, match="13 tokens: the context of this model is 12; cut the sequence or build"):
            model(*long)
    with pytest.raises(ValueError, match="0 tokens: give at least 1"):
        model(source, target[:, :0])
    caches = model.caches()
    model.decode(tokens(12), model.encode(source), source, caches)
    with pytest.raises(ValueError, match="13 tokens: the context"):
        model.decode(target[:, :1], model.encode(source), source, caches)
    for steps in (0, 13):
        with pytest.raises(ValueError, match=f"steps = {steps}: this model writes 1 to 12"):
            greedy(model, source, steps)
    with pytest.raises(ValueError, match="positions = 'absolute': one of none, sinusoidal, learned"):
        build("absolute")
    with pytest.raises(ValueError, match="vocab = 5, target_vocab = 13: shared"):
        build(vocab=5, shared=True)
    for depth in (0, -1):
        with pytest.raises(ValueError, match=f"depth = {depth}: a stack has at least 1"):
            build(depth=depth)
    with pytest.raises(ValueError, match="no layers: a stack has at least 1"):
        Stack([], None)
    with pytest.raises(ValueError, match="rotary = True: say positions = 'rotary'"):
        build(rotary=True)
    with pytest.raises(ValueError, match="context = 0: at least 1 position"):
        build(context=0)
    with pytest.raises(ValueError, match=r"tokens of shape \(6,\): give \[b t\]"):
        model.encode(source[0])
    assert build(target_vocab=None).head.out_features == 13
    generator = torch.Generator()
    with pytest.raises(ValueError, match="task = 'shuffle': one of copy, reverse, sort"):
        strings("shuffle", 5, generator)
    with pytest.raises(ValueError, match="low = 4, high = 3"):
        strings("copy", 5, generator, low=4, high=3)
    with pytest.raises(ValueError, match="n = 90: only [0-9]+ different"):
        strings("copy", 90, generator, low=1, high=2)
    with pytest.raises(ValueError, match="digits = 7: words are known for 1 to 6"):
        number_words(5, generator, digits=7)
    with pytest.raises(ValueError, match="n = 30: 1 to 25 numbers below 10\\^2"):
        number_words(30, generator, digits=2)
    with pytest.raises(ValueError, match="number = 1000000"):
        words(1_000_000)
    with pytest.raises(ValueError, match="held_out = 5: 1 to 4"):
        strings("copy", 5, generator).split(5)

"""Image GPT against transformers, and that it looks at nothing which it has to guess."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers.transformers.vision_transformers import (
    ImageGPT,
    bits_per_pixel,
    complete,
    from_transformers,
    igpt_l,
    igpt_m,
    igpt_s,
    igpt_small,
    masked_loss,
)
from tests.transformers.reference import close, compare, fill, made, noise

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
SMALL = dict(colours=5, context=9, dim=8, depth=2, heads=2)
small = partial(made, ImageGPT, SMALL)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 5, shape, generator=torch.Generator().manual_seed(seed))


def theirs(**options) -> torch.nn.Module:
    from transformers import ImageGPTConfig, ImageGPTForCausalImageModeling

    words = dict(n_layer=2, n_embd=8, n_head=2, n_positions=9, vocab_size=6) | options
    return ImageGPTForCausalImageModeling(ImageGPTConfig(**words, use_cache=False))


@pytest.mark.parametrize("builder, millions, heads", [(igpt_s, 76, 8), (igpt_m, 455, 8), (igpt_l, 1362, 16)])
def test_parameter_count(builder, millions, heads):
    """The paper's figures, and to the last one transformers'; the heads are those of the published networks."""
    with torch.device("meta"):
        ours = builder()
        assert {block.self_attn.heads for block in ours.decoder.layers} == {heads}
        d, depth = ours.head.in_features, len(ours.decoder.layers)
        reference = theirs(n_layer=depth, n_embd=d, n_head=heads, n_positions=1024, vocab_size=513)
    count = sum(p.numel() for p in ours.parameters())
    assert count == sum(p.numel() for p in reference.parameters())
    assert count / 1e6 == pytest.approx(millions, rel=0.01)


def test_matches_reference():
    """Outputs and gradients of transformers' in float64."""
    reference = fill(theirs().double()).eval()
    ours = ImageGPT(**SMALL).double().eval()
    ours.load_state_dict(from_transformers(reference.state_dict()))
    pixels = draw(3, 9)
    begun = torch.cat([torch.full((3, 1), 5), pixels[:, :-1]], 1)
    expected = reference(input_ids=begun).logits
    compare(ours(pixels), expected, ours, reference, renamed=from_transformers)


def test_first_weights_are_those_of_gpt_2():
    """0.02 everywhere, less by √(2 · depth) in the two layers of a block that add to the residual path, none in the head."""
    torch.manual_seed(0)
    network = ImageGPT(colours=99, context=64, dim=64, depth=8, heads=2)
    assert not network.head.weight.any()
    for name, p in network.named_parameters():
        small_ones = name.endswith(("out_proj.weight", "linear2.weight"))
        if p.ndim == 2 and p.any():
            assert p.std().item() == pytest.approx(0.02 / 4 if small_ones else 0.02, rel=0.1), name
        if name.endswith("bias"):
            assert not p.any(), name


@pytest.mark.parametrize("causal", [True, False])
def test_features_match_reference(causal):
    """Of the BERT objective, where nothing is causal, each block reads all pixels: a mask of transformers' that hides none."""
    reference = fill(theirs().double()).eval()
    for block in reference.transformer.h:
        block.attn.bias |= not causal
    ours = ImageGPT(**SMALL).double().eval()
    ours.load_state_dict(from_transformers(reference.state_dict()))
    pixels = draw(2, 9)
    states = reference(input_ids=pixels, output_hidden_states=True).hidden_states
    blocks = reference.transformer.h
    expected = [block.ln_1(h).mean(1) for block, h in zip(blocks, states)] + [states[-1].mean(1)]
    found = list(ours.features(pixels, causal=causal))
    close(found, expected)
    assert (found[-1] - list(ours.features(pixels, causal=not causal))[-1]).abs().max() > 1e-3


def test_embeddings_are_dropped_while_training():
    """As GPT-2's: each number of an embedded pixel is lost, or doubled at a rate of a half."""
    network, pixels = small(dropout=0.5), draw(3, 9)
    whole = network.embed(pixels)
    torch.manual_seed(0)
    dropped = network.train().embed(pixels)
    kept = dropped != 0
    close(dropped[kept], 2 * whole[kept])
    assert 0.35 < kept.double().mean() < 0.65


def test_a_guess_sees_only_what_is_before():
    network, pixels = small(), draw(2, 9)
    out = network(pixels)
    for t in range(9):
        other = pixels.clone()
        other[:, t] = (other[:, t] + 1) % 5
        moved = (network(other) != out).any(2).any(0)
        assert not moved[: t + 1].any() and moved[t + 1 :].all()


def test_a_hidden_pixel_is_not_seen_and_others_are():
    network, pixels, hidden = small(), draw(2, 9), torch.zeros(2, 9, dtype=torch.bool)
    hidden[:, 4] = True
    out = network.fill_in(pixels, hidden)
    for t in range(9):
        other = pixels.clone()
        other[:, t] = (other[:, t] + 1) % 5
        assert torch.equal(network.fill_in(other, hidden)[:, 4], out[:, 4]) == (t == 4)


def test_losses():
    logits, pixels = noise(2, 9, 5), draw(2, 9)
    p = logits.softmax(2)
    by_hand = [-p[b, t, pixels[b, t]].log2() for b in range(2) for t in range(9)]
    close(bits_per_pixel(logits, pixels), torch.stack(by_hand).mean())
    hidden = draw(2, 9, seed=1) == 0
    chosen = [-p[b, t, pixels[b, t]].log() for b, t in hidden.nonzero().tolist()]
    close(masked_loss(logits, pixels, hidden), torch.stack(chosen).mean())
    assert bits_per_pixel(igpt_small()(draw(2, 64)), draw(2, 64)).item() == pytest.approx(math.log2(17), abs=1e-5)


@pytest.mark.parametrize("given", [0, 4, 9])
def test_completion_with_a_cache_is_that_without(given):
    network, pixels = small(), draw(3, 9)
    for temperature in (0.0, 0.7):
        drawn = [
            complete(
                network,
                pixels[:, :given],
                temperature=temperature,
                generator=torch.Generator().manual_seed(2),
                cache=cache,
            )
            for cache in (True, False)
        ]
        assert torch.equal(*drawn) and drawn[0].shape == (3, 9)
        assert torch.equal(drawn[0][:, :given], pixels[:, :given])
    likeliest = complete(network, pixels[:, :given], temperature=0.0)
    assert torch.equal(network(likeliest).argmax(2)[:, given:], likeliest[:, given:])


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_completions_follow_the_probabilities(temperature):
    network, none = small(context=1), torch.zeros(4000, 0, dtype=torch.long)
    drawn = complete(network, none, temperature=temperature, generator=torch.Generator().manual_seed(0))
    share = drawn.flatten().bincount(minlength=5) / 4000
    p = network(drawn[:1]).softmax(2)[0, 0] ** (1 / temperature)
    torch.testing.assert_close(share.double(), p / p.sum(), rtol=0, atol=0.03)


def test_masked_loss_is_one_function_however_it_runs(unchecked):
    """One graph, in which nothing is waited for; it stops with the same words where nothing is hidden."""
    network = ImageGPT(colours=5, context=9, dim=8, depth=1, heads=2)
    nn.init.normal_(network.head.weight)
    pixels, hidden = torch.randint(0, 5, (3, 9)), torch.rand(3, 9) < 0.4

    def loss(hidden):
        return masked_loss(network.fill_in(pixels, hidden), pixels, hidden)

    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(hidden), loss(hidden))
    with pytest.raises(RuntimeError, match="no pixel is hidden, so there is nothing to guess: hide some"):
        compiled(hidden & False)


@pytest.mark.parametrize("temperature", [1e-40, 1e-320, 0.0])
def test_near_temperature_zero_the_likeliest_is_drawn(temperature):
    network, pixels = small().float(), draw(3, 4)
    likeliest = complete(network, pixels, temperature=0.0)
    assert torch.equal(complete(network, pixels, temperature=temperature), likeliest)
    assert torch.equal(network(likeliest).argmax(2)[:, 4:], likeliest[:, 4:])


def test_each_part_gets_its_own_mode_back():
    network = small(dropout=0.5).train()
    network.head.eval()
    modes = [module.training for module in network.modules()]
    complete(network, draw(1, 3))
    with pytest.raises(ValueError, match="temperature = -1"):
        complete(network, draw(1, 3), temperature=-1.0)
    assert [module.training for module in network.modules()] == modes


def test_files_of_older_versions_hold_their_masks():
    state = theirs().state_dict()
    masks = {
        "transformer.h.0.attn.bias": torch.ones(1, 1, 9, 9).tril(),
        "transformer.h.1.attn.masked_bias": torch.ones(()),
    }
    assert from_transformers(state | masks).keys() == from_transformers(state).keys()


def test_gradients_reach_every_parameter():
    network, pixels = small(), draw(8, 9)
    bits_per_pixel(network(pixels), pixels).backward()
    assert all(p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("objective", ["next pixel", "hidden pixels"])
def test_learns_toy_problem(objective):
    """Images whose rows are all alike: after the first row nothing is left to guess, and any pixel tells its column."""
    torch.manual_seed(0)
    network = ImageGPT(colours=4, context=9, dim=32, depth=2, heads=4)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    hidden = torch.zeros(64, 9, dtype=torch.bool)
    for _ in range(150):
        pixels = torch.randint(0, 4, (64, 3)).repeat(1, 3)
        if objective == "next pixel":
            loss = F.cross_entropy(network(pixels).transpose(1, 2), pixels)
        else:
            hidden = torch.rand(64, 3, 1).argsort(1).argsort(1).expand(64, 3, 3).flatten(1) == 0  # a row of each
            loss = masked_loss(network.fill_in(pixels, hidden), pixels, hidden)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if objective == "next pixel":
        assert torch.equal(complete(network, pixels[:, :3], temperature=0.0), pixels)
        assert bits_per_pixel(network(pixels), pixels).item() == pytest.approx(
            2 / 3, abs=0.1
        )  # 3 pixels of 2 bits in 9
    else:
        assert (network.fill_in(pixels, hidden).argmax(2) == pixels)[hidden].all()


@pytest.mark.parametrize("device", DEVICES)
def test_device_and_dtype(device):
    network, pixels = small().float().to(device), draw(2, 9).to(device)
    out = network(pixels)
    assert out.device.type == device
    with torch.autocast(device, torch.bfloat16):
        torch.testing.assert_close(network(pixels).float(), out, rtol=0.05, atol=0.3)
    assert network.bfloat16()(pixels).dtype == torch.bfloat16


def test_bad_input(unchecked):
    network = small()
    with pytest.raises(ValueError, match="10 pixels in a network for 9: shrink the images"):
        network(draw(1, 10))
    with pytest.raises(ValueError, match="10 pixels in a network for 9"):
        complete(network, draw(1, 10))
    with pytest.raises(ValueError, match="temperature = -1.0"):
        complete(network, draw(1, 3), temperature=-1.0)
    for value in (-1, 5, 6):  # 5 stands for hidden ones, and before the first
        pixels = torch.full((1, 2), value)
        for call in (
            network,
            partial(complete, network),
            lambda x: network.fill_in(x, x > 99),
            lambda x: next(network.features(x)),
        ):
            with pytest.raises(ValueError, match=f"pixel {value}: this network knows the colours 0 to 4; reduce"):
                call(pixels)
    caches = network.caches()
    network.read(draw(1, 9), caches=caches)
    with pytest.raises(ValueError, match="10 tokens in a network for 9: shrink"):
        network.read(draw(1, 1), caches=caches)
    with pytest.raises(ValueError, match="1 caches for 2 layers"):
        network.read(draw(1, 1), caches=network.caches()[:1])
    with pytest.raises(ValueError, match="0 pixels: there is nothing"):
        next(network.features(draw(1, 0)))
    with pytest.raises(ValueError, match=r"pixels of shape \(1, 3, 3\): give \[b t\]"):
        network(draw(1, 3, 3))
    for hidden in (torch.zeros(1, 9, dtype=torch.bool), torch.zeros(2, 9)):
        for call in (network.fill_in, partial(masked_loss, noise(2, 9, 5))):
            with pytest.raises(ValueError, match=r"hidden of shape .* for pixels of shape \(2, 9\): give a boolean"):
                call(draw(2, 9), hidden)
    with pytest.raises(ValueError, match="no pixel is hidden"):
        masked_loss(noise(1, 9, 5), draw(1, 9), torch.zeros(1, 9, dtype=torch.bool))
    with pytest.raises(ValueError, match="colours = 1, context = 9"):
        ImageGPT(**SMALL | dict(colours=1))
    with pytest.raises(ValueError, match="depth = 0"):
        ImageGPT(**SMALL | dict(depth=0))

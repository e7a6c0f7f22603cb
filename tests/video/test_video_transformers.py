"""TimeSformer against transformers, its schemes against their formulas, and who knows of whom by gradients."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from helpers.video.video_transformers import (
    PLANS,
    Step,
    TimeSformer,
    comparisons,
    from_transformers,
    neighbourhood,
    reach,
    timesformer_b,
    timesformer_small,
    token_maps,
)
from helpers.video.video_transformers.plans import group, ungroup

close = partial(torch.testing.assert_close, rtol=0, atol=1e-10)
SMALL = dict(frames=4, image=16, patch=4, dim=16, depth=2, heads=4, hidden=24, classes=5)
THEIRS = {"released": "divided_space_time", "space": "space_only", "joint": "joint_space_time"}


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fill(network: torch.nn.Module) -> torch.nn.Module:
    """Random numbers everywhere: what begins at zero would hide its place."""
    with torch.no_grad():
        for i, p in enumerate(network.parameters()):
            p.copy_(noise(*p.shape, seed=i) * (0.3 if p.ndim == 1 else p[0].numel() ** -0.5))
    return network


def small(**options) -> TimeSformer:
    return fill(TimeSformer(**SMALL | options).double()).eval()


def reference(scheme: str, **options):
    from transformers import TimesformerConfig, TimesformerModel

    words = dict(image_size=16, patch_size=4, num_frames=4, hidden_size=16, num_hidden_layers=2, num_attention_heads=4)
    words |= dict(intermediate_size=24, attention_type=scheme)
    return TimesformerModel(TimesformerConfig(**words | options))


@pytest.mark.parametrize(
    "plan, millions", [("space", 85.9), ("joint", 85.9), ("local_global", 121.4), ("divided", 121.4), ("axial", 156.8)]
)
def test_parameter_count(plan, millions):
    """Those of the paper's table 1, with the 174 classes of Something-Something."""
    with torch.device("meta"):
        network = timesformer_b(plan=plan, classes=174)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == millions


@pytest.mark.parametrize("plan, scheme", THEIRS.items())
def test_parameter_count_of_transformers(plan, scheme):
    from transformers import TimesformerConfig, TimesformerModel

    with torch.device("meta"):
        ours, theirs = (
            timesformer_b(plan=plan, classes=None),
            TimesformerModel(TimesformerConfig(attention_type=scheme)),
        )
    renamed = from_transformers(theirs.state_dict())
    assert {k: v.shape for k, v in renamed.items()} == {k: v.shape for k, v in ours.state_dict().items()}
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


@pytest.mark.parametrize("plan, scheme", THEIRS.items())
def test_matches_reference(plan, scheme):
    theirs = fill(reference(scheme).double()).eval()
    ours = TimeSformer(**SMALL | dict(plan=plan, classes=None)).double().eval()
    ours.load_state_dict(from_transformers(theirs.state_dict()))
    videos = noise(2, 4, 3, 16, 16).requires_grad_()
    token, grid = ours.features(videos)
    out = torch.cat([token, grid.permute(0, 2, 3, 1, 4).flatten(1, 3)], 1)  # theirs: time is the fastest axis
    expected = theirs(videos).last_hidden_state
    close(out, expected)
    weights = noise(*out.shape, seed=1)
    parameters = list(theirs.parameters())
    places = {name: torch.tensor(i) for i, (name, _) in enumerate(theirs.named_parameters())}
    order = sorted((int(i), name) for name, i in from_transformers(places).items())  # theirs by our names
    own = [ours.get_parameter(name) for _, name in order]
    gradients = torch.autograd.grad((out * weights).sum(), [videos, *own])
    close(gradients, torch.autograd.grad((expected * weights).sum(), [videos, *parameters]))


def test_classifier_of_transformers_loads():
    from transformers import TimesformerConfig, TimesformerForVideoClassification

    words = dict(image_size=16, patch_size=4, num_frames=4, hidden_size=16, num_hidden_layers=2, num_attention_heads=4)
    config = TimesformerConfig(**words, intermediate_size=24, num_labels=5)
    theirs = fill(TimesformerForVideoClassification(config).double()).eval()
    ours = TimeSformer(**SMALL).double().eval()
    ours.load_state_dict(from_transformers(theirs.state_dict()))
    videos = noise(2, 4, 3, 16, 16)
    close(ours(videos), theirs(videos).logits)


def test_comparisons_by_formula():
    """Section 3: N = 196 patches, F = 8 frames; the class token is one key more in each look."""
    n, f, side = 196, 8, 14
    assert comparisons("space", f, side) == n + 1
    assert comparisons("joint", f, side) == n * f + 1 == 1569
    assert comparisons("divided", f, side) == n + f + 2 == 206
    assert comparisons("released", f, side) == n + f + 1 == 205  # no class token along time
    assert comparisons("axial", f, side) == f + side + side + 3
    assert comparisons("local_global", f, side) == f * n // 4 + (f // 2) * (n // 4) + 2


@pytest.mark.parametrize("plan", PLANS)
def test_comparisons_are_the_keys_of_the_running_network(plan):
    network, keys = small(plan=plan, depth=1), []
    for look in network.blocks[0].looks:
        look.attention.register_forward_hook(lambda _, inputs, __: keys.append(inputs[0].shape[1]))
    network(noise(1, 4, 3, 16, 16))
    assert sum(keys) == comparisons(plan, 4, 4)


@pytest.mark.parametrize("plan", PLANS)
def test_neighbourhoods_are_gradients(plan):
    """The patches that move a patch in each look are those that `neighbourhood` marks."""
    network, at = small(plan=plan, depth=1), (2, 1, 3)
    frames = 1 if network.timeless else 4
    marked = neighbourhood(plan, at, (4, 4, 4))
    grid = noise(1, 4, 4, 4, 16) if frames == 4 else noise(4, 1, 4, 4, 16)
    for look, expected in zip(network.blocks[0].looks, marked, strict=True):
        x = grid.clone().requires_grad_()
        token = noise(len(x), 1, 16, seed=3)
        out = look(token, x)[1].reshape(4, 4, 4, 16)
        (slope,) = torch.autograd.grad(out[at].square().sum(), x)
        assert torch.equal(slope.reshape(4, 4, 4, 16).abs().sum(3) > 1e-12, expected.bool())
    assert marked[(slice(None), *at)].all()


def test_reach():
    """Local then global: everyone in two looks; axial: in three; space alone: never another frame."""
    known = {plan: reach(plan, (4, 4, 4)).bool() for plan in PLANS}
    assert known["local_global"][1].all() and not known["local_global"][0].all()
    assert known["divided"][1].all() and not known["divided"][0].all()
    assert known["axial"][2].all() and not known["axial"][1].all()
    assert known["joint"][0].all() and known["space"][0].sum() == 4 * 16 * 16
    assert reach("local_global", (8, 14, 14))[1].all()
    assert set(reach("axial", (2, 2, 2)).flatten().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("plan", ["joint", "local_global", "divided", "axial", "released"])
def test_every_patch_knows_of_every_other_after_one_block(plan):
    """Through gradients, with a class token that carries nothing between groups: its look is cut."""
    network = small(plan=plan, depth=1)
    x = noise(1, 4, 4, 4, 16).requires_grad_()
    token, block = noise(1, 1, 16, seed=1), network.blocks[0]
    out = x
    for look in block.looks:
        _, out = look(token, out)  # always the first token
    knows = torch.zeros(64, 64, dtype=torch.bool)
    for i in range(0, 64, 9):
        (slope,) = torch.autograd.grad(out.reshape(64, 16)[i].square().sum(), x, retain_graph=True)
        knows[i] = slope.reshape(64, 16).abs().sum(1) > 1e-14
    assert knows[::9].all()


def test_space_alone_does_not_see_the_order_of_frames():
    videos, order = noise(2, 4, 3, 16, 16), [2, 0, 3, 1]
    network = small(plan="space")
    close(network(videos[:, order]), network(videos))
    assert torch.equal(network.features(videos[:, order])[0].unflatten(0, (2, 4)),
                       network.features(videos)[0].unflatten(0, (2, 4))[:, order])  # fmt: skip
    assert network(videos[:, :3]).shape == (2, 5)  # and takes any number of them
    for plan in set(PLANS) - {"space"}:
        network = small(plan=plan)
        assert (network(videos[:, order]) - network(videos)).abs().max() > 1e-5
        with torch.no_grad():
            network.times.zero_()  # without positions in time, the others do not either, but those with a stride in it
        same = (network(videos[:, order]) - network(videos)).abs().max() < 1e-10
        assert same == (plan != "local_global"), plan


def test_looks_come_in_their_order():
    """Axial: along time, then a row, then a column. Local, then global: a quarter in all frames, then every second."""
    at, sizes = (1, 2, 1), (4, 4, 4)

    def places(frames, rows, columns):
        marked = torch.zeros(sizes)
        marked[torch.tensor(frames)[:, None, None], torch.tensor(rows)[:, None], torch.tensor(columns)] = 1
        return marked

    every = [0, 1, 2, 3]
    axial = [places(every, [2], [1]), places([1], [2], every), places([1], every, [1])]
    local_global = [places(every, [2, 3], [0, 1]), places([1, 3], [0, 2], [1, 3])]
    divided = [places(every, [2], [1]), places([1], every, every)]
    for plan, expected in dict(axial=axial, local_global=local_global, divided=divided, released=divided).items():
        assert torch.equal(neighbourhood(plan, at, sizes), torch.stack(expected)), plan


@pytest.mark.parametrize(
    "step", [Step("t"), Step("hw"), Step("thw", near=2), Step("thw", far=2), Step("w"), Step("th", far=2)]
)
def test_groups_can_be_undone(step):
    x = torch.arange(2 * 4 * 6 * 8.0).view(2, 4, 6, 8, 1)
    rows = group(x, step)
    assert torch.equal(ungroup(rows, step, (4, 6, 8)), x)
    assert rows.numel() == x.numel()


def test_groups_by_hand():
    x = torch.arange(2 * 4 * 4.0).view(1, 2, 4, 4, 1)
    assert group(x, Step("t"))[5, :, 0].tolist() == [5, 21]
    assert group(x, Step("thw", near=2))[1, :, 0].tolist() == [2, 3, 6, 7, 18, 19, 22, 23]  # the upper right quarter
    assert group(x, Step("hw", far=2))[0, :, 0].tolist() == [0, 2, 8, 10]


def test_token_maps():
    network, videos = small(plan="divided"), noise(2, 4, 3, 16, 16)
    maps = list(token_maps(network, videos))
    assert [m.shape for m in maps] == 4 * [(2, 4, 4, 4, 4)]
    assert (maps[0].sum(2) < 1).all() and (maps[1].sum((3, 4)) < 1).all()
    assert len(list(token_maps(small(plan="released"), videos))) == 2
    x, token = network.embed(videos)[::-1]
    look = network.blocks[0].looks[0]
    weights = look.attention.weights(look.rows(token, x))
    close(maps[0][0, :, :, 1, 2], weights[6, :, 0, 1:])  # the seventh place of the first clip
    token, x = network.blocks[0](token, x)
    look = network.blocks[1].looks[0]  # sees what the first block made of the token and of the patches
    weights = look.attention.weights(look.rows(token, x))
    close(maps[2][0, :, :, 1, 2], weights[6, :, 0, 1:])


def lit(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Four dark frames but one; which one it is."""
    at = torch.arange(n) % 4
    videos = torch.zeros(n, 4, 3, 8, 8)
    videos[torch.arange(n), at] = 0.5 + torch.rand(n, 3, 8, 8)
    return videos, at


@pytest.mark.parametrize("plan", PLANS)
def test_learns_toy_problem(plan, unchecked):
    """When does it flash? Space alone cannot know, all others learn it."""
    torch.manual_seed(0)
    network = timesformer_small(plan=plan, frames=4, classes=4, image=8, dim=32)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    for _ in range(60):
        videos, labels = lit(16)
        loss = F.cross_entropy(network(videos), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    videos, labels = lit(64)
    accuracy = (network(videos).argmax(1) == labels).float().mean()
    assert accuracy < 0.5 if plan == "space" else accuracy > 0.95


def test_first_weights():
    torch.manual_seed(0)
    network = timesformer_small(plan="divided")
    assert not network.blocks[1].looks[0].dense.weight.any() and network.blocks[0].looks[0].dense.weight.any()
    assert not network.times.any() and 0.01 < network.positions.std() < 0.03
    assert 0.01 < network.token.std() < 0.03
    fan_in = 3 * 4 * 4
    torch.testing.assert_close(network.patches.weight.std().item(), fan_in**-0.5, rtol=0.1, atol=0.0)


def test_dropout_reaches_token_and_patches():
    """Once the token, twice the patches, as transformers' dropout after positions and after times."""
    torch.manual_seed(0)
    for plan in ("divided", "space"):
        network = TimeSformer(**SMALL | dict(plan=plan, dropout=0.5, dim=64))
        for p in (network.positions, network.token, network.patches.bias):
            torch.nn.init.normal_(p)
        token, x = network.embed(torch.rand(4, 4, 3, 16, 16))
        assert 0.3 < (token == 0).double().mean() < 0.7
        if plan == "divided":
            torch.nn.init.normal_(network.times)
            _, x = network.embed(torch.rand(4, 4, 3, 16, 16))
        assert abs((x == 0).double().mean() - 0.5) < 0.05  # what the second leaves out
        assert network.eval().embed(torch.rand(4, 4, 3, 16, 16))[1].count_nonzero() == x.numel()


def test_dropout_reaches_the_blocks():
    """Behind both linear layers of each block, with the rate that the network is given, and not in evaluation."""
    torch.manual_seed(0)
    network = TimeSformer(**SMALL | dict(plan="divided", dropout=0.5, dim=64))
    for block in network.blocks:
        assert [m.p for m in block.mlp if isinstance(m, torch.nn.Dropout)] == [0.5, 0.5]
        assert abs((block.mlp(torch.rand(100, 64)) == 0).double().mean() - 0.5) < 0.05
        assert (block.eval().mlp(torch.rand(100, 64)) != 0).all()


def test_bad_input(unchecked):
    network = small()
    with pytest.raises(ValueError, match="clips of 3 frames in a network for 4: .* frames=3"):
        network(noise(1, 3, 3, 16, 16))
    with pytest.raises(ValueError, match="frames of 12x16 pixels in a network for 16x16"):
        network(noise(1, 4, 3, 12, 16))
    with pytest.raises(ValueError, match="image = 18, patch = 4"):
        small(image=18)
    with pytest.raises(ValueError, match="plan = 'all': choose space, joint, local_global"):
        small(plan="all")
    with pytest.raises(ValueError, match="at least one step"):
        small(plan=[])
    with pytest.raises(ValueError, match="along some of t, h and w"):
        small(plan=[Step("x")])
    for plan in (["hw"], Step("hw")):
        with pytest.raises(ValueError, match="give a list of Step"):
            comparisons(plan, 4, 4)
    for step in (Step("hw", near=0), Step("t", far=0)):
        with pytest.raises(ValueError, match="near and far are 1 at the least"):
            comparisons([step], 4, 4)
    with pytest.raises(ValueError, match="near cuts the image, and this step looks along time alone"):
        comparisons([Step("t", near=2)], 4, 4)
    for at in ((0, 0, 4), (-1, 0, 0)):
        with pytest.raises(ValueError, match=r"at = .*: a place among \(4, 4, 4\) patches"):
            neighbourhood("joint", at, (4, 4, 4))
    for sizes in (dict(classes=0), dict(hidden=0), dict(frames=0)):
        with pytest.raises(ValueError, match=f"{next(iter(sizes))} = 0: 1 at the least"):
            small(**sizes)
    with pytest.raises(ValueError, match=r"give \[b f 3 h w\]; frames come first: x.transpose\(1, 2\)"):
        network(noise(1, 3, 4, 16, 16))
    with pytest.raises(ValueError, match="in training mode: call eval"):
        next(token_maps(network.train(), noise(1, 4, 3, 16, 16)))
    with pytest.raises(ValueError, match=r"state with \['conv.weight'\]: no TimeSformer of transformers"):
        from_transformers({"conv.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"state with \['norm.weight'\]"):
        from_transformers({"layernorm.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"5 patches along t in .*near \* far = 2 does not divide them"):
        small(plan="local_global", frames=5)

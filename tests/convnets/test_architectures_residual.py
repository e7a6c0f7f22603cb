"""Residual, plain, pre-activation, wide and highway nets, ResNeXt's three forms, stochastic depth, nets taken apart."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.testing import assert_close
from torchvision.ops import FrozenBatchNorm2d

from helpers.convnets.architectures import preactivation, resnet
from helpers.convnets.architectures.catalogue import CATALOGUE
from helpers.convnets.architectures.highway import Highway, highway_linear, highway_mlp, highway_small
from helpers.convnets.architectures.preactivation import (
    PreBlock,
    preactivation_small,
    resnetv2_50,
    wide_resnet,
)
from helpers.convnets.architectures.resnet import Block, Bottleneck, PaddedShortcut, resnet18, resnet50, resnet_small
from helpers.convnets.architectures.resnext import EarlyConcatenation, SplitTransformMerge
from helpers.convnets.architectures.stochastic_depth import (
    StochasticDepth,
    expected_depth,
    is_dropped,
    linear_decay,
    stochastic_depth,
)
from helpers.convnets.architectures.unravel import blocks, gradient_norms, path_lengths, removable, without

PUBLISHED = [
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2"),
]
VARIANTS = {  # what the presets of test_architectures_small.py leave out
    "plain": lambda **o: resnet_small(depth=8, residual=False, **o),
    "pre-activation, bottlenecks": lambda **o: preactivation_small(depth=11, bottleneck=True, **o),
}


def count(net):
    return sum(p.numel() for p in net.parameters())


def unsettled(net, seed=0):
    """Random running statistics and affine weights, as training leaves them, in float64."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d | FrozenBatchNorm2d):
            for tensor, low, high in zip(module.state_dict().values(), (0.5, -0.5, -0.5, 0.5), (1.5, 0.5, 0.5, 1.5)):
                tensor.uniform_(low, high, generator=generator)
    return net.double()


def images(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def bare(monkeypatch):
    """No initialisation, which on the device meta takes most of the time."""
    monkeypatch.setattr(nn.init, "kaiming_normal_", lambda tensor, **_: tensor)
    monkeypatch.setattr(nn.Conv2d, "reset_parameters", lambda self: None)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


# 1. Counts


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_count(name):
    figures = torchvision.models.get_model_weights(name).DEFAULT.meta
    assert CATALOGUE[name].parameters == figures["num_params"]
    assert CATALOGUE[name].multiply_adds / 1e9 == pytest.approx(figures["_ops"], abs=5e-4)


@pytest.mark.parametrize("depth, millions", [(20, "0.27"), (32, "0.46"), (44, "0.66"), (56, "0.85"), (110, "1.73")])
def test_small_nets_have_the_papers_counts(depth, millions, bare):  # table 6 rounds the last one to 1.7
    with torch.device("meta"):
        residual, plain = resnet_small(depth=depth), resnet_small(depth=depth, residual=False)
    assert f"{count(residual) / 1e6:.2f}" == millions
    assert {k: v.shape for k, v in residual.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}
    convolutions = [m for m in residual.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(convolutions) == depth


@pytest.mark.parametrize(
    "depth, k, millions",
    [
        (40, 1, 0.6),
        (40, 2, 2.2),
        (40, 4, 8.9),
        (22, 8, 17.2),
        (16, 8, 11.0),
        (16, 10, 17.1),
        (28, 10, 36.5),
        (28, 12, 52.5),
    ],
)
def test_wide_nets_have_the_papers_counts(depth, k, millions, bare):
    with torch.device("meta"):
        net = wide_resnet(depth=depth, k=k)
    assert round(count(net) / 1e6, 1) == millions
    convolutions = sum(isinstance(m, nn.Conv2d) for m in net.modules())
    assert convolutions == depth + (k > 1)  # the classifier is one; with k = 1 the first stage needs no projection


def test_preactivation_counts(bare):
    with torch.device("meta"):
        nets = {depth: preactivation_small(depth=depth, bottleneck=True) for depth in (164, 1001)}
    weights = {d: sum(p.numel() for p in net.parameters() if p.ndim > 1) for d, net in nets.items()}
    assert round(weights[164] / 1e6, 1) == 1.7
    assert round(weights[1001] / 1e6, 1) == 10.2  # as published; with the norms' own parameters it is 10.3


# 2. References


def twins(name):
    """torchvision's network, unsettled, and ours with its state."""
    reference = unsettled(getattr(torchvision.models, name)(num_classes=7))
    ours = getattr(resnet, name)(classes=7).double()
    ours.load_state_dict(reference.state_dict())
    return ours, reference


@pytest.mark.parametrize("name", ["resnet18", "resnext50_32x4d"])
def test_gradients_and_training_match_reference(name):
    """Outputs in evaluation, of these and the other builders: test_architectures_reference.py."""
    ours, reference = twins(name)
    x = images(2, 3, 48, 48)
    outputs = [net.train()(x) for net in (ours, reference)]
    assert_close(*outputs, rtol=1e-10, atol=1e-10)
    for y in outputs:
        y.square().sum().backward()
    theirs = dict(reference.named_parameters())
    for key, p in ours.named_parameters():
        scale = theirs[key].grad.abs().max()
        assert scale > 0
        assert_close(p.grad / scale, theirs[key].grad / scale, rtol=1e-7, atol=1e-7)
    buffers = dict(reference.named_buffers())
    for key, b in ours.named_buffers():
        assert_close(b, buffers[key])


def test_frozen_norms_and_features():
    reference = unsettled(torchvision.models.resnet50(norm_layer=FrozenBatchNorm2d)).eval()
    names = {f"layer{i}": f"layer{i}" for i in (1, 2, 3, 4)}
    body = torchvision.models._utils.IntermediateLayerGetter(reference, names)
    ours = resnet50(classes=None, norm=FrozenBatchNorm2d).double()
    state = {k: v for k, v in reference.state_dict().items() if not k.startswith("fc")}
    ours.load_state_dict(state)
    x = images(1, 3, 48, 48)
    maps, expected = ours.features(x), body(x)
    assert list(maps) == list(expected) == list(ours.widths)
    for name in maps:
        assert_close(maps[name], expected[name], rtol=1e-10, atol=1e-10)
        assert maps[name].shape[1] == ours.widths[name]
    assert not any(isinstance(m, nn.BatchNorm2d) for m in ours.modules())
    assert_close(ours(x), maps["layer4"].mean((2, 3)))


@pytest.mark.parametrize("replaced", [(False, True, True), (True, False, True), (False, False, False)])
def test_dilation_in_place_of_strides(replaced):
    """As torchvision's: sides, and every value; the same weights as ever."""
    reference = torchvision.models.ResNet(
        torchvision.models.resnet.Bottleneck,
        [1, 2, 2, 2],
        width_per_group=8,
        replace_stride_with_dilation=list(replaced),
    )
    unsettled(reference).eval()
    ours = resnet.ResNet(Bottleneck, (1, 2, 2, 2), group_width=8, replace_stride_with_dilation=replaced).double().eval()
    ours.load_state_dict(reference.state_dict())
    x = images(1, 3, 64, 48)
    assert_close(ours(x), reference(x), rtol=1e-10, atol=1e-10)
    assert ours.features(x)["layer4"].shape[-2] == 2 * 2 ** sum(replaced)
    assert [m.dilation for m in ours.modules() if isinstance(m, nn.Conv2d)] == [
        m.dilation for m in reference.modules() if isinstance(m, nn.Conv2d)
    ]


def test_dilation_in_basic_blocks():
    """The rate grows from the second block of the stage on, and the side stays."""
    options = dict(small=True, width=4, classes=None)
    net = resnet.ResNet(resnet.BasicBlock, (1, 2), **options).double().eval()
    holes = resnet.ResNet(resnet.BasicBlock, (1, 2), replace_stride_with_dilation=[True], **options).double().eval()
    holes.load_state_dict(net.state_dict())
    convs = [m for m in holes.layer2.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.dilation[0], m.padding[0], m.stride[0]) for m in convs] == [(1, 1, 1)] * 2 + [(2, 2, 1)] * 2
    x = images(1, 3, 12, 12)
    assert net.features(x)["layer2"].shape[-1] == 6
    assert holes.features(x)["layer2"].shape[-1] == 12


def test_preactivation_matches_timm():
    import timm

    reference = unsettled(timm.create_model("resnetv2_50", num_classes=7)).eval()
    ours = resnetv2_50(classes=7).double().eval()
    ours.load_state_dict(reference.state_dict())
    x = images(2, 3, 40, 40)
    with torch.no_grad():
        assert_close(ours(x), reference(x), rtol=1e-10, atol=1e-10)
        assert_close(ours.train()(x), reference.train()(x), rtol=1e-10, atol=1e-10)
    with torch.device("meta"):
        state = preactivation.resnetv2_101().state_dict()
        theirs = timm.create_model("resnetv2_101").state_dict()
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in theirs.items()}


@pytest.mark.parametrize("mode", ["batch", "row"])
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("training", [True, False])
def test_stochastic_depth_matches_torchvision(mode, p, training):
    x = images(8, 3, 2, 2)
    theirs = torchvision.ops.StochasticDepth(p, mode).train(training)
    ours = StochasticDepth(p, mode).train(training)
    for seed in range(20):
        torch.manual_seed(seed)
        expected = theirs(x)
        torch.manual_seed(seed)
        assert_close(ours(x), expected, rtol=0, atol=0)
    assert f"{p}" in repr(ours)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("groups, stride", [(32, 1), (4, 2), (1, 1)])
def test_three_forms_of_resnext_are_one(groups, stride, training):
    block = Bottleneck(16, 8, stride=stride, norm=nn.BatchNorm2d, groups=groups, group_width=64)
    unsettled(block).train(training)
    forms = EarlyConcatenation(block), SplitTransformMerge(block)
    x = images(3, 16, 6, 6).requires_grad_()
    expected = block.branch(x)
    weights = torch.randn_like(expected)
    (gradient,) = torch.autograd.grad((expected * weights).sum(), x)
    for form in forms:
        assert len(form.paths) == groups
        assert count(form) == count(block)
        assert_close(form(x), expected, rtol=1e-10, atol=1e-10)
        (own,) = torch.autograd.grad((form(x) * weights).sum(), x)
        assert_close(own, gradient, rtol=1e-9, atol=1e-10)


# 3. Structure


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("channels, side", [(3, 32), (1, 28)])
def test_gradients_reach_every_parameter(name, channels, side):
    net = VARIANTS[name](channels=channels)
    net(torch.randn(4, channels, side, side)).square().sum().backward()
    for key, p in net.named_parameters():
        assert p.grad is not None and p.grad.abs().sum() > 0, key


def test_shortcuts_are_identities_but_where_shapes_change():
    with torch.device("meta"):
        nets = resnet18(), resnet50(), resnet_small(depth=20)
    changed = [[n for n, b in blocks(net).items() if b.downsample is not None] for net in nets]
    assert changed[0] == ["layer2.0", "layer3.0", "layer4.0"]
    assert changed[1] == ["layer1.0", "layer2.0", "layer3.0", "layer4.0"]
    assert changed[2] == ["layer2.0", "layer3.0"]
    x = images(2, 4, 5, 6)
    y = PaddedShortcut(4, 7, 2)(x)
    assert torch.equal(y[:, :4], x[:, :, ::2, ::2]) and not y[:, 4:].any() and y.shape == (2, 7, 3, 3)


@pytest.mark.parametrize("build", [resnet18, resnet50, resnet_small])
def test_zeroed_last_norm_makes_every_block_the_identity(build):
    for zero in (True, False):
        net = build(zero_last=zero, classes=5)
        for block in blocks(net).values():
            inputs = block.conv1.in_channels
            x = torch.rand(2, inputs, 6, 6)  # what a ReLU hands on
            expected = block.skip(x)
            assert torch.equal(block(x), expected) is zero
            if block.downsample is None and zero:
                assert torch.equal(expected, x)


def test_a_plain_block_has_no_way_around():
    net = resnet_small(residual=False, zero_last=True)
    assert not net.layer1[0](torch.rand(2, 16, 6, 6)).any()
    with pytest.raises(ValueError, match=r"survival = 0.5: a plain net has no shortcut .* residual=True"):
        resnet_small(residual=False, survival=0.5)


@pytest.mark.parametrize("bottleneck, depth", [(False, 26), (True, 29)])
def test_preactivation_is_a_running_sum(bottleneck, depth):
    net = unsettled(preactivation_small(depth=depth, bottleneck=bottleneck)).eval()
    stage = net.stages[1].blocks
    x = first = stage[0](images(2, stage[0].conv1.in_channels, 8, 8))
    branches = torch.zeros_like(x)
    for block in stage[1:]:
        branches += block.branch(F.relu(block.norm1(x)))
        x = block(x)
    assert len(stage) > 2
    assert_close(x, first + branches, rtol=1e-12, atol=1e-12)
    # With post-activation the ReLU on the path breaks the sum.
    post = unsettled(resnet_small(depth=26)).eval()
    x = first = post.layer2[0](images(2, 16, 8, 8))
    branches = torch.zeros_like(x)
    for block in post.layer2[1:]:
        branches += block.branch(x)
        x = block(x)
    assert (x - first - branches).abs().max() > 0.1


def test_the_gradient_of_a_running_sum_has_a_direct_path():
    net = preactivation_small(depth=20).double().eval()
    for block in blocks(net).values():
        nn.init.zeros_(block.conv2.weight)  # every F and its gradient vanish
    stage = net.stages[0].blocks
    x = images(1, 16, 8, 8).requires_grad_()
    (gradient,) = torch.autograd.grad(stage(x).sum(), x)
    assert torch.equal(gradient, torch.ones_like(x))


# Stochastic depth


def test_linear_decay_and_expected_depth():
    survival = linear_decay(54, last=0.5)
    assert survival[-1] == 0.5 and survival[0] == pytest.approx(1 - 0.5 / 54)
    assert expected_depth(survival) == pytest.approx(40.25)
    assert expected_depth(survival) == pytest.approx((3 * 54 - 1) / 4)
    with torch.device("meta"):
        net = resnet_small(depth=110, survival=0.5)
    assert [b.survival for b in blocks(net).values()] == survival


def test_dropped_blocks_are_not_computed(monkeypatch):
    calls = []
    branch = resnet.BasicBlock.branch
    monkeypatch.setattr(resnet.BasicBlock, "branch", lambda self, x: calls.append(self) or branch(self, x))
    net = resnet_small(depth=20, survival=0.2, width=4)
    x = torch.randn(2, 3, 8, 8)
    runs = 150
    for _ in range(runs):
        net(x)
    mean = len(calls) / runs
    expected = expected_depth(linear_decay(9, 0.2))  # 5
    deviation = math.sqrt(sum(p * (1 - p) for p in linear_decay(9, 0.2)) / runs)
    assert abs(mean - expected) < 4 * deviation
    last = sum(call is net.layer3[2] for call in calls) / runs
    assert abs(last - 0.2) < 4 * math.sqrt(0.16 / runs)
    calls.clear()
    net.eval()(x)
    assert len(calls) == 9


def test_a_dropped_block_gets_no_gradient_and_hands_its_input_on():
    net = resnet_small(depth=8, survival=1.0, width=4)
    net.layer1[0].survival = net.layer2[0].survival = 0.0
    x = torch.randn(2, 4, 6, 6).relu()
    assert torch.equal(net.layer1[0](x), x)
    assert torch.equal(net.layer2[0](x), net.layer2[0].downsample(x))
    net(torch.randn(2, 3, 8, 8)).sum().backward()
    assert net.layer1[0].conv1.weight.grad is None
    assert net.layer3[0].conv1.weight.grad is not None


def test_test_rule_scales_the_branch_by_its_survival():
    block, p = unsettled(resnet_small(depth=8)).layer1[0].eval(), 0.3
    nn.init.constant_(block.bn2.bias, 1000.0)  # F > 0: the last ReLU lets all pass
    x = images(2, 16, 6, 6).relu()
    branch, kept, dropped = block.branch(x), block(x), block.skip(x)
    assert branch.min() > 0 and torch.equal(kept, x + branch) and torch.equal(dropped, x)
    block.survival = p
    assert_close(block(x), x + p * branch)
    assert_close(block(x), p * kept + (1 - p) * dropped)  # the mean of what training sees
    block.training = True  # the block alone: its norms stay in eval()
    seen = [block(x) for _ in range(40)]
    assert all(torch.equal(y, kept) or torch.equal(y, dropped) for y in seen)  # survivors are not scaled
    assert {torch.equal(y, kept) for y in seen} == {True, False}


def test_torchvisions_rule_scales_while_training_instead():
    x, p, draws = images(2, 3, 4, 4), 0.3, 4000
    ratios = torch.stack([(stochastic_depth(x, 1 - p, "batch") / x)[0, 0, 0, 0] for _ in range(draws)])
    assert {round(r, 6) for r in ratios.tolist()} == {0.0, round(1 / p, 6)}
    assert abs(ratios.mean() - 1) < 4 * math.sqrt((1 / p - 1) / draws)  # its mean is the branch itself,
    assert torch.equal(stochastic_depth(x, 1 - p, "batch", training=False), x)  # which the test then uses


def test_is_dropped_draws_only_when_it_must():
    state = torch.get_rng_state()
    assert not is_dropped(1.0, training=True) and not is_dropped(0.0, training=False)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(is_dropped(0.0, training=True) for _ in range(50))


# Highway


def test_highway_equation_and_its_limits():
    x = images(4, 6)
    layer = highway_linear(6, bias=-1.0).double()
    H = F.relu(F.linear(x, layer.transform[0].weight, layer.transform[0].bias))
    T = torch.sigmoid(F.linear(x, layer.gate.weight, layer.gate.bias))
    assert_close(layer(x), T * H + (1 - T) * x)
    assert_close(layer.openness(x), T)
    nn.init.constant_(layer.gate.bias, -100.0)
    assert_close(layer(x), x, rtol=0, atol=1e-12)  # carry
    nn.init.constant_(layer.gate.bias, 100.0)
    assert_close(layer(x), H, rtol=0, atol=1e-12)  # transform
    residual = Highway(layer.transform, None)
    assert_close(residual(x), H + x)


def test_an_ungated_highway_layer_is_a_residual_block():
    block = unsettled(preactivation_small(depth=8)).stages[0].blocks[0].eval()
    transform = nn.Sequential(block.norm1, nn.ReLU(), block.conv1, block.norm2, nn.ReLU(), block.conv2)
    x = images(2, 16, 6, 6)
    assert_close(Highway(transform, None)(x), block(x))


@pytest.mark.parametrize("build, layers", [(partial(highway_mlp, depth=8, image=8), 6), (highway_small, 9)])
def test_highway_nets_differ_in_their_gates_alone(build, layers):
    """Gates that begin with the bias, the sum without gates, and neither: of the same maps."""
    nets = {kind: build(kind=kind, bias=-1.5) for kind in ("highway", "residual", "plain")}
    found = {kind: [m for m in net.modules() if isinstance(m, Highway)] for kind, net in nets.items()}
    assert [len(found[kind]) for kind in nets] == [layers, layers, 0]
    assert all(layer.gate is None for layer in found["residual"])
    assert all((layer.gate.bias == -1.5).all() for layer in found["highway"])
    gates = sum(count(layer.gate) for layer in found["highway"])
    assert count(nets["residual"]) == count(nets["plain"]) == count(nets["highway"]) - gates


@pytest.mark.parametrize("bias, low, high", [(-4.0, 0.0, 0.05), (-2.0, 0.05, 0.2), (0.0, 0.4, 0.6)])
def test_the_gates_bias_says_how_much_is_carried(bias, low, high):
    net = highway_mlp(depth=5, bias=bias, channels=1, image=8)
    first, *layers, _ = net
    x = first(torch.rand(64, 1, 8, 8))
    for layer in layers:
        assert low < layer.openness(x).mean() < high
        x = layer(x)


# 4. Learning


def digits(n=512):
    from sklearn.datasets import load_digits

    data = load_digits()
    return torch.tensor(data.images[:n, None] / 16, dtype=torch.float32), torch.tensor(data.target[:n])


def train(net, x, y, steps, lr=1e-2):
    optimizer = torch.optim.Adam(net.parameters(), lr)
    for i in range(steps):
        batch = torch.arange(i * 64, (i + 1) * 64) % len(x)
        loss = F.cross_entropy(net(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def accuracy(net, x, y):
    with torch.no_grad():
        return (net.eval()(x).argmax(1) == y).float().mean().item()


SHALLOW = {
    "residual": lambda: resnet_small(depth=8, channels=1),
    "plain": lambda: resnet_small(depth=8, residual=False, channels=1),
    "stochastic depth": lambda: resnet_small(depth=8, survival=0.7, channels=1),
    "pre-activation": lambda: preactivation_small(depth=8, channels=1),
    "highway": lambda: highway_small(depth=8, bias=-1.0, channels=1),
}


@pytest.mark.parametrize("name", SHALLOW)
def test_learns_toy_problem(name, unchecked):
    x, y = digits()
    net = SHALLOW[name]()
    train(net, x, y, steps=40)
    assert accuracy(net, x, y) > 0.6


def test_highway_nets_train_where_plain_ones_stall(unchecked):
    x, y = digits()
    losses = {}
    for kind in ("highway", "plain"):
        torch.manual_seed(0)
        net = highway_mlp(depth=50, kind=kind, channels=1, image=8, bias=-3.0)
        losses[kind] = train(net, x, y, steps=80)
    assert losses["highway"] < 1.5
    assert losses["plain"] > 2  # chance is ln 10 = 2.3


# Nets taken apart


def test_without_a_block():
    net = unsettled(resnet_small(depth=20, classes=5)).eval()
    x = images(2, 3, 16, 16)
    before, block = net(x), net.layer2[1]
    with without(net, "layer2.1", "layer3.0") as shorter:
        changed = shorter(x)
        a = F.relu(net.bn1(net.conv1(x)))
        a = net.layer2[0](net.layer1(a))
        a = net.layer3[0].block.downsample(net.layer2[2](a))
        by_hand = net.fc(net.layer3[1:](a).mean((2, 3)))
    assert_close(changed, by_hand)
    assert net.layer2[1] is block and torch.equal(net(x), before) and not torch.equal(changed, before)
    with pytest.raises(KeyError), without(net, "layer1.0"):
        raise KeyError
    assert isinstance(net.layer1[0], Block)


def test_without_a_block_of_a_plain_or_a_preactivation_net():
    x = images(2, 3, 16, 16)
    plain = unsettled(resnet_small(depth=20, residual=False)).eval()
    assert removable(plain) == [n for n in blocks(plain) if n not in ("layer2.0", "layer3.0")]
    with without(plain, "layer1.0"):
        shorter = plain(x)
    a = plain.layer1[1:](F.relu(plain.bn1(plain.conv1(x))))
    assert_close(shorter, plain.fc(plain.layer3(plain.layer2(a)).mean((2, 3))))
    pre = unsettled(preactivation_small(depth=20)).eval()
    assert len(removable(pre)) == 7 and isinstance(blocks(pre)[removable(pre)[0]], PreBlock)
    name = removable(pre)[3]
    with without(pre, name):
        shorter = pre(x)
    nn.init.zeros_(blocks(pre)[name].conv2.weight)
    assert_close(shorter, pre(x))
    with torch.device("meta"):
        deep = resnet50()
    assert len(blocks(deep)) == 16 and len(removable(deep)) == 12


def test_paths_and_gradient_norms():
    assert path_lengths(3) == [1, 3, 3, 1] and sum(path_lengths(54)) == 2**54
    net, x = resnet_small(depth=8, width=4), torch.randn(2, 3, 8, 8)
    norms = gradient_norms(net, net(x).square().sum())
    assert all(p.grad is None for p in net.parameters())
    net(x).square().sum().backward()
    layers = {n: m.weight for n, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    assert list(norms) == list(layers) and len(norms) == 8
    for name, w in layers.items():
        assert norms[name] == pytest.approx(w.grad.square().mean().sqrt().item(), rel=1e-4)


# 5. Devices, dtypes, layouts


@pytest.mark.parametrize("name", VARIANTS)
def test_device_and_dtype(name):
    net = VARIANTS[name](channels=1).eval()
    x = torch.randn(2, 1, 28, 28)
    expected = net(x)
    again = VARIANTS[name](channels=1).eval()
    again.load_state_dict(net.state_dict())
    assert torch.equal(again(x), expected)
    last = net.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    assert_close(last, expected, rtol=1e-4, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        assert net(x).isfinite().all()


@pytest.mark.parametrize("name", VARIANTS)
def test_compiles_without_a_graph_break(name, unchecked, norms_only_shift):
    torch.compiler.reset()
    net, x = VARIANTS[name](channels=1), torch.randn(2, 1, 12, 12)
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    for training in (True, False):
        net.train(training)
        assert_close(compiled(x), net(x))


# Weights, and what is refused


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_builder_asks_for_its_own_weights(name, monkeypatch):
    asked = []
    monkeypatch.setattr(resnet, "load_published", lambda net, *wanted: asked.append(wanted) or net)
    with torch.device("meta"):
        getattr(resnet, name)(weights="imagenet")
    assert asked == [(name, "imagenet")]


def test_bad_input():
    with torch.device("meta"):
        with pytest.raises(ValueError, match="published weights are for classes = 1000"):
            resnet18(weights="imagenet", classes=10)
        with pytest.raises(ValueError, match=r"depth = 21: .* 6n \+ 2 layers, such as 8, 14, 20"):
            resnet_small(depth=21)
        with pytest.raises(ValueError, match=r"depth = 2: "):
            resnet_small(depth=2)
        with pytest.raises(ValueError, match=r"depth = 21: it is 9n \+ 2, such as 11, 20, 29"):
            preactivation_small(depth=21, bottleneck=True)
        with pytest.raises(ValueError, match=r"depth = 12: it is 6n \+ 4, such as 10, 16, 22"):
            wide_resnet(depth=12)
        with pytest.raises(ValueError, match=r"depth = 12: .* 3n \+ 2, such as 5, 8, 11"):
            highway_small(depth=12)
        with pytest.raises(ValueError, match="kind = 'gated': one of highway, residual, plain"):
            highway_mlp(kind="gated")
    for survival in (1.2, -0.1, math.nan):
        with pytest.raises(ValueError, match=rf"survival = {survival}: a probability lies in \[0, 1\]"):
            is_dropped(survival, True)
    with pytest.raises(ValueError, match="groups = 32, group_width = 64: basic blocks have neither"):
        resnet18(groups=32)
    with pytest.raises(ValueError, match="group_width = 4: of 8 planes it leaves no channel, take at least 8"):
        resnet50(width=8, group_width=4)
    with pytest.raises(ValueError, match=r"replace_stride_with_dilation = \[True\]: .* each of the 3 stages"):
        resnet18(replace_stride_with_dilation=[True])
    with pytest.raises(ValueError, match=r"depths = \(2, 0\): each stage has a block"):
        resnet.ResNet(Bottleneck, (2, 0))
    with pytest.raises(ValueError, match="depth = 1: a first and a last layer are 2"):
        highway_mlp(depth=1)
    with pytest.raises(ValueError, match="no gate, so no openness"):
        highway_linear(4, bias=0.0, kind="residual").openness(torch.ones(1, 4))
    net = resnet_small(depth=8, width=4)
    with pytest.raises(ValueError, match="the loss does not depend on layer3.0.conv1, layer3.0.conv2, fc"):
        gradient_norms(net, net.features(torch.ones(2, 3, 8, 8))["layer2"].sum())
    with pytest.raises(ValueError, match=r"p = 1.5: a probability lies in \[0, 1\]"):
        stochastic_depth(torch.ones(2, 2), 1.5, "row")
    with pytest.raises(ValueError, match="mode = 'column': 'batch' or 'row'"):
        stochastic_depth(torch.ones(2, 2), 0.5, "column")
    with pytest.raises(ValueError, match=r"last = -1.0: a probability"):
        linear_decay(3, last=-1.0)
    plain = resnet_small(depth=8, residual=False)
    with (
        pytest.raises(ValueError, match="'layer9.0' is no block: layer1.0, layer2.0, layer3.0"),
        without(plain, "layer9.0"),
    ):
        pass
    with (
        pytest.raises(ValueError, match="'layer2.0' changes the shape .* can lose layer1.0"),
        without(plain, "layer2.0"),
    ):
        pass

"""DenseNet and FractalNet: concatenation and fractals in the place of sums."""

import math

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.testing import assert_close

from helpers.convnets.architectures import densenet
from helpers.convnets.architectures.catalogue import CATALOGUE
from helpers.convnets.architectures.densenet import DenseBlock, densenet_small, feature_reuse
from helpers.convnets.architectures.fractalnet import Conv, FractalNet, fractalnet20, fractalnet_small, join, surviving
from helpers.convnets.output_size import saved_bytes

PUBLISHED = ["densenet121", "densenet161", "densenet169", "densenet201"]
VARIANTS = {  # what the presets of test_architectures_small.py leave out
    "no bottlenecks": lambda **o: densenet_small(depth=10, bottleneck=0, **o),
    "lean": lambda **o: densenet_small(depth=10, lean=True, **o),
}


def count(net):
    return sum(p.numel() for p in net.parameters())


def images(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def unsettled(net):
    """Random running statistics and affine weights, as training leaves them, in float64."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                nn.init.uniform_(tensor, -0.5, 0.5)
    return net.double()


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def bare(monkeypatch):
    """No initialisation, which on the device meta takes most of the time."""
    monkeypatch.setattr(nn.init, "kaiming_normal_", lambda tensor, **_: tensor)
    monkeypatch.setattr(nn.Conv2d, "reset_parameters", lambda self: None)


# 1. Counts


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_count(name):
    figures = torchvision.models.get_model_weights(name).DEFAULT.meta
    assert CATALOGUE[name].parameters == figures["num_params"]
    assert CATALOGUE[name].multiply_adds / 1e9 == pytest.approx(figures["_ops"], abs=5e-4)


@pytest.mark.parametrize(
    "depth, growth, bottleneck, millions",
    [
        (40, 12, 0, 1.0),
        (100, 12, 0, 7.0),
        (100, 24, 0, 27.2),
        (100, 12, 4, 0.8),
        (250, 24, 4, 15.3),
        (190, 40, 4, 25.6),
    ],
)
def test_small_nets_have_the_papers_counts(depth, growth, bottleneck, millions, bare):
    with torch.device("meta"):
        net = densenet_small(depth=depth, growth=growth, bottleneck=bottleneck)
    assert abs(count(net) / 1e6 - millions) < 0.051  # the paper rounds 27.249 to 27.2 and cuts 6.98 to 7.0


def test_layers_and_connections_are_the_papers():
    with torch.device("meta"):
        net = densenet.densenet121()
        plain = densenet_small(depth=40, bottleneck=0)
    blocks = [m for m in net.modules() if isinstance(m, DenseBlock)]
    assert [len(b) for b in blocks] == [6, 12, 24, 16]
    for block in blocks:
        L = len(block)
        assert block.connections() == L * (L + 1) // 2
    layers = sum(isinstance(m, nn.Conv2d | nn.Linear) for m in net.modules())
    assert layers == 121
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in plain.modules()) == 40


@pytest.mark.parametrize("blocks, columns", [(1, 1), (3, 3), (2, 4), (5, 2)])
def test_fractal_depth_is_blocks_times_a_power_of_two(blocks, columns, bare):
    with torch.device("meta"):
        net = fractalnet_small(blocks=blocks, columns=columns)
    for c in range(columns):
        assert sum(isinstance(m, Conv) for m in net.column(c)) == blocks * 2**c
    # 2^C - 1 convolutions a block, each of them in one column
    assert sum(isinstance(m, Conv) for m in net.modules()) == blocks * (2**columns - 1)
    assert sum(len([m for m in net.column(c) if isinstance(m, Conv)]) for c in range(columns)) == blocks * (
        2**columns - 1
    )


def test_fractalnet20_is_20_layers_and_a_classifier():
    with torch.device("meta"):
        net = fractalnet20()
    assert sum(isinstance(m, Conv) for m in net.column(2)) == 20 and CATALOGUE["fractalnet20"].layers == 21


# 2. References


def test_gradients_and_training_match_reference():
    reference = unsettled(torchvision.models.densenet121(num_classes=7))
    ours = densenet.densenet121(classes=7).double()
    ours.load_state_dict(reference.state_dict())
    x = images(2, 3, 40, 40)
    found, expected = ours.train()(x), reference.train()(x)
    assert_close(found, expected, rtol=1e-9, atol=1e-9)
    found.square().sum().backward(), expected.square().sum().backward()
    theirs = dict(reference.named_parameters())
    for key, p in ours.named_parameters():
        scale = theirs[key].grad.abs().max()
        assert scale > 0
        assert_close(p.grad / scale, theirs[key].grad / scale, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("bottleneck", [0, 4])
def test_a_block_hands_everything_to_all_that_follow(bottleneck):
    block = unsettled(DenseBlock(5, 3, 2, bottleneck)).eval()
    x = images(2, 5, 6, 6)
    maps = x
    for layer in block.values():
        y = F.relu(layer.norm1(maps))
        if bottleneck:
            y = F.relu(layer.norm2(layer.conv1(y)))
        maps = torch.cat([maps, layer.conv2(y)], 1)
    assert maps.shape[1] == 5 + 3 * 2
    assert_close(block(x), maps)


def test_fractal_by_hand():
    net = unsettled(FractalNet((4, 6), columns=3, channels=2)).eval()
    block = net.blocks[1]
    z = images(2, 4, 8, 8)
    (a,), (first, second) = block.column(0), block.deeper
    b1, b2 = first.column(0) + second.column(0)
    c1, c2, c3, c4 = block.column(2)
    middle = (b1(z) + c2(c1(z))) / 2
    expected = (a(z) + b2(middle) + c4(c3(middle))) / 3  # one join of three, not two of two
    assert_close(join(block(z)), expected)


# 3. Structure


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("channels, side", [(3, 32), (1, 28)])
def test_gradients_reach_every_parameter(name, channels, side):
    net = VARIANTS[name](channels=channels)
    net(torch.randn(4, channels, side, side)).square().sum().backward()
    for key, p in net.named_parameters():
        assert p.grad is not None and p.grad.abs().sum() > 0, key


def test_every_layer_has_a_short_way_to_the_blocks_end():
    block = DenseBlock(3, 5, 2, 4).eval()
    x = torch.rand(1, 3, 6, 6)
    out = block(x)
    assert torch.equal(out[:, :3], x)  # the input is still there
    for i, layer in enumerate(block.values()):
        (own,) = torch.autograd.grad(out[:, 3 + 2 * i : 5 + 2 * i].sum(), layer.conv2.weight, retain_graph=True)
        assert own.abs().sum() > 0


@pytest.mark.parametrize("bottleneck", [0, 4])
def test_feature_reuse_is_the_mean_weight_on_each_source(bottleneck):
    block = DenseBlock(5, 4, 3, bottleneck)
    reuse = feature_reuse(block)
    assert reuse.shape == (4, 4) and torch.equal(reuse.isnan(), torch.ones(4, 4).triu(1).bool())
    layer = block["denselayer3"]
    w = (layer.conv1 if bottleneck else layer.conv2).weight.abs()
    assert_close(reuse[2, :3], torch.stack([w[:, :5].mean(), w[:, 5:8].mean(), w[:, 8:11].mean()]))
    with torch.no_grad():
        (layer.conv1 if bottleneck else layer.conv2).weight[:, 5:8] = 0
    changed = feature_reuse(block)
    assert changed[2, 1] == 0 and changed[2, 0] == reuse[2, 0] and changed[3].equal(reuse[3])


@pytest.mark.parametrize("training", [True, False])
def test_lean_computes_the_same_and_keeps_less(training):
    nets = [
        densenet_small(depth=40, growth=4, lean=lean, channels=1).double().train(training) for lean in (False, True)
    ]
    nets[1].load_state_dict(nets[0].state_dict())
    x = images(2, 1, 8, 8)
    kept = [saved_bytes(net, x) for net in nets]
    assert kept[1] < 0.7 * kept[0]
    outputs = [net(x) for net in nets]
    assert_close(*outputs)
    for y in outputs:
        y.square().sum().backward()
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert_close(a.grad, b.grad)
    for a, b in zip(nets[0].buffers(), nets[1].buffers(), strict=True):
        assert_close(a, b)  # the second pass leaves the running statistics alone
    assert all(m.momentum == 0.1 for m in nets[1].modules() if isinstance(m, nn.BatchNorm2d))


# Drop-path


def test_a_join_is_a_mean_and_keeps_at_least_one():
    paths = [torch.full((1, 1, 1, 1), v) for v in (3.0, 6.0, 12.0)]
    assert join(paths).item() == 7
    assert {join(paths, drop=1.0).item() for _ in range(60)} == {3, 6, 12}
    assert {round(join(paths, drop=0.5).item(), 3) for _ in range(200)} == {3, 6, 12, 4.5, 7.5, 9, 7}
    drop, draws = 0.15, 4000
    kept = torch.stack([surviving(3, drop) for _ in range(draws)]).double()
    assert kept.sum(1).min() == 1
    share = (1 - drop) + drop**3 / 3  # survivors, and a third of the times that all would be lost
    assert (kept.mean(0) - share).abs().max() < 4 * math.sqrt(share * (1 - share) / draws)


def test_global_drop_path_runs_one_column_of_the_whole_net():
    net = unsettled(fractalnet_small(width=4, channels=1, drop=1e-9)).eval()  # local drop-path hardly ever drops
    x = images(2, 1, 12, 12)
    whole, columns = net(x), [net.column(c)(x) for c in range(3)]
    net.training = True  # the net alone: its norms stay in eval()
    seen = [net(x) for _ in range(60)]
    kinds = [[torch.equal(y, e) for e in (whole, *columns)].index(True) for y in seen]
    assert set(kinds) == {0, 1, 2, 3}
    assert abs(kinds.count(0) / 60 - 0.5) < 4 * math.sqrt(0.25 / 60)
    net.training = False
    assert torch.equal(net(x), whole)


def test_the_deepest_column_shares_its_layers():
    net = fractalnet_small(width=4)
    deepest = net.column(2)
    own = {id(p) for p in net.parameters()}
    assert {id(p) for p in deepest.parameters()} < own
    others = {id(p) for c in (0, 1) for m in net.column(c) if isinstance(m, Conv) for p in m.parameters()}
    assert not others & {id(p) for p in deepest.parameters()}
    deepest(torch.randn(2, 3, 16, 16)).sum().backward()
    grads = [p.grad is not None for p in net.parameters()]
    assert any(grads) and not all(grads)


# 4. Learning


def digits(n=512):
    from sklearn.datasets import load_digits

    data = load_digits()
    return torch.tensor(data.images[:n, None] / 16, dtype=torch.float32), torch.tensor(data.target[:n])


def train(net, x, y, steps):
    optimizer = torch.optim.Adam(net.parameters(), 1e-2, fused=True)
    for i in range(steps):
        batch = torch.arange(i * 64, (i + 1) * 64) % len(x)
        loss = F.cross_entropy(net(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def accuracy(net, x, y):
    with torch.no_grad():
        return (net.eval()(x).argmax(1) == y).float().mean().item()


def test_learns_toy_problem():
    x, y = digits()
    net = densenet_small(depth=10, channels=1)
    train(net, x, y, steps=40)
    assert accuracy(net, x, y) > 0.8


def test_every_column_of_a_fractal_works_alone_after_drop_path(unchecked):
    """Each of the three is far better than after training without; how good exactly turns with the processor's rounding."""
    x, y = digits()
    alone = {}
    for drop in (0.15, 0.0):
        torch.manual_seed(0)
        net = fractalnet_small(width=8, channels=1, drop=drop)
        train(net, x, y, steps=150)
        assert accuracy(net, x, y) > 0.7
        alone[drop] = torch.tensor([accuracy(net.column(c), x, y) for c in range(3)])
    assert alone[0.15].min() > 0.2 and alone[0.15].mean() > alone[0.0].mean() + 0.25


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


def test_compiles_without_a_graph_break(unchecked, norms_only_shift):
    torch.compiler.reset()
    net, x = VARIANTS["no bottlenecks"](channels=1), torch.randn(2, 1, 12, 12)
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    for training in (True, False):
        net.train(training)
        assert_close(compiled(x), net(x))


# Weights, and what is refused


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_builder_asks_for_its_own_weights(name, monkeypatch, bare):
    asked = []
    monkeypatch.setattr(densenet, "load_published", lambda net, *wanted: asked.append(wanted) or net)
    with torch.device("meta"):
        getattr(densenet, name)(weights="imagenet")
    assert asked == [(name, "imagenet")]


def test_bad_input():
    with torch.device("meta"):
        with pytest.raises(ValueError, match=r"depth = 23: with bottleneck = 4 it is 6n \+ 4, such as 10, 22"):
            densenet_small(depth=23)
        with pytest.raises(ValueError, match=r"depth = 23: with bottleneck = 0 it is 3n \+ 4, such as 7, 13"):
            densenet_small(depth=23, bottleneck=0)
        with pytest.raises(ValueError, match="columns = 0: at least 1"):
            fractalnet_small(columns=0)
        for drop in (1.5, math.nan):
            with pytest.raises(ValueError, match=rf"drop = {drop}: a probability lies in \[0, 1\]"):
                fractalnet_small(drop=drop)
            with pytest.raises(ValueError, match=rf"dropout = {drop}: it lies in \[0, 1\]"):
                densenet_small(dropout=drop)
        with pytest.raises(ValueError, match="compression = 0.0: above 0, up to 1"):
            densenet_small(compression=0.0)
        with pytest.raises(ValueError, match="column 3: this net has columns 0 to 2"):
            fractalnet_small().column(3)
        with pytest.raises(ValueError, match="column -1: "):
            fractalnet_small().column(-1)
        with pytest.raises(ValueError, match="published weights are for classes = 1000"):
            densenet.densenet121(weights="imagenet", classes=10)

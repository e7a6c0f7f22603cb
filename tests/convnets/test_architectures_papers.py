"""Tables and facts of the papers, against the networks as built."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from helpers.convnets.architectures import (
    alexnet,
    googlenet,
    inception,
    inception_resnet,
    lenet,
    mobilenet,
    nasnet,
    zfnet,
)
from helpers.convnets.architectures import network_in_network as nin
from helpers.convnets.architectures.catalogue import CATALOGUE
from helpers.convnets.output_size import layer_table


def meta(builder, **options):
    with torch.device("meta"):
        return builder(**options)


def count(module):
    return sum(p.numel() for p in module.parameters())


def cost(module, shape):
    return sum(row.multiply_adds for row in layer_table(module, shape))


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# LeNet


def test_lenet5_has_the_parameters_of_the_paper():
    net = lenet.lenet5()
    counts = [count(layer) for layer in (net.c1, net.s2, net.c3, net.s4, net.c5, net.f6)]
    assert counts == [156, 12, 1516, 32, 48120, 10164] and sum(counts) == count(net) == 60_000
    connections = [28 * 28 * 156, 14 * 14 * 6 * 5, 100 * 1516, 25 * 16 * 5, 48120, 10164]
    assert connections[:4] == [122_304, 5_880, 151_600, 2_000]
    macs = {row.layer: row.multiply_adds for row in layer_table(net, (1, 32, 32))}
    maps = sum(cost for name, cost in macs.items() if name.startswith("c3.maps"))
    assert maps == 151_600 - 1600 and macs["c1"] == 122_304 - 6 * 28 * 28  # without the biases


def test_the_table_of_c3():
    assert [len(maps) for maps in lenet.C3] == 6 * [3] + 9 * [4] + [6]
    assert len({tuple(maps) for maps in lenet.C3}) == 16
    seen = [sum(i in maps for maps in lenet.C3) for i in range(6)]
    assert seen == 6 * [10]  # every map of S2 feeds ten
    assert lenet.C3[4:6] == [[0, 4, 5], [0, 1, 5]] and lenet.C3[12:15] == [[0, 1, 3, 4], [1, 2, 4, 5], [0, 2, 3, 5]]


def test_sparse_convolution_is_a_full_one_with_zeros():
    layer = lenet.SparseConv(lenet.C3).double()
    full = torch.zeros(16, 6, 5, 5, dtype=torch.float64)
    for o, (conv, maps) in enumerate(zip(layer.maps, lenet.C3, strict=True)):
        full[o, maps] = conv.weight[0].detach()
    bias = torch.cat([conv.bias for conv in layer.maps])
    x = randn(2, 6, 9, 8)
    assert_close(layer(x), nn.functional.conv2d(x, full, bias))


def test_subsampling_and_prototypes_as_defined():
    layer = lenet.Subsample(2).double()
    nn.init.normal_(layer.weight), nn.init.normal_(layer.bias)
    x = randn(1, 2, 4, 6)
    sums = x[:, :, 0:4:2, 0:6:2] + x[:, :, 1:4:2, 0:6:2] + x[:, :, 0:4:2, 1:6:2] + x[:, :, 1:4:2, 1:6:2]
    assert_close(layer(x), sums * layer.weight + layer.bias)
    output = lenet.Prototypes(10, 84).double()
    assert set(output.codes.unique().tolist()) == {-1, 1} and len({tuple(c.tolist()) for c in output.codes}) == 10
    x = output.codes[3:4] + 0.5
    logits = output(x)
    assert logits.argmax() == 3 and logits[0, 3].item() == pytest.approx(-84 * 0.25)
    assert lenet.Squash()(torch.tensor([1.0, -1.0])).tolist() == pytest.approx([1, -1], abs=1e-4)


def test_lenet5_squashes_every_layer_but_the_last():
    net = lenet.lenet5().double()
    x = images = 9 * randn(2, 1, 32, 32)
    for layer in (net.c1, net.s2, net.c3, net.s4, net.c5):
        x = 1.7159 * torch.tanh(layer(x) * 2 / 3)
    x = 1.7159 * torch.tanh(net.f6(x.flatten(1)) * 2 / 3)
    assert_close(net(images), -torch.cdist(x, net.output.codes).square())


def test_lenet5_names_the_remedy_for_other_images():
    with pytest.raises(ValueError, match=r"images of \(28, 28\) pixels: LeNet-5 reads 32x32, so pad"):
        lenet.lenet5()(torch.zeros(1, 1, 28, 28))


def test_the_taught_lenet_pools_plainly_at_32_pixels():
    net = lenet.lenet_small()
    x = torch.randn(2, 3, 32, 32)
    plain = nn.Sequential(*net.features[:5], nn.MaxPool2d(2))
    assert torch.equal(net.features(x), plain(x))


# AlexNet


def test_response_norm_is_the_papers_formula():
    x = randn(2, 7, 3, 3)
    squares = x.square()
    sums = torch.stack([squares[:, max(0, i - 2) : i + 3].sum(1) for i in range(7)], 1)
    assert_close(alexnet.response_norm()(x), x / (2 + 1e-4 * sums) ** 0.75)


def test_response_norm_of_googlenet():
    """AlexNet's, with 1 for 2, behind the first and the third convolution; torchvision's net has batch norms instead."""
    net, x = meta(googlenet.googlenet_2014), 9 * randn(2, 7, 3, 3)
    squares = x.square()
    sums = torch.stack([squares[:, max(0, i - 2) : i + 3].sum(1) for i in range(7)], 1)
    for norm in (net.norm1, net.norm2):
        assert_close(norm(x), x / (1 + 1e-4 * sums) ** 0.75)
    later = meta(googlenet.googlenet)
    assert all(isinstance(norm, nn.Identity) for norm in (later.norm1, later.norm2))


def test_stem_of_googlenet_by_hand():
    """Each response norm is at work: the first behind the pool, the second before the next one."""
    net, seen = googlenet.googlenet_2014(aux_logits=False).double().eval(), []
    net.inception3a.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = 300 * randn(1, 3, 64, 64)
    net(images)
    pool, norm = nn.MaxPool2d(3, 2, ceil_mode=True), googlenet.response_norm()
    x = norm(pool(net.conv1.conv(images).relu()))
    x = net.conv3.conv(net.conv2.conv(x).relu()).relu()
    assert_close(seen[0], pool(norm(x)))
    assert (pool(x) / seen[0].clamp(min=1e-9)).max() > 1.01  # the numbers are large enough for a norm to be seen


def test_where_response_norms_stand():
    """AlexNet's section 3.5: behind the ReLUs of layers 1 and 2, before their pools; in ZFNet behind the pools."""
    kinds = {"Conv2d": "c", "ReLU": "r", "LocalResponseNorm": "n", "MaxPool2d": "p"}
    rows = {
        name: "".join(kinds[type(layer).__name__] for layer in meta(builder).features)
        for name, builder in dict(original=alexnet.alexnet_2012, course=alexnet.alexnet_course, zf=zfnet.zfnet).items()
    }
    assert rows == {"original": "crnpcrnpcrcrcrp", "course": "crpcrpcrcrcrp", "zf": "crpncrpncrcrcrp"}


def test_two_gpus_are_two_towers():
    net = meta(alexnet.alexnet_2012)
    convs = [m for m in net.features if isinstance(m, nn.Conv2d)]
    assert [conv.groups for conv in convs] == [1, 2, 1, 2, 2]
    assert [conv.weight.shape[1] for conv in convs] == [3, 48, 256, 192, 192]
    shapes = [row.shape for row in layer_table(net, (3, 227, 227)) if row.weights]
    assert shapes[:5] == [(96, 55, 55), (256, 27, 27), (384, 13, 13), (384, 13, 13), (256, 13, 13)]


def test_counts_beside_alexnets():
    original = CATALOGUE["alexnet_2012"].parameters
    assert round(original / CATALOGUE["squeezenet1_0"].parameters, 1) == 48.8  # the "50x" of SqueezeNet's title
    # GoogLeNet is said to have 5 million, 12 times fewer than AlexNet. Without its two auxiliary heads:
    net = meta(googlenet.googlenet_2014, aux_logits=False)
    assert count(net) == 6_998_552 and 8 < original / count(net) < 9
    assert 4 < original / CATALOGUE["googlenet_2014"].parameters < 5


# GoogLeNet


# Table 1 of the paper: parameters in thousands (of 1024), operations in millions.
TABLE = {
    "3a": (159, 128, 28),
    "3b": (380, 304, 28),
    "4a": (364, 73, 14),
    "4b": (437, 88, 14),
    "4c": (463, 100, 14),
    "4d": (580, 119, 14),
    "4e": (840, 170, 14),
    "5a": (1072, 54, 7),
    "5b": (1388, 71, 7),
}


# What does not follow from the widths that the table gives: the parameters of 4c, with which its own operations do not
# agree, and both figures of 5a.
AS_BUILT = {"4c": (497.5, 100), "5a": (1018, 51)}


@pytest.mark.parametrize("name", TABLE)
def test_inception_modules_have_the_costs_of_the_papers_table(name):
    thousands, millions, side = TABLE[name]
    module = getattr(meta(googlenet.googlenet_2014), f"inception{name}")
    weights = sum(p.numel() for p in module.parameters() if p.ndim == 4) / 1024
    operations = cost(module, (googlenet.MODULES[name][0], side, side)) / 1e6
    if name in AS_BUILT:
        assert (weights, round(operations)) == AS_BUILT[name]
        assert abs(weights / thousands - 1) > 0.03
    else:
        assert weights == pytest.approx(thousands, rel=0.03) and operations == pytest.approx(millions, rel=0.03)


def test_sizes_of_googlenet():
    shapes = {row.layer: row.shape for row in layer_table(meta(googlenet.googlenet_2014), (3, 224, 224))}
    stem = [shapes[f"{name}{i}"] for i in "12" for name in ("maxpool",)]
    assert shapes["conv1.conv"] == (64, 112, 112) and stem == [(64, 56, 56), (192, 28, 28)]
    assert shapes["maxpool3"] == (480, 14, 14) and shapes["maxpool4"] == (832, 7, 7)
    head = meta(googlenet.googlenet_2014).aux1
    assert head.pool(torch.zeros(1, 512, 14, 14, device="meta")).shape == (1, 512, 4, 4)


def test_the_courses_costs_of_the_naive_and_the_bottlenecked_module():
    """The course says 854 and 358 million. The second counts the 3x3 filters twice: it is 271 million."""
    naive = meta(googlenet.NaiveInception, inputs=256, one=128, three=192, five=96)
    small = meta(googlenet.Inception, inputs=256, one=128, reduce3=64, three=192, reduce5=64, five=96, pool=64)
    assert naive(torch.zeros(1, 256, 28, 28, device="meta")).shape == (1, 672, 28, 28)
    assert small(torch.zeros(1, 256, 28, 28, device="meta")).shape == (1, 480, 28, 28)
    assert (cost(naive, (256, 28, 28)), cost(small, (256, 28, 28))) == (854_196_224, 271_351_808)
    three = cost(small.branch2[1], (64, 28, 28))
    assert round((271_351_808 + three) / 1e6) == 358


def test_auxiliary_heads_name_the_remedy_for_other_images():
    with pytest.raises(
        ValueError, match="8192 features reach an auxiliary head that reads 2048: train on images of 224"
    ):
        meta(googlenet.googlenet_2014)(torch.zeros(2, 3, 448, 448, device="meta"))


# Inception v2 and v3


def test_inception_v2_has_the_count_of_the_released_model():
    """Google's own test of its release expects 10,173,112 variables before the classifier: weights, and for each norm
    a shift, a mean and a variance, no scale. The first layer has a bias there in the place of the norm."""
    net = meta(inception.inception_v2).features
    weights = sum(p.numel() for p in net.parameters() if p.ndim == 4)
    norms = sum(m.num_features for m in net.modules() if isinstance(m, nn.BatchNorm2d))
    assert weights + 3 * (norms - 64) + 64 == 10_173_112
    x, sizes = torch.zeros(1, 3, 224, 224, device="meta"), []
    for layer in net:
        x = layer(x)
        if isinstance(layer, inception.Mixed):
            sizes.append(tuple(x.shape[1:]))
    assert sizes == [
        (256, 28, 28), (320, 28, 28), *5 * [(576, 14, 14)], *3 * [(1024, 7, 7)],
    ]  # fmt: skip


def test_pools_of_inception_v2():
    """The paper's table: means, but for the two modules that halve the size and for the last one."""
    pools = [layer.pool for layer in meta(inception.inception_v2).features if isinstance(layer, inception.Mixed)]
    kinds = "".join("m" if isinstance(pool, nn.MaxPool2d) else "a" for pool in pools)
    assert kinds == "aamaaaamam" and [pool.stride for pool in pools] == [2 if i in (2, 7) else 1 for i in range(10)]


def test_factorised_filters_see_as_much_with_fewer_weights():
    """25 to 18 weights per pair of maps, and 49 to 14."""
    small, large = meta(inception.inception_small), meta(inception.inception_small, factorised=False)
    weights = {}
    for net in (small, large):
        for branch in ("branch5x5", "branch7x7"):
            layers = [m for n, m in net.named_modules() if f"{branch}_" in n and n.endswith("conv")][1:]  # not the 1x1
            weights.setdefault(branch, []).append(sum(layer.weight[0, 0].numel() for layer in layers))
            seen = [1 + sum(layer.kernel_size[axis] - 1 for layer in layers) for axis in (0, 1)]
            assert seen == [int(branch[-1])] * 2
    assert weights == {"branch5x5": [18, 25], "branch7x7": [14, 49]} and count(small) < count(large)


def test_small_nets_take_their_options():
    """The scale of the residuals in each block, and norms or none."""
    for scale in (0.2, 1.0):
        net = meta(inception_resnet.inception_resnet_small, scale=scale)
        assert [m.scale for m in net.modules() if isinstance(m, inception_resnet.Residual)] == 4 * [scale]
    for naive in (False, True):
        norms = [
            sum(
                isinstance(m, nn.BatchNorm2d) for m in meta(googlenet.googlenet_small, naive=naive, norm=norm).modules()
            )
            for norm in (True, False)
        ]
        assert norms == [1 + 3 * (3 if naive else 6), 0]


# MobileNet


def test_separable_blocks_cost_an_eighth_to_a_ninth():
    """1 / outputs + 1 / 9 of a full 3x3 convolution."""
    for inputs, outputs in ((128, 128), (512, 512), (512, 1024)):
        thin = cost(meta(mobilenet.Separable, inputs=inputs, outputs=outputs, stride=1), (inputs, 14, 14))
        thick = cost(meta(mobilenet.full, inputs=inputs, outputs=outputs, stride=1), (inputs, 14, 14))
        assert thin / thick == pytest.approx(1 / outputs + 1 / 9) and 8 < thick / thin < 9
    assert cost(meta(mobilenet.mobilenet_v1), (3, 224, 224)) / 1e6 == pytest.approx(569, abs=1)  # the paper's table 4


@pytest.mark.parametrize("width, millions, parameters", [(0.75, 325, 2.6), (0.5, 149, 1.3), (0.25, 41, 0.5)])
def test_width_multiplier_of_mobilenet_v1(width, millions, parameters):
    """Table 6 of the paper."""
    net = meta(mobilenet.mobilenet_v1, width=width)
    assert round(cost(net, (3, 224, 224)) / 1e6) == pytest.approx(millions, abs=1)
    assert round(count(net) / 1e6, 1) == parameters


@pytest.mark.parametrize("width", [0.0, -1.0, float("nan")])
def test_width_multipliers_are_above_0(width):
    for builder in (mobilenet.mobilenet_v1, mobilenet.mobilenet_v2):
        with pytest.raises(ValueError, match=f"width = {width}: a factor above 0"):
            meta(builder, width=width)


@pytest.mark.parametrize("width", [0.35, 0.5, 0.75, 1.4])
def test_width_multiplier_of_mobilenet_v2_matches_torchvision(width):
    from torchvision.models import mobilenet_v2

    ours, theirs = meta(mobilenet.mobilenet_v2, width=width), meta(mobilenet_v2, width_mult=width)
    shapes = [{k: v.shape for k, v in net.state_dict().items()} for net in (ours, theirs)]
    assert shapes[0] == shapes[1]


def test_inverted_residual_adds_only_where_shapes_allow():
    block = mobilenet.InvertedResidual(8, 8, stride=1, expansion=6).double().eval()
    nn.init.zeros_(block.conv[-1].weight), nn.init.zeros_(block.conv[-1].bias)
    x = randn(1, 8, 5, 5)
    assert torch.equal(block(x), x)  # a silent block is the identity
    assert not isinstance(block.conv[-1], nn.ReLU6)  # the narrow end is linear
    for other in (dict(outputs=9, stride=1), dict(outputs=8, stride=2)):
        block = mobilenet.InvertedResidual(8, expansion=2, **other).double().eval()
        nn.init.zeros_(block.conv[-1].weight), nn.init.zeros_(block.conv[-1].bias)
        assert block(x).abs().max() == 0


# Network in Network, NASNet


def test_a_mlpconv_is_an_mlp_at_each_place():
    layer = nin.mlpconv(2, (4, 3), kernel=3).double()
    x = randn(1, 2, 5, 5)
    patch = x[0, :, 1:4, 2:5].flatten()
    hidden = torch.relu(layer[0].weight.flatten(1) @ patch + layer[0].bias)
    assert_close(layer(x)[0, :, 1, 2], torch.relu(layer[2].weight[:, :, 0, 0] @ hidden + layer[2].bias))


def test_each_class_needs_a_map():
    with pytest.raises(ValueError, match="the last width is 3 and classes = 4: with global average pooling"):
        nin.NetworkInNetwork([((2, 3), dict(kernel=3))], classes=4)


def test_nasnet_has_the_figures_of_the_paper():
    entry = CATALOGUE["nasnetalarge"]
    assert (
        round(entry.parameters / 1e6, 1) == 88.8 and round(entry.multiply_adds / 1e9, 1) == 23.8
    )  # table 2: 88.9, 23.8


def test_cells_join_what_is_left_open():
    assert {s for node in nasnet.NORMAL for _, s in node} == {"x", "prev"}
    used = {s for node in nasnet.REDUCTION for _, s in node}
    assert used == {"x", "prev", 0, 1} and nasnet.REDUCTION_OUT == [1, 2, 3, 4]
    cell = meta(nasnet.Cell, prev=5, inputs=7, width=4, reduce=True)
    x, prev = torch.zeros(1, 7, 9, 9, device="meta"), torch.zeros(1, 5, 9, 9, device="meta")
    assert cell(x, prev).shape == (1, 16, 5, 5)
    with pytest.raises(ValueError, match="width = 6: a multiple of 4"):
        meta(nasnet.NASNet, depth=1, width=6, stem=8)
    names = [name for name, _ in nasnet.nasnet_small(depth=2).named_children() if "cell" in name]
    order = ["cell_0", "cell_1", "reduction_cell_0", "cell_2", "cell_3", "reduction_cell_1", "cell_4", "cell_5"]
    assert names == order

"""Outputs of torchvision's and timm's networks, from their state dicts, with random weights and running statistics."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torchvision import models

from helpers.convnets.architectures import (
    alexnet,
    densenet,
    googlenet,
    inception,
    inception_resnet,
    mobilenet,
    nasnet,
    network_in_network,
    resnet,
    squeezenet,
    vgg,
    zfnet,
)
from helpers.convnets.output_size import ALEXNET, as_module, layer_table

pytestmark = pytest.mark.usefixtures("uninitialised")  # all states are loaded
K = 10
STEP = 37  # numbers between two filters
HEADS = dict(aux_logits=True, init_weights=False)
RESNETS = [
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2"),
]
DENSENETS = ["densenet121", "densenet161", "densenet169", "densenet201"]
# Builder, reference, side in pixels, or None where only names and shapes are compared.
PAIRS = [
    (alexnet.alexnet, "alexnet", {}, None),
    (squeezenet.squeezenet1_0, "squeezenet1_0", {}, 64),
    (squeezenet.squeezenet1_1, "squeezenet1_1", {}, 64),
    (mobilenet.mobilenet_v2, "mobilenet_v2", {}, 64),
    (mobilenet.mobilenet_v1, "mobilenetv1_100", None, 64),
    (googlenet.googlenet, "googlenet", HEADS, 64),
    (inception.inception_v3, "inception_v3", HEADS, 96),
    (inception_resnet.inception_resnet_v2, "inception_resnet_v2", None, 80),
    (nasnet.nasnetalarge, "nasnetalarge", None, 35),
    *[(getattr(vgg, n), n, {}, None) for depth in vgg.DEPTHS for n in (f"vgg{depth}", f"vgg{depth}_bn")],
    *[(getattr(resnet, n), n, {}, 33) for n in RESNETS],
    *[(getattr(densenet, n), n, {}, 33) for n in DENSENETS],
]
COMPARED = [pair for pair in PAIRS if pair[-1]]


def reference(name, options, classes=K):
    """torchvision's network, or timm's where `options` is None."""
    if options is None:
        import timm

        return timm.create_model(name, num_classes=classes)
    return getattr(models, name)(num_classes=classes, **options)


def random_state(network: nn.Module, dtype=torch.float64) -> dict[str, torch.Tensor]:
    """Values for a state dict: weights that keep the size of activations, running statistics far from 0 and 1.

    The filters of all layers are windows on one row of numbers, each a few further on: the largest network has 127 million.
    """
    random = torch.Generator().manual_seed(0)
    row, scaled, state = torch.rand(2**18, generator=random, dtype=dtype) - 0.5, {}, {}
    for key, tensor in network.state_dict().items():
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(3)
        elif tensor.ndim > 1:
            fan = tensor[0].numel()
            if fan not in scaled:
                scaled[fan] = row * (24 / fan) ** 0.5
            strides = STEP, *torch.empty(tensor.shape[1:], device="meta").stride()
            start = int(torch.randint(len(row) - STEP * len(tensor) - fan, (), generator=random))
            state[key] = scaled[fan].as_strided(tensor.shape, strides, start)
        else:
            draw = torch.rand(tensor.shape, generator=random, dtype=dtype)
            state[key] = draw + 0.5 if key.endswith(("running_var", "weight")) else 0.3 * (draw - 0.5)
    return state


def twins(ours, theirs, dtype=torch.float64):
    """Both networks with the same random state, evaluating."""
    with torch.device("meta"):
        pair = ours(), theirs()
    state = random_state(pair[1], dtype)
    for network in pair:
        network.load_state_dict(state, assign=True)
        network.eval()
    return pair


def pictures(side, n=2, dtype=torch.float64):
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("builder, name, options, side", PAIRS, ids=[pair[1] for pair in PAIRS])
def test_names_and_shapes_are_the_references(builder, name, options, side):
    with torch.device("meta"):
        ours, theirs = builder(), reference(name, options, 1000)
    shapes = {key: (tensor.shape, tensor.dtype) for key, tensor in theirs.state_dict().items()}
    assert {key: (tensor.shape, tensor.dtype) for key, tensor in ours.state_dict().items()} == shapes
    # An optimizer's state is stored by the order of the parameters.
    order = [k for k, _ in theirs.named_parameters()]
    assert sorted(order) == sorted(k for k, _ in ours.named_parameters())


@pytest.mark.parametrize("builder, name, options, side", COMPARED, ids=[pair[1] for pair in COMPARED])
def test_matches_reference(builder, name, options, side):
    ours, theirs = twins(lambda: builder(classes=K), lambda: reference(name, options))
    x = pictures(side)
    with torch.no_grad():
        expected = theirs(x)
        found = ours(x)
    spread = expected.std().item()
    assert spread > 1e-3 and (expected[0] - expected[1]).abs().max() > 1e-3 * spread  # the image matters
    assert_close(found / spread, expected / spread, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("depth", vgg.DEPTHS)
def test_features_of_vgg_match_torchvision(depth, norm):
    name = f"vgg{depth}" + "_bn" * norm
    ours, theirs = twins(lambda: getattr(vgg, name)().features, lambda: getattr(models, name)().features)
    with torch.no_grad():
        assert_close(ours(pictures(32)), theirs(pictures(32)), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("builder, name, side", [(vgg.vgg16, "vgg16", 40), (alexnet.alexnet, "alexnet", 70)])
def test_whole_network_with_its_linear_layers_matches_torchvision(builder, name, side):
    ours, theirs = twins(lambda: builder(classes=K), lambda: getattr(models, name)(num_classes=K), torch.float32)
    with torch.no_grad():
        x = pictures(side, dtype=torch.float32)
        assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "builder, name, side", [(googlenet.googlenet, "googlenet", 64), (mobilenet.mobilenet_v2, "mobilenet_v2", 64)]
)
def test_gradients_and_training_match_torchvision(builder, name, side):
    """In training, where batch norms take the batch's statistics and GoogLeNet has three outputs; no dropout."""
    options = HEADS | dict(dropout_aux=0.0) if name == "googlenet" else {}
    ours, theirs = twins(
        lambda: builder(classes=K, dropout=0.0), lambda: getattr(models, name)(num_classes=K, dropout=0.0, **options)
    )
    for module in ours.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    found, expected = ours.train()(pictures(side)), theirs.train()(pictures(side))
    if name == "googlenet":
        assert found._fields == expected._fields
        assert_close(tuple(found), tuple(expected), rtol=1e-9, atol=1e-9)
        found, expected = sum(found), sum(expected)
    # `assign` lent both the same statistics; each is moved twice, so only gradients are compared.
    (grads,) = [torch.autograd.grad(found.square().sum(), list(ours.parameters()))]
    theirs_by_name = dict(theirs.named_parameters())
    expected_grads = torch.autograd.grad(
        expected.square().sum(), [theirs_by_name[k] for k, _ in ours.named_parameters()]
    )
    for ours_grad, their_grad in zip(grads, expected_grads, strict=True):
        scale = their_grad.abs().max().clamp_min(1e-12)
        assert_close(ours_grad / scale, their_grad / scale, rtol=1e-7, atol=1e-7)


def test_head_of_inception_v3_matches_torchvision():
    ours, theirs = twins(
        lambda: inception.Head(768, K),
        lambda: models.inception.InceptionAux(768, K).to(memory_format=torch.preserve_format),
    )
    x = torch.randn(2, 768, 17, 17, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert_close(ours(x), theirs(x), rtol=1e-10, atol=1e-10)
    with torch.device("meta"):
        outputs = inception.inception_v3().train()(torch.zeros(2, 3, 299, 299))
    assert outputs._fields == models.inception.InceptionOutputs._fields and outputs.aux_logits.shape == (2, 1000)


@pytest.mark.parametrize(
    "builder, name", [(googlenet.googlenet, "googlenet"), (inception.inception_v3, "inception_v3")]
)
def test_images_are_rescaled_for_published_weights_and_heads_may_be_left_out(builder, name):
    options = dict(init_weights=False, transform_input=True, aux_logits=False)
    ours, theirs = twins(lambda: builder(classes=K, aux_logits=False), lambda: reference(name, options))
    assert not ours.transform_input
    ours.transform_input = True
    with torch.no_grad():
        assert_close(ours(pictures(80)), theirs(pictures(80)), rtol=1e-9, atol=1e-9)
    assert isinstance(ours.train()(pictures(80)), torch.Tensor)


@pytest.mark.parametrize("side", [63, 64])
def test_cells_of_nasnet_match_timm(side):
    """The large network made narrow; at either side some maps are odd, so that the cells pad and halve unevenly."""
    from timm.models.nasnet import NASNetALarge

    ours, theirs = twins(
        lambda: nasnet.NASNet(depth=6, width=8, stem=12, classes=K),
        lambda: NASNetALarge(num_classes=K, stem_size=12, num_features=24 * 8),
    )
    with torch.no_grad():
        found, expected = ours(pictures(side)), theirs(pictures(side))
    spread = expected.std().item()
    assert spread > 1e-3 and (expected[0] - expected[1]).abs().max() > 1e-3 * spread
    assert_close(found / spread, expected / spread, rtol=1e-9, atol=1e-9)


def test_the_course_alexnet_is_the_plan_of_the_course():
    with torch.device("meta"):
        ours, planned = alexnet.alexnet_course(), as_module(ALEXNET, (3, 227, 227))
    shapes = [[tuple(p.shape) for p in net.parameters()] for net in (ours, planned)]
    assert shapes[0] == shapes[1]
    rows = [[row[1:] for row in layer_table(net, (3, 227, 227)) if row.weights] for net in (ours, planned)]
    assert rows[0] == rows[1]


def test_zfnet_has_the_sizes_of_the_papers_figure():
    with torch.device("meta"):
        rows = layer_table(zfnet.zfnet(), (3, 224, 224))
    sizes = [row.shape[1] for row in rows if len(row.shape) == 3 and "features" in row.layer]
    assert list(dict.fromkeys(sizes)) == [110, 55, 26, 13, 6]
    weights = [row.weights for row in rows if row.weights]
    assert weights[:2] == [7 * 7 * 3 * 96, 5 * 5 * 96 * 256]


def test_network_in_network_has_the_count_of_the_authors_model():
    with torch.device("meta"):
        net = network_in_network.network_in_network()
        shapes = [row.shape for row in layer_table(net, (3, 32, 32)) if row.weights]
    assert [shape[0] for shape in shapes] == [192, 160, 96, 192, 192, 192, 192, 192, 10]
    assert [shape[1] for shape in shapes] == [32] * 3 + [16] * 3 + [8] * 3

import random

import numpy as np
import pytest
import scipy.linalg
import scipy.signal
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from helpers.convnets.output_size import (
    ALEXNET,
    VGG16,
    Conv,
    CoordConv,
    DepthwiseSeparable,
    Field,
    FractionalMaxPool,
    Linear,
    Pool,
    adaptive_average_pool,
    adaptive_windows,
    as_module,
    average_pool_by_hand,
    average_pool_gradient,
    conv2d_by_hand,
    conv_flops,
    conv_multiply_adds,
    conv_output_size,
    conv_parameters,
    conv_transpose2d_by_hand,
    conv_transpose_output_size,
    coordinates,
    fractional_max_pool,
    fractional_starts,
    global_average_pool,
    input_gradient,
    layer_table,
    max_pool_by_hand,
    max_pool_gradient,
    multiply_adds,
    overlap_counts,
    pool_output_size,
    receptive_field,
    saved_bytes,
    toeplitz_matrix,
    union,
    volume_table,
)

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
MAX_POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGE_POOLS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
TWO_GPUS = {n: p._replace(groups=2) if n in ("CONV2", "CONV4", "CONV5") else p for n, p in ALEXNET.items()}


class Draws(random.Random):
    """Where a test draws its case from; hypothesis would take twenty times as long as the case itself."""

    def dims(self, least, most, n):
        return tuple(self.randint(least, most) for _ in range(n))

    def dims_or(self, other, *dims):
        return self.choice([other, self.dims(*dims)])


def thousands(examples=1000):
    """A test of that many cases, the same in each run; the first that fails is named."""

    def decorate(test):
        @pytest.mark.usefixtures("unchecked")
        def every_case():
            for case in range(examples):
                try:
                    test(Draws(case))
                except Exception as error:
                    error.add_note(f"in case {case}")
                    raise

        every_case.__name__, every_case.__doc__ = test.__name__, test.__doc__
        return every_case

    return decorate


def total(rows, column):
    return sum(getattr(row, column) for row in rows)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def agree(ours, theirs):
    """Either both refuse, or both give the same size."""
    try:
        expected = tuple(theirs().shape[2:])
    except RuntimeError:
        expected = None
    if expected is None:
        with pytest.raises(ValueError):
            ours()
    else:
        assert ours() == expected


# Parameter counts, costs and shapes


@thousands(300)
def test_parameter_count(draw):
    groups, c, o = (draw.randint(1, most) for most in (4, 6, 6))
    kernel, bias = draw.dims(1, 4, 2), draw.choice([True, False])
    layer = nn.Conv2d(c * groups, o * groups, kernel, groups=groups, bias=bias)
    count = sum(p.numel() for p in layer.parameters())
    assert conv_parameters(c * groups, o * groups, kernel, bias, groups) == count
    transposed = nn.ConvTranspose2d(c * groups, o * groups, kernel, groups=groups, bias=bias)
    assert count - transposed.weight.numel() == bias * o * groups


def test_parameter_count_of_the_literature():
    assert conv_parameters(3, 10, 5) == 76 * 10 == 760
    assert conv_parameters(3, 96, 11, bias=False) == 34_848
    assert conv_parameters(8, 4, (3,)) == 4 * (8 * 3 + 1)
    assert conv_parameters(8, 4, (3, 3, 3), groups=2) == 4 * (4 * 27 + 1)


@thousands(200)
def test_multiply_adds_match_torchs_counter(draw):
    n, groups, channels = draw.randint(1, 3), draw.randint(1, 3), draw.dims(1, 4, 2)
    c, o = (groups * channel for channel in channels)
    kernel, stride, size = draw.dims(1, 3, n), draw.dims(1, 3, n), draw.dims(4, 7, n)
    layer = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[n - 1](c, o, kernel, stride, groups=groups, device="meta")
    with FlopCounterMode(display=False) as counter:
        y = layer(torch.zeros(1, c, *size, device="meta"))
    flops = conv_flops(c, o, kernel, tuple(y.shape[2:]), groups)
    assert flops == 2 * conv_multiply_adds(c, o, kernel, tuple(y.shape[2:]), groups) == counter.get_total_flops()


def test_the_alexnet_table_of_the_course():
    rows = {row.layer: row for row in volume_table(ALEXNET, (3, 227, 227))}
    shapes = "55x55x96 27x27x96 27x27x256 13x13x256 13x13x384 13x13x384 13x13x256 6x6x256 4096 4096 1000"
    assert ["x".join(map(str, (*row.shape[1:], row.shape[0]))) for row in rows.values()][1:] == shapes.split()
    assert (rows["CONV1"].weights, rows["CONV1"].parameters) == (34_848, 34_944)
    assert rows["POOL1"].parameters == 0
    assert total(rows.values(), "parameters") == 62_378_344
    assert total(volume_table(TWO_GPUS, (3, 227, 227)), "parameters") == 60_965_224


def test_the_vgg_table_of_the_course():
    rows = volume_table(VGG16, (3, 224, 224))
    weights = [1728, 36864, 73728, 147456, 294912, 589824, 589824, 1179648] + 5 * [2359296]
    assert [row.weights for row in rows if row.weights] == [*weights, 102760448, 16777216, 4096000]
    assert total(rows, "parameters") == 138_357_544
    assert total(rows, "activations") == 15_237_608
    assert total(rows, "multiply_adds") == 15_470_264_320


@pytest.mark.parametrize(
    "plan, size", [(ALEXNET, 227), (TWO_GPUS, 227), (VGG16, 224)], ids=["alexnet", "two GPUs", "vgg16"]
)
def test_plan_module_and_table_agree(plan, size):
    with torch.device("meta"):
        model = as_module(plan, (3, size, size))
    planned, measured = volume_table(plan, (3, size, size))[1:], layer_table(model, (3, size, size))
    weighted = [row for row in measured if row.layer in {n for n, m in model.named_modules() if hasattr(m, "weight")}]
    for ours, theirs in zip([row for row in planned if row.weights], weighted, strict=True):
        assert ours[1:] == theirs[1:]
    relus = [m for m in model if isinstance(m, nn.ReLU)]
    assert len(relus) == len(weighted) - 1 and sum(r.activations == 0 for r in measured) == 1  # the flattening


@pytest.mark.parametrize(
    "name, parameters, size",
    [("alexnet", 61_100_840, 224), ("vgg16", 138_357_544, 224), ("googlenet", 13_004_888, 224)],
)
def test_layer_table_adds_up_to_torchvisions_totals(name, parameters, size):
    options = dict(init_weights=False) if name == "googlenet" else {}
    with torch.device("meta"):
        model = getattr(torchvision.models, name)(**options)
        x = torch.zeros(1, 3, size, size)
    modes = [module.training for module in model.modules()]
    rows = layer_table(model, (3, size, size))
    assert [module.training for module in model.modules()] == modes
    assert total(rows, "parameters") == sum(p.numel() for p in model.parameters()) == parameters
    with FlopCounterMode(display=False) as counter:
        model.eval()(x)
    assert 2 * total(rows, "multiply_adds") == counter.get_total_flops()
    never_called = [row.layer for row in rows if "never called" in row.layer]
    assert bool(never_called) == (name == "googlenet")


class Odd(nn.Module):
    """A module called twice, a shared weight, a parameter of its own, a view, a layer in place, a layer never called."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.up = nn.ConvTranspose2d(2, 3, 2, stride=2, bias=False)
        self.flat = nn.Flatten()
        self.head = nn.Linear(3 * 8 * 8, 5)
        self.tied = nn.Linear(3 * 8 * 8, 5, bias=False)
        self.tied.weight = self.head.weight
        self.norm = nn.BatchNorm1d(5)
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        x = self.relu(self.conv(self.conv(x)))
        x = self.flat(self.up(x) * self.scale[:, None, None])
        return {"out": self.norm(self.head(x) + self.tied(x))}


def test_layer_table_of_an_odd_module():
    model = Odd()
    rows = {f"{i} {row.layer}": row[1:] for i, row in enumerate(layer_table(model, (2, 4, 4)))}
    assert rows == {
        "0 conv": ((2, 4, 4), 36, 38, 32, 576),
        "1 conv": ((2, 4, 4), 0, 0, 32, 576),
        "2 relu": ((2, 4, 4), 0, 0, 0, 0),
        "3 up": ((3, 8, 8), 24, 24, 192, 384),
        "4 flat": ((192,), 0, 0, 0, 0),
        "5 head": ((5,), 960, 965, 5, 960),
        "6 tied": ((5,), 0, 0, 5, 960),
        "7 norm": ((5,), 0, 10, 5, 0),
        "8 Odd": ((5,), 0, 3, 0, 0),
        "9 unused (never called)": ((), 4, 6, 0, 0),
    }
    assert not any(module._forward_hooks for module in model.modules())
    assert sum(row[2] for row in rows.values()) == sum(p.numel() for p in model.parameters())


def test_layer_table_leaves_the_model_as_it_was_even_after_an_error():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4).eval(), nn.Linear(5, 6))
    with pytest.raises(ValueError, match=r"^2 refuses its input \(.*mat1 and mat2 .*shape \(1, 3, 9, 9\)"):
        layer_table(model, (3, 9, 9))
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


class Frames(nn.Module):
    """A convolution that takes frames for its batch."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.up = nn.ConvTranspose2d(4, 2, 2, stride=2, bias=False)

    def forward(self, x):  # b f c h w
        return self.up(self.conv(x.flatten(0, 1))).unflatten(0, (len(x), -1))


class TimeFirst(nn.Module):
    """A linear layer and a recurrent one that have time in front."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 6)
        self.lstm = nn.LSTM(6, 3, num_layers=2, bidirectional=True)

    def forward(self, x):  # b t d
        return self.lstm(self.linear(x.transpose(0, 1)))[0].transpose(0, 1)


class Attention(nn.Module):
    """Products that no module of their own computes."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(4, 12)

    def forward(self, x):  # b t d
        q, k, v = self.qkv(x)[:, None].chunk(3, -1)
        return F.scaled_dot_product_attention(q, k, v)[:, 0]


RNN_STEP = 2 * 4 * 3 * (6 + 3) + 2 * 4 * 3 * (6 + 3)  # two layers, two directions, four gates


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    "build, shape, rows",
    [
        (Frames, (8, 3, 16, 16), {"conv": ((8, 4, 14, 14), 8 * 196 * 4 * 27), "up": ((8, 2, 28, 28), 8 * 196 * 4 * 8)}),
        (TimeFirst, (5, 4), {"linear": ((5, 1, 6), 5 * 24), "lstm": ((5, 1, 6), 5 * RNN_STEP)}),
        (lambda: nn.LSTM(3, 4, batch_first=True, proj_size=2), (5, 3), {"LSTM": ((5, 2), 5 * (16 * 5 + 8))}),
        (lambda: nn.GRU(3, 4), (5, 3), {"GRU": ((5, 4), 5 * 3 * 4 * 7)}),
        (Attention, (5, 4), {"qkv": ((5, 12), 5 * 48), "outside of modules": ((), 2 * 25 * 4)}),
        (
            lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True),
            (5, 4),
            {"self_attn": ((5, 4), 5 * 64 + 2 * 25 * 4), "linear1": ((5, 8), 160), "linear2": ((5, 4), 160)},
        ),
    ],
    ids=["frames", "time first", "projected LSTM", "GRU", "attention", "transformer layer"],
)
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_layer_table_counts_every_axis(build, shape, rows, device):
    with torch.device(device):
        model, inputs = build(), torch.zeros(1, *shape)
    table = layer_table(model, shape)
    assert {row.layer: (row.shape, row.multiply_adds) for row in table if row.multiply_adds} == rows
    assert multiply_adds(lambda: model.eval()(inputs)) == total(table, "multiply_adds")
    assert torch.backends.mha.get_fastpath_enabled()


def test_layer_table_of_a_net_that_begins_with_an_embedding():
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 2))
    rows = layer_table(model, (5,), torch.long)
    assert [(row.shape, row.parameters, row.multiply_adds) for row in rows] == [((5, 4), 40, 0), ((5, 2), 10, 40)]
    with pytest.raises(ValueError, match=r"^0 refuses its input .*torch.float32.*dtype=torch.long for an embedding"):
        layer_table(model, (5,))


def test_layer_table_of_modules_without_a_tensor():
    class Nothing(nn.Module):
        def forward(self, x):
            return None

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.nothing, self.linear = Nothing(), nn.Linear(3, 2)

        def forward(self, x):
            self.nothing(x)
            return self.linear(x)

    assert [row[1:] for row in layer_table(Net(), (3,))] == [((), 0, 0, 0, 0), ((2,), 6, 8, 2, 6)]


# Sizes, values and gradients against torch, scipy and numpy


@thousands(1500)
def test_matches_reference_conv_output_size(draw):
    n = draw.choice([1, 1, 1, 1, 2, 3])
    size, kernel = draw.dims(1, 14, n), draw.dims(1, 6, n)
    stride, dilation = draw.dims(0, 4, n), draw.dims(0, 4, n)
    padding = draw.dims_or(draw.choice(["valid", "same"]), -1, 5, n)
    arguments = stride, padding, dilation
    if padding == "same" and 0 in stride + dilation:
        return  # torch computes with a stride of 0 here
    agree(
        lambda: conv_output_size(size, kernel, *arguments),
        lambda: CONVOLUTIONS[n](torch.zeros(1, 1, *size), torch.zeros(1, 1, *kernel), None, *arguments),
    )


@thousands(1000)
def test_matches_reference_conv_transpose_output_size(draw):
    n = draw.choice([1, 1, 1, 1, 2, 3])
    size, kernel, stride = draw.dims(1, 6, n), draw.dims(1, 5, n), draw.dims(0, 4, n)
    padding, extra, dilation = draw.dims(-1, 4, n), draw.dims(-1, 3, n), draw.dims(0, 3, n)
    image, weight = torch.zeros(1, 1, *size), torch.zeros(1, 1, *kernel)
    agree(
        lambda: conv_transpose_output_size(size, kernel, stride, padding, extra, dilation),
        lambda: TRANSPOSED[n](image, weight, None, stride, padding, extra, 1, dilation),
    )


@thousands(1500)
def test_matches_reference_max_pool_output_size(draw):
    n, ceil_mode = draw.choice([1, 1, 1, 1, 2, 3]), draw.choice([True, False])
    size, kernel = draw.dims(1, 12, n), draw.dims(0, 5, n)
    stride = draw.dims_or(None, 0, 5, n)
    padding, dilation = draw.dims(-1, 3, n), draw.dims(0, 3, n)
    agree(
        lambda: pool_output_size(size, kernel, stride, padding, dilation, ceil_mode),
        lambda: MAX_POOLS[n](torch.zeros(1, 1, *size), kernel, stride, padding, dilation, ceil_mode),
    )


@thousands(1000)
def test_matches_reference_average_pool_output_size(draw):
    n, ceil_mode = draw.choice([1, 1, 1, 1, 2, 3]), draw.choice([True, False])
    size, kernel = draw.dims(1, 12, n), draw.dims(0, 5, n)
    stride, padding = draw.dims_or(None, 0, 5, n), draw.dims(-1, 3, n)
    if n == 3 and any(k > s for k, s in zip(kernel, size)):
        return  # AvgPool3d compares the kernel with the unpadded input
    agree(
        lambda: pool_output_size(size, kernel, stride, padding, 1, ceil_mode),
        lambda: AVERAGE_POOLS[n](torch.zeros(1, 1, *size), kernel, stride, padding, ceil_mode),
    )


@thousands(500)
def test_transposed_sizes_invert_sizes(draw):
    size, kernel, stride, dilation = (draw.randint(1, most) for most in (20, 6, 4, 3))
    padding = draw.randint(0, 3)
    if dilation * (kernel - 1) + 1 > size + 2 * padding:
        return
    small = conv_output_size(size, kernel, stride, padding, dilation)
    exists = (small - 1) * stride + dilation * (kernel - 1) + 1 - 2 * padding  # below 1 for a very wide padding
    extras = range(max(0, 1 - exists), stride)
    back = {conv_transpose_output_size(small, kernel, stride, padding, extra, dilation) for extra in extras}
    assert size in back
    assert {conv_output_size(s, kernel, stride, padding, dilation) for s in back} == {small}


def test_named_paddings_are_scipys_modes():
    image, kernel = np.ones((9, 8)), np.ones((4, 3))
    for mode in ("valid", "same", "full"):
        assert conv_output_size((9, 8), (4, 3), padding=mode) == scipy.signal.convolve2d(image, kernel, mode).shape


@thousands(150)
def test_matches_reference_conv2d_by_hand(draw):
    kernel, dilation = draw.dims(1, 3, 2), draw.randint(1, 2)
    stride, padding = draw.randint(1, 3), draw.randint(0, 2)
    image, weight, bias = randn(2, 6, 7), randn(3, 2, *kernel, seed=1), randn(3, seed=2)
    ours = conv2d_by_hand(image, weight, bias, stride, padding, dilation)
    assert_close(ours, F.conv2d(image[None], weight, bias, stride, padding, dilation)[0])
    pieces = conv_transpose2d_by_hand(image, weight.transpose(0, 1), stride, 0)
    assert_close(pieces, F.conv_transpose2d(image[None], weight.transpose(0, 1), None, stride)[0])


def test_matches_reference_convolution_with_a_flip():
    image, kernel = randn(7, 8), randn(3, 3, seed=1)
    flipped = conv2d_by_hand(image[None], kernel.flip(0, 1)[None, None])[0]
    assert_close(flipped, torch.from_numpy(scipy.signal.convolve2d(image, kernel, "valid")))


def test_transposed_convolution_by_hand_with_padding():
    image, kernel = randn(2, 4, 5), randn(2, 3, 4, 4, seed=1)
    assert_close(conv_transpose2d_by_hand(image, kernel, 2, 1), F.conv_transpose2d(image[None], kernel, None, 2, 1)[0])
    for padding in (-1, 4):
        with pytest.raises(ValueError, match=str(padding)):
            conv_transpose2d_by_hand(randn(1, 3, 3), randn(1, 1, 3, 3), 1, padding)


@thousands(150)
def test_matches_reference_toeplitz_matrix(draw):
    kernel, stride, padding = draw.dims(1, 4, 2), draw.randint(1, 3), draw.randint(0, 2)
    image, weight = randn(2, 5, 6), randn(3, 2, *kernel, seed=1)
    T = toeplitz_matrix(weight, (2, 5, 6), stride, padding)
    y = F.conv2d(image[None], weight, None, stride, padding)
    assert_close(T @ image.flatten(), y.flatten())
    extra = tuple((n + 2 * padding - k) % stride for n, k in zip((5, 6), kernel))
    back = F.conv_transpose2d(y, weight, None, stride, padding, extra)
    assert_close(T.T @ y.flatten(), back.flatten())
    other = randn(*y.shape, seed=2).flatten()
    assert_close((T @ image.flatten()) @ other, image.flatten() @ (T.T @ other))


def test_toeplitz_matrix_of_a_row_is_scipys():
    kernel = randn(4)
    T = toeplitz_matrix(kernel[None, None, None], (1, 1, 9))
    column = np.r_[kernel[0], np.zeros(5)]
    row = np.r_[kernel, np.zeros(5)]
    assert_close(T, torch.from_numpy(scipy.linalg.toeplitz(column, row)))


def test_toeplitz_matrix_is_block_toeplitz():
    T = toeplitz_matrix(randn(1, 1, 3, 3), (1, 6, 7)).reshape(4, 5, 6, 7)
    assert torch.equal(T[1:, :, 1:], T[:-1, :, :-1]) and torch.equal(T[:, 1:, :, 1:], T[:, :-1, :, :-1])


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_matches_reference_pooling_by_hand(kernel, stride):
    x = randn(2, 3, 6, 7).requires_grad_()
    ours, winners = max_pool_by_hand(x, kernel, stride)
    theirs = F.max_pool2d(x, kernel, stride)
    assert_close(ours, theirs)
    g = randn(*theirs.shape, seed=1)
    assert_close(max_pool_gradient(g, winners, (6, 7), kernel, stride), torch.autograd.grad(theirs, x, g)[0])
    ours, theirs = average_pool_by_hand(x, kernel, stride), F.avg_pool2d(x, kernel, stride)
    assert_close(ours, theirs)
    assert_close(average_pool_gradient(g, (6, 7), kernel, stride), torch.autograd.grad(theirs, x, g)[0])


def test_pooling_by_hand_without_a_stride_tiles_the_input():
    x = randn(1, 1, 6, 6)
    assert_close(max_pool_by_hand(x, 3)[0], F.max_pool2d(x, 3))
    assert_close(average_pool_gradient(randn(1, 1, 2, 2), (6, 6), 3).sum(), randn(1, 1, 2, 2).sum())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_matches_reference_fractional_pooling(dtype):
    generator = torch.Generator().manual_seed(0)
    for h, w, kernel, oh, ow in [
        (8, 8, 2, 5, 5),
        (11, 7, 2, 10, 3),
        (9, 12, 3, 4, 9),
        (5, 6, 1, 5, 1),
        (4, 4, 4, 1, 1),
    ]:
        x = torch.randn(2, 3, h, w, generator=generator).to(dtype).requires_grad_()
        offsets = torch.rand(2, 3, 2, generator=generator).to(dtype)
        ours = fractional_max_pool(x, kernel, (oh, ow), offsets)
        theirs = F.fractional_max_pool2d(x, kernel, output_size=(oh, ow), _random_samples=offsets)
        assert torch.equal(ours, theirs)
        g = torch.randn(theirs.shape, generator=generator).to(dtype)
        assert_close(torch.autograd.grad(ours, x, g)[0], torch.autograd.grad(theirs, x, g)[0])


def test_fractional_windows_step_by_one_and_two():
    starts = fractional_starts(32, 2, 22, torch.rand(500, generator=torch.Generator().manual_seed(0)))
    assert (starts[:, 0] == 0).all() and (starts[:, -1] == 30).all()
    assert set(starts.diff().unique().tolist()) == {1, 2}
    assert len(starts.unique(dim=0)) == 7  # steps of 30 / 21 = 10 / 7 pixels


def test_fractional_pool_draws_windows_anew():
    pool, x = FractionalMaxPool(2, 2**-0.5).eval(), randn(2, 3, 32, 20)
    torch.manual_seed(0)
    first, second = pool(x), pool(x)
    torch.manual_seed(0)
    offsets = torch.rand(2, 3, 2, dtype=torch.float64)
    assert first.shape == (2, 3, 22, 14) and not torch.equal(first, second)
    assert torch.equal(first, F.fractional_max_pool2d(x, 2, output_size=(22, 14), _random_samples=offsets))


@pytest.mark.parametrize("size", [1, (1, 3), (4, 2), (7, 5), (9, 8)])
def test_matches_reference_adaptive_pooling(size):
    x = randn(2, 3, 7, 5).requires_grad_()
    ours, theirs = adaptive_average_pool(x, size), F.adaptive_avg_pool2d(x, size)
    assert_close(ours, theirs)
    g = randn(*theirs.shape, seed=1)
    assert_close(torch.autograd.grad(ours, x, g)[0], torch.autograd.grad(theirs, x, g)[0])


def test_global_pooling_is_adaptive_pooling_to_one_place():
    x = randn(2, 3, 7, 5)
    assert_close(global_average_pool(x), F.adaptive_avg_pool2d(x, 1).flatten(1))
    assert global_average_pool(x).shape == (2, 3)


@pytest.mark.parametrize("size, count", [(7, 3), (5, 5), (12, 4), (3, 7)])
def test_adaptive_windows_leave_no_pixel_out(size, count):
    windows = adaptive_windows(size, count)
    assert len(windows) == count and windows[0].start == 0 and windows[-1].stop == size
    assert all(a.stop >= b.start for a, b in zip(windows, windows[1:]))
    lengths = {w.stop - w.start for w in windows}
    assert max(lengths) - min(lengths) <= 1 or size % count
    if size % count == 0:
        assert lengths == {size // count}


def test_overlap_counts():
    assert overlap_counts(3, 3, 2)[2].tolist() == [2, 2, 4, 2, 4, 2, 2]
    assert overlap_counts(3, 2, 2).unique().tolist() == [1]
    inner = overlap_counts(5, 4, 2)[2:-2, 2:-2]
    assert inner.unique().tolist() == [4]


def test_depthwise_separable_is_a_full_convolution_of_rank_one():
    torch.manual_seed(0)
    layer = DepthwiseSeparable(5, 7, 3, stride=2, padding=1).double()
    x = randn(2, 5, 8, 8)
    full = F.conv2d(x, layer.full_kernel(), layer.pointwise.bias, stride=2, padding=1)
    assert_close(layer(x), full)
    assert [torch.linalg.matrix_rank(k.flatten(1)).item() for k in layer.full_kernel().unbind(1)] == [1] * 5
    separable = sum(row.multiply_adds for row in layer_table(layer, (5, 8, 8)))
    assert separable * 9 * 7 == conv_multiply_adds(5, 7, 3, 4) * (9 + 7)  # 1/N + 1/k²
    assert sum(p.numel() for p in layer.parameters()) == 5 * 9 + 5 * 7 + 7
    assert sum(p.numel() for p in DepthwiseSeparable(5, 7, 3, bias=False).parameters()) == 5 * 9 + 5 * 7


def test_coordinates():
    grid = coordinates(torch.zeros(2, 3, 3, 5))
    assert grid.shape == (2, 2, 3, 5)
    assert grid[0, 0, :, 0].tolist() == [-1, 0, 1] and grid[1, 1, 0].tolist() == [-1, -0.5, 0, 0.5, 1]


# Receptive fields, gradients and symmetries


def test_receptive_field_of_the_literature():
    assert receptive_field([(3,)] * 3).size == receptive_field([(7,)]).size == 7
    assert receptive_field([(3, 2), (3,), (3,)]) == Field(11, 2, 0)
    assert receptive_field([(3, 1, 1, d) for d in (1, 2, 4, 8)]).size == 31
    assert receptive_field([]) == Field(1, 1, 0)
    layers = [(p.kernel, p.stride, getattr(p, "padding", 0)) for p in ALEXNET.values() if not isinstance(p, Linear)]
    assert receptive_field(layers) == Field(195, 32, -64)
    layers = [(p.kernel, p.stride, getattr(p, "padding", 0)) for p in VGG16.values() if not isinstance(p, Linear)]
    assert receptive_field(layers)[:2] == (212, 32)


@thousands(300)
def test_the_measured_field_is_the_formulas(draw):
    count = draw.randint(1, 4)
    layers = [tuple(draw.randint(*r) for r in ((1, 4), (1, 3), (0, 2), (1, 2))) for _ in range(count)]
    net = nn.Sequential(*(nn.Conv1d(1, 1, *layer, bias=False) for layer in layers)).double()
    for conv in net:
        nn.init.ones_(conv.weight)
    x = torch.ones(1, 1, 300, dtype=torch.float64, requires_grad=True)
    y = net(x)
    field = receptive_field(layers)
    for output in {0, y.shape[-1] // 2, y.shape[-1] - 1}:
        seen = set(torch.autograd.grad(y[0, 0, output], x, retain_graph=True)[0].flatten().nonzero().flatten().tolist())
        first, last = field.extent(output)
        predicted = {first + i for i in positions(layers)}
        assert {first, last} <= predicted
        if first < 0 or last >= 300:  # the padding between layers cuts paths
            assert seen <= predicted
        else:
            assert seen == predicted
    assert field.offset == (sum(field.extent(0))) / 2


def positions(layers):
    """Which pixels of its field an output uses: with dilation or a stride above the kernel there are gaps."""
    used, jump = {0}, 1
    for kernel, stride, _, dilation in layers:
        used = {u + i * dilation * jump for u in used for i in range(kernel)}
        jump *= stride
    return used


def test_pooling_has_a_field_too():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AvgPool2d(2), nn.Conv2d(4, 4, 3), nn.AvgPool2d(3, 2, 1)).double()
    field = receptive_field([(3,), (2, 2), (3,), (3, 2, 1)])
    gradient = input_gradient(net, randn(1, 3, 40, 40), (3, 4))
    for axis, output in ((1, 3), (0, 4)):
        seen = gradient.sum(axis).nonzero().flatten()
        assert (seen.min().item(), seen.max().item()) == field.extent(output)


def test_union_of_paths():
    block = union(receptive_field([(3, 1, 1), (3, 1, 1)]), Field())
    assert block == Field(5, 1, -2)
    askew = union(receptive_field([(3, 2)]), receptive_field([(1, 2)]))  # unpadded: the 1x1 path sits at the left end
    assert askew == Field(3, 2, 0) and receptive_field([(1, 2)]).offset != askew.offset


def test_union_of_paths_that_look_to_different_sides():
    """Neither sees all: the field goes from the first pixel of the one to the last of the other, as measured."""
    paths = [(3, 1, 0), (3, 1, 2)]
    field = union(*(receptive_field([layer]) for layer in paths))
    assert field == Field(5, 1, -2)
    convs = [nn.Conv1d(1, 1, *layer, bias=False).double() for layer in paths]
    x = randn(1, 1, 12).requires_grad_()
    y = convs[0](x) + convs[1](x)[..., :10]
    seen = torch.autograd.grad(y[0, 0, 4], x)[0].flatten().nonzero().flatten().tolist()
    assert (seen[0], seen[-1]) == field.extent(4) == (2, 6)


def test_colours_do_not_cancel_in_the_gradient_of_a_pixel():
    conv = nn.Conv2d(3, 2, 1, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([[1.0, -3.0, 0.5], [1.0, 1.0, 0.0]])[..., None, None])
    gradient = input_gradient(conv, torch.rand(1, 3, 4, 5), (2, 3))
    expected = torch.zeros(4, 5)
    expected[2, 3] = 2 + 2 + 0.5  # of the channels' sum, by each colour: 2, -2 and 0.5
    assert torch.equal(gradient, expected)


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    model = nn.Sequential(CoordConv(3, 4, 3, padding=1), nn.Tanh(), DepthwiseSeparable(4, 2, 3))
    model(torch.rand(2, 3, 8, 8)).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())


def test_coordconv_breaks_translation_equivariance():
    torch.manual_seed(0)
    x = torch.rand(1, 1, 12, 12)
    plain, coord = nn.Conv2d(1, 2, 3, padding=1), CoordConv(1, 2, 3, padding=1)
    inner = (..., slice(3, -3), slice(3, -3))

    def error(layer):
        return (layer(x.roll((2, 1), (2, 3))) - layer(x).roll((2, 1), (2, 3)))[inner].abs().max().item()

    assert error(plain) < 1e-6 < 1e-2 < error(coord)
    with torch.no_grad():
        coord.weight[:, 1:] = 0
    assert error(coord) < 1e-6


@pytest.mark.parametrize("plan, side", [(VGG16, 224), (ALEXNET, 227), ({"C": Conv(4, 3), "P": Pool(2, 2)}, 9)])
def test_saved_bytes_match_the_count(plan, side):
    with torch.device("meta"):
        model = as_module(plan, (3, side, side))
        images = torch.zeros(5, 3, side, side)
    rows = volume_table(plan, (3, side, side))
    kept = total(rows[:-1], "activations")  # nobody needs the last output
    winners = total((row for row in rows if row.layer.startswith("P")), "activations")  # int64
    assert saved_bytes(model, images) == 5 * (4 * kept + 8 * winners)


def test_saved_bytes_on_real_memory():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    assert saved_bytes(model, torch.rand(2, 3, 8, 8)) == 4 * 2 * (3 * 64 + 4 * 36)
    with torch.no_grad():
        assert saved_bytes(model, torch.rand(2, 3, 8, 8)) == 0


# A toy problem


def test_learns_toy_problem():
    """Where is the lit pixel? Without coordinates and with averaging over all places no network can say."""
    places = torch.cartesian_prod(torch.arange(6), torch.arange(6))
    images = torch.zeros(36, 1, 6, 6)
    images[range(36), 0, places[:, 0], places[:, 1]] = 1
    target = places.float() / 2.5 - 1
    errors = {}
    for layer in (CoordConv, nn.Conv2d):
        torch.manual_seed(0)
        model = nn.Sequential(layer(1, 16, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
        for _ in range(400):
            loss = F.mse_loss(model(images), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        errors[layer] = loss.item()
    assert errors[CoordConv] < 0.05 < 0.4 < errors[nn.Conv2d]


# Devices, types, stored states


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_device_and_dtype(device):
    torch.manual_seed(0)
    model = nn.Sequential(CoordConv(3, 4, 3), DepthwiseSeparable(4, 2, 3, dilation=2)).to(device)
    twin = nn.Sequential(CoordConv(3, 4, 3), DepthwiseSeparable(4, 2, 3, dilation=2)).to(device)
    twin.load_state_dict(model.state_dict())
    x = torch.rand(2, 3, 9, 9, device=device)
    assert torch.equal(model(x), twin(x))
    with torch.autocast(device, torch.bfloat16):
        assert model(x).isfinite().all()
    assert model.double()(x.double()).dtype == torch.float64
    assert layer_table(model, (3, 9, 9))[-1].shape == (2, 3, 3)
    weight = torch.rand(2, 3, 3, 3, device=device)
    assert toeplitz_matrix(weight, (3, 5, 5)).device == conv2d_by_hand(x[0], weight).device == x.device
    assert max_pool_by_hand(x, 3)[1].device == x.device


@pytest.mark.parametrize("size", [[32, 20], torch.Size([32, 20]), np.array([32, 20]), torch.tensor([32, 20])])
def test_sizes_from_files_and_tensors(size):
    assert conv_output_size(size, [3, 5], padding=[1, 0]) == (32, 16)
    assert pool_output_size(size, np.int64(2)) == (16, 10)
    assert conv_transpose_output_size(size, 2, stride=[2, 1]) == (64, 21)
    assert conv_multiply_adds(3, 4, [3, 3], size) == 12 * 9 * 640
    assert receptive_field([[3, 2], [3]]) == receptive_field([(3, 2), (3,)])


def test_kernels_of_other_devices_and_types_of_a_separable_layer():
    layer = DepthwiseSeparable(3, 4, 3, dtype=torch.float64)
    assert layer(randn(1, 3, 5, 5)).dtype == torch.float64


# What is refused, and in which words


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: conv_output_size(11, 7, dilation=2),
            "kernel 7 with dilation 2 spans 13 but the padded input is 11: shrink the kernel, or pad the input of 11 by 1",
        ),
        (lambda: conv_output_size(3, 5), "kernel 5 but the padded input is 3"),
        (
            lambda: conv_output_size(2, 5),
            "the padded input is 2: shrink the kernel, or pad the input of 2 by 2 on either",
        ),
        (lambda: conv_output_size((9, 3), 5), "kernel 5 but the padded input is 3"),
        (lambda: conv_output_size(9, 3, stride=0), "stride = 0: it is at least 1"),
        (lambda: conv_output_size(9, 3, padding=-1), "padding = -1: it is at least 0"),
        (lambda: conv_output_size(9, 3, 2, "same"), "stride = 2 is too large for padding 'same'"),
        (lambda: conv_output_size(9, 3, padding="mirror"), "padding = 'mirror': it is a number, 'valid', 'same' or"),
        (lambda: conv_output_size((9, 9), (3, 3, 3)), r"tuples of lengths \[2, 3\]"),
        (
            lambda: conv_transpose_output_size(3, 3, 2, 0, 2),
            "output_padding = 2 is too large: it stays below the stride",
        ),
        (lambda: conv_transpose_output_size(1, 2, 1, 1), "padding = 1 is too large: it cuts 2 from an output of 2"),
        (lambda: pool_output_size(8, 3, padding=2), "padding = 2 is too large for a pooling kernel of 3: at most half"),
        (lambda: pool_output_size(2, 3), "kernel 3 but the padded input is 2"),
        (lambda: conv_parameters(3, 8, 3, groups=2), "in_channels = 3: groups = 2 must divide it"),
        (lambda: conv_parameters(4, 9, 3, groups=2), "out_channels = 9: groups = 2 must divide it"),
        (lambda: conv_parameters(4, 9, 0), "kernel = 0: it is at least 1"),
        (lambda: conv_flops(4, 0, 3, 8), "out_channels = 0: it is at least 1"),
        (lambda: receptive_field([(3, 0)]), r"layer \(3, 0\): give \(kernel, stride, padding, dilation\)"),
        (lambda: receptive_field([()]), r"layer \(\): give"),
        (lambda: Field().then(3, 0), r"layer \(3, 0, 0, 1\): give"),
        (lambda: conv_output_size((), 3), r"tuples of lengths \[0\]"),
        (lambda: conv_parameters(3, 8, (3, -3)), "kernel = -3: it is at least 1"),
        (lambda: conv_multiply_adds(3, 8, 3, (4, 0)), "output_size = 0: it is at least 1"),
        (lambda: union(), "no path: give the fields"),
        (
            lambda: input_gradient(nn.Conv2d(1, 1, 3), torch.zeros(1, 1, 5, 5), (3, 0)),
            r"unit = \(3, 0\): the output has 3",
        ),
        (
            lambda: volume_table({"A": Linear(4), "B": Conv(3, 3)}, (3, 9, 9)),
            "B: behind a linear layer there is no image",
        ),
        (lambda: volume_table({"A": Linear(0)}, (3, 9, 9)), "A: features = 0: it is at least 1"),
        (lambda: as_module({}, (3, 9, 9)), "the plan has no layer"),
        (lambda: layer_table(nn.Linear(3, 2), (0,)), r"input_shape = \(0,\): a tuple of sizes"),
        (
            lambda: average_pool_gradient(torch.ones(1, 1, 2, 2), (6, 6), 2),
            r"size = \(6, 6\): kernel 2 and stride 2 make \(3, 3\) of it, not \(2, 2\)",
        ),
        (lambda: DepthwiseSeparable(4, 4, 3, groups=2), "groups = 2: the depthwise half has a group for each"),
        (lambda: fractional_starts(8, 2, 8, torch.rand(1)), "8 windows of 2 pixels do not fit into 8: at most 7"),
        (lambda: FractionalMaxPool(2, 1.0), "kernel = 2, ratio = 1.0: a kernel is at least 1, a ratio lies between"),
        (lambda: adaptive_windows(4, 0), "size = 4, count = 0: each is at least 1"),
        (lambda: union(Field(3, 1, 0), Field(3, 2, 0)), r"paths with jumps \[1, 2\] do not meet"),
        (lambda: toeplitz_matrix(torch.ones(1, 2, 3, 3), (1, 5, 5)), "the kernel takes 2 channels, not 1"),
        (lambda: toeplitz_matrix(torch.ones(1, 1, 3, 3), (1, 2, 5)), "kernel 3 but the padded input is 2"),
        (lambda: max_pool_by_hand(torch.ones(1, 1, 2, 2), 3), "kernel 3 but the padded input is 2"),
        (lambda: volume_table(ALEXNET, (3, 20, 20)), "kernel 3 but the padded input is 1"),
    ],
)
def test_bad_input_names_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: receptive_field([3, (3, 2)]), r"layer 3: give \(kernel, stride, padding, dilation\) as integers"),
        (lambda: receptive_field([(3, 1, "same")]), r"layer \(3, 1, 'same'\): give"),
        (lambda: conv_output_size(32.0, 3), r"32.0: a size is an integer, or a tuple"),
        (lambda: conv_output_size(32, None), r"None: a size is an integer, or a tuple"),
        (lambda: conv_output_size("32", 3), "size = '32': it is an integer"),
        (lambda: pool_output_size(32, 3, padding="same"), "padding = 'same': it is an integer"),
        (lambda: conv_parameters(3.0, 8, 3), "in_channels = 3.0: it is an integer"),
        (lambda: volume_table(ALEXNET, (227, 227)), r"input_shape = \(227, 227\): it is \(channels, rows, columns\)"),
        (lambda: volume_table({"A": nn.ReLU()}, (3, 9, 9)), r"A: ReLU\(\) is no Conv, Pool or Linear"),
        (lambda: layer_table(nn.Linear(3, 2), 3), r"input_shape = 3: a tuple of sizes without the batch"),
        (lambda: conv2d_by_hand(torch.ones(1, 5, 5), torch.ones(2, 3, 3, 3)), "takes 3 channels, the image has 1"),
        (
            lambda: conv2d_by_hand(torch.ones(3, 5, 5), torch.ones(2, 3, 3, 3), torch.ones(1)),
            "1 biases for 2 filters",
        ),
        (lambda: conv_transpose2d_by_hand(torch.ones(1, 5, 5), torch.ones(2, 3, 3, 3)), "takes 2 channels, the image"),
        (lambda: adaptive_average_pool(torch.ones(1, 1, 4, 4), (2, 2, 2)), r"size = \(2, 2, 2\): rows and columns"),
        (
            lambda: coordinates(torch.zeros(1, 1, 3, 3, dtype=torch.uint8)),
            "images of torch.uint8: coordinates are frac",
        ),
        (
            lambda: input_gradient(nn.Conv2d(1, 1, 3), torch.zeros(2, 1, 5, 5), (0, 0)),
            "2 images: their gradients do not",
        ),
    ],
)
def test_bad_input_of_another_type(call, message, unchecked):
    with pytest.raises(ValueError, match=message):
        call()

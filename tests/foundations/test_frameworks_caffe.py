"""Caffe's text format against protocol buffers, its nets against OpenCV, its solver against torch's optimizer."""

import re
import struct

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from helpers.foundations.frameworks import (
    LENET,
    LENET_SOLVER,
    LENET_TRAIN,
    CaffeNet,
    Field,
    Message,
    PrototxtError,
    Word,
    alexnet,
    caffe_step,
    hdf5_batches,
    learning_rate,
    net_from_prototxt,
    parse,
    print_message,
    solve,
    write_hdf5,
)
from helpers.foundations.frameworks.caffe_net import LAYER, NET
from helpers.foundations.frameworks.prototxt import check

# Every kind of layer, with windows that reach over the edge.
MIXED = """
name: 'mixed'  # single quotes will do
layer < name: "data" type: "Input" top: "data" input_param { shape: { dim: [2, 4, 13, 11] } } >
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 6 kernel_size: 3 stride: 2 pad: 1 group: 2 weight_filler { type: "gaussian" std: 0.3 }
                      bias_filler { type: "uniform" min: -1 max: 1 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" relu_param { negative_slope: 0.1 } }
layer { name: "norm" type: "LRN" bottom: "conv" top: "norm" lrn_param { local_size: 3 alpha: 0.5 beta: 0.75 } };
layer { name: "max" type: "Pooling" bottom: "norm" top: "max" pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "ave" type: "Pooling" bottom: "norm" top: "ave" pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
layer { name: "sum" type: "Eltwise" bottom: "max" bottom: "ave" top: "sum" eltwise_param { operation: SUM } }
layer { name: "both" type: "Concat" bottom: "sum" bottom: "max" top: "both" }
layer { name: "tanh" type: "TanH" bottom: "both" top: "both" }
layer { name: "drop" type: "Dropout" bottom: "both" top: "drop" }
layer { name: "scores" type: "InnerProduct" bottom: "drop" top: "scores"
  inner_product_param { num_output: 0x5 weight_filler { type: "xavier" } bias_filler { type: "constant" value: 2 } } }
layer { name: "soft" type: "Sigmoid" bottom: "scores" top: "soft" }
layer { name: "prob" type: "Softmax" bottom: "soft" top: "prob" }
"""
PLAIN = """
layer { name: "digits" type: "HDF5Data" top: "data" top: "label" hdf5_data_param { source: "train" batch_size: 6 } }
layer { name: "ip1" type: "InnerProduct" bottom: "data" top: "ip1" param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  inner_product_param { num_output: 7 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "TanH" bottom: "ip1" top: "ip1" }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2"
  inner_product_param { num_output: 3 bias_term: false weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip2" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }
"""
SOLVER = 'net: "plain" base_lr: 0.1 lr_policy: "fixed" momentum: 0.8 weight_decay: 0.02 max_iter: 15'


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def file(tmp_path):
    """Twenty samples, so that batches of six wrap around."""
    images = torch.randn(20, 1, 2, 3, generator=generator())
    write_hdf5(tmp_path / "data.h5", images, images.flatten(1)[:, :3].argmax(1))
    return tmp_path / "data.h5"


def test_parameter_count():
    net = net_from_prototxt(LENET)
    assert isinstance(net, CaffeNet) and sum(p.numel() for p in net.parameters()) == 431_080
    assert [row[2:] for row in net.table() if row[3]] == [
        ["20 x 24 x 24", 520],
        ["50 x 8 x 8", 25_050],
        ["500", 400_500],
        ["10", 5_010],
    ]
    alex = net_from_prototxt(alexnet(), device="meta")
    assert sum(p.numel() for p in alex.parameters()) == 60_965_224
    shapes = {name: shape[1:] for name, shape in alex.shapes.items()}
    assert [shapes[f"conv{i}"] for i in range(1, 6)] == [
        (96, 55, 55),
        (256, 27, 27),
        (384, 13, 13),
        (384, 13, 13),
        (256, 13, 13),
    ]
    assert shapes["pool5"] == (256, 6, 6) and shapes["prob"] == (1000,)
    assert all(p.is_meta for p in alex.parameters())
    assert alex.multipliers["layers.conv1.bias"] == (2, 0) and alex.multipliers["layers.conv1.weight"] == (1, 1)


def test_matches_reference():
    """LeNet as one writes it in torch has the same outputs and gradients, in float64."""
    net = net_from_prototxt(LENET, generator=generator()).double()
    layers = [nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.Flatten()]
    coded = nn.Sequential(*layers, nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10), nn.Softmax(1)).double()
    for ours, theirs in zip(net.parameters(), coded.parameters(), strict=True):
        theirs.data.copy_(ours)
    x = torch.rand(3, 1, 28, 28, dtype=torch.float64, generator=generator())
    torch.testing.assert_close(net(x), coded(x), rtol=0, atol=1e-15)
    for model in (net, coded):
        (model(x) ** 2).sum().backward()
    for ours, theirs in zip(net.parameters(), coded.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-12)


def varint(n):
    """A number as protocol buffers write it."""
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def chunk(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def caffemodel(net):
    """The weights as Caffe stores them: NetParameter, layer = 100, with name = 1, type = 2 and blobs = 7 (shape 7, data 5)."""
    layers = b""
    for name, layer in net.layers.items():
        body = chunk(1, name.encode()) + chunk(2, net.kinds[name].encode())
        for p in layer.parameters():
            values = p.detach().numpy().astype("<f4").ravel()
            shape = chunk(1, b"".join(map(varint, p.shape)))
            body += chunk(7, chunk(5, struct.pack(f"<{len(values)}f", *values)) + chunk(7, shape))
        layers += chunk(100, body)
    return layers


@pytest.mark.parametrize("text", [LENET, MIXED], ids=["LeNet", "every layer"])
def test_nets_match_opencv(text):
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        pytest.skip("OpenCV 5 reads no Caffe")
    cv2.setNumThreads(1)
    net = net_from_prototxt(text, generator=generator())
    plain = print_message(parse(text))  # OpenCV's own reader wants brackets of one kind
    theirs = cv2.dnn.readNetFromCaffe(bytearray(plain.encode()), bytearray(caffemodel(net)))
    shape = net.shapes[next(iter(net.layers))][:1] + ((1, 28, 28) if text == LENET else (4, 13, 11))
    x = torch.randn(shape, generator=generator(1))
    theirs.setInput(x.numpy())
    blobs = net.blobs(x)
    torch.testing.assert_close(torch.from_numpy(theirs.forward()), blobs["prob"].detach(), rtol=1e-4, atol=1e-5)
    for name in ("norm", "max", "ave", "both") if text == MIXED else ("pool1", "conv2"):
        theirs.setInput(x.numpy())
        found = torch.from_numpy(theirs.forward("tanh" if name == "both" else name))
        torch.testing.assert_close(found, blobs[name].detach(), rtol=1e-4, atol=1e-5)
    layers, _, outputs = theirs.getLayersShapes([list(shape)])
    found = {theirs.getLayer(int(i)).name: tuple(out[0]) for i, out in zip(layers, outputs)}
    for name, kept in net.shapes.items():
        assert found[name] == kept, name


def described():
    """A protocol buffer class with the schema of our nets."""
    pytest.importorskip("google.protobuf")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = {str: 9, int: 3, float: 1, bool: 8}
    file = descriptor_pb2.FileDescriptorProto(name="net.proto", package="t", syntax="proto2")

    def add(name, schema):
        message = file.message_type.add(name=name)
        for number, (key, kind) in enumerate(schema.items(), 1):
            field = message.field.add(name=key, number=number, label=3 if isinstance(kind, list) else 1)
            kind = kind[0] if isinstance(kind, list) else kind
            if isinstance(kind, dict):
                field.type, field.type_name = 11, f".t.{add(f'{name}_{key}', kind)}"
            elif isinstance(kind, tuple):
                field.type, field.type_name = 14, f".t.{name}.{key}_kind"
                words = message.enum_type.add(name=f"{key}_kind")
                for i, word in enumerate(kind):
                    words.value.add(name=word, number=i)
            else:
                field.type = kinds[kind]
        return name

    add("Net", NET)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Net"))


def plain_of(message, schema):
    """Our message as dictionaries and lists."""
    found = {}
    for entry in message.fields:
        kind = schema[entry.name]
        inner = kind[0] if isinstance(kind, list) else kind
        value = plain_of(entry.value, inner) if isinstance(inner, dict) else entry.value
        value = value == "true" if inner is bool else float(value) if inner is float else value
        if isinstance(kind, list):
            found.setdefault(entry.name, []).append(value)
        else:
            found[entry.name] = value
    return found


def plain_of_protobuf(message):
    found = {}
    for field, value in message.ListFields():
        many = list(value) if field.is_repeated else [value]
        if field.type == field.TYPE_MESSAGE:
            many = [plain_of_protobuf(each) for each in many]
        elif field.type == field.TYPE_ENUM:
            many = [field.enum_type.values_by_number[each].name for each in many]
        found[field.name] = many if field.is_repeated else many[0]
    return found


def test_parser_matches_protobuf():
    from google.protobuf import text_format

    kind = described()
    strings = r"""name: "a\tb\"c\\ \101 \x41 é" ' and' "more"  layer [ { name: 'x' }, { name: "y" top: ["p", "q"] } ]"""
    numbers = "num_output: 017 kernel_size: 0x1F; pad: -3, weight_filler: { std: 1e-3f mean: .5 value: 7 }"
    numbers = f"layer {{ convolution_param {{ {numbers} }} }}"
    for text in (LENET, LENET_TRAIN, alexnet(), MIXED, strings, numbers):
        ours = parse(text)
        check(ours, NET, "the net")
        theirs = text_format.Parse(text, kind())
        assert plain_of(ours, NET) == plain_of_protobuf(theirs)
        printed = print_message(ours)
        assert parse(printed) == ours
        assert text_format.Parse(printed, kind()) == theirs


NAMES = st.text("abzAZ_", min_size=1, max_size=5)
SCALARS = st.one_of(
    st.integers(-(2**63), 2**63),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=12),
    NAMES.map(Word),
)
FIELDS = st.builds(Field, NAMES, SCALARS | st.deferred(lambda: MESSAGES))
MESSAGES = st.builds(Message, st.lists(FIELDS, max_size=3))


@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")  # beartype samples
@settings(max_examples=40, deadline=None)
@given(message=MESSAGES, gap=st.sampled_from([" ", "\n", "\t", ' # a comment { : " \n', "\r\n"]))
def test_print_and_parse_go_round(message, gap):
    text = print_message(message)
    assert parse(text) == message
    loose = re.sub(r"\n +", lambda m: gap + m[0], gap + text + gap)
    assert parse(loose) == message
    for a, b in zip(parse(text).fields, message.fields, strict=True):
        assert type(a.value) is type(b.value)


@settings(max_examples=40, deadline=None)
@given(text=st.text(alphabet="a1:{}[]<>\"\\'#,;. -\n", max_size=30), cut=st.integers(0, 600))
def test_a_broken_text_is_refused_at_a_place_that_exists(text, cut):
    for broken in (text, MIXED[:cut], MIXED[:cut] + "}" + MIXED[cut:900]):
        try:
            parse(broken)
        except PrototxtError as error:
            lines = broken.split("\n")
            assert 1 <= error.line <= len(lines)
            assert 1 <= error.column <= len(lines[error.line - 1]) + 1
            assert str(error).startswith(f"line {error.line}, column {error.column}: ")


def test_gradients_reach_every_parameter():
    net = net_from_prototxt(MIXED, generator=generator(), phase="TRAIN")
    torch.manual_seed(0)
    (net(torch.randn(2, 4, 13, 11, generator=generator())) ** 2).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_a_phase_chooses_its_layers():
    train = net_from_prototxt(LENET_TRAIN, phase="TRAIN", shape=(1, 28, 28))
    tested = net_from_prototxt(LENET_TRAIN, phase="TEST", shape=(1, 28, 28))
    assert "accuracy" in tested.layers and "accuracy" not in train.layers
    assert train.training and not tested.training
    assert train.shapes["conv1"][0] == 64 and tested.shapes["conv1"][0] == 100
    assert train(torch.zeros(5, 1, 28, 28)).shape == (5, 10)  # without labels the scores are the last that can be known
    assert train(torch.zeros(5, 1, 28, 28), torch.zeros(5, dtype=torch.long)).ndim == 0


def test_fillers_draw_as_caffe_does():
    net = net_from_prototxt(LENET, generator=generator())
    weight = net.layers["ip1"].weight
    reach = (3 / 800) ** 0.5
    assert reach * 0.999 < weight.abs().max() <= reach and abs(weight.std() - reach / 3**0.5) < 1e-3
    assert (net.layers["ip1"].bias == 0).all()
    again = net_from_prototxt(LENET, generator=generator())
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), again.parameters(), strict=True))
    mixed = net_from_prototxt(MIXED, generator=generator())
    assert (mixed.layers["scores"].bias == 2).all() and mixed.layers["conv"].bias.abs().max() <= 1


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ('"fixed"', lambda t: 0.1),
        ('"step" gamma: 0.5 stepsize: 4', lambda t: 0.1 * 0.5 ** (t // 4)),
        ('"inv" gamma: 0.3 power: 0.75', lambda t: 0.1 * (1 + 0.3 * t) ** -0.75),
        ('"poly" power: 2', lambda t: 0.1 * (1 - t / 15) ** 2),
    ],
)
def test_solver_matches_a_loop(file, policy, expected):
    """Caffe's momentum, by a loop over the same batches in numpy's order."""
    text = SOLVER.replace('"fixed"', policy)
    solution = solve(text, file, nets={"plain": PLAIN}, seed=4)
    assert solution.rates == pytest.approx([expected(t) for t in range(15)])
    net = net_from_prototxt(PLAIN, phase="TRAIN", shape=(1, 2, 3), generator=generator(4))
    with h5py.File(file) as data:
        images, labels = torch.from_numpy(data["data"][:]), torch.from_numpy(data["label"][:])
    velocity = {name: torch.zeros_like(p) for name, p in net.named_parameters()}
    for t in range(15):
        chosen = torch.arange(6 * t, 6 * t + 6) % 20
        w1, b1, w2 = net.parameters()
        loss = F.cross_entropy((images[chosen].flatten(1) @ w1.T + b1).tanh() @ w2.T, labels[chosen])
        assert solution.losses[t] == pytest.approx(loss.item(), abs=1e-5)
        slopes = torch.autograd.grad(loss, [w1, b1, w2])
        with torch.no_grad():
            for p, g, (rate, decay), v in zip((w1, b1, w2), slopes, ((1, 1), (2, 0), (1, 1)), velocity.values()):
                v.copy_(0.8 * v + expected(t) * rate * (g + 0.02 * decay * p))
                p.sub_(v)
    for ours, theirs in zip(solution.net.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_a_fixed_rate_is_torch_s_sgd(file):
    solution = solve(SOLVER, file, nets={"plain": PLAIN}, seed=4)
    net = net_from_prototxt(PLAIN, phase="TRAIN", shape=(1, 2, 3), generator=generator(4))
    groups = [
        {"params": [p], "lr": 0.1 * net.multipliers[name][0], "weight_decay": 0.02 * net.multipliers[name][1]}
        for name, p in net.named_parameters()
    ]
    optimizer = torch.optim.SGD(groups, momentum=0.8)
    stream = hdf5_batches(file, ["data", "label"], 6)
    for _ in range(15):
        optimizer.zero_grad()
        net(*next(stream)).backward()
        optimizer.step()
    for ours, theirs in zip(solution.net.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_the_rate_is_inside_the_velocity():
    net = net_from_prototxt(MIXED)
    p = dict(net.named_parameters())["layers.scores.bias"]
    velocities = {}
    for rate, length in ((1.0, 1.0), (1.0, 1.9), (0.1, 0.9 * 1.9 + 0.1)):
        before = p.detach().clone()
        for q in net.parameters():
            q.grad = torch.ones_like(q)
        caffe_step(net, velocities, rate, 0.9, 0.0)
        torch.testing.assert_close(before - p.detach(), torch.full_like(before, length))


def test_batches_wrap_around(file):
    stream = hdf5_batches(file, ["data", "label"], 6)
    seen = torch.cat([next(stream)[1] for _ in range(10)])
    with h5py.File(file) as data:
        assert torch.equal(seen, torch.from_numpy(data["label"][:]).repeat(3))


def test_learns_toy_problem(file):
    text = SOLVER.replace("15", "150") + " test_iter: 3 test_interval: 100"
    solution = solve(text, {"train": file}, nets={"plain": PLAIN}, seed=1)
    assert [t for t, *_ in solution.tests] == [0, 100, 150]
    assert solution.tests[-1][1] > 0.9 > solution.tests[0][1]
    assert solution.losses[-1] < 0.5 * solution.losses[0]


def test_published_files_of_lenet_are_read(tmp_path):
    """The fields of Caffe's own example: a database, its scale, display, snapshots; an HDF5 file stands in for the database."""
    source = """layer { name: "mnist" type: "Data" top: "data" top: "label" include { phase: %s }
      transform_param { scale: 0.00390625 }
      data_param { source: "examples/mnist/mnist_%s_lmdb" batch_size: %d backend: LMDB } }"""
    first, last = LENET_TRAIN.index("layer"), LENET_TRAIN.index('layer {\n  name: "conv1"')
    train = source % ("TRAIN", "train", 64) + source % ("TEST", "test", 100)
    published = LENET_TRAIN[:first] + train + LENET_TRAIN[last:]
    plain = (
        LENET_SOLVER.replace("10000", "3")
        .replace("test_interval: 500", "test_interval: 3")
        .replace("test_iter: 10 ", "test_iter: 1 ")
    )
    solver = plain.replace("lenet_train.prototxt", "examples/mnist/lenet_train_test.prototxt")
    solver += 'display: 100 snapshot: 5000 snapshot_prefix: "examples/mnist/lenet" solver_mode: GPU'
    images = torch.rand(100, 1, 28, 28, generator=generator())
    labels = torch.arange(100) % 10
    write_hdf5(tmp_path / "grey.h5", 256 * images, labels)
    write_hdf5(tmp_path / "unit.h5", images, labels)
    lmdbs = {f"examples/mnist/mnist_{part}_lmdb": tmp_path / "grey.h5" for part in ("train", "test")}
    theirs = solve(solver, lmdbs, nets={"examples/mnist/lenet_train_test.prototxt": published}, seed=3)
    ours = solve(plain, tmp_path / "unit.h5", seed=3)
    assert theirs.losses == pytest.approx(ours.losses, abs=1e-6) and len(ours.losses) == 3
    np.testing.assert_allclose(theirs.tests, ours.tests, atol=1e-5)
    older = (
        'name: "LeNet" input: "data" input_dim: 64 input_dim: 1 input_dim: 28 input_dim: 28\n'
        + LENET[LENET.index('layer {\n  name: "conv1"') :]
    )
    net, new = net_from_prototxt(older, generator=generator()), net_from_prototxt(LENET, generator=generator())
    assert net.shapes == new.shapes and torch.equal(net(images), new(images))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_device_and_dtype(device, file):
    net = net_from_prototxt(MIXED, generator=torch.Generator(device).manual_seed(0), device=device)
    copy = net_from_prototxt(MIXED, device=device)
    copy.load_state_dict(net.state_dict())
    x = torch.rand(2, 4, 13, 11, device=device)
    torch.testing.assert_close(copy(x), net(x))
    with torch.autocast(device, torch.bfloat16):
        assert net(x).isfinite().all()
    solution = solve(SOLVER, file, nets={"plain": PLAIN}, device=device)
    assert all(p.device.type == device for p in solution.net.parameters())


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("kernel_size: 5", "kernal_size: 5", r"line 13, column 21: .* has no field 'kernal_size': did you mean kernel_size\?"),
        ('"ReLU"', '"Rilu"', r"line 43, column 24: type 'Rilu': known are Input, HDF5Data, Data, Convolution"),
        ("28 } }\n}", "28 } }", r"line 54, column 1: '}' for the bracket of line 3, column 7 should stand here, not the end"),
        ('bottom: "pool1"', 'bottom: "ip1"', "'conv2' reads 'ip1', and only a later layer, or this one, makes it"),
        ('bottom: "pool1"', 'bottom: "pool9"', r"line 22, column 39: layer 'conv2' reads 'pool9', and no layer makes it"),
        ("20  kernel_size: 5", "20  kernel_size: 50", r"line 9, column 3: layer 'conv1' .* does not fit data \[64, 1, 28, 28\]"),
        ("pool: MAX", "pool: BEST", r"line 19, column 19: pool is BEST: it takes MAX or AVE"),
        ("num_output: 20", "num_output: 20.5", "num_output is 20.5: it takes int"),
        ("num_output: 20", "group: 3 num_output: 20", "group = 3 does not divide num_output = 20"),
        ("num_output: 20", "", r"layer 'conv1' needs convolution_param \{ num_output"),
        ('"xavier"', '"magic"', "filler 'magic': known are constant, gaussian, uniform, xavier"),
        ('name: "conv2"', 'name: "conv1"', "a second layer 'conv1' in one phase: names are unique"),
        ('name: "conv2"', 'name: "keys"', "torch needs the name 'keys' for itself: choose another"),
        ('name: "LeNet"', 'name: "LeNet', "line 2, column 7: a quotation mark whose line does not close it"),
        ('name: "LeNet"', "name: LeNet", "line 2, column 1: name is LeNet: it takes str"),
        ('name: "LeNet"', "name 5", r"line 2, column 6: ':' or '\{' after 'name' should stand here, not '5'"),
        ('name: "LeNet"', "name: ?", r"line 2, column 7: the character '\?', which begins nothing of this format"),
        ('name: "LeNet"', 'name: "a" name: "b"', "line 2, column 11: name stands twice in the net: keep one"),
        ('name: "LeNet"', 'name: "\\q"', r"line 2, column 8: the escape '\\\\q' is none of the format"),
        ('name: "LeNet"', "layer: [", r"a value should stand here|should stand here, not"),
        ('name: "LeNet"', "5: 6", "line 2, column 1: the name of a field should stand here, not '5'"),
        ("type: \"Softmax\"  ", "", r"line \d+, column 1: this layer has no type"),
        ("pooling_param {", "lrn_param { k: 2 } pooling_param {", "a layer of type Pooling reads pooling_param, not lrn_param"),
        ('type: "Input"  top: "data"', 'type: "Input" top: "data" transform_param { }', "reads input_param, not transform"),
        ('name: "LeNet"', 'name: "LeNet" input: "x" input_dim: 1', "line 2, column 26: 1 inputs and 1 input_dim, four for each"),
        ("param { lr_mult: 1 }", 'param { name: "w" }', r"line \d+, column \d+: .* has no field 'name'"),
        ("kernel_size: 5", "kernel_size: 5 } hdf5_data_param { shuffle: true", "hdf5_data_param has no field 'shuffle'"),
        ("param { lr_mult: 1 }", "param { } param { } param { lr_mult: 1 }", "layer 'conv1' has 4 param for 2 parameters"),
    ],
)  # fmt: skip
def test_bad_texts_are_refused_by_line_and_column(right, wrong, complaint):
    assert right in LENET
    with pytest.raises(PrototxtError, match=complaint) as caught:
        net_from_prototxt(LENET.replace(right, wrong, 1))
    assert caught.value.line >= 1 and caught.value.column >= 1


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ('"inv"', '"cosine"', "line 4, column 1: lr_policy 'cosine': known are fixed, step, inv, poly"),
        ("gamma: 0.0001", "", "line 4, column 1: lr_policy 'inv' needs gamma"),
        ("base_lr: 0.01", "", "line 1, column 1: the solver has no base_lr"),
        ("max_iter: 10000", "max_iter: 0", "line 9, column 1: max_iter = 0: at least 1"),
        ("momentum: 0.9", "momentun: 0.9", r"line 7, column 1: the solver has no field 'momentun': did you mean momentum\?"),
        ("lenet_train", "vgg", r"line 2, column 1: net 'vgg.prototxt': pass nets=\{'vgg.prototxt': text\}"),
    ],
)  # fmt: skip
def test_bad_solvers_are_refused(file, right, wrong, complaint):
    with pytest.raises(PrototxtError, match=complaint):
        solve(LENET_SOLVER.replace(right, wrong), file)


def test_bad_data_are_refused(file, tmp_path):
    with pytest.raises(ValueError, match="source 'train' is none of the data test: pass data="):
        solve(SOLVER, {"test": file}, nets={"plain": PLAIN})
    with pytest.raises(ValueError, match=r"data.h5 has no data set 'pixels', the layer's top: it has data, label"):
        solve(SOLVER, file, nets={"plain": PLAIN.replace('"data"', '"pixels"')})
    with h5py.File(tmp_path / "odd.h5", "w") as odd:
        odd["data"], odd["label"] = np.zeros((4, 1, 2, 3), "f4"), np.zeros(3)
    with pytest.raises(ValueError, match="the data sets have the lengths {'data': 4, 'label': 3}"):
        solve(SOLVER, tmp_path / "odd.h5", nets={"plain": PLAIN})
    with pytest.raises(ValueError, match="the net has no HDF5Data or Data layer in the phase TRAIN"):
        solve(SOLVER, file, nets={"plain": LENET})
    with pytest.raises(ValueError, match="phase = 'BOTH': TRAIN or TEST"):
        net_from_prototxt(LENET, phase="BOTH")
    with pytest.raises(PrototxtError, match=r"pass shape=, as \(1, 28, 28\)"):
        net_from_prototxt(LENET_TRAIN)
    with pytest.raises(PrototxtError, match="the net has no layer in the phase TEST"):
        net_from_prototxt("")
    with pytest.raises(PrototxtError, match="batch_size = 0: at least 1"):
        net_from_prototxt(PLAIN.replace("batch_size: 6", "batch_size: 0"), shape=(1, 2, 3))
    assert set(LAYER) > {"convolution_param", "hdf5_data_param"}


def test_policies_at_known_points():
    inv = Message([Field("base_lr", 0.01), Field("lr_policy", "inv"), Field("gamma", 1e-4), Field("power", 0.75)])
    assert learning_rate(inv, 0) == 0.01 and learning_rate(inv, 10_000) == pytest.approx(0.01 * 2**-0.75)

"""The mini-graph, its passes and its control flow, one net in six ways, and the wrapper."""

import inspect
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from helpers.foundations.frameworks import (
    Dense,
    Function,
    Graph,
    Node,
    Sequential,
    Session,
    TwoLayer,
    assign,
    batch_norm,
    cond,
    constant,
    conv2d,
    execute,
    fold_constants,
    fuse,
    gradients,
    group,
    load,
    mean,
    operation,
    optimise,
    order,
    placeholder,
    record,
    relu,
    remove_dead,
    save,
    square,
    stages,
    train_autograd,
    train_graph,
    train_module,
    train_numpy,
    train_tensors,
    train_wrapper,
    two_layer_graph,
    variable,
    while_loop,
)

# What TensorFlow 2.21.0 says in its compat.v1 graph mode to the listing of `test_tensorflow_itself`.
TENSORFLOW = {
    "loss alone": [0.6191832035140526] * 3,
    "loss and updates": [
        0.6191832035140526,
        0.5682029006099993,
        0.5418975983018047,
        0.5252377665023112,
        0.5134740728062234,
        0.5045263041644609,
    ],
    "W2, first row": [0.09229320548137862, 0.15068205708141363, 0.024522441042461],
    "halvings": [5.0, 7.0, 0.0],
    "branch": [4.0, 6.0],
}


def waves(n=8, d=5, hidden=6, k=3):
    """Data and weights that every framework can write down."""
    x, t = np.sin(np.arange(n * d)).reshape(n, d), np.cos(np.arange(n * k)).reshape(n, k)
    w1 = np.sin(1 + 2 * np.arange(d * hidden)).reshape(d, hidden) / 2
    return x, t, w1, np.cos(2 + 3 * np.arange(hidden * k)).reshape(hidden, k) / 2


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_parameter_count():
    model = TwoLayer(torch.zeros(5, 6), torch.zeros(6, 3))
    assert sum(p.numel() for p in model.parameters()) == 5 * 6 + 6 * 3
    wrapped = Sequential([Dense(6, "relu"), Dense(3)])
    wrapped.build(torch.zeros(2, 5))
    assert [tuple(w.shape) for w in wrapped.get_weights()] == [(5, 6), (6,), (6, 3), (3,)]
    assert sum(v.size for v in Session(two_layer_graph(*waves()[2:], 0.5)).variables.values()) == 48


@pytest.mark.parametrize("way", [train_tensors, train_autograd, train_module, train_graph, train_wrapper])
def test_matches_reference(way):
    data = waves()
    expected, weights = train_numpy(*data, 0.5, 12)
    given = data if way is train_graph else tuple(map(torch.from_numpy, data))
    losses, found = way(*given, 0.5, 12)
    np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-14)
    for ours, theirs in zip(found, weights, strict=True):
        np.testing.assert_allclose(np.asarray(ours), theirs, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(np.asarray(given[2]), waves()[2])  # the start is left as it was


def test_numpy_gradients_are_autograd_s():
    data = waves()
    x, t, *weights = (torch.from_numpy(a) for a in data)
    weights = [w.requires_grad_() for w in weights]
    F.mse_loss((x @ weights[0]).relu() @ weights[1], t).backward()
    _, after = train_numpy(*data, 0.5, 1)
    for w, new in zip(weights, after, strict=True):
        torch.testing.assert_close(torch.from_numpy(new), w.detach() - 0.5 * w.grad)


def test_tensorflow_s_graph_took_these_steps():
    x, t, w1, w2 = waves()
    session = Session(two_layer_graph(w1, w2, 0.5))
    feed = {"x": x, "t": t}
    assert [session.run("loss", feed) for _ in range(3)] == pytest.approx(TENSORFLOW["loss alone"], abs=1e-12)
    both = [session.run(["loss", "updates"], feed) for _ in range(6)]
    assert [loss for loss, _ in both] == pytest.approx(TENSORFLOW["loss and updates"], abs=1e-12)
    assert {value for _, value in both} == {None}
    assert session.variables["W2"][0] == pytest.approx(TENSORFLOW["W2, first row"], abs=1e-12)
    with Graph() as graph:
        q = placeholder("q", ())
        n = while_loop(lambda a, n: a > 1.0, lambda a, n: (a / 2.0, n + 1.0), q, 0.0)[1]
        branch = cond(q > 0.0, lambda a: a * 2.0, lambda a: a * -3.0, q)
    session = Session(graph)
    assert [session.run(n, {q: value}) for value in (20.0, 100.0, 0.5)] == TENSORFLOW["halvings"]
    assert [session.run(branch, {q: value}) for value in (2.0, -2.0)] == TENSORFLOW["branch"]


def test_tensorflow_itself():
    tf = pytest.importorskip("tensorflow.compat.v1", reason="tensorflow is 1.3 GB: its numbers are stored above")
    x, t, w1, w2 = waves()
    with tf.Graph().as_default(), tf.Session() as session:
        X, T, q = (
            tf.placeholder(tf.float64, x.shape),
            tf.placeholder(tf.float64, t.shape),
            tf.placeholder(tf.float64, ()),
        )
        W1, W2 = tf.Variable(w1), tf.Variable(w2)
        loss = tf.reduce_mean((tf.matmul(tf.maximum(tf.matmul(X, W1), 0), W2) - T) ** 2)
        g1, g2 = tf.gradients(loss, [W1, W2])
        updates = tf.group(W1.assign(W1 - 0.5 * g1), W2.assign(W2 - 0.5 * g2))
        n = tf.while_loop(lambda a, n: a > 1, lambda a, n: (a / 2, n + 1), [q, tf.constant(0.0)])[1]
        branch = tf.cond(q > 0, lambda: q * 2, lambda: q * -3)
        session.run(tf.global_variables_initializer())
        feed = {X: x, T: t}
        found = {"loss alone": [session.run(loss, feed) for _ in range(3)]}
        found["loss and updates"] = [session.run([loss, updates], feed)[0] for _ in range(6)]
        found["W2, first row"] = session.run(W2)[0].tolist()
        found["halvings"] = [session.run(n, {q: value}) for value in (20.0, 100.0, 0.5)]
        found["branch"] = [session.run(branch, {q: value}) for value in (2.0, -2.0)]
    for name, values in TENSORFLOW.items():
        assert found[name] == pytest.approx(values, abs=1e-12), name


def test_operations_match_torch():
    x, w, b = noise(2, 3, 7, 6), noise(4, 3, 3, 2, seed=1), noise(4, 1, 1, seed=2)
    centre, scale, shift = noise(3, 4, 1, 1, seed=3)
    variance = noise(4, 1, 1, seed=4) ** 2 + 0.5
    with Graph() as graph:
        first = placeholder("x")
        y = conv2d(first, w, b, padding=1)
        z = relu(batch_norm(y, centre, variance, scale, shift, eps=1e-3))
        pooled = operation("flatten", operation("max_pool2d", placeholder("p"), size=2))
        small = square(operation("sqrt", first * first) - 1.0 / (first * first + 1.0))
    X = torch.from_numpy(x)
    T = F.conv2d(X, torch.from_numpy(w), torch.from_numpy(b.ravel()), padding=1)
    N = F.batch_norm(T, *(torch.from_numpy(v.ravel()) for v in (centre, variance, scale, shift)), eps=1e-3).relu()
    session = Session(graph)
    p = noise(2, 3, 4, 6)
    found = session.run([y, z, pooled, small], {first: x, "p": p})
    expected = [T, N, F.max_pool2d(torch.from_numpy(p), 2).flatten(1), (X.abs() - 1 / (X * X + 1)) ** 2]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-12)


def test_gradients_match_autograd():
    a, b, c = noise(4, 3), noise(3, 5, seed=1), noise(1, 5, seed=2)
    with Graph() as graph:
        A, B, C = variable(a), variable(b), variable(c)
        y = relu(A @ B + C) / (square(C) + 1.0) - C * (A @ B) + 2.0 * C
        loss = mean(square(y)) - mean(A)
        slopes = gradients(loss, [A, B, C])
    found = Session(graph).run([loss, *slopes])
    tensors = [torch.from_numpy(v).requires_grad_() for v in (a, b, c)]
    A, B, C = tensors
    y = (A @ B + C).relu() / (C**2 + 1) - C * (A @ B) + 2 * C
    loss = (y**2).mean() - A.mean()
    for ours, theirs in zip(found, [loss, *torch.autograd.grad(loss, tensors)], strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), atol=1e-12)


@pytest.mark.filterwarnings("ignore:__array__")
def test_wrapper_matches_keras(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    keras = pytest.importorskip("keras")
    assert keras.backend.backend() == "torch"
    x, t, *_ = (value.astype("float32") for value in waves(n=20))
    model = keras.Sequential([keras.layers.Dense(6, "relu"), keras.layers.Dense(3)])
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    model.build((None, 5))
    ours = Sequential([Dense(6, "relu"), Dense(3)])
    ours.compile("sgd", 0.1, "mse")
    ours.build(torch.from_numpy(x))
    start = [torch.tensor(w) for w in model.get_weights()]
    start[1::2] = [w + 0.1 for w in start[1::2]]  # biases that are not zero
    model.set_weights([w.numpy() for w in start])
    ours.set_weights(start)
    theirs = model.fit(x, t, batch_size=8, epochs=3, shuffle=False, verbose=0).history["loss"]
    found = ours.fit(torch.from_numpy(x), torch.from_numpy(t), batch_size=8, epochs=3)["loss"]
    np.testing.assert_allclose(found, theirs, rtol=1e-5)
    for a, b in zip(ours.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_allclose(ours.predict(torch.from_numpy(x)), model.predict(x, verbose=0), atol=1e-6)


def test_fusion_matches_torch():
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    conv, norm = nn.Conv2d(3, 4, 3).double().eval(), nn.BatchNorm2d(4).double().eval()
    for value in (norm.running_mean, norm.weight.data, norm.bias.data):
        value.normal_()
    norm.running_var.uniform_(0.5, 2)
    whole = fuse_conv_bn_eval(conv, norm)
    with Graph() as graph:
        x = placeholder("x")
        columns = [
            v.detach().numpy()[:, None, None] for v in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        ]
        y = conv2d(x, conv.weight.detach().numpy(), conv.bias.detach().numpy()[:, None, None])
        y = relu(batch_norm(y, *columns, eps=norm.eps), name="y")
    small = optimise(graph.function([x], [y]))
    assert small.nodes["y"].op == "conv2d_relu" and len(small.nodes) == 4
    w, b = (small.nodes[name].attributes["value"] for name in small.nodes["y"].inputs[1:])
    np.testing.assert_allclose(w, whole.weight.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(b.ravel(), whole.bias.detach().numpy(), atol=1e-12)


def test_control_flow_matches_torch(unchecked):
    with Graph() as graph:
        x = placeholder("x", (3,))
        y = cond(mean(x) > 0.0, lambda v: relu(v), lambda v: square(v), x)
    session = Session(graph)

    def branch(v):
        return torch.cond(v.mean() > 0, lambda v: v.clamp(min=0), lambda v: v * v, (v,))

    compiled = torch.compile(branch, backend="eager", fullgraph=True)
    for value in (np.array([-1.0, 2.0, 3.0]), np.array([-5.0, 2.0, 1.0])):
        expected = branch(torch.from_numpy(value))
        np.testing.assert_allclose(session.run(y, {x: value}), expected)
        np.testing.assert_allclose(compiled(torch.from_numpy(value)), expected)

    def python(v):
        return v * 2 if v.mean() > 0 else v * -3

    with pytest.raises(Exception, match=r"(?i)data-dependent|control flow"):
        torch.compile(python, backend="eager", fullgraph=True)(torch.ones(3))
    with pytest.raises(torch.fx.proxy.TraceError):
        torch.fx.symbolic_trace(python)


def test_torch_fx_records_the_same_operations(unchecked):
    traced = torch.fx.symbolic_trace(TwoLayer(torch.eye(2), torch.eye(2)))
    theirs = [getattr(node.target, "__name__", node.target) for node in traced.graph.nodes if "call" in node.op]
    ours = [
        node.op for node in two_layer_graph(np.eye(2), np.eye(2), 0.5).nodes.values() if node.op in ("matmul", "relu")
    ]
    assert theirs == ["matmul", "relu", "matmul"] == ours[:3]


def test_gradients_reach_every_parameter():
    for make in (lambda: TwoLayer(torch.eye(3), torch.eye(3)), lambda: Sequential([Dense(3, "tanh"), Dense(2)])):
        model = make()
        if isinstance(model, Sequential):
            model.build(torch.ones(2, 3))
        model(torch.rand(4, 3) + 0.1).square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    session = Session(two_layer_graph(*waves()[2:], 0.5))
    before = {name: value.copy() for name, value in session.variables.items()}
    session.run("updates", {"x": waves()[0], "t": waves()[1]})
    assert all((session.variables[name] != value).any() for name, value in before.items())


def test_only_what_is_fetched_runs():
    x, t, w1, w2 = waves()
    session = Session(two_layer_graph(w1, w2, 0.5))
    session.run("loss", {"x": x, "t": t})
    assert session.executed == ["matmul_1", "a", "matmul_2", "subtract_1", "square_1", "loss"]
    assert session.copied == x.nbytes + t.nbytes + 8
    session.run(["loss", "updates"], {"x": x, "t": t})
    assert session.copied == x.nbytes + t.nbytes + 8  # the dummy node has no value to copy
    assert {"new_W1", "new_W2", "updates"} < set(session.executed)
    session.run(["new_W1"], {"x": x, "t": t})
    assert session.copied == x.nbytes + t.nbytes + w1.nbytes


def test_a_fed_node_needs_nothing_before_it():
    with Graph() as graph:
        y = square(placeholder("x") + 1.0, name="middle") * 2.0
    session = Session(graph)
    assert session.run(y, {"middle": 10.0}) == 20.0
    assert "x" not in session.executed


def test_updates_take_effect_after_the_run():
    with Graph() as graph:
        v = variable(1.0, "v")
        up = assign(v, v + 1.0, "up")
        twice = v * 2.0
    session = Session(graph)
    assert [list(session.run([up, twice])) for _ in range(3)] == [[2.0, 2.0], [3.0, 4.0], [4.0, 6.0]]
    other = Session(graph)
    assert other.run(v) == 1.0 and graph.nodes["v"].attributes["initial"] == 1.0  # sessions share no state


def test_a_branch_that_is_not_taken_does_not_run():
    with Graph() as graph:
        x = placeholder("x", ())
        y = cond(x > 0.0, lambda v: v * 2.0, lambda v: v @ v, x)  # a number has no matrix product
    session = Session(graph)
    assert session.run(y, {x: 3.0}) == 6.0
    with pytest.raises(ValueError, match="matmul"):
        session.run(y, {x: -3.0})


def test_a_record_keeps_one_path():
    def python(x):
        return x * 2.0 if x > 0.0 else x * -3.0

    for example, factor in ((1.0, 2.0), (-1.0, -3.0)):
        frozen = record(python, example)
        assert [float(frozen(np.array(v))[0]) for v in (2.0, -2.0)] == [2.0 * factor, -2.0 * factor]


def test_stages_remove_what_each_pass_leaves():
    with Graph() as graph:
        x = placeholder("x", (None, 1, None, None))
        y = conv2d(x, noise(1, 1, 2, 2), constant(4.0) * 0.5)
        y = y * 3.0
        square(y)
    counts = {name: len(function.nodes) for name, function in stages(graph.function([x], [y])).items()}
    assert counts == {"as written": 9, "dead nodes removed": 8, "constants folded": 6, "fused": 4}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "subtract", "multiply", "divide", "relu", "reverse_add", "square"]), st.integers(0, 99)
    ),
    max_size=6,
)


@settings(max_examples=40, deadline=None)
@given(steps=STEPS, watched=st.integers(0, 6), padding=st.integers(0, 1))
def test_passes_keep_every_output(steps, watched, padding):
    with Graph() as graph:
        x = placeholder("x")
        y = conv2d(x, noise(2, 1, 2, 2), noise(2, 1, 1), padding=padding)
        made = [y]
        for op, seed in steps:
            value = noise(2, 1, 1, seed=seed) + 3.0 if seed % 3 else float(seed + 1)
            if op == "relu":
                y = relu(y)
            elif op == "square":
                y = square(y)
            elif op == "reverse_add":
                y = constant(value) + y
            else:
                y = operation(op, y, value)
            made.append(y)
    function = graph.function([x], [y, made[min(watched, len(made) - 1)]])
    images = noise(2, 1, 4, 5, seed=9)
    expected = function(images)
    for changed in (fold_constants(function), fuse(function), remove_dead(function), optimise(function)):
        for ours, theirs in zip(changed(images), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    again = load(save(optimise(function)))
    for ours, theirs in zip(again(images), optimise(function)(images), strict=True):
        np.testing.assert_array_equal(ours, theirs)  # to the last bit
    assert len(optimise(function).nodes) <= len(function.nodes)


def test_fusion_spares_a_convolution_with_two_readers():
    with Graph() as graph:
        x = placeholder("x")
        y = conv2d(x, noise(2, 1, 2, 2), noise(2, 1, 1), name="conv")
        z, other = y * 2.0, square(y)
        w = conv2d(x, noise(2, 1, 2, 2), noise(2, 1, 1)) * placeholder("s")  # not a constant
        v = conv2d(x, noise(2, 1, 2, 2), noise(2, 1, 1)) * noise(4, 4)  # not one number for a filter
    small = optimise(graph.function([x, graph.nodes["s"]], [z, other, w, v]))
    assert sum(node.op == "multiply" for node in small.nodes.values()) == 3


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_saved_numbers_keep_all_bits(dtype):
    value = (noise(3, 4) * 100).astype(dtype)
    with Graph() as graph:
        x = placeholder("x")
        y = operation("add", x, constant(value, "c"))
    again = load(save(graph.function([x], [y]))).nodes["c"].attributes["value"]
    assert again.dtype == value.dtype and again.shape == (3, 4)
    np.testing.assert_array_equal(again, value)
    empty = Function((), {"c": Node("c", "constant", (), {"value": np.zeros((0, 3))})}, ("c",))
    assert load(save(empty))()[0].shape == (0, 3)


def test_nested_control_flow_survives_saving(unchecked):
    with Graph() as graph:
        x = placeholder("x", ())
        # 3 n + 1: a branch within a loop
        _, n = while_loop(
            lambda v, n: v > 1.0,
            lambda v, n: (
                cond(operation("less", half_rest(v), 0.5), lambda v: v / 2.0, lambda v: v * 3.0 + 1.0, v),
                n + 1.0,
            ),
            x,
            0.0,
        )
    restored = load(save(graph.function([x], [n])))
    for start in range(1, 8):
        v, count = start, 0
        while v > 1:
            v, count = (v // 2 if v % 2 == 0 else 3 * v + 1), count + 1
        assert restored(np.array(float(start)))[0] == count


def half_rest(v):
    """What is left of an even number after all its twos are taken: 0, else 1."""
    return while_loop(lambda r: r > 1.0, lambda r: r - 2.0, v)[0]


def test_learns_toy_problem():
    """Learn exclusive or from its four lines, by graph and by wrapper."""
    x = np.array([[0.0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
    t = np.array([[0.0], [1], [1], [0]])
    losses, _ = train_graph(x, t, noise(3, 12, seed=3), noise(12, 1, seed=4) / 4, 0.1, 300)
    assert losses[-1] < 0.01 < losses[0]
    torch.manual_seed(0)
    model = Sequential([Dense(12, "tanh"), Dense(2)])
    model.compile("adam", 0.05, "crossentropy")
    labels = torch.tensor([0, 1, 1, 0])
    history = model.fit(torch.from_numpy(x).float(), labels, batch_size=4, epochs=100)
    assert (model.predict(torch.from_numpy(x).float()).argmax(1) == labels).all() and history["loss"][-1] < 0.1


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_device_and_dtype(device):
    data = [torch.from_numpy(value).float().to(device) for value in waves()]
    for way in (train_tensors, train_autograd, train_module, train_wrapper):
        losses, weights = way(*data, 0.5, 3)
        assert losses[-1] < losses[0] and all(w.device.type == device and w.dtype == torch.float32 for w in weights)
    single = [value.astype("float32") for value in waves()]
    _, weights = train_graph(*single, 0.5, 2)
    assert {w.dtype for w in weights} == {np.dtype("float32")}
    model = TwoLayer(*data[2:])
    copy = TwoLayer(*(torch.zeros_like(w) for w in data[2:]))
    copy.load_state_dict(model.state_dict())
    with torch.autocast(device, torch.bfloat16):
        assert copy(data[0]).isfinite().all()


def small_session():
    with Graph() as graph:
        x = placeholder("x", (None, 2))
        operation("matmul", x, noise(2, 3), name="y")
        constant(1.0, "c")
    return Session(graph)


@pytest.mark.parametrize(
    ("work", "complaint"),
    [
        (lambda: small_session().run("y"), r"placeholder 'x' has no value: feed one, as run\(fetches, \{'x': array\}\)"),
        (lambda: small_session().run("y", {"x": noise(4, 3)}), r"'x' was fed the shape \[4, 3\]: it takes \['any', 2\]"),
        (lambda: small_session().run("y", {"x": noise(2)}), r"'x' was fed the shape \[2\]"),
        (lambda: small_session().run("z"), r"node 'z' is none of this graph: it has x, "),
        (lambda: small_session().run("y", {"c": 2.0}), "'c' is a constant: feed a placeholder"),
        (lambda: small_session().run(small_session().graph.nodes["y"]), "node 'y' is none of this graph"),
        (lambda: placeholder("x"), "no graph is open: build nodes inside `with Graph"),
        (lambda: order({"a": Node("a", "relu", ("b",)), "b": Node("b", "relu", ("a",))}, ["a"]), "a cycle: a reads b reads a"),
        (lambda: order({"a": Node("a", "relu", ("a",))}, ["a"]), "a cycle: a reads a. One of them must be known"),
        (lambda: order({"a": Node("a", "relu", ("b",))}, ["a"]), "node 'a' reads 'b', and no node has this name"),
        (lambda: execute({"a": Node("a", "cosine")}, ["a"], {}), "node 'a': no operation 'cosine'; there are add, subtract"),
        (lambda: load("{"), "this text holds no graph"),
        (lambda: load(json.dumps({"nodes": {}})), "this text holds no graph: KeyError"),
        (lambda: load(save(Function(("x",), {"x": Node("x", "placeholder")}, ("x",))))(), "0 arguments for the inputs x"),
        (lambda: save(Function((), {"a": Node("a", "constant", (), {"value": object()})}, ("a",))), "in an attribute"),
        (lambda: Dense(2, "swish"), "activation = 'swish': choose one of None, 'relu', 'tanh'"),
        (lambda: Sequential([Dense(2)]).compile("rmsprop"), "optimizer = 'rmsprop': choose one of 'sgd', 'adam'"),
        (lambda: Sequential([Dense(2)]).compile(loss="hinge"), "loss = 'hinge'"),
        (lambda: Sequential([Dense(2)]).fit(torch.ones(2, 2), torch.ones(2, 2)), "fit before compile"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(work, complaint):
    with pytest.raises(ValueError, match=complaint):
        work()


def test_bad_graphs_are_refused():
    with Graph() as graph:
        x, v = placeholder("x", (2, 2)), variable(np.ones((2, 2)), "v")
        with pytest.raises(ValueError, match="name = 'x': this graph has such a node already"):
            placeholder("x")
        with pytest.raises(ValueError, match="assign to 'x', a placeholder: only a variable"):
            assign(x, v)
        with pytest.raises(TypeError, match=r"Python cannot branch on it: use cond\(predicate, then, otherwise"):
            bool(x > 0.0)
        with pytest.raises(ValueError, match="returns 1 values: 2 wanted"):
            while_loop(lambda a, b: a > 1.0, lambda a, b: a, 1.0, 2.0)
        with pytest.raises(ValueError, match="of the graph around it: pass it as an input"):
            cond(x > 0.0, lambda a: x, lambda a: a, x)
        with pytest.raises(ValueError, match="conv2d has no rule for its gradient"):
            gradients(mean(conv2d(v, v, v)), [v])
        with pytest.raises(ValueError, match="does not depend on 'v'"):
            gradients(mean(x), [v])
        bad = assign(v, placeholder("w"), name="bad")
        product = operation("matmul", x, noise(3, 1), name="product")
        dummy = group(bad)
    with pytest.raises(
        ValueError, match=r"node 'product' = matmul\(x, constant_\d+\) got the shapes \[2, 2\], \[3, 1\]"
    ):
        Session(graph).run(product, {x: noise(2, 2)})
    with pytest.raises(ValueError, match="a variable keeps its shape"):
        Session(graph).run(dummy, {"w": np.ones(3)})
    with Graph(), pytest.raises(ValueError, match="node 'x' belongs to another graph"):
        relu(x)
    with Graph(eager=True):
        with pytest.raises(ValueError, match="an eager graph computes at once, pass value="):
            placeholder("x")
        with pytest.raises(ValueError, match="write Python's if and while"):
            cond(constant(1.0) > 0.0, relu, relu, constant(1.0))
    assert not Graph.opened  # none stays open after an error


def test_length_of_the_wrapper():
    """Some sixty lines, as the page says."""
    lines = [line for kind in (Dense, Sequential) for line in inspect.getsource(kind).splitlines() if line.strip()]
    assert 50 <= len(lines) <= 70
    with pytest.raises(ValueError, match="3 inputs, 2 targets: one each"):
        model = Sequential([Dense(1)])
        model.compile()
        model.fit(torch.ones(3, 1), torch.ones(2, 1))

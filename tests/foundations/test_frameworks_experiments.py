"""What the page of frameworks runs and draws, and nets that run where the book is not."""

import inspect
import json

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.colors import to_rgba

from helpers.foundations.frameworks import (
    LENET,
    Session,
    deployment,
    experiments,
    figures,
    net_from_prototxt,
    optimise,
    stages,
    train_numpy,
    two_layer_graph,
    while_loop,
)
from helpers.foundations.frameworks import interpreter as own
from helpers.plotting import INK


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_the_small_graph_by_hand():
    function = experiments.small_graph()
    for x in (-2.0, 0.0, 3.0):
        expected = max(((2 * x + 1) - 5) / (3 + 1) ** 0.5 * 4 - 1, 0)
        assert (
            function(experiments.pixel(x))[0].item() == expected == optimise(function)(experiments.pixel(x))[0].item()
        )
    assert len(function.nodes) == 17 and len(optimise(function).nodes) == 4
    assert [len(stage.nodes) for stage in stages(function).values()] == [17, 16, 13, 4]


def test_the_conv_net_has_what_the_caption_counts():
    function = experiments.conv_net(1)
    assert [len(stage.nodes) for stage in stages(function).values()] == [52, 46, 37, 10]
    x = np.random.default_rng(0).normal(size=(1, 3, 5, 5))
    np.testing.assert_allclose(optimise(function)(x)[0], function(x)[0], atol=1e-12)
    assert function(x)[0].shape == (1, 8, 5, 5)
    assert (function(x)[0] != experiments.conv_net(2)(x)[0]).any()


def test_six_ways_take_the_same_steps():
    data = experiments.two_layer_data(3, samples=20, hidden=4)
    x, t, w1, w2 = data
    assert x.shape == (20, 64) and (t.sum(1) == 1).all() and w1.shape == (64, 4) and w2.shape == (4, 10)
    found = experiments.six_ways(data, steps=5)
    assert list(found) == list(experiments.WAYS) and len(found) == 6
    names = list(found)
    assert max(experiments.largest_gap(found, names)) < 1e-13
    found["autograd"][0][2] += 0.5
    assert experiments.largest_gap(found, names)[0] == pytest.approx(0.5)
    assert experiments.largest_gap(found, names[:2])[0] < 1e-13
    timed = experiments.timed_ways(data, steps=2, repeats=2)
    assert list(timed) == names and all(len(times) == 2 and min(times) > 0 for times in timed.values())


def test_pitfalls():
    data = experiments.two_layer_data(0, samples=10, hidden=3)
    x, t, w1, w2 = data
    expected, _ = train_numpy(*data, 0.5, 6)
    assert experiments.losses_of(data, ["loss", "updates"], steps=6) == pytest.approx(expected, abs=1e-13)
    assert experiments.losses_of(data, ["loss"], steps=3) == pytest.approx([expected[0]] * 3)
    losses, copied = experiments.weights_fed(data, steps=6)
    assert losses == pytest.approx(expected, abs=1e-13)
    once = 8 * (64 * 3 + 3 * 10)
    assert copied == x.nbytes + t.nbytes + 8 + 2 * once
    assert list(experiments.bytes_per_run(data).values()) == [2 * once, once, 0]


def test_loops_and_branches(unchecked):
    looped = experiments.halvings_graph(while_loop)
    for x in (0.3, 1.0, 1.01, 20.0, 1000.0):
        expected = max(int(np.ceil(np.log2(x))), 0)
        assert experiments.halvings(x) == expected == looped(np.array(x))[0]
    assert [experiments.frozen_branch(sign)(np.array(4.0))[0] for sign in (1.0, -1.0)] == [8, -12]
    assert experiments.refusal(lambda: 1 / 0) == "ZeroDivisionError" and experiments.refusal(lambda: 1) == "none"
    refused = {"torch.fx.symbolic_trace": "TraceError", "torch.export.export": "GuardOnDataDependentSymNode"}
    assert experiments.torch_refuses_loop() == refused


def test_momenta_by_hand():
    found = experiments.two_momenta(np.array([1.0, 1.0, 0.1]))
    assert found["Caffe"] == pytest.approx([1, 1.9, 0.9 * 1.9 + 0.1])
    assert found["PyTorch"] == pytest.approx([1, 1.9, 0.1 * (0.9 * 1.9 + 1)])
    rates = experiments.rates_of({"base_lr": 2.0, "lr_policy": "step", "gamma": 0.5, "stepsize": 2}, 5)
    assert rates.tolist() == [2, 2, 1, 1, 0.5]


def test_digits_as_files_and_the_coded_loop(tmp_path):
    import h5py

    files = experiments.write_digits(tmp_path, seed=5)
    with h5py.File(files["train.h5"]) as train, h5py.File(files["test.h5"]) as test:
        assert train["data"].shape == (4000, 1, 28, 28) and test["label"].shape == (1000,)
        counts = np.bincount(train["label"][:], minlength=10) + np.bincount(test["label"][:], minlength=10)
        assert (counts == 500).all() and train["label"][:50].max() == 9  # all there, and shuffled
    net = experiments.lenet_in_code()
    other = experiments.copy_weights(net, experiments.lenet_in_code())
    assert experiments.farthest(net, other) == 0
    losses = experiments.train_in_code(net, files["train.h5"], 2)
    assert len(losses) == 2 and experiments.farthest(net, other) > 0


def test_seconds_counts_repetitions():
    calls = []
    assert len(experiments.seconds(lambda: calls.append(1), 3)) == 3 and len(calls) == 4


@pytest.fixture(scope="module")
def lenet():
    return net_from_prototxt(LENET, generator=torch.Generator().manual_seed(0)).eval()


def scores(net, x):
    with torch.no_grad():
        return net.blobs(x)["ip2"].numpy()


def test_the_text_of_lenet_runs_without_torch(lenet, tmp_path):
    x = torch.rand(3, 1, 28, 28)
    path = tmp_path / "lenet.json"
    size = deployment.export(lenet, x, path, "mini-graph")
    assert size == path.stat().st_size and set(json.loads(path.read_text())["nodes"]) >= {"data", "conv2d_1"}
    run = deployment.run_elsewhere(path, x.numpy(), "mini-graph", times=1)
    np.testing.assert_allclose(run.output, scores(lenet, x), atol=1e-5)
    assert run.imported == [] and len(run.seconds) == 1
    assert {line.split()[1] for line in inspect.getsource(own).splitlines() if line.startswith("import ")} == {
        "json",
        "numpy",
        "sys",
    }


def test_onnx_runs_without_torch(lenet, tmp_path, unchecked):
    if absent := deployment.missing("onnx", "onnxscript", "onnxruntime"):
        pytest.skip(f"{', '.join(absent)} not installed")
    x = torch.rand(2, 1, 28, 28)
    size = deployment.export(lenet, x, tmp_path / "lenet.onnx", "ONNX")
    assert 4 * 431_080 < size < 4 * 431_080 + 100_000
    run = deployment.run_elsewhere(tmp_path / "lenet.onnx", x.numpy(), "ONNX", times=1)
    with torch.no_grad():
        np.testing.assert_allclose(run.output, lenet(x).numpy(), atol=1e-5)
    assert run.imported == []


def test_torch_export_keeps_the_graph(lenet, tmp_path, unchecked):
    x = torch.rand(2, 1, 28, 28)
    deployment.export(lenet, x, tmp_path / "lenet.pt2", "torch.export")
    program = torch.export.load(tmp_path / "lenet.pt2").module()
    torch.testing.assert_close(program(x), lenet(x))
    assert "torch" in deployment.SCRIPTS["torch.export"] and "helpers" not in deployment.SCRIPTS["torch.export"].split()


def test_bad_exports_are_refused(lenet, tmp_path, monkeypatch):
    x = torch.rand(2, 1, 28, 28)
    with pytest.raises(ValueError, match="form = 'tflite': torch.export, ONNX or mini-graph"):
        deployment.export(lenet, x, tmp_path / "x", "tflite")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(RuntimeError, match="this text holds no graph"):
        deployment.run_elsewhere(tmp_path / "broken.json", x.numpy(), "mini-graph", times=1)
    assert deployment.missing("numpy", "no_such_package") == ["no_such_package"]
    monkeypatch.setattr(deployment, "missing", lambda *names: ["onnx"])
    with pytest.raises(ModuleNotFoundError, match="ONNX needs onnx: pip install onnx onnxruntime onnxscript"):
        deployment.export(lenet, x, tmp_path / "x", "ONNX")


def test_graph_pair_shows_every_number():
    function = experiments.small_graph()
    figure = figures.graph_pair(function, optimise(function), experiments.pixel(3))
    shown = texts(figure.axes[0])
    assert "as written: 17 nodes" in shown and "optimised: 4 nodes" in shown
    for label in (
        "x = 3",
        "conv  7",
        "−  2",
        "÷  1",
        "×  4",
        "+  3",
        "ReLU  3",
        "square  9",
        "w′ = 4",
        "b′ = −9",
        "ε = 1",
    ):
        assert label in shown, label
    assert set(figures.BEFORE) == set(function.nodes) and set(figures.AFTER) == set(optimise(function).nodes)


def test_executed_pair_colours_what_ran():
    data = experiments.two_layer_data(0, samples=4, hidden=3)
    graph = two_layer_graph(data[2], data[3], 0.5)
    session = Session(graph)
    runs = {}
    for fetches in (["loss"], ["updates"]):
        session.run(fetches, {"x": data[0], "t": data[1]})
        runs[fetches[0]] = session.executed
    assert set(figures.TRAINING) <= set(graph.nodes)
    ran = set(runs["updates"]) | {"x", "t", "W1", "W2", "loss"}
    left_out = ran - set(figures.TRAINING)
    assert all(graph.nodes[name].op in ("constant", "transpose", "positive") for name in left_out)
    figure = figures.executed_pair(graph.nodes, runs)
    coloured = sum(
        box.get_edgecolor() != to_rgba(INK) for box in figure.axes[0].patches if hasattr(box, "get_boxstyle")
    )
    always = 4  # x, t, W1 and W2 are there before any run
    parts = [[name for name in run if name in figures.TRAINING] for run in runs.values()]
    assert coloured == 2 * always + len(parts[0]) + len(parts[1])
    assert np.array(figures.joint((0, 0), (1, 0))) == pytest.approx(np.array([[0.33, 0], [0.67, 0]]))
    assert figures.joint((0, 0), (0, 1)) == ((0, 0.16), (0, 0.84))


def test_plain_figures():
    ax = figures.bars({"one": 5.0, "two": 2.5}, "things", "{:.1f}")
    assert [patch.get_width() for patch in ax.patches] == [5, 2.5] and texts(ax) == ["5.0", "one", "2.5", "two"]
    ax = figures.pass_figure(stages(experiments.small_graph()))
    assert [patch.get_width() for patch in ax.patches] == [17, 16, 13, 4]
    ax = figures.loss_figure({"a": [3.0, 2.0], "b": [1.0, 1.0]})
    assert [line.get_ydata().tolist() for line in ax.lines] == [[3, 2], [1, 1]]
    x = np.array([1.0, 2.0])
    ax = figures.loop_figure(x, {"p": x, "q": x, "r": x * 0})
    assert [line.get_label() for line in ax.lines] == ["p", "q", "r"] and ax.get_xscale() == "log"
    ax = figures.policy_figure({"fixed": x, "step": x / 2})
    assert ax.lines[1].get_ydata().tolist() == [0.5, 1]
    ax = figures.momentum_figure({"Caffe": x, "PyTorch": x}, np.array([1.0, 0.1]))
    assert ax.lines[-1].get_xdata() == [1, 1]
    net = net_from_prototxt(LENET, device="meta")
    shown = texts(figures.tower_figure(net.table(), "1 x 28 x 28", "Input").axes[0])
    assert "data: Input" in shown and "400,500 parameters" in shown and "20 x 24 x 24" in shown
    figure = figures.deployment_figure({"a": 1.0}, {"a": [2.0, 4.0]})
    assert [ax.patches[0].get_width() for ax in figure.axes] == [1, 3]
    pyplot.close("all")

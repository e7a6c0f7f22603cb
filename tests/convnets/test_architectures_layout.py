"""The pattern of early convnets: read, built, and counted."""

import pytest
import torch
from torch import nn

from helpers.convnets.architectures.layout import PATTERN, layout, planned
from helpers.convnets.output_size import VGG16, as_module, layer_table, volume_table

CONV, POOL, FC = ["CONV", "RELU"], ["POOL"], ["FC", "RELU"]


@pytest.mark.parametrize(
    "pattern, numbers, words",
    [
        (PATTERN, dict(N=2, M=2, K=1), 2 * (2 * CONV + POOL) + FC + ["SOFTMAX"]),
        (PATTERN, dict(N=2, M=2, K=1, pool=False), 4 * CONV + FC + ["SOFTMAX"]),
        (PATTERN, dict(N=1, M=1, K=0), CONV + POOL + ["SOFTMAX"]),
        (
            "INPUT -> [[CONV -> RELU]*N -> POOL?]*M -> [FC -> RELU]*2, SOFTMAX",
            dict(N=1, M=3),
            [*3 * (CONV + POOL), *2 * FC, "SOFTMAX"],
        ),
        ("CONV-RELU-POOL*2-SOFTMAX", {}, CONV + 2 * POOL + ["SOFTMAX"]),
        ("((CONV-RELU)*2)*2-SOFTMAX", {}, 4 * CONV + ["SOFTMAX"]),
    ],
)  # fmt: skip
def test_words(pattern, numbers, words):
    assert layout(pattern, **numbers) == words


def test_vgg16_is_such_a_layout():
    """The plan made of the pattern is the plan written by hand: shapes, parameters and multiply-adds."""
    words = layout("[(CONV-RELU)*2-POOL]*2-[(CONV-RELU)*3-POOL]*3-(FC-RELU)*2-SOFTMAX")
    plan = planned(words, classes=1000, widths=(64, 128, 256, 512, 512), hidden=4096)
    rows, by_hand = (volume_table(p, (3, 224, 224)) for p in (plan, VGG16))
    assert [row[1:] for row in rows] == [row[1:] for row in by_hand]
    # Most activations early, most parameters late.
    early = [row for row in rows if row.layer.startswith(("CONV1", "POOL1", "CONV2"))]
    late = [row for row in rows if row.layer.startswith("FC")]
    assert sum(row.activations for row in early) > 0.5 * sum(row.activations for row in rows)
    assert sum(row.parameters for row in late) > 0.85 * sum(row.parameters for row in rows)


@pytest.mark.parametrize("n, m, k, pool", [(1, 1, 0, True), (2, 3, 2, True), (3, 2, 1, False), (1, 4, 1, True)])
def test_built_nets_have_the_planned_shapes_and_counts(n, m, k, pool):
    words = layout(PATTERN, N=n, M=m, K=k, pool=pool)
    plan = planned(words, classes=5, widths=(4, 6), hidden=7)
    net, shape = as_module(plan, (3, 32, 32)), (3, 32, 32)
    kinds = {nn.Conv2d: "CONV", nn.ReLU: "RELU", nn.MaxPool2d: "POOL", nn.Linear: "FC"}
    built = [kinds[type(layer)] for layer in net if type(layer) in kinds]
    assert built == [*words[:-1], "FC"]
    rows = [row for row in volume_table(plan, shape) if row.weights]
    measured = [row for row in layer_table(net, shape) if row.weights]
    assert [row[1:] for row in rows] == [row[1:] for row in measured]
    assert net(torch.zeros(2, *shape)).shape == (2, 5)
    widths = [row.shape[0] for row in rows if row.layer.startswith("CONV")]
    stages = [min(i // n, 1) if pool else 0 for i in range(n * m)]
    assert widths == [(4, 6)[stage] for stage in stages]


@pytest.mark.parametrize(
    "pattern, numbers, message",
    [
        ("[CONV-RELU", {}, r"a \[ is not closed"),
        ("(CONV-RELU]-SOFTMAX", {}, r"a \( is not closed"),
        ("CONV-RELU)-SOFTMAX", {}, r"'\)' is not expected there"),
        ("CONV-TANH", {}, "'TANH' is not expected there; the words are CONV, RELU, POOL"),
        ("CONV-%", {}, "'%' is not expected"),
        ("(CONV-RELU)*N", {}, r"followed by N, not by a number; .* layout\(pattern, N=2\)"),
        ("(CONV-RELU)*", {}, "followed by the end"),
        ("(CONV-RELU)*N", dict(N=-1), "N = -1: it is at least 0"),
        ("3-CONV", {}, "'3' is not expected"),
    ],
)
def test_bad_patterns_are_named(pattern, numbers, message):
    with pytest.raises(ValueError, match=message):
        layout(pattern, **numbers)


@pytest.mark.parametrize(
    "options, message",
    [(dict(kernel=4), "kernel = 4: only odd ones keep the size"), (dict(widths=()), "widths is empty: give one")],
)
def test_plans_that_would_not_keep_their_word_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        planned(layout("CONV-RELU-SOFTMAX"), **dict(classes=2, widths=(4,), hidden=3) | options)


@pytest.mark.parametrize(
    "pattern, message",
    [
        ("CONV-RELU", "ends with its one SOFTMAX"),
        ("SOFTMAX-CONV-RELU-SOFTMAX", "ends with its one SOFTMAX"),
        ("CONV-POOL-SOFTMAX", "a CONV without RELU"),
        ("FC-SOFTMAX", "a FC without RELU"),
        ("RELU-SOFTMAX", "a RELU behind INPUT"),
        ("CONV-RELU-RELU-SOFTMAX", "a RELU behind RELU"),
        ("FC-RELU-CONV-RELU-SOFTMAX", "a CONV behind an FC"),
        ("FC-RELU-POOL-SOFTMAX", "a POOL behind an FC"),
    ],
)
def test_layouts_that_are_no_network_are_refused(pattern, message):
    with pytest.raises(ValueError, match=message):
        planned(layout(pattern), classes=2, widths=(4,), hidden=3)

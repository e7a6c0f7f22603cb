"""The benchmarks compare like with like, measure a ratio that is known, and store none above 1.1 without its reason."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

import benchmarks.__main__ as command
from benchmarks import harness
from benchmarks.harness import SLOWER, Pair, measure

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parent.parent
STORED = json.loads(command.RESULTS.read_text())
ROW = {"what", "against", "microseconds", "ratio", "quartiles", "reason"}
RUN = {"subject", "title", "device", "hardware", "torch", "threads", "pairs", "date", "command", "results"}


@pytest.fixture(autouse=True)
def networks_are_let_go():
    """Forget the networks that the subjects keep between two pairs."""
    yield
    for name, module in list(sys.modules.items()):
        if name.startswith("benchmarks."):
            for thing in vars(module).values():
                if hasattr(thing, "cache_clear"):
                    thing.cache_clear()


def work(times: int) -> int:
    return sum(i * i for i in range(2000 * times))


def test_twice_the_work_takes_twice_the_time():
    pair = Pair("two", "one", lambda: work(2), lambda: work(1), "twice the work")
    result = measure(pair, CPU, pairs=21, seconds=0.002)
    low, high = result["quartiles"]
    assert 1.6 < result["ratio"] < 2.5 and low <= result["ratio"] <= high
    ours, other = result["microseconds"]
    assert 1.4 < ours / other < 2.8
    assert result["reason"] == "twice the work"
    assert measure(Pair("one", "two", pair.other, pair.ours, "none needed"), CPU, pairs=9, seconds=0)["reason"] == ""


def test_sides_take_turns():
    calls = []
    pair = Pair("a", "b", lambda: calls.append("a"), lambda: calls.append("b"))
    measure(pair, CPU, pairs=4, seconds=0)
    assert "".join(calls)[2 * harness.WARM_UP :] == "abbaabba"


def test_gpu_is_empty_whenever_the_clock_is_read(monkeypatch):
    events = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: events.append(f"sync {device}"))
    monkeypatch.setattr(harness, "perf_counter", lambda: events.append("read") or float(len(events)))
    harness.seconds_per_call(lambda: events.append("work"), 2, torch.device("cuda", 0))
    assert events == ["sync cuda:0", "read", "work", "work", "sync cuda:0", "read"]


@pytest.mark.gpu
@pytest.mark.parametrize("subject", command.subjects())
def test_subject_runs_on_a_gpu(subject):
    # in a process of its own: the checks of shapes, which only tests install, break a compiled graph
    program = f"""
import torch
from benchmarks.__main__ import run
found = run({subject!r}, torch.device("cuda", 0), tiny=True, pairs=2, seconds=0)
assert found["device"] == "cuda" and all(row["ratio"] > 0 for row in found["results"])
"""
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert child.returncode == 0, child.stderr


@pytest.mark.parametrize("subject", command.subjects())
def test_subject_runs_at_a_tiny_size_and_both_sides_do_the_same(subject, capsys, monkeypatch):
    """The first results of a pair are compared, and both sides run once more; the third time nothing is left to see."""

    def measure_and_compare(pair, *arguments, **options):
        calls, first = Counter(), {}

        def compared(side):
            calls[side] += 1
            if calls[side] > 2:
                return
            result = getattr(pair, side)()
            if calls[side] == 1:
                first[side] = result
                if len(first) == 2:  # at once: the next step of an optimizer moves what it has returned
                    torch.testing.assert_close(first["ours"], first["other"], msg=named)
                    first.clear()

        def named(text):
            return f"{pair.what} | {pair.against}: {text}"

        row = measure(replace(pair, **{side: partial(compared, side) for side in sides}), *arguments, **options)
        assert set(calls) == sides and min(calls.values()) > 2
        return row

    sides = {"ours", "other"}

    monkeypatch.setattr(command, "measure", measure_and_compare)
    monkeypatch.setattr(harness, "WARM_UP", 1)
    run = command.run(subject, CPU, tiny=True, pairs=2, seconds=0)
    assert run.keys() == RUN and all(row.keys() == ROW for row in run["results"])
    assert capsys.readouterr().out.count("\n") == len(run["results"]) > 0


def test_product_has_as_many_flops_as_the_network(monkeypatch):
    """Within one row of 1024 columns; multiply-adds are those of ViT-B/16 at 224 pixels in the paper on DeiT, 17.6e9."""
    from benchmarks import vision_transformers

    meta = torch.device("meta")  # where the large networks and the product need no memory
    monkeypatch.setattr(vision_transformers, "pictures", lambda shape, device: torch.zeros(shape, device=device))
    with meta:
        three = vision_transformers.networks(vision_transformers.vit_b_16, (1, 3, 224, 224), meta, False, False)
    assert three.flops / 2 == pytest.approx(17.6e9, rel=0.01)
    product = partial(harness.product, lambda: three.flops, 3, meta)
    assert harness.count_flops(product) == pytest.approx(3 * three.flops, abs=1024**2)


def test_training_has_three_times_the_flops_of_forward():
    asked = []

    def flops():
        asked.append(1)
        return 2 * 1024**2 * 6

    forward, both_ways = harness.against_product("a net", lambda: "out", lambda: "gradient", flops, CPU)
    assert not asked  # a network is built when its pair runs, and not before
    assert (forward.what, forward.ours()) == ("a net, forward", "out")
    assert (both_ways.what, both_ways.ours()) == ("a net, both ways", "gradient")
    assert forward.other().shape == (6, 1024) and both_ways.other().shape == (18, 1024)


def test_clip_has_the_flops_of_its_two_towers():
    """Per token and block 12 d^2 multiply-adds and 2 t d of attention; patches and the two projections beside them."""
    from benchmarks import clip

    size = clip.SIZES[clip.SMALL]
    patches, side = (size["image"] // size["patch"]) ** 2, 3 * size["patch"] ** 2
    tokens = {"dim": patches + 1, "text_dim": size["context"]}
    blocks = sum(2 * t * (12 * size[d] ** 2 + 2 * t * size[d]) for d, t in tokens.items())
    ends = patches * side * size["dim"] + 16 * (size["dim"] + size["text_dim"])
    three = 3  # pairs
    found = clip.towers(clip.SMALL, "loss", three, CPU, compiled=False).flops
    assert found / 2 == three * (blocks + ends) + three**2 * 16


@pytest.mark.parametrize(
    "subject, network", [("clip", "two blocks of width 256, loss"), ("vision_transformers", "vit_ti_16")]
)
def test_cpu_compiles_a_small_network_where_there_is_a_compiler(subject, network, monkeypatch):
    module = command.import_module(f"benchmarks.{subject}")

    def listed():
        return {(pair.what, pair.against) for pair in module.pairs(CPU)}  # nothing is built before a pair runs

    compiled = {row for row in listed() if "compiled" in row[0]}
    assert all(what.startswith(network) for what, _ in compiled)
    assert any("both ways" in what and against == "one product, as many flops" for what, against in compiled)
    assert any("both ways" in what and against != "one product, as many flops" for what, against in compiled)
    monkeypatch.setattr(harness.shutil, "which", lambda name: None)
    assert not [what for what, _ in listed() if "compiled" in what]
    assert harness.can_compile(torch.device("cuda"))


def test_unknown_subject_and_device_are_refused():
    with pytest.raises(SystemExit, match=r"no subject 'lstn'. benchmarks/ has: .*batches, .*optimizers"):
        command.main(["fit", "lstn"])
    with pytest.raises(SystemExit, match="abacus"):
        command.main(["fit", "--device", "abacus"])
    with pytest.raises(ValueError, match="pairs = 1: quartiles need at least 2"):
        measure(Pair("a", "b", int, int), CPU, pairs=1)


def test_stored_results_are_complete():
    assert {run["subject"] for run in STORED} == set(command.subjects())
    for run in STORED:
        assert run.keys() == RUN and run["threads"] == 1 and run["hardware"] and run["results"]
        names = [(row["what"], row["against"]) for row in run["results"]]
        assert len(set(names)) == len(names)
        for row in run["results"]:
            assert row.keys() == ROW and min(row["microseconds"]) > 0
            assert row["quartiles"][0] <= row["ratio"] <= row["quartiles"][1]
        assert "/" not in run["command"] + run["hardware"]


def test_every_stored_ratio_above_the_limit_has_a_reason():
    assert command.unexplained(STORED) == []
    assert all(bool(row["reason"]) == (row["ratio"] > SLOWER) for run in STORED for row in run["results"])


def result(subject="fit", device="cpu", ratio=1.0, reason=""):
    row = dict(what="w", against="a", microseconds=[1.0, 1.0], ratio=ratio, quartiles=[1.0, 1.5], reason=reason)
    return dict(subject=subject, device=device, date="2026-01-01", results=[row])


def test_store_replaces_one_subject_on_one_device(tmp_path):
    path = tmp_path / "results.json"
    command.store([result(), result("batches")], path)
    command.store([result(device="cuda"), result(ratio=0.5)], path)
    kept = {(run["subject"], run["device"]): run["results"][0]["ratio"] for run in json.loads(path.read_text())}
    assert kept == {("batches", "cpu"): 1.0, ("fit", "cpu"): 0.5, ("fit", "cuda"): 1.0}


def test_store_refuses_a_slower_row_without_a_reason(tmp_path):
    path = tmp_path / "results.json"
    with pytest.raises(SystemExit, match=r"w takes 1.3 times as long as a: make it faster, or .* benchmarks/fit.py"):
        command.store([result(ratio=1.3)], path)
    assert not path.exists()
    command.store([result(ratio=1.3, reason="because")], path)

import json

import numpy as np
import pytest
import torch

from helpers import ledger
from helpers.ledger import CLAIM_MIME, VERDICTS, ClaimError, beats, claim, of_seeds, over_seeds, timed

WHY = {"holds": ""} | dict.fromkeys(["wrong as stated", *VERDICTS["measured"][1:]], "Ten updates are too few.")


@pytest.fixture
def shown(monkeypatch):
    """The bundles that a notebook would display."""
    bundles = []
    monkeypatch.setattr(ledger, "show", bundles.append)
    return bundles


@pytest.fixture
def settings(monkeypatch):
    """The parameters of the notebook that makes the claims."""
    values = dict(ledger.RECORDED)
    monkeypatch.setattr(ledger, "_settings", lambda: values)
    return values


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.79, 0.86, 0.83], "0.83 (0.79 to 0.86, 3 seeds)"),
        ([0.953, 0.981, 0.992], "0.98 (0.95 to 0.99, 3 seeds)"),
        ([98.1, 98.2, 98.3], "98.2 (98.1 to 98.3, 3 seeds)"),  # two digits would hide the range
        ([1.0, 1.0, 1.0], "1.0 (3 seeds)"),
        ([7, 8, 8], "7.7 (7 to 8, 3 seeds)"),
        ([4316, 4512, 4100], "4,300 (4,100 to 4,512, 3 seeds)"),
        ([-0.026, 0.004, 0.054], "0.011 (-0.026 to 0.054, 3 seeds)"),
        ([-0.004, 0.004], "0.0000 (-0.0040 to 0.0040, 2 seeds)"),
        ([1e-5, 2e-5], "1.5e-05 (1.0e-05 to 2.0e-05, 2 seeds)"),
        ([0.0, 0.0], "0 (2 seeds)"),
        (torch.tensor([0.25, 0.75]), "0.50 (0.25 to 0.75, 2 seeds)"),
        (np.float32([0.25, 0.75]), "0.50 (0.25 to 0.75, 2 seeds)"),
        (torch.tensor([0.25, 0.75], dtype=torch.bfloat16, requires_grad=True), "0.50 (0.25 to 0.75, 2 seeds)"),
    ],
)
def test_figure_over_seeds(values, text):
    assert over_seeds(values) == text and over_seeds(values).seeds == len(values)


def test_other_repetitions_are_no_seeds():
    assert (
        over_seeds([0.2, 0.4], "draws") == "0.30 (0.20 to 0.40, 2 draws)" and over_seeds([0.2, 0.4], "draws").seeds == 0
    )
    assert timed([5.1, 7.2, 6.6]) == "6.3 (5.1 to 7.2, 3 runs, timed)"
    assert of_seeds(torch.tensor([True, False, True])) == "2 of 3 seeds" and of_seeds([True, False]).seeds == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.5], r"at least two numbers, \[n\]; it got the shape \[1\]"),
        ([[0.5, 0.6]], r"it got the shape \[1, 2\]"),
        ([0.5, float("nan")], "is no number: .0.5, nan."),
        ([0.5, float("inf")], "is no number"),
    ],
)
def test_figures_over_seeds_refuse(values, message):
    for function in (over_seeds, timed):
        with pytest.raises(ValueError, match=message):
            function(values)


def test_a_lead_must_exceed_twice_the_standard_error_of_its_mean():
    """Of the leads 1, 2, 3 the mean is 2 and its standard error 1/√3: they beat 0.8 (1.2 above) and not 0.9 (1.1)."""
    assert beats([1, 2, 3], 0.8) and not beats(torch.tensor([1.0, 2.0, 3.0]), 0.9)
    assert beats(np.array([5.0, 1.0, 3.0]), torch.tensor([4.0, 0.1, 1.9]))  # seed by seed, for all its range
    assert not beats([4.0, 0.1, 1.9], [5.0, 1.0, 3.0]) and not beats([1.0, 1.0], [1.0, 1.0])


@pytest.mark.parametrize("others", [[1.0, 2.0], [[1.0], [2.0], [3.0]], [float("nan")] * 3])
def test_a_lead_wants_one_number_a_seed(others):
    with pytest.raises(ValueError, match="3 of them|is no number"):
        beats([1.0, 2.0, 3.0], others)
    with pytest.raises(ValueError, match="at least two"):
        beats([1.0])


def test_of_seeds_wants_truth_values():
    with pytest.raises(ValueError, match=r"one truth value a seed, \[n\]; it got int64 of shape \[2\]"):
        of_seeds([1, 0])


def test_claim_records_what_was_measured(shown):
    figures = {"gain": over_seeds([0.4, 0.6]), "runs": 7, "pair": (0.5, of_seeds([True] * 5))}
    claim("a-b", "A < B", torch.tensor(True), figures, kind="measured", paper="Doe 2014, table 3")
    record = json.loads(json.dumps(shown[0][CLAIM_MIME]))
    assert record == {
        "id": "a-b",
        "kind": "measured",
        "text": "A < B",
        "measured": [["gain", "0.50 (0.40 to 0.60, 2 seeds)"], ["runs", "7"], ["pair", "0.500, 5 of 5 seeds"]],
        "source": "Doe 2014, table 3",
        "credited": True,
        "seeds": 5,
        "verdict": "holds",
        "why": "",
        "holds": True,
        "scale": "lecture",
        "seed": 0,
    }
    html = shown[0]["text/html"]
    assert 'id="claim-a-b"' in html and "A &lt; B" in html and "<strong>Holds</strong> (measured, 5 seeds)" in html


def test_a_question_of_the_book_is_not_credited(shown):
    claim("c", "text", True, {"x": 1}, kind="exact", after="Doe 2014")
    assert shown[0][CLAIM_MIME]["source"] == "after Doe 2014" and not shown[0][CLAIM_MIME]["credited"]


@pytest.mark.parametrize("scale", ["lecture", "gpu"])
@pytest.mark.parametrize("verdict", WHY)
@pytest.mark.parametrize("holds", [True, False])
def test_a_contradiction_stops_at_the_recorded_settings_and_is_shown_at_others(shown, settings, holds, verdict, scale):
    settings["scale"] = scale
    kind = "exact" if verdict == "wrong as stated" else "measured"
    expected = verdict == "holds" or (verdict == "holds only at scale" and scale == "gpu")
    silent = verdict == "not seen at this size" and scale == "gpu"
    call = dict(measured={"x": 1}, kind=kind, paper="Doe 2014, section 2", verdict=verdict, why=WHY[verdict])
    if holds != expected and scale == "lecture":
        with pytest.raises(ClaimError, match=f"'c' is recorded as '{verdict}', but the check gives {holds}.*'x': '1'"):
            claim("c", "text", holds, **call)
        assert not shown
        return
    claim("c", "text", holds, **call)
    told = f"With your settings (scale 'gpu', seed 0) the check gives {holds}; the book records '{verdict}'"
    assert (told in shown[0]["text/plain"]) == ('<p class="differs">' in shown[0]["text/html"])
    assert (told in shown[0]["text/plain"]) == (holds != expected and not silent)


def test_another_seed_goes_on(shown, settings):
    settings["seed"] = 7
    claim("c", "text", False, {"x": 1}, kind="measured", after="Doe 2014")
    assert "(scale 'lecture', seed 7) the check gives False" in shown[0]["text/plain"]
    assert shown[0][CLAIM_MIME]["seed"] == 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(measured={}), "'c' has no measured figure"),
        (dict(kind="counted"), "kind = 'counted': a claim is exact or measured"),
        (dict(verdict="refuted"), "verdict 'refuted' is none of 'holds', 'wrong as stated', 'holds only at scale'"),
        (
            dict(kind="exact", verdict="did not reproduce", why="So."),
            "kind 'exact' never 'did not reproduce': holds, wrong",
        ),
        (dict(verdict="wrong as stated", why="So."), "kind 'measured' never 'wrong as stated'"),
        (dict(paper="", after=""), "give paper= .* or after="),
        (dict(after="Doe 2014"), "give paper= .* or after= .* one of them"),
        (dict(paper="Doe 2014"), "where does 'Doe 2014' say so\\? Name the section, table or figure, or use after="),
        (dict(verdict="did not reproduce"), "why= says in one sentence"),
        (dict(why="Because."), "why= says in one sentence why a claim does not hold; here the verdict is 'holds'"),
        (dict(measured={"gain": "more than 10 points"}), "gain = 'more than 10 points': 'more than' makes it a bound"),
        (dict(measured={"gap": "< 1e-12"}), "gap = '< 1e-12': '<' makes it a bound"),
        (dict(measured={"r": ["0.1", "above 0.4"]}), "'above' makes it a bound"),
    ],
)
def test_what_the_ledger_does_not_take(shown, change, message):
    call = dict(measured={"x": 1}, kind="measured", paper="Doe 2014, table 1") | change
    with pytest.raises(ValueError, match=message):
        claim("c", "text", True, **call)
    assert not shown


@pytest.mark.parametrize(
    "place", ["table 2", "fig. 3", "sec. 4.1", "§ 5", "abstract", "eq. 7", "Theorem 2", "p. 4", "appendix C"]
)
def test_a_place_in_a_paper(shown, place):
    claim("c", "text", True, {"x": 1}, kind="exact", paper=f"Doe 2014, {place}")
    assert shown


def test_outside_a_notebook_everything_prints(capsys):
    claim("c", "A beats B.", True, {"gain": 2.0}, kind="exact", paper="Doe 2014, abstract")
    assert "Claim. A beats B.\ngain: 2.00\nHolds (exact). Doe 2014, abstract." in capsys.readouterr().out

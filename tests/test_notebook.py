import json

import numpy as np
import pytest
import torch

from helpers import notebook
from helpers.notebook import CLAIM_MIME, ClaimError, claim, figure, source, table


@pytest.fixture
def shown(monkeypatch):
    """The bundles that a notebook would display."""
    bundles = []
    monkeypatch.setattr(notebook, "_show", bundles.append)
    return bundles


def test_source_is_the_code_that_runs(shown):
    source(figure, ClaimError)
    text = shown[0]["text/markdown"]
    assert text.startswith("```python\ndef figure(value: Any) -> str:\n") and text.endswith("\n```")
    assert "class ClaimError(AssertionError):" in text


def test_source_of_a_method_stands_at_the_margin(shown):
    source(torch.nn.Linear.forward)
    assert shown[0]["text/plain"].startswith("def forward(self")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1797, "1,797"),
        (torch.tensor(1797), "1,797"),
        (np.int64(3), "3"),
        (0.1234, "0.123"),
        (1.0, "1.00"),
        (123.456, "123.5"),
        (61_100_840.5, "6.11e+07"),
        (2.2e-16, "2.20e-16"),
        (float("nan"), "nan"),
        (True, "True"),
        ("below 1e-12", "below 1e-12"),
        ((55, 55, 96), "55, 55, 96"),
    ],
)
def test_figures_print_as_the_book_prints_them(value, text):
    assert figure(value) == text


def test_table_is_markdown_with_escaped_bars(shown):
    table([("a|b", 0.5), ("c", 2)], ["name", "value"])
    assert shown[0]["text/markdown"] == "| name | value |\n| --- | --- |\n| a\\|b | 0.500 |\n| c | 2 |"
    with pytest.raises(ValueError, match="has 1 cells for the 2 columns"):
        table([("a",)], ["name", "value"])


def test_claim_records_what_was_measured(shown):
    claim("a-b", "A < B", torch.tensor(True), {"gain": 0.5, "runs": 7}, "Doe 2014", seeds=5)
    record = json.loads(json.dumps(shown[0][CLAIM_MIME]))
    assert record == {
        "id": "a-b",
        "text": "A < B",
        "measured": [["gain", "0.500"], ["runs", "7"]],
        "paper": "Doe 2014",
        "seeds": 5,
        "scale": "lecture",
        "verdict": "holds",
        "holds": True,
    }
    assert 'id="claim-a-b"' in shown[0]["text/html"] and "A &lt; B" in shown[0]["text/html"]


@pytest.mark.parametrize(
    ("holds", "verdict", "scale", "agrees"),
    [
        (True, "holds", "lecture", True),
        (False, "holds", "lecture", False),
        (False, "did not reproduce", "lecture", True),
        (True, "did not reproduce", "lecture", False),
        (False, "holds only at scale", "lecture", True),
        (True, "holds only at scale", "lecture", False),
        (True, "holds only at scale", "gpu", True),
        (False, "holds only at scale", "gpu", False),
    ],
)
def test_cell_fails_when_the_verdict_is_another(shown, holds, verdict, scale, agrees):
    call = dict(measured={"x": 1}, paper="Doe 2014", verdict=verdict, scale=scale)
    if agrees:
        claim("c", "text", holds, **call)
        assert shown
    else:
        with pytest.raises(ClaimError, match=f"'c' is recorded as '{verdict}', but at scale '{scale}'.*'x': '1'"):
            claim("c", "text", holds, **call)
        assert not shown


def test_claim_without_figures_or_with_unknown_verdict_is_refused(shown):
    with pytest.raises(ValueError, match="'c' has no measured figure"):
        claim("c", "text", True, {}, "Doe 2014")


def test_outside_a_notebook_everything_prints(capsys):
    claim("c", "A beats B.", True, {"gain": 2.0}, "Doe 2014")
    assert "Claim. A beats B.\nMeasured. gain: 2.00\nVerdict: holds. Doe 2014" in capsys.readouterr().out

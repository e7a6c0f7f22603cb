import numpy as np
import pytest
import torch

from helpers import ledger
from helpers.ledger import ClaimError
from helpers.notebook import figure, source, table


@pytest.fixture
def shown(monkeypatch):
    """The bundles that a notebook would display."""
    bundles = []
    monkeypatch.setattr(ledger, "show", bundles.append)
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
        (np.bool_(True), "True"),
        (np.array([True, False]).any(), "True"),
        (torch.tensor(True), "True"),
        (torch.tensor(0.25) > 0.1, "True"),
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

"""What the tests of the generative part share."""

import jaxtyping
import pytest
import torch


@pytest.fixture
def unchecked(monkeypatch):
    """Without the checks of shapes that only tests install: what a reader meets, and what a compiler can follow."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture
def compiler():
    """torch.compile, without what other tests left in its caches, and leaving nothing there."""
    torch.compiler.reset()
    yield torch.compile
    torch.compiler.reset()

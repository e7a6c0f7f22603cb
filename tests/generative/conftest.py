"""What the tests of the generative part share."""

import pytest
import torch


@pytest.fixture
def compiler():
    """torch.compile, without what other tests left in its caches, and leaving nothing there."""
    torch.compiler.reset()
    yield torch.compile
    torch.compiler.reset()

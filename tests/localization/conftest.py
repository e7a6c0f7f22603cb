"""What the tests of this part share."""

import pytest
from jaxtyping import config


@pytest.fixture
def types_unchecked():
    """A reader's call has no check of types; it would be the first to refuse, and it breaks graphs."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)

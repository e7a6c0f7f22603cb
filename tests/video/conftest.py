"""What the tests of video share."""

import pytest
from jaxtyping import config


@pytest.fixture
def unchecked():
    """Inflated networks keep the methods of the image nets, whose annotations say four axes: do not check those."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)

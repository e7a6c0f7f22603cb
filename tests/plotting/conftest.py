"""Each test draws in the book's style and leaves neither style nor figure behind."""

import matplotlib
import pytest
from matplotlib import pyplot

from helpers import plotting


@pytest.fixture(autouse=True)
def styled():
    with matplotlib.rc_context():
        plotting.use_style()
        yield
    pyplot.close("all")

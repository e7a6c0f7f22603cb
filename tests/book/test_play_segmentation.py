"""The stamps: the page's counts are those of a transposed convolution, and keys and a phone can set kernel and stride."""

from itertools import product

import pytest
import torch
from torch.nn import functional as F

FIGURE = "segmentation", "stamps"

pytestmark = pytest.mark.browser


def test_counts_match_torch(reader):
    figure = reader()
    for kernel, stride in product(range(1, 8), range(1, 5)):
        expected = F.conv_transpose1d(torch.ones(1, 1, 6), torch.ones(1, 1, kernel), stride=stride)[0, 0].int().tolist()
        assert figure.call("coverage", 6, kernel, stride) == expected
        inside = sorted(set(expected[kernel - 1 : len(expected) - kernel + 1]))
        assert figure.call("inside", 6, kernel, stride) == inside
        if len(expected) > 2 * (kernel - 1) + stride:  # a whole period lies inside
            assert (len(inside) == 1) == (kernel % stride == 0)


def test_keys_set_kernel_and_stride(reader):
    figure = reader()
    assert (
        "Kernel 3 is not divided by stride 2" in figure.verdict()
        and "1 or 2 on a line, and 1, 2, 4" in figure.verdict()
    )
    kernel, stride = figure.page.locator("input[type=range]").all()
    kernel.press("ArrowRight")
    assert "Kernel 4 is divided by stride 2: inside, each pixel gets 2 on a line and 4" in figure.verdict()
    stride.press("End")
    assert "Kernel 4 is divided by stride 4" in figure.verdict()
    line = figure.page.locator(".play-stamps").first
    assert line.get_attribute("aria-label").endswith(", ".join(["1"] * 24))
    assert figure.page.locator(".play-stamps").nth(1).locator("rect").count() == 24**2
    assert figure.page.locator(".play-slider output").all_text_contents() == ["4", "4"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_phone(reader, scheme):
    figure = reader(width=390, color_scheme=scheme)
    assert figure.overflow() <= 0
    assert figure.page.locator(".play-fallback").is_hidden()


def test_two_on_a_page_do_not_share_a_setting(reader):
    figure = reader("", "")
    figure.page.locator("input[type=range]").first.press("End")
    verdicts = figure.page.locator(".play-verdict").all_text_contents()
    assert "Kernel 7" in verdicts[0] and "Kernel 3" in verdicts[1]

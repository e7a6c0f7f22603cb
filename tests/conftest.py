"""Shapes are checked while the tests run; what a machine cannot run is named at the end, never skipped in silence."""

import ctypes
import os
import sys
from collections import Counter
from pathlib import Path

import matplotlib
import pytest
from jaxtyping import config as jaxtyping_config
from jaxtyping import install_import_hook

from tools.browser import chromium

install_import_hook("helpers", "beartype.beartype")  # before the first import of helpers
matplotlib.use("Agg")

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure(config):
    config.addinivalue_line("markers", "gpu: needs a CUDA device")
    config.addinivalue_line("markers", "browser: needs a Chromium")
    config.addinivalue_line("markers", "notebooks: executes chapters of the book")


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
    if item.get_closest_marker("browser") and not chromium():
        if os.environ.get("CI"):
            pytest.fail("no Chromium: .ci/run installs one, and in CI it is no option")
        pytest.skip("needs a Chromium (apt-get install chromium, or set CHROMIUM)")


def pytest_terminal_summary(terminalreporter):
    skipped = Counter(report.longrepr[2] for report in terminalreporter.stats.get("skipped", []))
    terminalreporter.section("what this machine could not run")
    for reason, count in skipped.items():
        terminalreporter.line(f"{count} tests: {reason.removeprefix('Skipped: ')}")
    if not skipped:
        terminalreporter.line("nothing: every test ran")


@pytest.fixture(autouse=True)
def figures_are_closed():
    """No test leaves figures open, which matplotlib counts."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def unchecked():
    """Without the checks of shapes that only tests install: what a reader meets, and what a compiler can follow."""
    jaxtyping_config.update("jaxtyping_disable", True)
    # All checked functions share one piece of wrapping code, so that their compilations would add up to the compiler's limit.
    if compiler := sys.modules.get("torch._dynamo"):
        compiler.reset()
    yield
    jaxtyping_config.update("jaxtyping_disable", False)


@pytest.fixture
def inductor(unchecked):
    """torch.compile by Inductor, which forgets afterwards what it has compiled."""
    import torch

    yield torch.compile
    torch.compiler.reset()


@pytest.fixture(scope="module", autouse=True)
def memory_goes_back():
    """What the tests of a file let go of goes back to the system, where the C library can give it."""
    yield
    if give := getattr(ctypes.CDLL(None), "malloc_trim", None):
        give(0)


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium, driven by playwright; one for all tests of a worker."""
    from playwright.sync_api import sync_playwright

    quiet = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    quiet += " --disable-component-update --disable-sync"
    with sync_playwright() as playwright:
        instance = playwright.chromium.launch(executable_path=chromium(), args=quiet.split())
        yield instance
        instance.close()

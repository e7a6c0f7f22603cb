import io
import itertools
import os
import time
from contextlib import redirect_stderr

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from helpers.training import fit
from helpers.training.progress import progress_line

CELLS = [
    "import itertools, os, time, torch\nfrom helpers.training import fit\nos.environ['DLE_PROGRESS'] = '0'",
    "history = fit(lambda batch: {'loss': (1.0, 2)}, itertools.repeat(()), 5)",
    "os.environ['DLE_PROGRESS'] = '1'",
    "print('before')\n"
    "history = fit(lambda batch: time.sleep(0.1) or {'loss': (1.0, 2)}, itertools.repeat(()), 6)\n"
    "print('after')",
]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def stderr(monkeypatch):
    """A terminal; tests write to it inside `redirect_stderr`, for pytest sets its own stderr when a test begins."""
    monkeypatch.setenv("DLE_PROGRESS", "1")
    return Terminal()


def run(steps=5, **options):
    return fit(lambda batch: {"loss": (1.0, 2), "accuracy": (1, 1)}, itertools.repeat(()), steps, **options)


def test_a_terminal_sees_a_line_that_is_wiped_out(stderr):
    with redirect_stderr(stderr):
        run()
    written = stderr.getvalue()
    assert "0/5" in written and "\n" not in written
    assert written.endswith("\r") and not written.rsplit("\r", 2)[1].strip()


def test_the_line_names_step_and_loss(stderr):
    with redirect_stderr(stderr), progress_line(100, 40) as show:
        history = run(50, progress=False)
        time.sleep(0.3)
        show(50, history)
    assert "50/100" in stderr.getvalue() and "loss 0.500" in stderr.getvalue()
    assert "accuracy" not in stderr.getvalue()


@pytest.mark.parametrize("off", ["switch", "argument", "file", "rank"])
def test_nothing_is_written(stderr, monkeypatch, off):
    if off == "switch":
        monkeypatch.setenv("DLE_PROGRESS", "0")
    if off == "file":
        stderr.isatty = lambda: False
    if off == "rank":
        monkeypatch.setattr("helpers.training.progress.is_main", lambda: False)
    with redirect_stderr(stderr):
        run(progress=off != "argument")
    assert stderr.getvalue() == ""


def test_the_line_is_wiped_out_after_an_error(stderr):
    with pytest.raises(ZeroDivisionError), redirect_stderr(stderr):
        fit(lambda batch: 1 / 0, itertools.repeat(()), 5)
    assert stderr.getvalue() and not stderr.getvalue().rsplit("\r", 2)[1].strip()


def test_notebook_outputs_stay_empty(tmp_path):
    notebook = new_notebook(cells=[new_code_cell(source) for source in CELLS])
    updates = []

    class Watching(NotebookClient):
        def process_message(self, message, cell, index):
            if message["msg_type"] == "update_display_data":
                updates.append(message["content"]["data"])
            return super().process_message(message, cell, index)

    environment = {k: v for k, v in os.environ.items() if k != "DLE_PROGRESS"}
    client = Watching(notebook, timeout=60, kernel_name="python3")
    with client.setup_kernel(env=environment):
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
    outputs = [cell.outputs for cell in notebook.cells]
    assert outputs[:3] == [[], [], []]
    texts = [update.get("text/plain", "") for update in updates]
    assert any("/6" in text and "loss 0.500" in text for text in texts) and texts[-1] == ""  # it moved
    shown = [output for output in outputs[3] if output.output_type != "stream"]
    assert "".join(o.text for o in outputs[3] if o.output_type == "stream") == "before\nafter\n"
    assert [set(output.data.values()) for output in shown] == [{""}]  # a reader sees nothing of it afterwards
    nbformat.validate(notebook)

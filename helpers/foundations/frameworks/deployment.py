"""A trained net without the code that built it: three files, and another process for each.

`torch.export` keeps the graph in torch's own format; ONNX (Bai et al. 2019, onnx.ai) is read by other runtimes; the book's
mini-graph is text. Each runs in a Python that imports neither this package nor, but for the first, torch.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from helpers.foundations.frameworks.caffe_net import CaffeNet
from helpers.foundations.frameworks.graph import Graph, conv2d, operation, placeholder, relu
from helpers.foundations.frameworks.interpreter import Function
from helpers.foundations.frameworks.passes import optimise
from helpers.foundations.frameworks.saving import save

SUFFIXES = {"mini-graph": ".json", "torch.export": ".pt2", "ONNX": ".onnx"}
SCRIPTS = {
    "torch.export": """
import json, sys
import numpy, torch
program = torch.export.load(sys.argv[1]).module()
with torch.no_grad():
    result = program(torch.from_numpy(numpy.load(sys.argv[2]))).numpy()
""",
    "ONNX": """
import json, os, sys
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options)
name = session.get_inputs()[0].name
result = session.run(None, {name: numpy.load(sys.argv[2])})[0]
""",
}
ENDING = """
numpy.save(sys.argv[3], result)
print(json.dumps([name for name in ("torch", "helpers") if name in sys.modules]))
"""


@dataclass
class Run:
    """What came out of another process, which of torch and this package it had imported, and its seconds on the clock."""

    output: Float[np.ndarray, "b k"]
    imported: list[str]
    seconds: list[float]


def missing(*packages: str) -> list[str]:
    """Which of these packages are not installed."""
    return [name for name in packages if find_spec(name) is None]


def export(net: nn.Module, example: Float[Tensor, "b c h w"], path: str | Path, form: str) -> int:
    """Write a net to `path` as "torch.export", "ONNX" or "mini-graph", and return the file's bytes.

    The first two keep the shape of `example`. Raises `ValueError` for another form, and `ModuleNotFoundError` for ONNX
    without its packages.
    """
    if form == "torch.export":
        torch.export.save(torch.export.export(net.eval(), (example,)), path)
    elif form == "ONNX":
        if absent := missing("onnx", "onnxscript"):
            raise ModuleNotFoundError(f"ONNX needs {', '.join(absent)}: pip install onnx onnxruntime onnxscript")
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        program = torch.onnx.export(net.eval(), (example,), dynamo=True, verbose=False)
        program.save(path)
    elif form == "mini-graph":
        Path(path).write_text(save(optimise(lenet_function(net))))
    else:
        raise ValueError(f"form = {form!r}: torch.export, ONNX or mini-graph")
    return Path(path).stat().st_size


def run_elsewhere(path: str | Path, inputs: Float[np.ndarray, "b c h w"], form: str, times: int = 2) -> Run:
    """Run an exported file in a new Python that knows no checkout, `times` times, and return what it put out.

    The seconds go from the start of the process to its answer. Raises `RuntimeError` with what the process said when it
    failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        script, given, result = (Path(folder, name) for name in ("run.py", "input.npy", "output.npy"))
        own = Path(__file__).with_name("interpreter.py").read_text()  # one file, copied: the whole runtime
        script.write_text(own if form == "mini-graph" else SCRIPTS[form] + ENDING)
        np.save(given, inputs)
        settings = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        seconds, said = [], ""
        for _ in range(times):
            begun = time.perf_counter()
            command: Sequence[str | Path] = [sys.executable, "-s", script, Path(path).resolve(), given, result]
            done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"the process failed: {done.stderr[-500:]}")
            seconds.append(time.perf_counter() - begun)
            said = done.stdout.splitlines()[-1]
        return Run(np.load(result), json.loads(said), seconds)


def lenet_function(net: CaffeNet) -> Function:
    """LeNet as the mini-graph has it, from the weights of a `CaffeNet`: scores for images."""
    weights = {name: p.detach().numpy() for name, p in net.named_parameters()}

    def of(layer: str) -> tuple[np.ndarray, np.ndarray]:
        return weights[f"layers.{layer}.weight"], weights[f"layers.{layer}.bias"]

    with Graph() as graph:
        data = placeholder("data", (None, 1, 28, 28))
        x = data
        for layer in ("conv1", "conv2"):
            w, b = of(layer)
            x = operation("max_pool2d", conv2d(x, w, b[:, None, None]), size=2)
        x = operation("flatten", x)
        for layer in ("ip1", "ip2"):
            w, b = of(layer)
            x = x @ np.ascontiguousarray(w.T) + b
            x = relu(x) if layer == "ip1" else x
    return graph.function([data], [x])

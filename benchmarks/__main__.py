"""Time our code against what a reader would use otherwise: `python -m benchmarks [subject …] [--device cpu] [--store]`."""

import argparse
import datetime
import json
import platform
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import PAIRS, SECONDS, SLOWER, measure
from helpers.runtime import pick_device

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"


def subjects() -> list[str]:
    """The files of this folder that measure something."""
    return sorted(path.stem for path in HERE.glob("*.py") if path.stem != "harness" and not path.stem.startswith("_"))


def hardware(device: torch.device) -> str:
    """The processor or GPU in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{model or platform.processor() or platform.machine()} ({torch.backends.cpu.get_cpu_capability()})"


def run(
    subject: str, device: torch.device, *, tiny: bool = False, pairs: int | None = None, seconds: float = SECONDS
) -> dict[str, Any]:
    """Measure all pairs of a subject, print each as it comes, and return them with what they were measured on."""
    module = import_module(f"benchmarks.{subject}")
    pairs = pairs or getattr(module, "PAIRS", PAIRS)
    results = []
    for pair in module.pairs(device, tiny=tiny):
        result = measure(pair, device, pairs=pairs, seconds=seconds)
        low, high = result["quartiles"]
        print(f"{result['ratio']:6.2f}  ({low:.2f} to {high:.2f})  {pair.what} | {pair.against}", flush=True)
        results.append(result)
    return {
        "subject": subject,
        "title": module.__doc__.splitlines()[0].rstrip("."),
        "device": device.type,
        "hardware": hardware(device),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "pairs": pairs,
        "date": datetime.date.today().isoformat(),
        "command": f"python -m benchmarks {subject} --device {device.type} --store",
        "results": results,
    }


def unexplained(runs: list[dict[str, Any]]) -> list[str]:
    """The ratios that need a reason and have none."""
    rows = [(run["subject"], row) for run in runs for row in run["results"]]
    return [
        f"{row['what']} takes {row['ratio']} times as long as {row['against']}: make it faster, or give the reason in "
        f"benchmarks/{subject}.py"
        for subject, row in rows
        if row["ratio"] > SLOWER and not row["reason"]
    ]


def store(runs: list[dict[str, Any]], path: Path = RESULTS) -> None:
    """Put `runs` in the place of older ones of the same subject and device; SystemExit where a reason is missing."""
    if missing := unexplained(runs):
        sys.exit("\n".join(["Nothing was stored.", *missing]))
    stored = json.loads(path.read_text()) if path.exists() else []
    kept = {(run["subject"], run["device"]): run for run in [*stored, *runs] if run["subject"] in subjects()}
    text = json.dumps([kept[key] for key in sorted(kept)], indent=1, ensure_ascii=False)
    path.write_text(text + "\n")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "subjects", nargs="*", metavar="SUBJECT", help=f"{', '.join(subjects())}; all when none is named"
    )
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--store", action="store_true", help="write benchmarks/results.json, which the site shows")
    options = parser.parse_args(arguments)
    for name in options.subjects:
        if name not in subjects():
            sys.exit(f"There is no subject {name!r}. benchmarks/ has: {', '.join(subjects())}")
    try:
        device = pick_device(options.device)
    except (ValueError, RuntimeError) as error:
        sys.exit(str(error))
    torch.set_num_threads(1)
    print("ratio  (quartiles)     what | against")
    runs = [run(subject, device) for subject in options.subjects or subjects()]
    if options.store:
        store(runs)


if __name__ == "__main__":
    main(sys.argv[1:])

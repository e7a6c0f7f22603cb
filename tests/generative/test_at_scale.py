"""What the chapters do at GPU size begins on any machine: their own cells, with two steps of each training.

The pictures are random, in the formats of MNIST and CIFAR-10; the files lie where `load` looks for them, and their MD5
sums in torchvision's tables.
"""

import gzip
import hashlib
import io
import pickle
import struct
import tarfile

import nbformat
import numpy as np
import pytest
import torch
from torchvision import datasets

import helpers.generative.gans.experiments
import helpers.training
from helpers.runtime import pick_device
from tools.notebooks import BOOK

COUNT = 300  # pictures in each split
AT_ONCE = 4  # pictures of a batch that a step sees


def md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


def idx(array: np.ndarray) -> bytes:
    """MNIST's format: two zero bytes, a type, the number of axes, their big-endian lengths, the bytes."""
    return gzip.compress(struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes())


@pytest.fixture
def downloads(tmp_path, monkeypatch):
    """MNIST and CIFAR-10 of random pixels, as if they had been downloaded."""
    monkeypatch.setenv("DLE_DATA", str(tmp_path))
    random, labels = np.random.default_rng(0), np.arange(COUNT, dtype=np.uint8) % 10
    kind, folder = datasets.MNIST, tmp_path / "mnist" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    bodies = {}
    for file, _ in kind.resources:
        pixels = random.integers(0, 256, (COUNT, 28, 28), dtype=np.uint8)
        bodies[file] = idx(pixels if "images" in file else labels)
        (folder / file).write_bytes(bodies[file])
    monkeypatch.setattr(kind, "resources", [(file, md5(body)) for file, body in bodies.items()])

    kind, parts = datasets.CIFAR10, {}
    for file, _ in kind.train_list + kind.test_list:
        rows = random.integers(0, 256, (COUNT, 3072), dtype=np.uint8)
        parts[file] = pickle.dumps({"data": rows, "labels": labels.tolist()})
    parts[kind.meta["filename"]] = pickle.dumps({kind.meta["key"]: [f"class {i}" for i in range(10)]})
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for file, part in parts.items():
            info = tarfile.TarInfo(f"{kind.base_folder}/{file}")
            info.size = len(part)
            tar.addfile(info, io.BytesIO(part))
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / kind.filename).write_bytes(stream.getvalue())
    monkeypatch.setattr(kind, "tgz_md5", md5(stream.getvalue()))
    for table in ("train_list", "test_list"):
        monkeypatch.setattr(kind, table, [[file, md5(parts[file])] for file, _ in getattr(kind, table)])
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": md5(parts[kind.meta["filename"]])})


def run(chapter: str, landmarks: list[str], monkeypatch, **given) -> tuple[dict, list[int]]:
    """Run, at GPU size, the cells of a chapter that hold the landmarks, training cut to two steps.

    Gives the names that the cells leave, and how many steps each training asked for.
    """
    cells = [cell.source for cell in nbformat.read(BOOK / f"{chapter}.ipynb", 4).cells if cell.cell_type == "code"]
    asked, real = [], helpers.training.fit

    def two_steps(update, stream, steps, **settings):
        asked.append(steps)
        few = (tuple(column[:AT_ONCE] for column in batch) for batch in stream)
        return real(update, few, min(steps, 2), progress=False)

    for module in (helpers.training, helpers.training.recipe, helpers.generative.gans.experiments):
        monkeypatch.setattr(module, "fit", two_steps)
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    names = dict(scale="gpu", seed=0) | given
    for landmark in landmarks:
        (source,) = (cell for cell in cells if landmark in cell)
        exec(source, names)
    torch.use_deterministic_algorithms(False)  # as it was before `seed_everything`
    return names, asked


def test_gans_begin_on_downloaded_pictures(downloads, monkeypatch, capsys):
    landmarks = ["import matplotlib", "pick_device(by_scale", 'gpu=["mnist", "cifar10"]', "in sheets:"]
    given = dict(image_steps=20_000, n=60, asked=(torch.arange(60) % 10).to(pick_device()))
    names, asked = run("generative/gans", landmarks, monkeypatch, **given)
    assert asked == [20_000, 3000] * 2
    assert [tuple(made.shape) for made in names["sheets"]] == [(40, 1, 28, 28), (40, 3, 32, 32)]
    rows = [f"{s}, {w}" for s in ("mnist", "cifar10") for w in ("GAN", "held-out data")]
    assert [row[0] for row in names["rows"]] == rows
    assert all(np.isfinite(row[1:]).all() for row in names["rows"])
    assert "| cifar10, GAN |" in capsys.readouterr().out


def test_vaes_begin_on_downloaded_pictures(downloads, monkeypatch, capsys):
    landmarks = ["import matplotlib", "import VAE", "from helpers.data import", "pick_device(by_scale"]
    landmarks += ["at_scale = {", "in sheets:"]
    given = dict(image=(1, 28, 28), net={"hidden": (8,)})
    names, asked = run("generative/autoencoders_vae", landmarks, monkeypatch, **given)
    assert asked == [20_000] * 2
    shapes = [[tuple(x.shape[1:]) for x in sheet] for sheet in names["sheets"]]
    assert shapes == [[(1, 28, 28)] * 3, [(3, 32, 32)] * 3]
    assert all(row[1] == pytest.approx(-row[2] - row[3], rel=1e-3) for row in names["rows"])
    assert "| cifar10 |" in capsys.readouterr().out

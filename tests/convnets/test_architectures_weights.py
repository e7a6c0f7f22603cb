"""Published weights, from a server on this machine in the place of torchvision's."""

import hashlib
import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import vgg as reference

from helpers.convnets.architectures.vgg import VGG, vgg11
from helpers.convnets.architectures.weights import load_published, published_weights
from helpers.data import DataUnavailable


def thin(classes=1000, channels=3) -> VGG:
    return VGG(depths=(1, 1), widths=(2, 3), hidden=4, pooled=1, norm=True, classes=classes, channels=channels)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DLE_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "weights"


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A thin VGG's state dict, served as vgg11_bn's published weights; (its state, address, folder of the server)."""
    (tmp_path / "web").mkdir()
    torch.manual_seed(1)
    source = thin()
    nn.init.normal_(source.features[1].running_mean)
    extra = {"aux1.fc.weight": torch.ones(2)}  # a head that our network lacks
    torch.save(source.state_dict() | extra, tmp_path / "web/x.pth")
    digest = hashlib.sha256((tmp_path / "web/x.pth").read_bytes()).hexdigest()[:8]
    (tmp_path / "web/x.pth").rename(tmp_path / f"web/vgg11_bn-{digest}.pth")
    handler = partial(Quiet, directory=tmp_path / "web")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.01))
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/vgg11_bn-{digest}.pth"
        entry = reference.VGG11_BN_Weights.IMAGENET1K_V1.value
        monkeypatch.setattr(entry, "url", address)
        yield source.state_dict(), entry, tmp_path / "web"
        server.shutdown()
        thread.join()


def test_weights_arrive_and_are_kept(published, folder):
    state, entry, web = published
    ours = load_published(thin(), "vgg11_bn")
    for key, tensor in ours.state_dict().items():
        assert torch.equal(tensor, state[key])
    kept = folder / entry.url.rpartition("/")[2]
    assert kept.read_bytes() == (web / kept.name).read_bytes()
    (web / kept.name).unlink()
    again = load_published(thin(), "vgg11_bn", "IMAGENET1K_V1")  # no server is needed any more
    assert torch.equal(again.features[1].running_mean, state["features.1.running_mean"])


def test_a_wrong_sum_is_refused(published, folder):
    _, entry, web = published
    file = web / entry.url.rpartition("/")[2]
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(DataUnavailable, match=r"SHA-256 sum [0-9a-f]{8} instead of sha256:[0-9a-f]{8}, so the file"):
        load_published(thin(), "vgg11_bn")
    assert list(folder.iterdir()) == []


def test_missing_keys_and_other_shapes_are_refused(published):
    features = nn.Module()
    features.features = thin().features
    features.last = nn.Linear(1, 1000)
    with pytest.raises(ValueError, match="classifier.0.weight is None|last.weight is None there"):
        load_published(features, "vgg11_bn")
    headless = thin()
    del headless.classifier
    headless.features.add_module("6", nn.ReLU())
    headless.classes = nn.Conv2d(1, 1000, 1)
    with pytest.raises(ValueError, match="classes.weight is None there"):
        load_published(headless, "vgg11_bn")
    other = thin()
    other.features[0] = nn.Conv2d(3, 5, 3)
    before = {k: v.clone() for k, v in other.state_dict().items()}
    message = r"features.0.weight is \(2, 3, 3, 3\) there and \(5, 3, 3, 3\) here \(2 differ\): build it with"
    with pytest.raises(ValueError, match=message):
        load_published(other, "vgg11_bn")
    assert all(torch.equal(v, before[k]) for k, v in other.state_dict().items())  # nothing is taken halfway


def test_old_names_of_densenet_are_translated(published, monkeypatch):
    _, entry, web = published
    net = nn.Module()
    net.features = nn.ModuleDict(
        {"denselayer1": nn.ModuleDict({"norm1": nn.BatchNorm2d(3), "conv1": nn.Conv2d(3, 1, 1)})}
    )
    net.classifier = nn.Linear(1, 1000)
    old = {k.replace("norm1", "norm.1").replace("conv1", "conv.1"): v for k, v in net.state_dict().items()}
    old = {k: v for k, v in old.items() if not k.endswith("num_batches_tracked")}  # as files of 2017
    torch.save(old, web / "old.pth")
    digest = hashlib.sha256((web / "old.pth").read_bytes()).hexdigest()[:8]
    (web / "old.pth").rename(web / f"densenet-{digest}.pth")
    from torchvision.models.densenet import DenseNet121_Weights

    address = entry.url.rpartition("/")[0] + f"/densenet-{digest}.pth"
    monkeypatch.setattr(DenseNet121_Weights.IMAGENET1K_V1.value, "url", address)
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
    load_published(net, "densenet121")
    assert torch.equal(net.features["denselayer1"]["norm1"].weight, torch.ones(3))


def test_without_a_network_the_remedy_is_named(monkeypatch):
    entry = reference.VGG11_BN_Weights.IMAGENET1K_V1.value
    monkeypatch.setattr(entry, "url", "http://127.0.0.1:1/vgg11_bn-6002323d.pth")
    with pytest.raises(DataUnavailable, match=r"vgg11_bn's weights .*\. Connect, or put vgg11_bn-6002323d.pth into "):
        load_published(thin(), "vgg11_bn")


def test_bad_input():
    with pytest.raises(ValueError, match="publishes no weights for 'lenet'"):
        load_published(thin(), "lenet")
    with pytest.raises(ValueError, match="weights = 'V7': vgg11_bn has imagenet, IMAGENET1K_V1"):
        load_published(thin(), "vgg11_bn", "V7")
    with pytest.raises(ValueError, match="classes = 1000 and channels = 3, this network has 10 and 3"):
        load_published(thin(classes=10), "vgg11_bn")
    with pytest.raises(ValueError, match="this network has 1000 and 1"):
        load_published(thin(channels=1), "vgg11_bn")
    with torch.device("meta"), pytest.raises(ValueError, match="this network has 10 and 3"):
        vgg11(classes=10, weights="imagenet")


def test_none_changes_nothing():
    net = thin()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    assert load_published(net, "lenet", None) is net
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize("name", torchvision.models.list_models(torchvision.models))
def test_every_address_tells_a_sum(name):
    for member in published_weights(name):
        assert re.search(r"-([0-9a-f]{8,})\.pth$", member.url), member.url

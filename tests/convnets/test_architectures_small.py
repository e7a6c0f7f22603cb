"""The small presets: they learn digits, whatever the memory format, the number type or the compiler."""

import inspect

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from helpers.convnets.architectures.alexnet import alexnet_small
from helpers.convnets.architectures.catalogue import CATALOGUE
from helpers.convnets.architectures.googlenet import Inception, googlenet_small
from helpers.convnets.architectures.inception import Mixed, inception_small
from helpers.convnets.architectures.mobilenet import mobilenet_small
from helpers.convnets.architectures.network_in_network import network_in_network_small
from helpers.data import glyphs

SMALL = [name for name, entry in CATALOGUE.items() if entry.small]
# Networks of full size whose code no small preset runs.
LARGE = ["lenet5", "googlenet_2014", "googlenet", "inception_v3"]
# The fewest layers that run every line.
SHALLOW = {"densenet_small": 10, "preactivation_small": 8, "resnet_small": 8, "highway_small": 5, "highway_mlp": 3}
SLOW = {  # many layers and no norm, or gates that begin closed
    "network_in_network_small": dict(steps=33, rate=0.003),
    "squeezenet_small": dict(steps=33, rate=0.003),
    "highway_small": dict(steps=50, rate=0.006),
}
VARIANTS = {
    "tanh": lambda: alexnet_small(channels=1, activation=nn.Tanh),
    "naive": lambda: googlenet_small(channels=1, naive=True),
    "not factorised": lambda: inception_small(channels=1, factorised=False),
    "full convolutions": lambda: mobilenet_small(channels=1, separable=False),
    "linear filters": lambda: network_in_network_small(channels=1, mlp=False),
    "linear head": lambda: network_in_network_small(channels=1, linear_head=True),
}


@pytest.fixture(scope="module")
def digits():
    """One digit of each class, undistorted."""
    drawn = glyphs(64, seed=0, size=32, distortion=0.0)
    rows = [drawn.labels.tolist().index(label) for label in range(10)]
    return drawn.images[rows], drawn.labels[rows]


def build(name, device="cpu", **options) -> nn.Module:
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(0)
        return CATALOGUE[name].builder(**options)


def train(network, images, labels, *, steps=21, rate=0.004) -> list[float]:
    """The losses of a few steps on the same ten digits."""
    optimizer = torch.optim.Adam(network.train().parameters(), lr=rate, fused=True)
    losses = []
    for _ in range(steps):
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", SMALL)
def test_learns_toy_problem(name, digits, unchecked):
    """At first it cannot know, log 10 = 2.3 or worse; a few steps later it has begun to tell the ten digits apart."""
    losses = train(build(name, channels=1), *digits, **SLOW.get(name, {}))
    assert losses[0] > 2 and losses[-1] < 1.5, losses


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_learn(name, digits, unchecked):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = VARIANTS[name]()
    losses = train(network, *digits, rate=0.003, steps=33 if name.startswith("linear") else 21)
    assert losses[0] > 2 and losses[-1] < 1.5, losses


def test_lenet5_learns(digits):
    losses = train(build("lenet5"), *digits, rate=0.002)
    assert losses[0] > 2 and losses[-1] < 1.5, losses


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("channels, side", [(1, 28), (3, 32)])
def test_both_sizes_of_image(name, channels, side):
    sized = {"image": side} if "image" in inspect.signature(CATALOGUE[name].builder).parameters else {}
    network = build(name, "meta", channels=channels, **sized)
    assert network(torch.zeros(2, channels, side, side, device="meta")).shape == (2, 10)


@pytest.mark.parametrize("name", SMALL)
def test_device_and_dtype(name, digits):
    images = digits[0][:4].expand(4, 3, 32, 32).contiguous()
    network = build(name).eval()
    with torch.no_grad():
        expected = network(images)
        twin = CATALOGUE[name].builder().eval()
        twin.load_state_dict(network.state_dict())
        assert torch.equal(twin(images), expected)
        last = network.to(memory_format=torch.channels_last)
        assert_close(last(images.to(memory_format=torch.channels_last)), expected, rtol=1e-4, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        loss = network.train()(images).float().square().mean()
    loss.backward()
    assert loss.isfinite() and all(p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.gpu
@pytest.mark.parametrize("name", CATALOGUE)
def test_runs_on_a_gpu(name):
    entry = CATALOGUE[name]
    network = build(name, "cuda").to(memory_format=torch.channels_last).eval()
    images = torch.randn(2, entry.channels, entry.image, entry.image, device="cuda")
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
        assert network(images.to(memory_format=torch.channels_last)).isfinite().all()


def thinned(network: nn.Module, images: torch.Tensor) -> nn.Module:
    """A large network whose modules of Inception, which the presets compile, are one convolution each."""
    seen = []
    blocks = [(name, module) for name, module in network.named_modules() if isinstance(module, Inception | Mixed)]
    handles = [m.register_forward_hook(lambda m, given, made: seen.append((given[0], made))) for _, m in blocks]
    network(images)
    for handle, (name, _), (x, y) in zip(handles, blocks, seen, strict=True):
        handle.remove()
        pooled = nn.AdaptiveAvgPool2d(y.shape[2:])
        network.set_submodule(name, nn.Sequential(pooled, nn.Conv2d(x.shape[1], y.shape[1], 1, device=x.device)))
    return network


@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_compiles_without_a_graph_break(name, unchecked, norms_only_shift):
    entry = CATALOGUE[name]
    device = "meta" if name in LARGE else "cpu"
    options = {"depth": SHALLOW[name]} if name in SHALLOW else {}
    network = build(name, device, **options).train()
    images = torch.randn(2, entry.channels, entry.image, entry.image, device=device)
    if name in LARGE:
        network = thinned(network, images)
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    if device == "meta":
        outputs = compiled(images)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        assert all(logits.device.type == "meta" and len(logits) == 2 for logits in outputs)
    else:
        torch.manual_seed(0)
        found = compiled(images)
        torch.manual_seed(0)
        expected = network(images)
        spread = expected.std()
        assert_close(found / spread, expected / spread, rtol=1e-4, atol=1e-4)


def test_inductor_agrees(inductor):
    """Once for the package, on a net of few kernels: the others' graphs are whole, and each would take half a minute."""
    network = build("lenet_small").eval()
    entry = CATALOGUE["lenet_small"]
    images = torch.randn(2, entry.channels, entry.image, entry.image)
    with torch.no_grad():
        assert_close(inductor(network, fullgraph=True)(images), network(images), rtol=1e-3, atol=1e-4)

"""The four families side by side: counts at full size, a motion that no frame tells, compilation, devices."""

from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from types import SimpleNamespace

import nbformat
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers.convnets.architectures.resnet import resnet_small
from helpers.convnets.output_size import layer_table, multiply_adds
from helpers.notebook import table
from helpers.video import optical_flow
from helpers.video.optical_flow import (
    Streams,
    cnn_m_2048,
    flow,
    frame_net_small,
    light,
    lucas_kanade,
    stack_flow,
    stack_trajectories,
    temporal_network,
)
from helpers.video.optical_flow import experiments as flow_experiments
from helpers.video.spacetime_convnets import (
    FramesFirst,
    i3d_small,
    inception_i3d,
    inception_i3d_flow,
    inflate,
    slowfast_r50,
    slowfast_r50_4x16,
    slowfast_r101,
    slowfast_small,
)
from helpers.video.spacetime_convnets.i3d import InceptionModule
from helpers.video.video_transformers import (
    experiments,
    timesformer_b,
    timesformer_hr,
    timesformer_l,
    timesformer_small,
)
from tools.notebooks import BOOK

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def inflated(**options):
    """The smallest of the book's residual nets, spanning time."""
    return FramesFirst(inflate(resnet_small(depth=8, width=4, **options), stride=False))


SMALL = {
    "inflated": partial(inflated, classes=2),
    "i3d": partial(i3d_small, classes=2),
    "slowfast": partial(slowfast_small, classes=2, alpha=3, width=8, depths=(1, 1)),
    "timesformer": partial(timesformer_small, plan="divided", frames=9, classes=2, image=16),
}


@pytest.mark.parametrize(
    "builder, parameters",
    [
        (cnn_m_2048, 90_627_813),
        (partial(cnn_m_2048, channels=20), 90_707_781),
        (inception_i3d, 12_697_264),  # the paper: 12.7 million
        (inception_i3d_flow, 12_675_312),
        (slowfast_r50, 34_566_488),  # pytorchvideo's zoo: 34.57 million
        (slowfast_r50_4x16, 34_480_216),
        (slowfast_r101, 62_826_968),
        (timesformer_b, 121_566_352),
        (timesformer_hr, 122_024_080),
        (timesformer_l, 121_633_936),
    ],
)
def test_parameter_count(builder, parameters):
    with torch.device("meta"):
        network = builder()
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_shapes_at_full_size(unchecked):
    with torch.device("meta"):
        assert cnn_m_2048()(torch.empty(2, 3, 224, 224)).shape == (2, 101)
        assert cnn_m_2048(channels=20)(torch.empty(2, 20, 224, 224)).shape == (2, 101)
        videos = torch.empty(1, 64, 3, 224, 224)
        assert inception_i3d().features(videos).shape == (1, 1024, 8, 7, 7)
        maps = slowfast_r50(classes=7).features(videos[:, :32])
        assert maps["0"].shape == (1, 2048, 8, 7, 7) and maps["1"].shape == (1, 256, 32, 7, 7)
        token, grid = timesformer_b().features(videos[:, :8])
        assert token.shape == (1, 1, 768) and grid.shape == (1, 8, 14, 14, 768)


@pytest.mark.parametrize(
    "builder, shape, trillions",
    [
        (timesformer_b, (8, 3, 224, 224), 0.59),
        (timesformer_hr, (16, 3, 448, 448), 5.11),
        (timesformer_l, (96, 3, 224, 224), 7.14),
    ],
)
def test_multiply_adds_of_timesformer(builder, shape, trillions, unchecked):
    """The paper's teraflops at inference: three crops a clip, with the attention of the released code."""
    with torch.device("meta"):
        network = builder()
    assert round(3 * multiply_adds(lambda: network(torch.empty(1, *shape, device="meta"))) / 1e12, 2) == trillions


def test_multiply_adds_by_layers():
    network = slowfast_small(classes=3).eval()
    rows = layer_table(network, (8, 3, 16, 16))
    assert multiply_adds(lambda: network(torch.empty(1, 8, 3, 16, 16))) == sum(row.multiply_adds for row in rows)
    tiny = timesformer_small(plan="joint", frames=2, image=8, patch=4, dim=8, depth=1, heads=2, classes=3)
    patches, tokens = 2 * 4, 2 * 4 + 1
    by_hand = patches * 3 * 16 * 8 + tokens * (4 * 8 * 8 + 2 * 8 * 32) + 2 * tokens * tokens * 8 + 8 * 3
    assert multiply_adds(lambda: tiny(torch.empty(1, 2, 3, 8, 8))) == by_hand


def dots(n: int, frames: int = 9, size: int = 16, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A square that goes to the left or to the right through a place that does not tell which."""
    generator = torch.Generator().manual_seed(seed)
    middle, row = torch.randint(4, size - 6, (2, n), generator=generator)
    labels = torch.arange(n) % 2
    videos = torch.zeros(n, frames, 3, size, size)
    for i in range(n):
        for t in range(frames):
            x = int(middle[i]) + (2 * int(labels[i]) - 1) * (t - frames // 2)
            videos[i, t, :, int(row[i]) : int(row[i]) + 2, max(x, 0) : x + 2] = 1
    return videos, labels


@pytest.mark.parametrize("name", ["inflated", "slowfast"])  # TimeSformer has an easier one in its own file
def test_learns_toy_problem(name, unchecked):
    torch.manual_seed(0)
    network, (videos, labels) = SMALL[name](), dots(48)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    for step in range(36):
        batch = slice(16 * (step % 3), 16 * (step % 3) + 16)
        loss = F.cross_entropy(network(videos[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()
    fresh, truth = dots(32, seed=1)
    assert (network(fresh).argmax(1) == truth).float().mean() > 0.9
    # played backwards, every clip is one of the other class
    assert (network(fresh.flip(1)).argmax(1) == 1 - truth).float().mean() > 0.9


def test_two_streams_learn_toy_problem():
    """The frame in the middle tells nothing; the sum of the flow to the right tells all."""
    videos, labels = dots(16)
    flow = torch.stack([lucas_kanade(videos[:, t], videos[:, t + 1]) for t in range(8)], 1)
    right = (stack_flow(flow)[:, ::2] * (flow.norm(dim=2) > 0.3)).sum((1, 2, 3))
    assert ((right > 0).long() == labels).all()
    assert torch.equal(videos[0::2, 4].sum((1, 2, 3)), videos[1::2, 4].sum((1, 2, 3)))


@pytest.mark.parametrize("name", SMALL)
def test_gradients_reach_every_parameter(name, unchecked):
    torch.manual_seed(0)
    network = SMALL[name]()
    if name == "timesformer":
        for p in network.parameters():
            torch.nn.init.normal_(p, std=0.2)  # some begin as nothing
    network(torch.rand(2, 9, 3, 16, 16)).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", SMALL)
def test_device_and_dtype(name, device, unchecked):
    torch.manual_seed(0)
    network = SMALL[name]().to(device).eval()
    videos = torch.rand(2, 9, 3, 16, 16, device=device)
    out = network(videos)
    assert out.device.type == device
    with torch.autocast(device, torch.bfloat16):
        torch.testing.assert_close(network(videos).float(), out, rtol=0, atol=0.1)
    twin = SMALL[name]().to(device).eval()
    twin.load_state_dict(network.state_dict())
    torch.testing.assert_close(twin(videos), out, rtol=0, atol=1e-4)
    assert network.bfloat16()(videos.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("device", DEVICES)
def test_two_streams_device(device):
    spatial = frame_net_small(classes=3)
    streams = Streams(spatial=spatial, temporal=temporal_network(spatial, 4)).to(device).eval()
    out = streams(spatial=torch.rand(2, 3, 16, 16, device=device), temporal=torch.rand(2, 4, 16, 16, device=device))
    assert all(scores.device.type == device and scores.shape == (2, 3) for scores in out.values())


@pytest.mark.gpu
@pytest.mark.parametrize("builder, frames", [(inception_i3d, 16), (slowfast_r50, 32), (timesformer_b, 8)])
def test_full_size_on_a_device(builder, frames):
    network = builder().cuda()
    with torch.autocast("cuda", torch.bfloat16):
        loss = network(torch.rand(2, frames, 3, 224, 224, device="cuda")).square().mean()
    loss.backward()
    assert loss.isfinite() and all(p.grad.isfinite().all() for p in network.parameters())


def test_torch_compile_gives_the_same(unchecked):
    """One graph, forward and backward."""
    videos = torch.rand(2, 4, 3, 8, 8).double()
    jobs = [
        FramesFirst(inflate(frame_net_small(classes=3))),
        slowfast_small(classes=3, depths=(1,), late=0),
        timesformer_small(plan="local_global", frames=4, image=8, patch=2, depth=1, classes=3),
    ]
    for model in jobs:
        found, model = [], model.double()
        for p in model.parameters():
            nn.init.normal_(p, std=0.3)
        for run in (model, torch.compile(model, backend="eager", fullgraph=True)):
            model.zero_grad()
            out = run(videos)
            out.square().sum().backward()
            found.append([out, *(p.grad.clone() for p in model.parameters())])
        torch.testing.assert_close(*found, rtol=1e-7, atol=1e-8)
        assert max(g.abs().max() for g in found[0]) > 1e-3


def one_module(i3d: nn.Module) -> nn.Module:
    """I3D with the first of its nine modules, which are alike; the others are one convolution each, which is traced sooner."""
    others = [name for name, layer in i3d.named_children() if isinstance(layer, InceptionModule)][1:]
    for name in others:
        module = i3d.get_submodule(name)
        widths = [unit.conv3d.out_channels for unit in (module.b0, module.b1b, module.b2b, module.b3b)]
        i3d.set_submodule(name, nn.Conv3d(module.b0.conv3d.in_channels, sum(widths), 1))
    return i3d


def read_again(module):
    """The module without any check of shapes: those of functions within functions are put in when they are called."""
    spec = spec_from_file_location("read_again", module.__file__)
    twin = module_from_spec(spec)
    spec.loader.exec_module(twin)
    return twin


def test_functions_and_i3d_compile_without_a_graph_break(unchecked):
    frames, plain = torch.rand(2, 3, 16, 16), read_again(flow)
    i3d = one_module(inception_i3d(classes=2)).eval().requires_grad_(False)
    for function, inputs in (
        (partial(plain.lucas_kanade, levels=1, steps=1), frames.chunk(2)),
        (partial(plain.horn_schunck, levels=1, steps=1, iterations=1), frames.chunk(2)),
        (stack_trajectories, [torch.rand(1, 3, 2, 16, 16)]),
        (read_again(light).even_light, [torch.rand(1, 2, 3, 9, 9)]),
        (i3d, [torch.rand(1, 9, 3, 32, 32)]),
    ):
        compiled = torch.compile(function, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(*inputs), function(*inputs))


def test_a_folder_of_the_readers(tmp_path):
    """The cell for videos of the reader's own runs on tiny files, with two steps of training."""
    av = pytest.importorskip("av")
    for k, name in enumerate(("nod", "wave")):
        for i in range(4):
            (tmp_path / name).mkdir(exist_ok=True)
            with av.open(str(tmp_path / name / f"{i}.mp4"), "w") as file:
                stream = file.add_stream("mpeg4", rate=8)
                stream.width = stream.height = 48
                stream.pix_fmt = "yuv420p"
                for t in range(10):
                    pixels = (20 * t + 60 * k + torch.zeros(48, 48, 3)).byte().numpy()
                    file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
                file.mux(stream.encode())
    notebook = nbformat.read(BOOK / "video" / "video_transformers.ipynb", 4)
    (cell,) = [c.source for c in notebook.cells if c.cell_type == "code" and "VideoFolder(" in c.source]
    place = {
        "folder": str(tmp_path),
        "of": optical_flow,
        "ex": experiments,
        "torch": torch,
        "seed": 0,
        "device": "cpu",
        "comparison": SimpleNamespace(longer=0.01),
        "table": table,
    }
    cell = cell.replace('folder = ""', "").replace("64", "32")
    assert "folder" not in cell.splitlines()[0].split("#")[0]
    exec(compile(cell, "cell", "exec"), place)
    assert place["right"].shape == (4,)


SMALLER = {
    "gpu=(14000, 2800)": "gpu=(14, 14)",
    "gpu=8000": "gpu=32",
    "seed + 3)": "seed + 1)",
    "round(250 * comparison.longer)": "2",
}


def test_at_scale(monkeypatch, unchecked):
    """The chapter's cells at GPU size, larger frames, more of them, all actions, with a few clips and before training."""
    monkeypatch.setattr(flow_experiments, "learn", lambda net, *inputs, **options: net.eval())
    notebook = nbformat.read(BOOK / "video" / "video_transformers.ipynb", 4)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    begins = ("import matplotlib", "generator = seed", "side, frames =", "inputs = {", "steps = ex", "namer =")
    cells = [next(source for source in code if source.startswith(begin)) for begin in begins]
    joined = "\n".join(cells)
    for old, new in SMALLER.items():
        assert joined.count(old) == 1, old
        joined = joined.replace(old, new)
    place = {"scale": "gpu", "seed": 0}
    exec(compile(joined, "cells", "exec"), place)
    assert place["test"].videos.shape == (14, 17, 3, 64, 64)
    scores = place["comparison"].scores
    assert len(scores) == 3 + 4 + 4 + 2
    assert all(one.shape == (14, 14) and one.isfinite().all() for one in scores.values())

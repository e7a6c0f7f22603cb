"""The Vision Transformer against torchvision and timm, and what is true of it by construction."""

from functools import partial

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

from helpers.transformers.vision_transformers import (
    ImageGPT,
    Perceiver,
    ViT,
    attention_distance,
    attention_maps,
    interpolate_positions,
    patches,
    resize,
    swin_small,
    vit_b_16,
    vit_b_32,
    vit_h_14,
    vit_l_16,
    vit_l_32,
    vit_s_16,
    vit_small,
    vit_ti_16,
)
from tests.transformers.reference import close, compare, fill, made, noise

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
SMALL = dict(image=12, patch=4, dim=16, depth=2, heads=4, hidden=24, classes=5)
small = partial(made, ViT, SMALL)


def theirs(**options) -> VisionTransformer:
    words = dict(image_size=12, patch_size=4, num_layers=2, num_heads=4, hidden_dim=16, mlp_dim=24, num_classes=5)
    return VisionTransformer(**words | options)


@pytest.mark.parametrize(
    "builder, parameters",
    [
        (vit_b_16, 86_567_656),
        (vit_b_32, 88_224_232),
        (vit_l_16, 304_326_632),
        (vit_l_32, 306_535_400),
        (vit_h_14, 632_045_800),
    ],
)
def test_parameter_count(builder, parameters):
    with torch.device("meta"):
        ours, reference = builder(), torchvision.models.get_model(builder.__name__)
    assert sum(p.numel() for p in ours.parameters()) == parameters
    shapes = {name: tuple(p.shape) for name, p in reference.state_dict().items()}
    assert {name: tuple(p.shape) for name, p in ours.state_dict().items()} == shapes
    heads = [block.self_attention.heads for block in ours.encoder.layers]  # which no shape shows
    assert heads == [block.num_heads for block in reference.encoder.layers]


@pytest.mark.parametrize(
    "builder, name, parameters",
    [(vit_ti_16, "vit_tiny_patch16_224", 5_717_416), (vit_s_16, "vit_small_patch16_224", 22_050_664)],
)
def test_parameter_count_of_the_small_ones(builder, name, parameters):
    import timm

    with torch.device("meta"):
        ours, reference = builder(), timm.create_model(name)
    assert sum(p.numel() for p in ours.parameters()) == parameters
    assert sum(p.numel() for p in reference.parameters()) == parameters
    assert ours.encoder.layers[0].self_attention.heads == reference.blocks[0].attn.num_heads


def test_parameter_count_by_formula():
    image, patch, d, depth, hidden, k = 12, 4, 16, 2, 24, 5
    embedding = (3 * patch**2 + 1) * d + d + (1 + (image // patch) ** 2) * d
    block = 2 * 2 * d + 4 * (d * d + d) + 2 * d * hidden + d + hidden
    assert sum(p.numel() for p in small().parameters()) == embedding + depth * block + 2 * d + (d + 1) * k


def test_shapes_by_stage():
    with torch.device("meta"):
        network, images = vit_b_16(classes=7), torch.empty(2, 3, 224, 224)
        assert network.embed(images).shape == network.features(images).shape == (2, 197, 768)
        assert network(images).shape == (2, 7)
        assert vit_b_16(classes=None)(images).shape == (2, 768)


def test_matches_reference():
    """Outputs and gradients of torchvision's, whose state is taken as it is."""
    reference = fill(theirs().double()).eval()
    ours = ViT(**SMALL).double().eval()
    ours.load_state_dict(reference.state_dict())
    images = noise(2, 3, 12, 12).requires_grad_()
    compare(ours(images), reference(images), ours, reference, inputs=images)


def test_matches_reference_in_float32():
    reference = fill(theirs()).eval()
    ours = ViT(**SMALL).eval()
    ours.load_state_dict(reference.state_dict())
    images = noise(2, 3, 12, 12).float()
    torch.testing.assert_close(ours(images), reference(images), rtol=0, atol=1e-5)


def test_matches_reference_while_training():
    """The same numbers are dropped under the same seed (of one image: torch lays out several in another order)."""
    reference = fill(theirs(dropout=0.5).double())
    ours = ViT(**SMALL, dropout=0.5).double()
    ours.load_state_dict(reference.state_dict())
    images, out = noise(1, 3, 12, 12), []
    for network in (ours, reference):
        torch.manual_seed(3)
        out.append(network(images))
    close(*out)


def test_matches_timm():
    import timm

    from benchmarks.vision_transformers import VIT, renamed

    reference = fill(
        timm.models.VisionTransformer(
            img_size=12, patch_size=4, embed_dim=16, depth=2, num_heads=4, mlp_ratio=1.5, num_classes=5
        ).double()
    ).eval()
    ours = ViT(**SMALL).double().eval()
    ours.load_state_dict({renamed(key, VIT): value for key, value in reference.state_dict().items()})
    images = noise(2, 3, 12, 12).requires_grad_()
    rename = lambda state: {renamed(key, VIT): value for key, value in state.items()}  # noqa: E731
    compare(ours(images), reference(images), ours, reference, inputs=images, renamed=rename)


def test_first_weights_are_those_that_torchvision_draws():
    torch.manual_seed(5)
    ours = ViT(**SMALL)
    torch.manual_seed(5)
    reference = theirs()
    for name, p in reference.named_parameters():
        assert torch.equal(ours.get_parameter(name), p), name


def test_old_files_load():
    """The published files were written when the two layers were linear_1 and linear_2."""
    state = small().state_dict()
    old = {k.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2"): v for k, v in state.items()}
    assert old.keys() != state.keys()
    ours = ViT(**SMALL).double()
    ours.load_state_dict(old)
    assert all(torch.equal(v, state[k]) for k, v in ours.state_dict().items())
    assert any(".linear_1." in key for key in old)  # the caller's own is left alone


def test_patches_are_a_strided_convolution():
    network, images = small(), noise(2, 3, 12, 12)
    weight, bias = network.conv_proj.weight, network.conv_proj.bias
    close(network.embed(images)[:, 1:], F.linear(patches(images, 4), weight.flatten(1), bias))
    close(patches(images, 4)[1, 5], images[1, :, 4:8, 8:12].flatten())  # second row, third column


def test_without_positions_patches_may_be_shuffled():
    network, images = small(), noise(1, 3, 12, 12)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    shuffled = F.fold(patches(images, 4)[:, order].transpose(1, 2), 12, 4, stride=4)
    assert (network(images) - network(shuffled)).abs().max() > 1e-3
    with torch.no_grad():
        network.encoder.pos_embedding.zero_()
    close(network(images), network(shuffled))
    close(network.features(images)[:, 1:][:, order], network.features(shuffled)[:, 1:])


def test_gradients_reach_every_parameter():
    network = small()
    network(noise(2, 3, 12, 12)).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in network.parameters())


def test_attention_maps():
    network, images = small(), noise(2, 3, 12, 12)
    maps = list(attention_maps(network, images))
    assert [m.shape for m in maps] == 2 * [(2, 4, 10, 10)]
    reference, seen = theirs().double().eval(), []
    reference.load_state_dict(network.state_dict())
    x = network.embed(images) + network.encoder.pos_embedding
    for block in reference.encoder.layers:
        h = block.ln_1(x)
        seen.append(block.self_attention(h, h, h, average_attn_weights=False)[1])
        x = block(x)
    close(maps, seen)


def test_attention_distance():
    weights = torch.zeros(1, 3, 5, 5, dtype=torch.float64)
    weights[0, 0] = torch.eye(5)  # each at itself
    weights[0, 1] = torch.eye(5)[[0, 2, 1, 4, 3]]  # at the neighbour in the row
    weights[0, 2] = 0.2  # everywhere, a fifth of it at the class token
    expected = torch.tensor([0, 4, (4 + 4 + 4 * 2**0.5) / 4], dtype=torch.float64)
    close(attention_distance(weights, 4), expected)
    half = attention_distance(weights.half(), 4)
    torch.testing.assert_close(half.double(), expected, rtol=1e-3, atol=0)
    weights[0, 1, 3] = torch.eye(5)[0]  # looks at the class token alone: it has no distance, and the others have theirs
    close(attention_distance(weights, 4), expected)
    weights[0, 1, 2] = torch.nan
    assert attention_distance(weights, 4).isnan().tolist() == [False, True, False]
    for t in (1, 4, 11):
        with pytest.raises(ValueError, match="give those of a class token and a square of patches"):
            attention_distance(torch.ones(1, 1, t, t), 4)


@pytest.mark.parametrize("image", [8, 12, 20])
def test_positions_are_interpolated_as_torchvision_does(image):
    network = small()
    expected = interpolate_embeddings(image, 4, dict(network.state_dict()))["encoder.pos_embedding"]
    first = network.encoder.pos_embedding[:, :1].clone()
    assert resize(network, image) is network
    close(network.encoder.pos_embedding.detach(), expected)
    close(network.encoder.pos_embedding[:, :1], first)
    assert network(noise(1, 3, image, image)).shape == (1, 5)
    reference = theirs(image_size=image).double().eval()
    reference.load_state_dict(network.state_dict())
    close(network(noise(1, 3, image, image)), reference(noise(1, 3, image, image)))


@pytest.mark.parametrize("image", [12, 20])
def test_resized_positions_learn_if_they_did(image):
    network = small()
    assert resize(network, image).encoder.pos_embedding.requires_grad
    network.encoder.pos_embedding.requires_grad_(False)
    assert not resize(network, 32 - image).encoder.pos_embedding.requires_grad


def test_a_ramp_of_positions_stays_a_ramp():
    line = torch.linspace(0, 1, 5, dtype=torch.float64)
    ramp = torch.cat([torch.full((1, 2), 7.0), torch.cartesian_prod(line, line)])[None]
    longer = interpolate_positions(ramp, 9)[0, 1:].unflatten(0, (9, 9))
    close(longer[0, [0, -1], 1], line[[0, -1]])
    assert (longer[1:, :, 0] > longer[:-1, :, 0]).all() and (longer[:, 1:, 1] > longer[:, :-1, 1]).all()


def test_learns_toy_problem():
    """Which quarter of the image holds the bright patch: a question of positions."""
    torch.manual_seed(0)
    network = vit_small(image=8, patch=2, dim=32, depth=2, classes=4, channels=1)
    at = torch.arange(16)
    images = torch.zeros(16, 1, 16).scatter(2, at[:, None, None], 1.0).unflatten(2, (4, 4))
    images = images.repeat_interleave(2, 2).repeat_interleave(2, 3)
    labels = at // 8 * 2 + at % 4 // 2
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    for _ in range(100):
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (network(images).argmax(1) == labels).all()


@pytest.mark.parametrize("device", DEVICES)
def test_device_and_dtype(device):
    network = small().float().to(device)
    images = noise(2, 3, 12, 12).float().to(device)
    out = network(images)
    assert out.device.type == device
    torch.testing.assert_close(network(images.to(memory_format=torch.channels_last)), out, rtol=0, atol=1e-5)
    lasting = small().float().to(device, memory_format=torch.channels_last)
    torch.testing.assert_close(lasting(images.to(memory_format=torch.channels_last)), out, rtol=0, atol=1e-5)
    with torch.autocast(device, torch.bfloat16):
        torch.testing.assert_close(network(images).float(), out, rtol=0, atol=0.1)
    assert network.bfloat16()(images.bfloat16()).dtype == torch.bfloat16


def test_torch_compile_gives_the_same(unchecked):
    """All four families: one graph, forward and backward."""
    images = noise(2, 3, 8, 8)
    jobs = [
        (vit_small(image=8, patch=2, depth=1), images),
        (swin_small(dim=8, window=2, depths=(2,), heads=(2,)), images),
        (ImageGPT(colours=5, context=9, dim=8, depth=1, heads=2), torch.randint(0, 5, (2, 9))),
        (Perceiver(channels=3, latents=2, dim=8, depth=1, looks=2, heads=2, classes=3), noise(2, 5, 3)),
    ]
    for model, x in jobs:
        found, model = [], model.double()
        for p in model.parameters():
            nn.init.normal_(p, std=0.3)  # last layers that start at zero would hide the others
        for run in (model, torch.compile(model, backend="aot_eager", fullgraph=True)):
            model.zero_grad()
            out = run(x)
            out.square().sum().backward()
            found.append([out, *(p.grad.clone() for p in model.parameters())])
        torch.testing.assert_close(*found, rtol=0, atol=1e-8)
        assert max(g.abs().max() for g in found[0]) > 1e-3


def test_dropout_rests_in_eval():
    network, images = small(dropout=0.5), noise(2, 3, 12, 12)
    close(network(images), small()(images))
    network.train()
    assert not torch.equal(network(images), network(images))
    with pytest.raises(ValueError, match=r"in training mode and drops at random: call network.eval\(\) first"):
        next(attention_maps(network, images))
    assert len(list(attention_maps(small().train(), images))) == 2  # without dropout the mode is no matter


@pytest.mark.parametrize("image, patch", [(8, 2), (16, 4), (28, 4), (32, 4)])
def test_the_small_one_takes_small_images(image, patch):
    assert vit_small(image=image, patch=patch)(torch.zeros(1, 3, image, image)).shape == (1, 10)


def test_bad_input(unchecked):
    with pytest.raises(ValueError, match="image = 225, patch = 16: .* multiple of the patch; resize or pad to 224"):
        vit_b_16(image=225)
    with pytest.raises(ValueError, match="image = 10, patch = 4: .* give a patch that divides it"):
        patches(torch.zeros(1, 3, 12, 10), 4)
    with pytest.raises(ValueError, match="image = 8, patch = 0"):
        vit_small(image=8, patch=0)
    with (
        pytest.raises(ValueError, match=r"image = \(12, 12\), patch = 4: give the side of a square in pixels"),
    ):
        ViT(**SMALL | dict(image=(12, 12)))
    for builder in (
        partial(ViT, **SMALL),
        partial(swin_small),
        partial(Perceiver, channels=3, latents=2, dim=8, depth=1),
    ):
        with pytest.raises(ValueError, match="classes = 0: at least 1, or None to leave the last layer out"):
            builder(**{**builder.keywords, "classes": 0})
    with pytest.raises(ValueError, match="hidden = 0: at least 1"):
        ViT(**SMALL | dict(hidden=0))
    network = small()
    for images in (noise(3, 12, 12), noise(1, 1, 12, 12)):
        with pytest.raises(ValueError, match=r"images of shape .*: give \[b 3 h w\]; image\[None\] is a batch of one"):
            network(images)
    with pytest.raises(ValueError, match=r"images of shape \(3, 12, 12\): give \[b c h w\]"):
        patches(noise(3, 12, 12), 4)
    with pytest.raises(ValueError, match=r"images of 16x12 pixels in a network for 12x12: .* resize\(network, image\)"):
        network(noise(1, 3, 16, 12))
    with pytest.raises(ValueError, match="image = 14, patch = 4"):
        resize(network, 14)
    with pytest.raises(ValueError, match="11 positions, side = 3"):
        interpolate_positions(torch.zeros(1, 11, 4), 3)
    with pytest.raises(ValueError, match="dim = 16, heads = 3"):
        ViT(**SMALL | dict(heads=3))
    with pytest.raises(ValueError, match="depth = 0"):
        ViT(**SMALL | dict(depth=0))
    with torch.device("meta"):
        with pytest.raises(ValueError, match="vit_b_16's published weights .* this network has 10 and 3"):
            vit_b_16(classes=10, weights="imagenet")
        with pytest.raises(ValueError, match="weights = 'imagenet': vit_h_14 has IMAGENET1K_SWAG_E2E_V1"):
            vit_h_14(weights="imagenet")

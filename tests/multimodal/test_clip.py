"""CLIP's encoders against transformers' CLIPModel and timm's ResNet, in outputs, gradients, counts and names."""

from functools import partial
from math import exp, log

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from helpers.data import batches
from helpers.multimodal.clip import (
    CLIP,
    AttentionPool,
    BagOfWords,
    ModifiedResNet,
    TextTransformer,
    VisionTransformer,
    clamp_logit_scale,
    clip_loss,
    clip_rn50,
    clip_small,
    clip_vit_b_16,
    clip_vit_b_32,
    clip_vit_l_14,
    clip_vit_s_16,
    from_openai,
    from_transformers,
    symmetric_loss,
)
from helpers.training import fit, gradient_update
from tests.fresh import fresh

close = partial(torch.testing.assert_close, rtol=0, atol=1e-10)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
VIT = dict(image=12, patch=4, dim=32, depth=2, heads=4)
TEXT = dict(vocab=30, context=9, dim=24, depth=2, heads=3)
# What transformers calls the sizes of the released models: text, vision, shared.
RELEASED = {
    clip_vit_b_32: (151_277_313, {}, dict(patch_size=32), 512),
    clip_vit_b_16: (149_620_737, {}, dict(patch_size=16), 512),
    clip_vit_l_14: (
        427_616_513,
        dict(hidden_size=768, intermediate_size=3072, num_attention_heads=12),
        dict(hidden_size=1024, intermediate_size=4096, num_attention_heads=16, num_hidden_layers=24, patch_size=14),
        768,
    ),
}


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fill(network: nn.Module) -> nn.Module:
    """Random numbers everywhere: zeros and ones would hide their place."""
    with torch.no_grad():
        for i, p in enumerate(network.parameters()):
            p.copy_(noise(*p.shape, seed=i) * (0.3 if p.ndim < 2 else p[0].numel() ** -0.5))
        for i, (name, buffer) in enumerate(network.named_buffers()):
            if name.endswith("running_mean"):
                buffer.copy_(0.1 * noise(*buffer.shape, seed=i))
            if name.endswith("running_var"):
                buffer.copy_(1 + noise(*buffer.shape, seed=i).abs())
    return network


def texts(b: int = 3, t: int = 9, *, vocab: int = 30, pad: int = 0) -> torch.Tensor:
    """Texts of several lengths: begin, words, end, padding."""
    rows = torch.randint(1, vocab - 2, (b, t), generator=torch.Generator().manual_seed(b))
    rows[:, 0] = vocab - 2
    for i, row in enumerate(rows):
        last = t - 1 - 2 * i
        row[last] = vocab - 1
        row[last + 1 :] = pad
    return rows


def theirs(*, end: int = 29, pad: int = 29, attention: str = "sdpa") -> nn.Module:
    from transformers import CLIPConfig, CLIPModel

    words = dict(bos_token_id=28, eos_token_id=end, pad_token_id=pad)
    config = CLIPConfig(
        text_config=words
        | dict(
            vocab_size=30,
            hidden_size=24,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=3,
            max_position_embeddings=9,
        ),
        vision_config=dict(
            hidden_size=32,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=12,
            patch_size=4,
        ),
        projection_dim=16,
        attn_implementation=attention,
    )
    return fill(CLIPModel(config).double()).eval()


def ours() -> CLIP:
    return CLIP(VisionTransformer(**VIT, features=16), TextTransformer(**TEXT, features=16)).double()


@pytest.mark.parametrize("builder", RELEASED)
def test_parameter_count(builder):
    """The released counts, those of transformers, and each name of its state, shape for shape."""
    from transformers import CLIPConfig, CLIPModel

    count, text, vision, width = RELEASED[builder]
    config = CLIPConfig(text_config=text | dict(projection_dim=width), vision_config=vision, projection_dim=width)
    with torch.device("meta"):
        mine, reference = builder(), CLIPModel(config)
        state = from_transformers(reference.state_dict())
    assert sum(p.numel() for p in mine.parameters()) == count
    assert sum(p.numel() for p in reference.parameters()) == count
    shapes = {name: tuple(p.shape) for name, p in mine.state_dict().items()}
    assert {name: tuple(p.shape) for name, p in state.items()} == shapes
    assert mine.image.transformer.layers[0].self_attn.heads == config.vision_config.num_attention_heads
    assert mine.text.transformer.layers[0].self_attn.heads == config.text_config.num_attention_heads


def test_parameter_count_of_the_resnet():
    """The released count; the image encoder has those of timm's and a name for each of OpenAI's."""
    import timm

    with torch.device("meta"):
        mine, reference = clip_rn50(), timm.create_model("resnet50_clip")
    assert sum(p.numel() for p in mine.parameters()) == 102_007_137
    image = sum(p.numel() for p in mine.image.parameters())
    assert image == sum(p.numel() for p in reference.parameters()) == 38_316_896
    assert image + sum(p.numel() for p in mine.text.parameters()) + 1 == 102_007_137
    assert mine.image.attnpool.heads == reference.head.num_heads


def test_parameter_count_of_the_small_ones():
    with torch.device("meta"):
        w, width, patches = 12 * 384**2 + 13 * 384, 384, 14 * 14
        image = 3 * 16**2 * width + width + (patches + 1) * width + 12 * w + 2 * 2 * width + width * 512
        assert sum(p.numel() for p in clip_vit_s_16().image.parameters()) == image
        small = clip_small(vocab=700, context=24)
        table, d, block = 700 * 64, 64, 12 * 64**2 + 13 * 64
        assert sum(p.numel() for p in small.text.parameters()) == table + 24 * d + block + 2 * d + d * 64
        bag = clip_small(vocab=700, context=24, text="cbow").text
        assert sum(p.numel() for p in bag.parameters()) == table + 2 * d + d * 64


def test_heads_of_those_that_no_reference_has():
    """12 of 32 features in SLIP's ViT-S/16 (MoCo v3's), 4 of 16 in the book's own."""
    with torch.device("meta"):
        slip, vit = clip_vit_s_16(), clip_small(vocab=9, context=4, vision="vit")
        pool = clip_small(vocab=9, context=4).image.attnpool
    for encoder, heads, features in ((slip.image, 12, 32), (slip.text, 8, 64), (vit.image, 4, 16), (vit.text, 4, 16)):
        for block in encoder.transformer.layers:
            attention = block.self_attn
            assert (attention.heads, attention.in_proj_weight.shape[1] // attention.heads) == (heads, features)
    assert pool.heads == 4


def test_shapes_by_stage():
    with torch.device("meta"):
        vit, resnet = clip_vit_b_32(), clip_rn50()
        images, tokens = torch.empty(2, 3, 224, 224), torch.empty(5, 77, dtype=torch.long)
        assert vit.image.tokens(images).shape == (2, 50, 768)
        assert resnet.image.maps(images).shape == (2, 2048, 7, 7)
        assert resnet.image(images).shape == (2, 1024)
        assert vit.text.transformer(torch.empty(5, 77, 512), causal=True).shape == (5, 77, 512)
        assert vit.image(images).shape == (2, 512) and vit.text.token_embedding(tokens).shape == (5, 77, 512)


@pytest.mark.parametrize("end, pad", [(29, 0), (29, 29), (2, 0), (2, 1)])
def test_matches_reference(end, pad):
    """Features, logits, loss and all gradients of transformers' CLIPModel; its old files say that 2 is the end."""
    reference, mine = theirs(end=end, pad=pad), ours()
    mine.load_state_dict(from_transformers(reference.state_dict()))
    images, tokens = noise(3, 3, 12, 12).requires_grad_(), texts(pad=pad)
    out = reference(input_ids=tokens, pixel_values=images, return_loss=True)
    pictures, sentences, scale = mine(images, tokens)
    close(pictures, out.image_embeds)
    close(sentences, out.text_embeds)
    close(scale * pictures @ sentences.T, out.logits_per_image)
    loss = symmetric_loss(scale * pictures @ sentences.T)
    close(loss, out.loss)
    gradients = torch.autograd.grad(loss, [images, *mine.parameters()])
    named = dict(zip([name for name, _ in mine.named_parameters()], gradients[1:], strict=True))
    kept = dict(reference.named_parameters())
    found = torch.autograd.grad(out.loss, [images, *kept.values()])
    close(gradients[0], found[0])
    expected = from_transformers(dict(zip(kept, found[1:], strict=True)))
    assert named.keys() == expected.keys()
    for name, gradient in named.items():
        close(gradient, expected[name], msg=name)


def test_matches_reference_in_float32():
    reference, mine = theirs(attention="eager").float(), ours().float()
    mine.load_state_dict(from_transformers(reference.state_dict()))
    images, tokens = noise(3, 3, 12, 12).float(), texts()
    out = reference(input_ids=tokens, pixel_values=images)
    pictures, sentences, scale = mine(images, tokens)
    torch.testing.assert_close(scale * pictures @ sentences.T, out.logits_per_image, rtol=1e-4, atol=1e-4)


def openai_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Our names as OpenAI's files spell them, written here once more, the other way round."""
    found = {}
    for key, value in state.items():
        key = key.replace(".layers.", ".resblocks.").replace(".self_attn.", ".attn.").replace(".norm", ".ln_")
        key = key.replace(".linear1.", ".mlp.c_fc.").replace(".linear2.", ".mlp.c_proj.")
        key = key.replace("image.", "visual.").replace("text.projection", "text_projection").replace("text.", "")
        found[key] = value
    return found


BLOCK = [
    f"{part}.{kind}"
    for part in ("ln_1", "ln_2", "mlp.c_fc", "mlp.c_proj", "attn.out_proj")
    for kind in ("weight", "bias")
]
BLOCK = [f"transformer.resblocks.0.{name}" for name in (*BLOCK, "attn.in_proj_weight", "attn.in_proj_bias")]
TEXTS = ["token_embedding.weight", "positional_embedding", "ln_final.weight", "ln_final.bias", "text_projection"]
VISUAL = ["class_embedding", "conv1.weight", "positional_embedding", "proj", *BLOCK]
VISUAL += [f"ln_{where}.{kind}" for where in ("pre", "post") for kind in ("weight", "bias")]


def test_names_are_those_of_the_released_files():
    vision = VisionTransformer(image=8, patch=4, dim=16, depth=1, heads=2, features=8)
    text = TextTransformer(vocab=10, context=4, dim=16, depth=1, heads=2, features=8)
    state = openai_names(CLIP(vision, text).state_dict())
    assert sorted(state) == sorted(["logit_scale", *TEXTS, *BLOCK, *(f"visual.{name}" for name in VISUAL)])
    numbers = dict.fromkeys(("input_resolution", "context_length", "vocab_size"), torch.tensor(4))
    halves = {name: value.half() for name, value in state.items()}
    back = from_openai(halves | numbers)
    assert back.keys() == CLIP(vision, text).state_dict().keys()
    assert all(value.dtype == torch.float32 for value in back.values())
    with torch.device("meta"):
        resnet = clip_rn50().image.state_dict()
    assert {name for name in resnet if name.startswith("attnpool")} == {
        "attnpool.positional_embedding",
        *(f"attnpool.{part}_proj.{kind}" for part in "qkvc" for kind in ("weight", "bias")),
    }
    assert {"layer1.0.downsample.0.weight", "layer1.0.downsample.1.weight"} <= resnet.keys()


def test_resnet_matches_timm():
    """timm reads OpenAI's names into a network of its own, which it builds from other parts."""
    import timm
    from timm.models.byobnet import checkpoint_filter_fn

    mine = fill(clip_rn50(image=64).image.double()).eval()
    reference = timm.create_model("resnet50_clip", img_size=64, num_classes=1024).double().eval()
    state = {f"visual.{name}": value for name, value in mine.state_dict().items()}
    reference.load_state_dict(checkpoint_filter_fn(state, reference))
    images = noise(2, 3, 64, 64).requires_grad_()
    out, expected = mine(images), reference(images)
    assert out.std() > 1e-3
    torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-10)
    weights = noise(2, 1024, seed=1)
    (g,) = torch.autograd.grad((out * weights).sum(), images)
    (e,) = torch.autograd.grad((expected * weights).sum(), images)
    torch.testing.assert_close(g, e, rtol=1e-8, atol=1e-10)


def test_attention_pool_by_hand():
    """F.multi_head_attention_forward of one query, as OpenAI calls it."""
    pool, x = fill(AttentionPool(side=3, dim=8, heads=2, features=5).double()), noise(2, 8, 3, 3)
    t = x.flatten(2).permute(2, 0, 1)
    t = torch.cat([t.mean(0, keepdim=True), t]) + pool.positional_embedding[:, None]
    expected, _ = F.multi_head_attention_forward(
        t[:1], t, t, 8, 2, None,
        torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]), None, None, False, 0.0,
        pool.c_proj.weight, pool.c_proj.bias, use_separate_proj_weight=True,
        q_proj_weight=pool.q_proj.weight, k_proj_weight=pool.k_proj.weight, v_proj_weight=pool.v_proj.weight,
    )  # fmt: skip
    close(pool(x), expected[0])


def test_strides_are_means():
    """A shift by one pixel of a fine grating moves a block with strides more than one with means."""
    net = clip_small(vocab=9, context=4).image
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert [m.stride for m in convolutions].count((2, 2)) == 1 and convolutions[0].stride == (2, 2)
    pools = [m.kernel_size for m in net.modules() if isinstance(m, nn.AvgPool2d)]
    assert pools.count(2) == 3  # the stem's, and the second stage's on branch and shortcut


@pytest.mark.parametrize("vision", ["resnet", "vit"])
@pytest.mark.parametrize("text", ["transformer", "cbow"])
def test_gradients_reach_every_parameter(vision, text):
    torch.manual_seed(0)
    model = clip_small(vocab=30, context=9, vision=vision, text=text)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # the last of each branch begins at 0
    images, tokens = noise(3, 3, 32, 32).float(), texts()
    loss, _ = clip_loss(model, (images, tokens))
    loss.backward()
    for name, p in model.named_parameters():
        if name.endswith(("in_proj_bias", "k_proj.bias")):
            continue  # a softmax ignores what all keys share
        assert p.grad is not None and p.grad.abs().sum() > 0, name


def test_bottlenecks_begin_as_identity():
    """Behind the first of a stage, whose shortcut is projected, a block hands on what it is given."""
    net = ModifiedResNet((3, 2), width=4, heads=2, features=5, image=16)
    for stage in (net.layer1, net.layer2):
        for block in stage[1:]:
            x = torch.rand(2, block.conv1.in_channels, 4, 4)
            torch.testing.assert_close(block(x), x)
        x = noise(2, stage[0].conv1.in_channels, 4, 4).float()
        torch.testing.assert_close(stage[0](x), stage[0].downsample(x).relu())


def test_text_is_causal_and_read_at_its_end():
    encoder, tokens = fill(TextTransformer(**TEXT, features=16).double()), texts()
    other = tokens.clone()
    other[1, 8] = other[2, 5:] = 7  # after the ends, which stand at 6 and 4
    assert torch.equal(encoder(tokens), encoder(other))
    twice = tokens.clone()
    twice[2, 6] = 29  # the first end counts
    assert torch.equal(encoder(tokens), encoder(twice))
    other[0, 3] = (tokens[0, 3] + 1) % 28
    assert not torch.allclose(encoder(tokens)[0], encoder(other)[0])
    shorter = encoder(tokens[1:, :7])
    close(shorter, encoder(tokens)[1:])


def test_bag_of_words_does_not_know_order():
    encoder, tokens = fill(BagOfWords(vocab=30, context=9, dim=24, features=16).double()), texts()
    turned = tokens.clone()
    turned[0, 1:8] = tokens[0, 1:8].flip(0)
    close(encoder(turned), encoder(tokens))
    reader = fill(TextTransformer(**TEXT, features=16).double())
    assert not torch.allclose(reader(turned)[0], reader(tokens)[0])
    words = encoder.token_embedding(tokens[1, 1:6]).mean(0)
    close(encoder(tokens)[1], encoder.ln_final(words) @ encoder.projection)
    empty = torch.tensor([[28, 29, 0]])
    assert encoder(empty).isfinite().all()


def test_features_have_length_one_and_first_temperature_is_the_papers():
    model = clip_small(vocab=30, context=9)
    pictures, sentences, scale = model(noise(2, 3, 32, 32).float(), texts())
    torch.testing.assert_close(pictures.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(sentences.norm(dim=1), torch.ones(3))
    assert scale.item() == pytest.approx(1 / 0.07, rel=1e-5)


def test_first_weights_have_the_authors_scales():
    """What adds to the residual path is smaller the deeper it is."""
    torch.manual_seed(0)
    dim, depth = 64, 8
    text = TextTransformer(vocab=500, context=80, dim=dim, depth=depth, heads=4, features=96)
    vit = VisionTransformer(image=32, patch=4, dim=dim, depth=depth, heads=4, features=96)
    pool = AttentionPool(side=7, dim=dim, heads=4, features=96)
    bag = BagOfWords(vocab=500, context=80, dim=dim, features=96)
    expected = {dim**-0.5: [vit.positional_embedding, vit.proj, text.projection, pool.positional_embedding]}
    expected[dim**-0.5] += [bag.projection]
    expected[dim**-0.5] += [getattr(pool, f"{part}_proj").weight for part in "qkvc"]
    expected |= {0.02: [text.token_embedding.weight, bag.token_embedding.weight], 0.01: [text.positional_embedding]}
    for block in (*text.transformer.layers, *vit.transformer.layers):
        attention = block.self_attn
        expected[dim**-0.5].append(attention.in_proj_weight)
        expected.setdefault((2 * dim) ** -0.5, []).append(block.linear1.weight)
        expected.setdefault((2 * dim * depth) ** -0.5, []).extend([attention.out_proj.weight, block.linear2.weight])
    for std, weights in expected.items():
        for weight in weights:
            assert weight.std().item() == pytest.approx(std, rel=0.1)
    assert vit.class_embedding.std().item() == pytest.approx(dim**-0.5, rel=0.3)  # of 64 numbers


def test_accuracy_counts_images_that_find_their_text():
    """Two images are nearest to the text of the first; of the texts all find their own."""

    class Given(nn.Module):
        def forward(self, images, tokens):
            return F.normalize(images, dim=1), F.normalize(tokens, dim=1), torch.tensor(1.0)

    images = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])
    tokens = torch.tensor([[1.0, 0.1, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    _, metrics = clip_loss(Given(), (images, tokens))
    hits, count = metrics["accuracy"]
    assert (int(hits), count) == (2, 3)


def test_scale_is_clamped_when_told_and_by_nothing_else():
    model = clip_small(vocab=30, context=9).train()
    batch = noise(3, 3, 32, 32).float(), texts()
    model.logit_scale.data.fill_(7.0)
    *_, scale = model(*batch)
    assert scale.item() == pytest.approx(exp(7), rel=1e-5) and model.logit_scale.item() == 7
    clamp_logit_scale(model)
    assert model.logit_scale.item() == pytest.approx(log(100)) and model.logit_scale.requires_grad
    model.logit_scale.data.fill_(1.0)
    clamp_logit_scale(model)
    assert model.logit_scale.item() == 1


@pytest.mark.parametrize("vision", ["resnet", "vit"])
def test_learns_toy_problem(vision):
    """Eight colours and the words for them."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    labels = torch.arange(8).repeat(16)
    colours = torch.tensor([[c >> 2 & 1, c >> 1 & 1, c & 1] for c in range(8)]).float()
    images = colours[labels][:, :, None, None] + 0.3 * torch.randn(128, 3, 32, 32, generator=generator)
    tokens = torch.stack([torch.tensor([28, 1 + k, 29, 0]) for k in labels.tolist()])
    model = clip_small(vocab=30, context=4, vision=vision)
    update = gradient_update(model, torch.optim.Adam(model.parameters(), 2e-3), clip_loss)
    distinct = [torch.randperm(16, generator=generator)[i] * 8 + torch.arange(8) for i in range(16)]
    stream = (tuple(x[place] for x in (images, tokens)) for _ in range(6) for place in distinct)
    fit(update, stream, 60, progress=False)
    model.eval()
    with torch.no_grad():
        nearest = (model.embed_images(images) @ model.embed_texts(tokens[:8]).T).argmax(1)
    assert (nearest == labels).double().mean() > 0.9


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("vision", ["resnet", "vit"])
def test_device_and_dtype(device, vision):
    torch.manual_seed(0)
    model = clip_small(vocab=30, context=9, vision=vision).to(device)
    images, tokens = noise(3, 3, 32, 32).float().to(device), texts().to(device)
    twin = clip_small(vocab=30, context=9, vision=vision).to(device)
    twin.load_state_dict(model.state_dict())
    model.eval(), twin.eval()
    for mine, other in zip(model(images, tokens), twin(images, tokens), strict=True):
        assert torch.equal(mine, other)
    with torch.autocast(device, torch.bfloat16):
        loss, metrics = clip_loss(model, (images, tokens))
    loss.backward()
    assert loss.isfinite() and all(p.grad.isfinite().all() for p in model.parameters())
    assert metrics["accuracy"][1] == 3
    half = model.double()
    assert half(images.double(), tokens)[0].dtype == torch.float64


@pytest.mark.gpu
def test_full_size_in_bfloat16_on_a_gpu():
    model = clip_vit_b_32().cuda()
    tokens = texts(8, 40, vocab=49_408).cuda()
    images = noise(8, 3, 224, 224).float().cuda()
    with torch.autocast("cuda", torch.bfloat16):
        eager, _ = clip_loss(model, (images, tokens))
        compiled, _ = clip_loss(torch.compile(model), (images, tokens))
    eager.backward()
    assert eager.isfinite() and abs(eager - compiled) < 0.05
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_encoders_read_no_values_and_break_no_graph(unchecked):
    """So a GPU need not be waited for: they run on fakes, which have no values, and in one graph, losses and all."""
    images, tokens = noise(3, 3, 32, 32).float(), texts()
    for kinds in (dict(vision="resnet", text="transformer"), dict(vision="vit", text="cbow")):
        small = partial(clip_small, vocab=30, context=9, **kinds)
        model = small().eval()
        compiled = torch.compile(pair_loss, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(model, images, tokens), pair_loss(model, images, tokens))
        with FakeTensorMode():
            assert pair_loss(small(), torch.empty(3, 3, 32, 32), torch.empty(3, 9, dtype=torch.long)).shape == ()


def pair_loss(model: nn.Module, images: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    return clip_loss(model, (images, tokens))[0]


def test_states_of_others_are_told_apart():
    with pytest.raises(ValueError, match="no name begins with 'visual.', .*try from_transformers"):
        from_openai(theirs().state_dict())
    with pytest.raises(ValueError, match="no name begins with 'vision_model.', .*try from_openai"):
        from_transformers({f"visual.{k}": v for k, v in ours().image.state_dict().items()})
    state = theirs().state_dict()
    del state["text_model.encoder.layers.0.self_attn.k_proj.bias"]
    with pytest.raises(ValueError, match="text.transformer.layers.0.self_attn.in_proj_bias of q, v only"):
        from_transformers(state)


def refused(message: str, call, *arguments, **words):
    with pytest.raises(ValueError, match=message):
        call(*arguments, **words)


def test_bad_input_is_named(unchecked):
    vit, resnet = VisionTransformer(**VIT, features=16), ModifiedResNet((1, 1), width=8, heads=2, features=4, image=16)
    text = TextTransformer(**TEXT, features=16)
    refused("images of 16x12 pixels in an encoder for 12x12: resize", vit, torch.zeros(1, 3, 16, 12))
    refused("images of 24x24 pixels in an encoder for 16x16", resnet, torch.zeros(1, 3, 24, 24))
    refused(r"images of \(3, 12, 12\): .*; one image is images\[None\]", vit, torch.zeros(3, 12, 12))
    refused(r"images of \(1, 1, 16, 16\)", resnet, torch.zeros(1, 1, 16, 16))
    refused("images of torch.uint8: numbers in 0 … 1", vit, torch.zeros(1, 3, 12, 12, dtype=torch.uint8))
    refused("image = 14, patch = 4: .* resize or pad to", VisionTransformer, **VIT | dict(image=14), features=4)
    refused("image = 20: 2 stages divide the side by 8", ModifiedResNet, (1, 1), width=8, heads=2, features=4, image=20)
    for depths in ((), (1, 0, 1)):
        refused(r"depths = .*at least 1 stage, 1 block in each", ModifiedResNet, depths, width=8, heads=2, features=4)
    refused("width = 7: .*an even width", ModifiedResNet, (1,), width=7, heads=2, features=4)
    refused("dim = 8, heads = 3", AttentionPool, side=2, dim=8, heads=3, features=4)
    refused("token 30: the 30 tokens", text, torch.full((1, 4), 30))
    refused("token -1", text, torch.tensor([[28, -1, 29]]))
    refused("10 tokens: the context of this encoder is 9; .*truncate=True", text, torch.full((1, 10), 29))
    refused("text 1 has no token 29", text, torch.tensor([[28, 29], [28, 3]]))
    bag = BagOfWords(vocab=30, context=9, dim=8, features=4)
    refused("text 0 has no token 29", bag, torch.tensor([[28, 3]]))
    refused("token 31: the 30 tokens", bag, torch.tensor([[28, 31, 29]]))
    refused(r"tokens of \(3,\), torch.int64: integers, a row for each text", text, torch.tensor([28, 3, 29]))
    refused("tokens of .* torch.float32", text, torch.tensor([[28.0, 3, 29]]))
    refused("end = 30: the 30 tokens are 0 to 29", TextTransformer, **TEXT, features=4, end=30)
    refused("temperature = inf", CLIP, vit, text, temperature=float("inf"))
    refused("temperature = 0.0: it is above 0", CLIP, vit, text, temperature=0.0)
    refused("vision = 'eye': one of resnet, vit", clip_small, vocab=9, context=4, vision="eye")
    refused("text = 'ear': one of transformer, cbow", clip_small, vocab=9, context=4, text="ear")
    model = CLIP(vit, text)
    refused("n = 1: a contrastive loss compares", clip_loss, model, (torch.zeros(1, 3, 12, 12), texts(1)))


def test_nothing_happens_at_import():
    program = (
        "import sys, torch; state = torch.random.get_rng_state(); import helpers.multimodal.clip; "
        "assert torch.equal(state, torch.random.get_rng_state()); "
        "assert not {'sklearn', 'transformers', 'timm', 'matplotlib'} & set(sys.modules)"
    )
    fresh(program)


def test_a_batch_stream_feeds_the_loss():
    images, tokens = noise(6, 3, 32, 32).float(), texts().repeat(2, 1)
    model = clip_small(vocab=30, context=9)
    stream = batches(images, tokens, batch_size=4, generator=torch.Generator().manual_seed(0), drop_last=True)
    update = gradient_update(model, torch.optim.SGD(model.parameters(), 0.01), clip_loss)
    assert fit(update, stream, 2, progress=False)["loss"][0] > 0

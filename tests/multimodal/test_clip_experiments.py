"""Captioned scenes, facts and their mirror images, streams and folders; and what the chapter does at GPU size."""

import csv
from functools import partial

import matplotlib
import matplotlib.pyplot as plt
import nbformat
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

import helpers.training
from helpers.data.scenes import COLOURS, make_scenes, relations, split_combinations
from helpers.multimodal import clip
from helpers.multimodal.clip import experiments as ex
from helpers.multimodal.clip import figures
from helpers.training import autocast, cosine_decay, fit, gradient_update, scheduled, warmup
from tools.notebooks import BOOK

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def two() -> ex.Captioned:
    return ex.captioned(60, ex.scene_rules(2), seed=3, image=24)


@pytest.fixture(scope="module")
def tokenizer(two) -> clip.Tokenizer:
    return clip.Tokenizer(clip.train_merges(two.captions, 100))


def test_scenes_are_those_of_the_book(two):
    theirs = make_scenes(60, 24, seed=3, rules=ex.scene_rules(2))
    torch.testing.assert_close(two.images, theirs.images)
    assert two.images.is_contiguous(memory_format=torch.channels_last)
    assert two.captions == theirs.captions and two.scenes == theirs.scenes
    assert {thing.size_name for scene in two.scenes for thing in scene.things} == {"large"}


def test_held_out_combinations_stay_out():
    seen, held = split_combinations(ex.SHAPES, held_out=0.2, seed=0)
    assert len(held) == 10 and len(seen) == 38
    data = ex.captioned(200, ex.scene_rules((1, 2), seen), seed=0, image=8)
    drawn = {(thing.shape, thing.colour) for scene in data.scenes for thing in scene.things}
    assert not drawn & held and len(drawn) == 38


def test_labels_name_colour_and_shape():
    data = ex.captioned(30, ex.scene_rules(1), seed=1, image=8)
    labels = ex.class_labels(data.scenes)
    assert len(ex.NAMES) == len(ex.SHAPES) * len(COLOURS) == 48
    for label, text in zip(labels.tolist(), data.captions, strict=True):
        assert ex.NAMES[label] in text


def test_facts_are_true_and_mirrored(two):
    facts = ex.two_thing_facts(two)
    assert len(facts.images) == len(facts.mirrored) == len(facts.texts) == len(facts.mirrored_texts) > 20
    index = {image.numpy().tobytes(): scene for image, scene in zip(two.images, two.scenes, strict=True)}
    for image, mirrored, text, other in zip(*(facts[i] for i in (0, 2, 1, 3)), strict=True):
        scene = index[image.numpy().tobytes()]
        names = [f"{thing.colour} {thing.shape}" for thing in scene.things]
        told = [
            f"{names[i]} {relation} a {names[j]}".replace("a orange", "an orange")
            for i, relation, j in relations(scene)
        ]
        assert any(text.endswith(fact) for fact in told) and not any(other.endswith(fact) for fact in told)
        assert sorted(text.split()) == sorted(other.split()) and text != other
        axis = 2 if "to the" in text else 1
        assert torch.equal(mirrored.flip(axis), image)
    with pytest.raises(ValueError, match="5 scenes without a relation of two things: draw some with count=2"):
        ex.two_thing_facts(ex.captioned(5, ex.scene_rules(1), seed=0, image=8))


def test_stream_is_the_same_for_any_number_of_workers(tokenizer):
    stream = ex.SceneStream(8, ex.scene_rules(1), tokenizer, seed=5, image=16, context=12)
    scenes = make_scenes(8, 16, seed=5, rules=ex.scene_rules(1))
    alone = list(DataLoader(stream, 4))
    many = list(DataLoader(stream, 4, num_workers=2))
    torch.testing.assert_close(alone, many, rtol=0, atol=0)
    torch.testing.assert_close(torch.cat([x for x, _ in alone]), scenes.images)
    assert torch.equal(torch.cat([y for _, y in alone]), tokenizer(scenes.captions, context=12, truncate=True))
    assert len(list(stream)) == 8
    with pytest.raises(IndexError, match="scene -1 of 8"):
        stream[-1]
    with pytest.raises(ValueError, match="length = 0"):
        ex.SceneStream(0, ex.scene_rules(1), tokenizer, seed=5, image=16, context=12)


@pytest.fixture
def folder(tmp_path):
    """Three photographs, one with two sentences, in the form of Flickr8k."""
    where = tmp_path / "flickr8k"
    (where / "Images").mkdir(parents=True)
    for i, size in enumerate([(40, 30), (30, 60), (32, 32)]):
        Image.new("RGB", size, (255, 0, 51 * i)).save(where / "Images" / f"{i}.png")
    rows = [
        ("image", "caption"),
        ("0.png", "A red sky ."),
        ("0.png", 'Red, "so red" .'),
        ("1.png", "tall"),
        ("2.png", "a"),
    ]
    with (where / "captions.txt").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return where


def test_folder_of_photographs(folder, tokenizer):
    data = ex.CaptionedFolder(folder, tokenizer, image=16, context=20)
    assert len(data) == 4 and data.rows[1] == ("0.png", 'Red, "so red" .')
    for i, blue in enumerate([0.0, 0.0, 0.2, 0.4]):
        pixels, tokens = data[i]
        torch.testing.assert_close(pixels, torch.tensor([1.0, 0.0, blue])[:, None, None].expand(3, 16, 16))
        assert tokenizer.decode(tokens) == " ".join(clip.split_words(data.rows[i][1]))
    (folder / "Images" / "2.png").write_text("half a download")
    with pytest.raises(ValueError, match=r"2.png cannot be read \(UnidentifiedImageError\): fetch it anew"):
        data[3]
    (folder / "captions.txt").write_text("\ufeffimage,caption\n0.png,a\n\n", encoding="utf-8")
    assert ex.read_captions(folder) == [("0.png", "a")]
    (folder / "captions.txt").write_text("image,caption\n0.png,red, so red\n1.png,tall\n")
    with pytest.raises(ValueError, match="'0.png', 'red', ' so red'. are 3 fields; put a sentence with commas"):
        ex.read_captions(folder)
    (folder / "captions.txt").write_text("image,caption\n0.png,a\n1.png,tall\n")
    (folder / "Images" / "1.png").unlink()
    with pytest.raises(ValueError, match=r"Images has no 1.png, of captions.txt"):
        ex.CaptionedFolder(folder, tokenizer, image=16, context=20)
    (folder / "captions.txt").write_text("name|sentence\n")
    with pytest.raises(ValueError, match="captions.txt: its first line is image,caption"):
        ex.read_captions(folder)
    (folder / "captions.txt").unlink()
    with pytest.raises(ValueError, match="flickr8k holds no captions.txt: give a folder"):
        ex.read_captions(folder)


def test_photographs_are_shrunk_evenly_and_cut_in_the_middle(folder, tokenizer):
    """Of 64 by 32 pixels, whose middle 32 columns are white, all 16 by 16 are white, and nothing else is seen."""
    wide = Image.new("RGB", (64, 32), (0, 0, 0))
    wide.paste((255, 255, 255), (16, 0, 48, 32))
    wide.save(folder / "Images" / "0.png")
    tall = wide.transpose(Image.Transpose.ROTATE_90)
    tall.save(folder / "Images" / "1.png")
    data = ex.CaptionedFolder(folder, tokenizer, image=16, context=20)
    for i in (0, 2):
        pixels, _ = data[i]
        inner = pixels[:, 1:-1, 1:-1]
        assert pixels.shape == (3, 16, 16) and (inner > 0.99).all()


def test_stripes_that_are_too_fine_turn_grey(folder, tokenizer):
    """One column in four is white, and four become one: each is a quarter white, not black."""
    stripes = torch.zeros(64, 64, dtype=torch.uint8)
    stripes[:, ::4] = 255
    for i, pixels in enumerate((stripes, stripes.T)):
        Image.fromarray(pixels.numpy()).save(folder / "Images" / f"{i}.png")
    data = ex.CaptionedFolder(folder, tokenizer, image=16, context=20)
    for i in (0, 2):
        inner = data[i][0][:, 1:-1, 1:-1]
        torch.testing.assert_close(inner, torch.full_like(inner, 0.25), rtol=0, atol=0.01)


def at_scale(**names) -> list[str]:
    """The chapter's cells that hold its run at GPU size, the first one carried out with `names`."""
    cells = [cell.source for cell in nbformat.read(BOOK / "multimodal/clip.ipynb", 4).cells if cell.cell_type == "code"]
    return [
        next(cell for cell in cells if landmark in cell) for landmark in ("def train_at_scale", 'if scale == "gpu"')
    ]


def test_chapter_begins_at_scale(tokenizer, folder, monkeypatch):
    """Its own function, with an update on few pairs; and its own cell, with the reader's folder."""
    define, run = at_scale()

    def one_update(update, stream, steps, **settings):
        return fit(update, stream, 1, progress=False)

    seen, _ = split_combinations(ex.SHAPES, held_out=0.2, seed=0)
    names = dict(
        globals(), torch=torch, partial=partial, device=torch.device("cpu"), tokenizer=tokenizer, fit=one_update,
        autocast=autocast, scheduled=scheduled, cosine_decay=cosine_decay, warmup=warmup,
        gradient_update=gradient_update, scale="gpu", seen=seen, data_folder=lambda: folder.parent,
    )  # fmt: skip
    exec(define, names)
    stream = ex.SceneStream(8, ex.scene_rules(1), tokenizer, seed=1, image=16, context=32)
    model = names["train_at_scale"](stream, 4, 16, 10, workers=0)
    assert not model.training and sum(p.numel() for p in model.image.parameters()) > 20e6
    asked = []
    names["train_at_scale"] = lambda data, pairs, image, steps: asked.append((data, pairs, image, steps))
    exec(run, names)
    (scenes, *sizes), (photographs, *others) = asked
    assert sizes == [4096, 64, 4000] and others == [1024, 128, 2000]
    assert scenes[10**7 - 1][0].shape == (3, 64, 64) and photographs[3][0].shape == (3, 128, 128)
    assert len(photographs) == 4 and helpers.training.fit is fit


PROMPTS = ["a {}"]


@pytest.fixture(scope="module")
def one() -> ex.Captioned:
    return ex.captioned(96, ex.scene_rules(1), seed=5)


def columns(data: ex.Captioned, tokenizer: clip.Tokenizer) -> tuple[torch.Tensor, torch.Tensor]:
    return data.images, tokenizer(data.captions, context=ex.CONTEXT, truncate=True)


def test_one_recipe_lowers_the_loss_and_repeats(one, tokenizer):
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        models.append(clip.clip_small(vocab=tokenizer.vocab, context=ex.CONTEXT))
        history = ex.learn(models[-1], columns(one, tokenizer), 24, seed=1, batch_size=32)
    first, again = models
    assert all(map(torch.equal, first.parameters(), again.parameters())) and not first.training
    assert history["loss"][-4:].mean() < history["loss"][:4].mean() - 0.3
    assert history["learning rate"][0] == 0 and history["learning rate"].argmax() == 4  # a rise of a sixth


class Given(clip.CLIP):
    """The features come as they are, and the scale is given by its logarithm."""

    def __init__(self, logit_scale: float):
        nn.Module.__init__(self)
        self.logit_scale = nn.Parameter(torch.tensor(logit_scale, dtype=torch.float64))

    def forward(self, images, texts):
        return images, texts, self.logit_scale.exp()


@pytest.mark.parametrize("loss", [ex.training_loss, ex.grouped_loss(4)])
def test_training_begins_each_step_at_a_scale_of_100_at_most(loss):
    """The step before went beyond; the loss is that at 100, and its gradient may bring the scale down."""
    images, texts = (nn.functional.normalize(torch.randn(4, 5, dtype=torch.float64), dim=1) for _ in range(2))
    model, expected = Given(7.0), clip.contrastive_loss(images, texts, torch.tensor(100.0, dtype=torch.float64))
    value = loss(model, (images, texts))
    value = value[0] if isinstance(value, tuple) else value
    torch.testing.assert_close(value, expected)
    value.backward()
    assert model.logit_scale.exp().item() == pytest.approx(100) and model.logit_scale.grad != 0


def test_groups_compare_within_themselves():
    images, texts = (nn.functional.normalize(torch.randn(8, 5, dtype=torch.float64), dim=1) for _ in range(2))
    model = Given(3.0)
    scale = model.logit_scale.exp()
    whole = clip.contrastive_loss(images, texts, scale)
    torch.testing.assert_close(ex.grouped_loss(8)(model, (images, texts)), whole)
    halves = [clip.contrastive_loss(images[k : k + 4], texts[k : k + 4], scale) for k in (0, 4)]
    torch.testing.assert_close(ex.grouped_loss(4)(model, (images, texts)), sum(halves) / 2)


class Seeing(clip.CLIP):
    """A model that knows all scenes: features of pictures and sentences are one-hot classes."""

    def __init__(self, data: ex.Captioned, tokenizer: clip.Tokenizer):
        nn.Module.__init__(self)
        self.data, self.tokenizer = data, tokenizer

    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.one_hot(ex.class_labels(self.data.scenes), 48).float()[: len(images)]

    def embed_texts(self, tokens: torch.Tensor) -> torch.Tensor:
        texts = [self.tokenizer.decode(row) for row in tokens]
        return torch.tensor([[float(name in text) for name in ex.NAMES] for text in texts])


def test_zero_shot_score_counts_pictures_that_are_named(one):
    tokenizer = clip.Tokenizer(clip.train_merges(one.captions, 200))
    model = Seeing(one, tokenizer)
    assert ex.zero_shot_score(model, tokenizer, one, PROMPTS) == 1
    names = [["orange disk", "red star"]]
    read = ex.reader(model, tokenizer)
    assert read([f"a {names[0][0]}"]).argmax() == ex.NAMES.index("orange disk")
    assert ex.share_right(torch.tensor([1, 2, 3, 4]), torch.tensor([1, 2, 0, 0])) == 0.5
    assert ex.embed_all(model, one).shape == (96, 48)


def test_narrow_models_are_scored_in_each_world(one, tokenizer):
    little = one._replace(images=nn.functional.avg_pool2d(one.images, 2))
    data = columns(little, tokenizer)
    scores = ex.narrow_scores(data, tokenizer, [little, little], PROMPTS, 3, seed=0, batch_size=16)
    assert scores.shape == (2,) and scores[0] == scores[1] and 0 <= scores[0] <= 1
    assert ex.narrow_clip(tokenizer.vocab).embed_images(little.images[:2]).shape == (2, 64)


def test_a_bag_of_words_cannot_tell_mirrored_sentences_apart(two, tokenizer):
    facts = ex.two_thing_facts(two)
    torch.manual_seed(0)
    bag = clip.clip_small(vocab=tokenizer.vocab, context=ex.CONTEXT, text="cbow").eval()
    reads = clip.clip_small(vocab=tokenizer.vocab, context=ex.CONTEXT).eval()
    assert ex.from_mirrored_to_true(bag, tokenizer, facts).abs().max() < 1e-6
    assert ex.from_mirrored_to_true(reads, tokenizer, facts).norm(dim=1).min() > 1e-3
    assert ex.order_right(bag, tokenizer, facts._replace(images=torch.zeros(len(facts.texts), 3, 32, 32),
                                                         mirrored=torch.zeros(len(facts.texts), 3, 32, 32))) == 0  # fmt: skip


def test_free_features_close_a_gap_at_a_high_temperature():
    generator = torch.Generator().manual_seed(0)
    images, texts = (torch.randn(20, 6, generator=generator) * 0.1 for _ in range(2))
    images[:, 0] += 1
    texts[:, 0] -= 1
    images, texts = (nn.functional.normalize(x, dim=1) for x in (images, texts))
    before = images.clone()
    warm, cold = (ex.gap_of_free_features(images, texts, t, 300) for t in (1.0, 0.01))
    assert len(warm) == 300 and warm[0] == cold[0] == pytest.approx(clip.modality_gap(images, texts).norm().item())
    assert warm[-1] < min(warm[0] / 2, cold[-1]) and torch.equal(images, before)


def test_figures_show_what_they_are_given(one):
    (ax,) = figures.two_towers(3).axes
    written = {text.get_text() for text in ax.texts}
    assert {"image\nencoder", "text\nencoder", "$I_3T_3$"} <= written and "$I_4T_4$" not in written
    points = nn.functional.normalize(torch.randn(2, 2), dim=1)
    (ax,) = figures.pull_and_push(points, points, points, points, [(0.1, 0.1)] * 2).axes
    assert sum(text.get_text().startswith("picture") for text in ax.texts) == 2
    ax = figures.cosine_matrix(torch.eye(2), one.images[:2], ["red disk", "blue star"]).axes[0]
    assert len(ax.child_axes) >= 2
    (ax,) = figures.prompt_bars({"a {}": [0.2, 0.4], "{}!!!": [0.1, 0.1]}, ["a {}"], ["{}!!!"]).axes
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([0.3, 0.1])
    panel = "batch", (16, 32), torch.rand(3, 2, 2)
    left, right = figures.batch_panels({"a": panel, "b": panel}).axes
    assert left.lines[0].get_ydata() == pytest.approx(panel[2][..., 0].mean(0).tolist())
    assert len(right.lines) == 8 and (left.get_title(), right.get_title()) == ("a", "b")
    pair = torch.randn(5, 4), torch.randn(5, 4)
    assert len(figures.gap_scatter({"before": pair, "after": pair}).axes[1].lines) == 2
    plt.close("all")

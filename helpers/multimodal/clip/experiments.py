"""What the page on CLIP runs: captioned scenes with combinations held out, facts about two things and their mirror
images, one recipe for all its models, and what they are asked. At scale an endless stream of scenes, and folders of
photographs with captions."""

import csv
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from helpers.data.scenes import (
    COLOURS,
    Rules,
    Scene,
    caption,
    describe,
    make_scenes,
    relations,
    render,
    sample_scene,
)
from helpers.multimodal.clip.image import ModifiedResNet
from helpers.multimodal.clip.loss import clip_loss, contrastive_loss
from helpers.multimodal.clip.model import CLIP, clamp_logit_scale
from helpers.multimodal.clip.text import BagOfWords
from helpers.multimodal.clip.tokenizer import Tokenizer
from helpers.multimodal.clip.zero_shot import classifier, modality_gap, zero_shot
from helpers.training import Batch, History, Loss, Metrics, train

CONTEXT = 17
"""Tokens of a sentence, at most."""
SHAPES = ("disk", "square", "triangle", "star", "ring", "cross")
# The classes of a scene with one thing: "red disk", "red square", …
NAMES = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
OPPOSITE = {
    "to the left of": "to the right of",
    "to the right of": "to the left of",
    "above": "below",
    "below": "above",
}


def scene_rules(
    count: int | tuple[int, int],
    combinations: Collection[tuple[str, str]] | None = None,
    *,
    backgrounds: Collection[str] = ("plain", "gradient"),
    materials: Collection[str] = ("plain",),
) -> Rules:
    """The chapter's scenes: large things, six shapes, eight colours."""
    return Rules(
        count=count,
        shapes=SHAPES,
        sizes=("large",),
        combinations=combinations,
        backgrounds=backgrounds,
        materials=materials,
    )


class Captioned(NamedTuple):
    """Images, what is said of them, and the scenes themselves."""

    images: Float[Tensor, "n 3 h w"]
    captions: list[str]
    scenes: list[Scene]


def captioned(
    n: int, rules: Rules, *, seed: int, image: int = 32
) -> Captioned:
    """The first `n` scenes of the stream `seed`, drawn once.

    The pixels of an image lie together (channels last), which makes
    convolutions faster.
    """
    batch = make_scenes(n, image, seed=seed, rules=rules)
    images = batch.images.contiguous(memory_format=torch.channels_last)
    return Captioned(images, batch.captions, batch.scenes)


def class_labels(scenes: Sequence[Scene]) -> Int64[Tensor, "n"]:
    """Colour and shape of each scene's first thing, as a place in NAMES."""
    first = [scene.things[0] for scene in scenes]
    names = [f"{thing.colour} {thing.shape}" for thing in first]
    return torch.tensor([NAMES.index(name) for name in names])


class Facts(NamedTuple):
    """Images and a relation that holds in each; then all that mirrored.

    `texts[i]` is true of `images[i]`, and `mirrored_texts[i]`, which has
    the same words in another order, of `mirrored[i]`, not the other way.
    """

    images: Float[Tensor, "n 3 h w"]
    texts: list[str]
    mirrored: Float[Tensor, "n 3 h w"]
    mirrored_texts: list[str]


def two_thing_facts(data: Captioned) -> Facts:
    """One fact of each scene of two things, left, right, above or below.

    Mirrored along that direction, the two things change places. Scenes
    without such a fact, and with two things of one name, are left out.
    """
    images, mirrored, texts, mirrored_texts = [], [], [], []
    for image, scene in zip(data.images, data.scenes):
        known = [fact for fact in relations(scene) if fact[1] in OPPOSITE]
        for i, relation, j in known[:1]:
            one, other = (
                describe(scene.things[k], size=False, material=False)
                for k in (i, j)
            )
            if one == other:
                continue
            axis = 2 if "to the" in relation else 1
            images.append(image)
            mirrored.append(image.flip(axis))
            texts.append(f"{one} {relation} {other}")
            mirrored_texts.append(f"{other} {relation} {one}")
    if not images:
        raise ValueError(
            f"{len(data.scenes)} scenes without a relation of two things: "
            "draw some with count=2"
        )
    images, mirrored = torch.stack(images), torch.stack(mirrored)
    return Facts(images, texts, mirrored, mirrored_texts)


def training_loss(
    model: CLIP, batch: Batch, *, loss: Callable[[Tensor, Tensor, Tensor], Tensor] = contrastive_loss
) -> tuple[Float[Tensor, ""], Metrics]:
    """`clip_loss`, with the scale set back to 100 first where the step before has brought it above."""
    clamp_logit_scale(model)
    return clip_loss(model, batch, loss=loss)


def learn(
    model: nn.Module,
    columns: Sequence[Tensor],
    steps: int,
    *,
    seed: int,
    loss: Loss = training_loss,
    batch_size: int = 128,
) -> History:
    """Train in place by the page's one recipe: AdamW with the paper's betas and weight decay, a short rise, a cosine.

    The model comes back in evaluation mode and on the CPU.
    """
    model.to(memory_format=torch.channels_last)
    history = train(
        model,
        loss,
        columns,
        steps,
        rate=2e-3,
        batch_size=batch_size,
        seed=seed,
        rise=min(20, steps // 6),
        betas=(0.9, 0.98),
        weight_decay=0.2,
    )
    model.cpu()
    return history


def grouped_loss(size: int) -> Loss:
    """CLIP's training loss within groups of `size` pairs of the batch: each is compared with `size` sentences only."""

    def loss(model: CLIP, batch: Batch) -> Float[Tensor, ""]:
        clamp_logit_scale(model)
        images, texts, scale = model(*batch)
        groups = zip(images.split(size), texts.split(size))
        losses = [contrastive_loss(some, own, scale) for some, own in groups]
        return sum(losses) / len(losses)

    return loss


def narrow_clip(vocab: int) -> CLIP:
    """A model for pictures of 16 pixels: one narrow stage, and a bag of words."""
    pictures = ModifiedResNet((1,), width=16, heads=4, features=64, image=16)
    return CLIP(pictures, BagOfWords(vocab=vocab, context=CONTEXT, dim=64, features=64))


@torch.no_grad()
def embed_all(model: CLIP, data: Captioned) -> Float[Tensor, "n d"]:
    """Features of all pictures."""
    return torch.cat([model.embed_images(images) for images in data.images.split(500)])


def reader(model: CLIP, tokenizer: Tokenizer) -> Callable[[Sequence[str]], Float[Tensor, "n d"]]:
    """A function from sentences, their articles put right, to features."""

    @torch.no_grad()
    def read(texts: Sequence[str]) -> Float[Tensor, "n d"]:
        texts = [text.replace("a orange", "an orange") for text in texts]
        return model.embed_texts(tokenizer(texts, context=CONTEXT, truncate=True))

    return read


def share_right(guess: Int64[Tensor, " n"], answer: Int64[Tensor, " n"]) -> float:
    """The fraction of guesses that are right."""
    return (guess == answer).double().mean().item()


def zero_shot_score(model: CLIP, tokenizer: Tokenizer, data: Captioned, prompts: Sequence[str]) -> float:
    """The fraction of the pictures that are named rightly among all 48 combinations."""
    classes = classifier(reader(model, tokenizer), NAMES, prompts)
    return share_right(zero_shot(embed_all(model, data), classes), class_labels(data.scenes))


def narrow_scores(
    columns: Sequence[Tensor],
    tokenizer: Tokenizer,
    worlds: Sequence[Captioned],
    prompts: Sequence[str],
    steps: int,
    *,
    seed: int,
    loss: Loss = training_loss,
    batch_size: int = 128,
) -> Float[Tensor, " worlds"]:
    """Train a narrow model, and return its `zero_shot_score` in each of the worlds."""
    torch.manual_seed(seed)
    model = narrow_clip(tokenizer.vocab)
    learn(model, columns, steps, seed=seed, loss=loss, batch_size=batch_size)
    return torch.tensor([zero_shot_score(model, tokenizer, world, prompts) for world in worlds])


def from_mirrored_to_true(model: CLIP, tokenizer: Tokenizer, facts: Facts) -> Float[Tensor, "n d"]:
    """The way in the space of features from each mirrored sentence to the true one; 0 where both are one."""
    read = reader(model, tokenizer)
    return read(facts.texts) - read(facts.mirrored_texts)


@torch.no_grad()
def order_right(model: CLIP, tokenizer: Tokenizer, facts: Facts) -> float:
    """The fraction of pictures, mirrored ones too, that are nearer to their own sentence than to the other one."""
    way = from_mirrored_to_true(model, tokenizer, facts)
    leads = torch.cat(
        [(model.embed_images(facts.images) * way).sum(1), (model.embed_images(facts.mirrored) * -way).sum(1)]
    )
    return (leads > 1e-6).double().mean().item()


def gap_of_free_features(
    images: Float[Tensor, "n d"], texts: Float[Tensor, "n d"], temperature: float, steps: int
) -> list[float]:
    """The modality gap before each of `steps` of Adam that move the features themselves down CLIP's loss."""
    free = [features.clone().requires_grad_() for features in (images, texts)]
    optimizer = torch.optim.Adam(free, 0.01, fused=True)
    gaps, scale = [], torch.tensor(1 / temperature)
    for _ in range(steps):
        pair = [F.normalize(features, dim=1) for features in free]
        gaps.append(modality_gap(*pair).norm().item())
        optimizer.zero_grad()
        contrastive_loss(*pair, scale).backward()
        optimizer.step()
    return gaps


class SceneStream(Dataset):
    """`length` scenes and captions, each drawn when it is asked for.

    Item i depends on `seed` and i alone, so that any number of workers of
    a `DataLoader` gives the same batches.
    """

    def __init__(
        self,
        length: int,
        rules: Rules,
        tokenizer: Tokenizer,
        *,
        seed: int,
        image: int,
        context: int,
    ) -> None:
        if length < 1:
            raise ValueError(f"length = {length}: it is at least 1 scene")
        self.length, self.rules, self.seed = length, rules, seed
        self.tokenizer, self.image, self.context = tokenizer, image, context

    def __len__(self) -> int:
        return self.length

    def __getitem__(
        self, i: int
    ) -> tuple[Float[Tensor, "3 h w"], Int64[Tensor, "t"]]:
        if not 0 <= i < self.length:
            raise IndexError(f"scene {i} of {self.length}")
        scene = sample_scene(self.seed, self.rules, index=i)
        text = caption(scene, seed=i)
        tokens = self.tokenizer(text, context=self.context, truncate=True)
        return render(scene, self.image).image, tokens[0]


def read_captions(folder: str | Path) -> list[tuple[str, str]]:
    """Names of images and sentences, from the folder's `captions.txt`."""
    table = Path(folder) / "captions.txt"
    if not table.exists():
        raise ValueError(
            f"{Path(folder).name} holds no captions.txt: give a folder "
            "with captions.txt and Images, as Flickr8k has them"
        )
    with table.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    if not rows or rows[0] != ["image", "caption"] or len(rows) < 2:
        raise ValueError(
            "captions.txt: its first line is image,caption, and a name "
            "and a sentence follow on each line"
        )
    for row in rows[1:]:
        if len(row) != 2:
            raise ValueError(
                f"captions.txt: {row[:3]} are {len(row)} fields; put a "
                'sentence with commas into "…"'
            )
    return [(name, text) for name, text in rows[1:]]


class CaptionedFolder(Dataset):
    """Photographs and sentences about them, in the form of Flickr8k.

    `folder` holds `Images/` and `captions.txt`, whose first line is
    "image,caption" and each further one a name and a sentence. An image
    with several sentences comes several times. Images are cut to a square
    and shrunk to `image` pixels, with values in 0 … 1. Raises `ValueError`
    for a folder of another form and for a picture that is not there.
    """

    def __init__(
        self,
        folder: str | Path,
        tokenizer: Tokenizer,
        *,
        image: int,
        context: int,
    ) -> None:
        self.folder, self.image = Path(folder), image
        self.rows = read_captions(folder)
        for name, _ in self.rows:
            if not (self.folder / "Images" / name).exists():
                raise ValueError(f"Images has no {name}, of captions.txt")
        texts = [text for _, text in self.rows]
        self.tokens = tokenizer(texts, context=context, truncate=True)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(
        self, i: int
    ) -> tuple[Float[Tensor, "3 h w"], Int64[Tensor, "t"]]:
        from PIL import Image, UnidentifiedImageError
        from torchvision.transforms.v2 import functional as T

        path = self.folder / "Images" / self.rows[i][0]
        try:
            with Image.open(path) as picture:
                pixels = T.pil_to_tensor(picture.convert("RGB")) / 255
        except (UnidentifiedImageError, OSError) as error:
            raise ValueError(
                f"{path.name} cannot be read ({type(error).__name__}): "
                "fetch it anew, or take it out of captions.txt"
            ) from error
        pixels = T.resize(pixels, [self.image], antialias=True)
        pixels = T.center_crop(pixels, [self.image, self.image])
        return pixels.clamp(0, 1), self.tokens[i]

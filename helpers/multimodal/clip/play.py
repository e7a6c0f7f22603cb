"""What the reader warms up on the page: a trained model's cosines of ten pictures with ten sentences, as a script.

`python -m helpers.multimodal.clip.play` writes `book/_static/play/clip.answers.js` anew.
"""

import base64
import io
import json
from collections.abc import Collection
from pathlib import Path

import torch
from jaxtyping import Int64
from PIL import Image
from torch import Tensor

from helpers.data.scenes import split_combinations
from helpers.multimodal.clip.experiments import (
    CONTEXT,
    NAMES,
    SHAPES,
    Captioned,
    captioned,
    class_labels,
    learn,
    scene_rules,
)
from helpers.multimodal.clip.model import CLIP, clip_small
from helpers.multimodal.clip.tokenizer import Tokenizer, train_merges

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "book/_static/play/clip.answers.js"
HEADER = (
    "/* Written by `python -m helpers.multimodal.clip.play`: ten pictures of "
    "combinations that the model never saw, and the\n   cosine of each with "
    "the sentences of all ten. */\n"
)


def train_model(
    data: Captioned, tokenizer: Tokenizer, steps: int = 250, seed: int = 0
) -> CLIP:
    """One of the chapter's models, in evaluation mode."""
    torch.manual_seed(seed)
    model = clip_small(vocab=tokenizer.vocab, context=CONTEXT)
    tokens = tokenizer(data.captions, context=CONTEXT, truncate=True)
    learn(model, (data.images, tokens), steps, seed=seed)
    return model


def training_pairs(
    seen: Collection[tuple[str, str]], n: int = 3000
) -> Captioned:
    """2n scenes with one thing and n with two, as the chapter has them."""
    one = captioned(2 * n, scene_rules(1, seen), seed=1)
    two = captioned(n, scene_rules(2, seen), seed=2)
    return Captioned(
        torch.cat([one.images, two.images]),
        one.captions + two.captions,
        one.scenes + two.scenes,
    )


def first_of_each(labels: Int64[Tensor, " n"], names: list[str]) -> list[int]:
    """Where each name stands first among the labels."""
    return [int((labels == NAMES.index(x)).nonzero()[0]) for x in names]


def png(image: Tensor) -> str:
    """The picture as a file in base64."""
    pixels = (255 * image).round().byte().permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def sentence(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


@torch.no_grad()
def script(
    model: CLIP, tokenizer: Tokenizer, test: Captioned, names: list[str]
) -> str:
    """JavaScript with the temperature, the sentences, and for each picture its file and its cosines to a thousandth."""
    places = first_of_each(class_labels(test.scenes), names)
    sentences = [sentence(name) for name in names]
    tokens = tokenizer(sentences, context=CONTEXT, truncate=True)
    features = model.embed_images(test.images[places])
    cosines = features @ model.embed_texts(tokens).T
    content = {
        "temperature": round(1 / model.logit_scale.exp().item(), 4),
        "sentences": sentences,
    }
    pictures = [
        {"png": png(test.images[place]), "cosines": rounded(row)}
        for place, row in zip(places, cosines)
    ]
    head = json.dumps(content)[:-1]
    rows = ",\n ".join(map(json.dumps, pictures))
    return f"{HEADER}window.DLE.clip = {head}, \"pictures\": [\n {rows}\n]}};\n"


def rounded(values: Tensor) -> list[float]:
    return [round(x, 3) for x in values.tolist()]


def main() -> None:
    torch.set_num_threads(1)
    seen, held = split_combinations(SHAPES, held_out=0.2, seed=0)
    names = [name for name in NAMES if tuple(name.split()[::-1]) in held]
    data = training_pairs(seen)
    tokenizer = Tokenizer(train_merges(data.captions, 300))
    model = train_model(data, tokenizer)
    test = captioned(1000, scene_rules(1, held), seed=3)
    SCRIPT.write_text(script(model, tokenizer, test, names))
    print(f"{SCRIPT.name}: {SCRIPT.stat().st_size / 1000:.1f} kB")


if __name__ == "__main__":
    main()

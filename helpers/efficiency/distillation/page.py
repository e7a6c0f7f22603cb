"""The answers that the reader warms up on the page: a teacher's logits on a few digits that it has not seen, as a script.

`python -m helpers.efficiency.distillation.page` writes `book/_static/play/distillation.answers.js` anew.
"""

import json
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from helpers.convnets.output_size import Conv, Linear, Pool, as_module
from helpers.data import ImageSet, batches, digits
from helpers.efficiency.distillation.losses import answers, hard_loss
from helpers.foundations.optimizers import Adam
from helpers.training import cosine_decay, fit, gradient_update, scheduled

SCRIPT = Path(__file__).resolve().parents[3] / "book/_static/play/distillation.answers.js"
HEADER = "/* Written by `python -m helpers.efficiency.distillation.page`: a teacher's logits on eight digits. */\n"
SHOWN = 8
GAP = 5.0  # between the two largest logits: sure at T = 1, and no longer at 5
WIDE = {
    "conv1": Conv(32, 3, padding=1),
    "conv2": Conv(32, 3, padding=1),
    "pool1": Pool(2, 2),
    "conv3": Conv(64, 3, padding=1),
    "pool2": Pool(2, 2),
    "hidden": Linear(128),
    "out": Linear(10),
}


def train_teacher(train: ImageSet, steps: int = 250, seed: int = 0) -> nn.Module:
    """One of the chapter's teachers, in evaluation mode."""
    torch.manual_seed(seed)
    teacher = as_module(WIDE, (1, 8, 8))
    optimizer = Adam(teacher.parameters(), 3e-3)
    update = gradient_update(teacher, optimizer, lambda model, batch: hard_loss(model(batch[0]), batch[1]))
    stream = batches(train.images, train.labels, batch_size=64, generator=torch.Generator().manual_seed(seed))
    fit(scheduled(update, optimizer, cosine_decay(steps, end=0.02)), stream, steps, progress=False)
    return teacher.eval()


def chosen(logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> list[int]:
    """The places of `SHOWN` digits, of one class each, that the teacher reads right with a lead of about `GAP`."""
    first, second = logits.topk(2, 1).values.unbind(1)
    far = (first - second - GAP).abs().masked_fill(logits.argmax(1) != labels, torch.inf)
    found: dict[int, int] = {}
    for place in far.argsort().tolist():
        found.setdefault(int(labels[place]), place)
    return [found[label] for label in sorted(found)][:SHOWN]


def script(teacher: nn.Module, test: ImageSet) -> str:
    """JavaScript that holds, for each digit, its 64 levels of ink from 0 to 16, its label, and ten logits to a tenth."""
    logits = answers(teacher, test.images)
    content = [
        {
            "label": int(test.labels[i]),
            "ink": (16 * test.images[i]).round().long().flatten().tolist(),
            "logits": [round(x, 1) for x in logits[i].tolist()],
        }
        for i in chosen(logits, test.labels)
    ]
    lines = ",\n ".join(json.dumps(entry) for entry in content)
    return f"{HEADER}window.DLE.distillation = {{ digits: [\n {lines}\n] }};\n"


def main() -> None:
    torch.set_num_threads(1)
    train, test = digits().split(2 / 3, 1 / 3, generator=torch.Generator().manual_seed(0))
    SCRIPT.write_text(script(train_teacher(train), test))
    print(f"{SCRIPT.name}: {SCRIPT.stat().st_size / 1000:.1f} kB")


if __name__ == "__main__":
    main()

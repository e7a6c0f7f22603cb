"""The answers that the reader warms up on the page: a teacher's logits on a few digits that it has not seen, as a script.

`python -m helpers.efficiency.distillation.play` writes `book/_static/play/distillation.answers.js` anew.
"""

import json
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from helpers.data import ImageSet, digits
from helpers.efficiency.distillation.experiments import label_loss, teachers
from helpers.efficiency.distillation.losses import answers

SCRIPT = Path(__file__).resolve().parents[3] / "book/_static/play/distillation.answers.js"
HEADER = "/* Written by `python -m helpers.efficiency.distillation.play`: a teacher's logits on eight digits. */\n"
SHOWN = 8
GAP = 5.0  # between the two largest logits: sure at T = 1, and no longer at 5


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
    (teacher,) = teachers(train, label_loss, steps=250, seeds=[0])
    SCRIPT.write_text(script(teacher, test))
    print(f"{SCRIPT.name}: {SCRIPT.stat().st_size / 1000:.1f} kB")


if __name__ == "__main__":
    main()

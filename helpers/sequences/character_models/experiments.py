"""What the page on character models runs: networks on text, what they write, and pickers of earthquakes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from helpers.sequences.character_models.earthquakes import (
    EQTransformer,
    Records,
    picking_loss,
    sta_lta,
    synthesise,
    targets,
)
from helpers.sequences.character_models.recurrent import CharacterRNN
from helpers.sequences.character_models.sampling import sample
from helpers.sequences.character_models.text import Vocabulary, next_character_loss, windows
from helpers.sequences.character_models.wavenet import WaveNet
from helpers.sequences.rnn_lstm import GRU, LSTM, RNN
from helpers.training import train

RECURRENT = {"RNN": (RNN, 190), "LSTM": (LSTM, 96), "GRU": (GRU, 116)}  # and their units: about 60,000 weights
RATES = {"RNN": 2e-2, "LSTM": 5e-2, "GRU": 2e-2, "WaveNet": 2e-2}
WARM_UP = 20  # updates


def network(name: str, vocab: int, run: int, *, wide: int = 1, layers: int = 6) -> nn.Module:
    """One of the networks of `RATES` with the weights of a seed; `wide` multiplies widths, `layers` are WaveNet's."""
    torch.manual_seed(run)
    if name == "WaveNet":
        dilations = [2**i for i in range(layers)]
        return WaveNet(vocab=vocab, channels=32 * wide, skip=64 * wide, dilations=dilations)
    if name not in RECURRENT:
        raise ValueError(f"name = {name!r}: one of {', '.join(RATES)}")
    kind, hidden = RECURRENT[name]
    return CharacterRNN(kind, vocab=vocab, dim=32 * wide, hidden=hidden * wide)


def train_network(
    name: str,
    codes: Int64[Tensor, "t"],
    vocab: int,
    run: int,
    *,
    steps: int,
    length: int = 64,
    batch_size: int = 16,
    wide: int = 1,
    layers: int = 6,
) -> tuple[nn.Module, Float[np.ndarray, "steps"]]:
    """A network that read windows of a text, and the loss of each batch in nats.

    Adam with a warm-up, a cosine down to a twentieth, clipping at norm 1; a network `wide` times as wide has its rate
    divided by that.
    """
    model = network(name, vocab, run, wide=wide, layers=layers)
    history = train(
        model, next_character_loss, (windows(codes, length),), steps, rate=RATES[name] / wide, rise=WARM_UP, end=0.05,
        clip=1.0, weight_decay=0.0, batch_size=batch_size, seed=run,
    )  # fmt: skip
    return model, history["loss"]


def write_text(
    model: nn.Module, vocabulary: Vocabulary, length: int, *, run: int, temperature: float = 1.0, rows: int = 1
) -> str:
    """What a model writes after an empty line, on the CPU: `rows` pieces of `length` characters under each other."""
    prompt = vocabulary.encode("\n")[None].expand(rows, 1)
    draw = torch.Generator().manual_seed(run)
    drawn = sample(model.cpu(), prompt, length, temperature=temperature, generator=draw)
    return "\n\n".join(map(vocabulary.decode, drawn))


def words_of(text: str) -> list[str]:
    """Runs of letters."""
    return "".join(c if c.isalpha() else " " for c in text).split()


def known_words(text: str, words: set[str]) -> float:
    """Which fraction of the words of four letters or more is known."""
    found = [word for word in words_of(text) if len(word) >= 4]
    return sum(word in words for word in found) / max(len(found), 1)


def brackets_that_fit(text: str) -> float:
    """Which fraction of closing brackets closes what is open; 0 where there are none."""
    pairs, fits, stack = dict(zip(")]}", "([{", strict=True)), [], []
    for c in text:
        if c in pairs.values():
            stack.append(c)
        elif c in pairs:
            fits.append(bool(stack) and stack[-1] == pairs[c])
            stack = stack[:-1]
    return float(np.mean(fits)) if fits else 0.0


class Picker(NamedTuple):
    """Records to learn from and to judge by, and what a trained network says of the latter: event, P and S."""

    train: Records
    test: Records
    heads: Float[Tensor, "b 3 t"]


def train_picker(run: int, *, steps: int, records: int = 2000, device: torch.device | str = "cpu") -> Picker:
    """An EQTransformer that learned from made-up records; Adam with a warm-up and a cosine."""
    draw = torch.Generator().manual_seed(run)
    learn, test = synthesise(records, draw), synthesise(400, draw)
    torch.manual_seed(run)
    model = EQTransformer()
    columns = learn.waves.to(device), targets(learn).to(device)
    train(
        model, picking_loss, columns, steps, rate=1e-2, rise=WARM_UP, end=0.05, weight_decay=0.0, batch_size=32,
        seed=draw,
    )  # fmt: skip
    with torch.no_grad():
        return Picker(learn, test, model(test.waves.to(device)).sigmoid().cpu())


class Picks(NamedTuple):
    """Which records hold an event, and at which sample P and S arrive."""

    event: Bool[Tensor, "b"]
    p: Int64[Tensor, "b"]
    s: Int64[Tensor, "b"]


def network_picks(heads: Float[Tensor, "b 3 t"]) -> Picks:
    """An event where its output passes one half; arrivals where theirs are highest."""
    return Picks(heads[:, 0].amax(1) > 0.5, heads[:, 1].argmax(1), heads[:, 2].argmax(1))


def classical_picks(learn: Records, test: Records) -> Picks:
    """STA/LTA with the threshold of the best F1, and without its mean delay, on the records to learn from."""
    up, flat = slice(0, 1), slice(1, 3)
    ratio = [sta_lta(records.waves[:, up]) for records in (learn, test)]
    across = [sta_lta(records.waves[:, flat]) for records in (learn, test)]
    real, top = learn.p >= 0, ratio[0].amax(1)
    level = max(np.linspace(1.5, 6, 46).tolist(), key=lambda threshold: f1(top > threshold, real))
    first = [(r > level).double().argmax(1) for r in ratio]
    peak = [r.argmax(1) for r in across]
    delay = [
        (guess[0] - true)[real].double().median().round().long()
        for guess, true in ((first, learn.p), (peak, learn.s))
    ]
    return Picks(ratio[1].amax(1) > level, first[1] - delay[0], peak[1] - delay[1])


def f1(guess: Bool[Tensor, "b"], truth: Bool[Tensor, "b"]) -> float:
    """The harmonic mean of precision and recall."""
    return (2 * (guess & truth).sum() / (guess.sum() + truth.sum())).item()


def judged(picks: Picks, test: Records) -> Sequence[float]:
    """F1 of the events, and which fractions of real P and S are found within a quarter of a second, six samples."""
    real = test.p >= 0
    near = [
        ((guess - true)[real].abs() <= 6).double().mean().item()
        for guess, true in ((picks.p, test.p), (picks.s, test.s))
    ]
    return [f1(picks.event, real), *near]

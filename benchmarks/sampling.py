"""Sampling with a memory against reading everything again.

Text drawn character by character: an LSTM that carries its state and a WaveNet that keeps its queues, each against itself
without.
"""

from collections.abc import Iterator

import torch
from torch import nn

from benchmarks.harness import Pair
from helpers.sequences.character_models import CharacterRNN, WaveNet, sample
from helpers.sequences.rnn_lstm import LSTM

VOCAB, HIDDEN = 96, 96
LENGTHS = (30, 120)  # characters
NETS = {
    "LSTM, its state": ("the prefix read again", lambda: CharacterRNN(LSTM, vocab=VOCAB, dim=32, hidden=HIDDEN)),
    "WaveNet, its queues": ("the prefix convolved again", lambda: WaveNet(vocab=VOCAB)),
}


def pairs(device: torch.device, tiny: bool = False) -> Iterator[Pair]:
    """The same draws on both sides, after a prompt of one character; in float64, so that no rounding changes a draw.

    The temperature is low, as the guesses of untrained networks are almost uniform: so a draw depends on what came before.
    """
    for length in (4,) if tiny else LENGTHS:
        for name, (against, build) in NETS.items():
            torch.manual_seed(0)
            model = build().double().to(device)
            what = f"{length} characters, {name} carried on"
            yield Pair(what, against, draw(model, length, True), draw(model, length, False))


def draw(model: nn.Module, length: int, cache: bool):
    """A function that returns what the model writes, the same at every call."""
    device = next(model.parameters()).device
    prompt = torch.zeros(1, 1, dtype=torch.long, device=device)

    def run():
        generator = torch.Generator(device).manual_seed(0)
        return sample(model, prompt, length, temperature=0.02, generator=generator, cache=cache)

    return run

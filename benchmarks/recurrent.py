"""Recurrent layers against torch.nn."""

from collections.abc import Iterator

import torch
from torch import nn

from benchmarks.harness import Pair
from helpers.sequences.rnn_lstm import GRU, LSTM, RNN

SIZES = [(50, 32, 16, 32), (100, 64, 128, 256)]  # steps, batch, inputs, units
KERNELS = (
    "Each step of ours is a matrix product and, for the gates, some ten operations that Python starts one by one, as the "
    "equations name them; torch runs a step, or the whole sequence, in compiled code."
)


def pairs(device: torch.device, tiny: bool = False) -> Iterator[Pair]:
    """Forward, and forward and backward, of one layer with the same weights on both sides."""
    for shape in [(3, 2, 2, 4)] if tiny else SIZES:
        for kind, reference in ((RNN, nn.RNN), (GRU, nn.GRU), (LSTM, nn.LSTM)):
            what = f"{kind.__name__}, {shape[0]} steps, batch {shape[1]}, {shape[3]} units"
            steps, batch, inputs, hidden = shape
            torch.manual_seed(0)
            theirs = reference(inputs, hidden).to(device)
            ours = kind(inputs, hidden).to(device)
            ours.load_state_dict(theirs.state_dict())
            x = torch.randn(steps, batch, inputs, device=device)
            against = f"torch.nn.{reference.__name__}"
            yield Pair(f"{what}, forward", against, forward(ours, x), forward(theirs, x), KERNELS)
            yield Pair(f"{what}, both ways", against, both_ways(ours, x), both_ways(theirs, x), KERNELS)


def forward(layer: nn.Module, x: torch.Tensor):
    """A function that returns the outputs of all steps."""

    @torch.no_grad()
    def run():
        return layer(x)[0]

    return run


def both_ways(layer: nn.Module, x: torch.Tensor):
    """A function that returns the gradient of the recurrent weights."""

    def run():
        layer.zero_grad()
        layer(x)[0].square().mean().backward()
        return layer.weight_hh_l0.grad

    return run

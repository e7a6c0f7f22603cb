"""RNN, LSTM and GRU: torch's words, torch's parameter names, torch's outputs.

`load_state_dict(torch.nn.LSTM(…).state_dict())` works, and a seed draws the same first weights. Inputs are [t b d]
([b t d] with `batch_first`), or [t d] for one sequence, with states of one axis less. The sweeps run; with
`fused=False` the cells' equations do, step by step under autograd.
"""

from collections.abc import Sequence
from numbers import Integral

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence
from torch.nn.utils.rnn import pack_padded_sequence as pack
from torch.nn.utils.rnn import pad_packed_sequence as pad

from helpers.sequences.rnn_lstm.cells import NONLINEARITIES, gru_cell, lstm_cell, rnn_cell
from helpers.sequences.rnn_lstm.kernels import GRUSweep, LSTMSweep, RNNSweep, in_order, keep

States = tuple[Tensor, ...]  # (h,), for the LSTM (h, c)


class Recurrent(nn.Module):
    """What the three have in common: parameters, depth, directions.

    `dropout` acts between layers, in training mode. Raises `ValueError`
    for sizes below 1, and for dropout where there is nothing between.
    """

    gates: int  # rows of the weights, in units of `hidden_size`

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        fused: bool = True,
    ) -> None:
        super().__init__()
        sizes = dict(
            input_size=input_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
        )
        for name, value in sizes.items():
            if not isinstance(value, Integral) or value < 1:
                raise ValueError(f"{name} = {value}: an integer, at least 1")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout = {dropout}: a share in [0, 1)")
        if dropout and num_layers == 1:
            raise ValueError(
                f"dropout = {dropout} with num_layers = 1: it acts between "
                "layers, so stack at least 2 or leave it out"
            )
        self.input_size, self.hidden_size = input_size, hidden_size
        self.num_layers, self.bias = num_layers, bias
        self.batch_first, self.dropout = batch_first, dropout
        self.bidirectional, self.fused = bidirectional, fused
        rows = self.gates * hidden_size
        directions = 1 + bidirectional
        for layer in range(num_layers):
            d = hidden_size * directions if layer else input_size
            for suffix in self.suffixes(layer):
                self.add(f"weight_ih{suffix}", rows, d)
                self.add(f"weight_hh{suffix}", rows, hidden_size)
                if bias:
                    self.add(f"bias_ih{suffix}", rows)
                    self.add(f"bias_hh{suffix}", rows)
        self.reset_parameters()

    def add(self, name: str, *shape: int) -> None:
        self.register_parameter(name, nn.Parameter(torch.empty(shape)))

    def suffixes(self, layer: int) -> list[str]:
        """torch's: `_l0`, and `_l0_reverse` for the way back."""
        ways = ["", "_reverse"] if self.bidirectional else [""]
        return [f"_l{layer}{way}" for way in ways]

    def reset_parameters(self) -> None:
        """Uniform within ± 1 / √hidden_size, as in torch."""
        bound = self.hidden_size**-0.5
        for p in self.parameters():
            nn.init.uniform_(p, -bound, bound)

    def weights(self, suffix: str = "_l0") -> tuple[Tensor | None, ...]:
        """W_ih, W_hh, b_ih, b_hh of one layer and direction."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return tuple(getattr(self, name + suffix, None) for name in names)

    def forward(
        self,
        x: Float[Tensor, "*m d"] | PackedSequence,
        h: Float[Tensor, "l *b h"] | None = None,
        lengths: Int[Tensor, "n"] | Sequence[int] | None = None,
    ) -> tuple[Float[Tensor, "*m o"] | PackedSequence, Tensor]:
        """Outputs of every step and the last h, as in torch; `lengths`
        end the sequences of a padded batch, outputs beyond are 0. The LSTM
        has a form of its own, for its two states."""
        out, (h,) = self.run(x, h, lengths)
        return out, h

    def run(
        self,
        x: Float[Tensor, "*m d"] | PackedSequence,
        states: States | Tensor | None,
        lengths: Int[Tensor, "n"] | Sequence[int] | None,
    ) -> tuple[Float[Tensor, "*m o"] | PackedSequence, States]:
        """All layers and directions: outputs of the last layer, and the
        last states [layers · directions, b, h]."""
        states = (states,) if isinstance(states, Tensor) else states
        packed = x if isinstance(x, PackedSequence) else None
        if packed is None:
            check_axes(x, states, self.batch_first)
        if packed is None and x.dim() == 2:  # one sequence, as torch takes it
            axis = 1 - self.batch_first
            states = states and tuple(state.unsqueeze(1) for state in states)
            out, states = self.run(x.unsqueeze(axis), states, lengths)
            return out.squeeze(axis), tuple(s.squeeze(1) for s in states)
        if lengths is not None:
            if packed is not None:
                raise ValueError("lengths for a packed sequence: it has its own, leave them out")
            t = x.shape[self.batch_first]
            lengths = torch.as_tensor(lengths, device="cpu")  # where torch packs
            check_lengths(lengths, x.shape[1 - self.batch_first], t)
            packed = pack(x, lengths, self.batch_first, False)
            out, states = self.run(packed, states, None)
            return pad(out, self.batch_first, total_length=t)[0], states

        if packed is not None:
            x, sizes = packed.data, packed.batch_sizes.tolist()
        else:
            x = x.transpose(0, 1) if self.batch_first else x
            t, b, d = x.shape
            check_steps(t, b)
            x, sizes = x.reshape(t * b, d), [b] * t
        check_inputs(x, self.input_size, self.weight_ih_l0.dtype)
        sort = packed and packed.sorted_indices
        states = self.begin(x, sizes[0], states, sort)

        # A compiler fuses the equations by itself.
        fused = self.fused and not torch.compiler.is_compiling()
        out, ends = x, []  # rows of all steps, one below the other
        for layer in range(self.num_layers):
            if layer:
                out = F.dropout(out, self.dropout, self.training)
            ways = []
            for suffix in self.suffixes(layer):
                start = [state[len(ends)] for state in states]
                sweep = self.fused_sweep if fused else self.plain_sweep
                back = suffix.endswith("reverse")
                way, *end = sweep(out, start, suffix, sizes, back)
                ways.append(way)
                ends.append(end)
            out = torch.cat(ways, 1) if len(ways) > 1 else ways[0]
        states = tuple(torch.stack(state) for state in zip(*ends))

        if packed is not None:
            if sort is not None:
                unsort = packed.unsorted_indices
                states = tuple(s.index_select(1, unsort) for s in states)
            return packed._replace(data=out), states
        out = out.view(t, b, -1)
        return out.transpose(0, 1) if self.batch_first else out, states

    def begin(
        self,
        x: Tensor,
        b: int,
        states: States | None,
        sort: Tensor | None,
    ) -> States:
        """The first states: zeros, or those given, in the batch's order."""
        count = 2 if self.gates == 4 else 1
        ways = self.num_layers * (1 + self.bidirectional)
        shape = ways, b, self.hidden_size
        if states is None:
            return (x.new_zeros(shape),) * count
        if len(states) != count:
            kind = type(self).__name__
            has = "(h, c)" if count == 2 else "h alone"
            raise ValueError(f"{len(states)} first states: those of {kind} are {has}")
        for state in states:
            if state.shape != shape:
                raise ValueError(
                    f"a first state of shape {tuple(state.shape)}: "
                    f"[layers · directions, b, hidden_size] is {shape}"
                )
            if state.dtype != x.dtype and not mixed(x):
                raise ValueError(
                    f"a first state in {state.dtype} for inputs in {x.dtype}: "
                    f"give it as state.to({x.dtype})"
                )
        if sort is None:
            return states
        return tuple(state.index_select(1, sort) for state in states)

    def plain_sweep(
        self,
        x: Tensor,
        states: list[Tensor],
        suffix: str,
        sizes: list[int],
        reverse: bool,
    ) -> tuple[Tensor, ...]:
        """One layer in one direction by its equations."""
        if mixed(x):  # what the matrix products come out in
            kind = torch.get_autocast_dtype(x.device.type)
            states = [state.to(kind) for state in states]
        x_, out = x.split(sizes), [x] * len(sizes)
        for t in in_order(sizes, reverse):
            now = self.step(x_[t], [s[: sizes[t]] for s in states], suffix)
            states = [keep(new, old) for new, old in zip(now, states)]
            out[t] = now[0]
        return torch.cat(out), *states


class RNN(Recurrent):
    """h = tanh(W_ih x + b_ih + W_hh h + b_hh) (Elman 1990)."""

    gates = 1

    def __init__(self, *sizes: int, nonlinearity: str = "tanh", **options):
        if nonlinearity not in NONLINEARITIES:
            raise ValueError(f"nonlinearity = {nonlinearity!r}: tanh or relu")
        self.nonlinearity = nonlinearity
        super().__init__(*sizes, **options)

    def step(self, x, states, suffix="_l0"):
        """One step by the equation: (h,)."""
        weights = self.weights(suffix)
        return (rnn_cell(x, *states, *weights, self.nonlinearity),)

    def fused_sweep(self, x, states, suffix, sizes, reverse):
        W_ih, W_hh, b_ih, b_hh = self.weights(suffix)
        a = F.linear(x, W_ih, b_ih + b_hh if self.bias else None)
        h, W = (p.to(a.dtype) for p in (*states, W_hh))
        return RNNSweep.apply(a, h, W, sizes, reverse, self.nonlinearity)


class LSTM(Recurrent):
    """c = f c + i g and h = o tanh(c), with three gates i, f, o.

    Hochreiter & Schmidhuber 1997; the forget gate f is of Gers et al.
    2000. Rows of the weights: i, f, g, o.
    """

    gates = 4

    def forward(
        self,
        x: Float[Tensor, "*m d"] | PackedSequence,
        state: tuple[Float[Tensor, "l *b h"], Float[Tensor, "l *b h"]]
        | None = None,
        lengths: Int[Tensor, "n"] | Sequence[int] | None = None,
    ) -> tuple[
        Float[Tensor, "*m o"] | PackedSequence, tuple[Tensor, Tensor]
    ]:
        """Outputs of every step and the last (h, c), as in torch;
        `lengths` end the sequences of a padded batch."""
        return self.run(x, state, lengths)

    def step(self, x, states, suffix="_l0"):
        """One step by the equations: (h, c)."""
        return lstm_cell(x, tuple(states), *self.weights(suffix))

    def fused_sweep(self, x, states, suffix, sizes, reverse):
        W_ih, W_hh, b_ih, b_hh = self.weights(suffix)
        a = F.linear(x, W_ih, b_ih + b_hh if self.bias else None)
        h, c, W = (p.to(a.dtype) for p in (*states, W_hh))
        return LSTMSweep.apply(a, h, c, W, sizes, reverse)


class GRU(Recurrent):
    """h = (1 - z) n + z h: one gate both keeps and writes (Cho et al. 2014).

    Rows of the weights: r, z, n.
    """

    gates = 3

    def step(self, x, states, suffix="_l0"):
        """One step by the equations: (h,)."""
        return (gru_cell(x, *states, *self.weights(suffix)),)

    def fused_sweep(self, x, states, suffix, sizes, reverse):
        W_ih, W_hh, b_ih, b_hh = self.weights(suffix)
        a = F.linear(x, W_ih, b_ih)
        if b_hh is None:
            b_hh = a.new_zeros(a.shape[1])
        h, W, b = (p.to(a.dtype) for p in (*states, W_hh, b_hh))
        return GRUSweep.apply(a, h, W, b, sizes, reverse)


def mixed(x: Tensor) -> bool:
    """Whether autocast chooses the type of the matrix products with x (it leaves float64 alone)."""
    return torch.is_autocast_enabled(x.device.type) and x.dtype != torch.float64


def check_axes(x: Tensor, states: States | None, batch_first: bool) -> None:
    """Refuse inputs without a time axis or with too many, and states of one sequence for a batch (or the reverse)."""
    if x.dim() not in (2, 3):
        batch = "[b, t, d]" if batch_first else "[t, b, d]"
        raise ValueError(f"inputs of shape {tuple(x.shape)}: give {batch}, or [t, d] for one sequence")
    for state in states or ():
        if state.dim() != x.dim():
            axes = "[layers · directions, hidden_size]" if x.dim() == 2 else "[layers · directions, b, hidden_size]"
            raise ValueError(
                f"a first state of shape {tuple(state.shape)} for inputs of shape {tuple(x.shape)}: give {axes}"
            )


def check_lengths(lengths: Tensor, b: int, t: int) -> None:
    """Refuse lengths that are not one for each sequence, or not within 1 … t."""
    if lengths.shape != (b,):
        found = len(lengths) if lengths.dim() == 1 else f"shape {tuple(lengths.shape)} of"
        raise ValueError(f"{found} lengths for a batch of {b}: give one for each sequence")
    if lengths.is_floating_point():
        raise ValueError(f"lengths in {lengths.dtype}: they count steps, give integers")
    if b and not 1 <= int(lengths.min()) <= int(lengths.max()) <= t:
        raise ValueError(f"lengths from {int(lengths.min())} to {int(lengths.max())}: each lies in 1 … {t}")


def check_steps(t: int, b: int) -> None:
    """Refuse a batch without sequences and sequences without steps."""
    if t < 1 or b < 1:
        raise ValueError(f"{b} sequences of {t} steps: a recurrence needs at least 1 of each")


def check_inputs(x: Tensor, input_size: int, dtype: torch.dtype) -> None:
    """Refuse inputs of another width, or of another type, than the layer's."""
    if x.shape[-1] != input_size:
        raise ValueError(f"inputs of {x.shape[-1]} numbers a step: the layer was built with input_size = {input_size}")
    if not x.is_floating_point() or (x.dtype != dtype and not mixed(x)):
        raise ValueError(f"inputs in {x.dtype} for weights in {dtype}: give them as x.to({dtype})")

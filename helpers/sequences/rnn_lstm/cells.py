"""One step of three recurrent networks, as their equations read, with torch's weights.

Elman 1990; Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000; Cho et al. 2014, arXiv:1406.1078.
"""

from jaxtyping import Float
from torch import Tensor, relu, sigmoid, tanh
from torch.nn.functional import linear

NONLINEARITIES = {"tanh": tanh, "relu": relu}


def rnn_cell(
    x: Float[Tensor, "b d"],
    h: Float[Tensor, "b h"],
    W_ih: Float[Tensor, "h d"],
    W_hh: Float[Tensor, "h h"],
    b_ih: Float[Tensor, "h"] | None = None,
    b_hh: Float[Tensor, "h"] | None = None,
    nonlinearity: str = "tanh",
) -> Float[Tensor, "b h"]:
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or ReLU for tanh."""
    if nonlinearity not in NONLINEARITIES:
        raise ValueError(f"nonlinearity = {nonlinearity!r}: tanh or relu")
    f = NONLINEARITIES[nonlinearity]
    return f(linear(x, W_ih, b_ih) + linear(h, W_hh, b_hh))


def lstm_gates(
    x: Float[Tensor, "b d"],
    h: Float[Tensor, "b h"],
    W_ih: Float[Tensor, "4*h d"],
    W_hh: Float[Tensor, "4*h h"],
    b_ih: Float[Tensor, "4*h"] | None = None,
    b_hh: Float[Tensor, "4*h"] | None = None,
) -> tuple[Float[Tensor, "b h"], ...]:
    """Input gate, forget gate, candidate and output gate: i, f, g, o."""
    W_ii, W_if, W_ig, W_io = W_ih.chunk(4)
    W_hi, W_hf, W_hg, W_ho = W_hh.chunk(4)
    b_ii, b_if, b_ig, b_io = [None] * 4 if b_ih is None else b_ih.chunk(4)
    b_hi, b_hf, b_hg, b_ho = [None] * 4 if b_hh is None else b_hh.chunk(4)
    i = sigmoid(linear(x, W_ii, b_ii) + linear(h, W_hi, b_hi))
    f = sigmoid(linear(x, W_if, b_if) + linear(h, W_hf, b_hf))
    g = tanh(linear(x, W_ig, b_ig) + linear(h, W_hg, b_hg))
    o = sigmoid(linear(x, W_io, b_io) + linear(h, W_ho, b_ho))
    return i, f, g, o


def lstm_cell(
    x: Float[Tensor, "b d"],
    state: tuple[Float[Tensor, "b h"], Float[Tensor, "b h"]],
    W_ih: Float[Tensor, "4*h d"],
    W_hh: Float[Tensor, "4*h h"],
    b_ih: Float[Tensor, "4*h"] | None = None,
    b_hh: Float[Tensor, "4*h"] | None = None,
) -> tuple[Float[Tensor, "b h"], Float[Tensor, "b h"]]:
    """The new (h, c): c' = f c + i g, and h' = o tanh(c')."""
    h, c = state
    i, f, g, o = lstm_gates(x, h, W_ih, W_hh, b_ih, b_hh)
    c = f * c + i * g
    h = o * tanh(c)
    return h, c


def gru_cell(
    x: Float[Tensor, "b d"],
    h: Float[Tensor, "b h"],
    W_ih: Float[Tensor, "3*h d"],
    W_hh: Float[Tensor, "3*h h"],
    b_ih: Float[Tensor, "3*h"] | None = None,
    b_hh: Float[Tensor, "3*h"] | None = None,
) -> Float[Tensor, "b h"]:
    """h' = (1 - z) n + z h: update gate z, candidate n, reset gate r.

    As in torch (and cuDNN), r multiplies W_hn h + b_hn; in the paper it
    multiplies h. Chung et al. 2014 (arXiv:1412.3555) exchange z and 1 - z.
    """
    W_ir, W_iz, W_in = W_ih.chunk(3)
    W_hr, W_hz, W_hn = W_hh.chunk(3)
    b_ir, b_iz, b_in = [None] * 3 if b_ih is None else b_ih.chunk(3)
    b_hr, b_hz, b_hn = [None] * 3 if b_hh is None else b_hh.chunk(3)
    r = sigmoid(linear(x, W_ir, b_ir) + linear(h, W_hr, b_hr))
    z = sigmoid(linear(x, W_iz, b_iz) + linear(h, W_hz, b_hz))
    n = tanh(linear(x, W_in, b_in) + r * linear(h, W_hn, b_hn))
    return (1 - z) * n + z * h

"""What flows through time: gradients and their decay, clipping, truncation, the gates of an LSTM.

Werbos 1990; Williams & Peng 1990; Pascanu et al. 2013, arXiv:1211.5063; Gers et al. 2000.
"""

from collections.abc import Callable, Sequence
from math import log

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import jacrev, vmap

from helpers.sequences.rnn_lstm.cells import lstm_gates
from helpers.sequences.rnn_lstm.layers import LSTM, RNN, Recurrent


def step_jacobians(
    layer: Recurrent,
    x: Float[Tensor, "t d"],
) -> tuple[Float[Tensor, "t s s"], Float[Tensor, "s"]]:
    """The Jacobian of each step in the whole state, and the last state.

    The state is h, for an LSTM h and c one after the other. It begins at
    zero. Raises `ValueError` for a layer with depth or two directions.
    """
    if layer.num_layers > 1 or layer.bidirectional:
        raise ValueError("a stacked or two-way layer: measure one of one")
    count = 2 if isinstance(layer, LSTM) else 1

    def step(state: Tensor, x: Tensor) -> Tensor:
        states = [s[None] for s in state.chunk(count)]
        return torch.cat(layer.step(x[None], states), 1)[0]

    with torch.no_grad():
        states = [x.new_zeros(count * layer.hidden_size)]
        for now in x:
            states.append(step(states[-1], now))
        before = torch.stack(states[:-1])
        return vmap(jacrev(step))(before, x), states[-1]


def gradient_norms(
    layer: Recurrent,
    x: Float[Tensor, "t d"],
) -> Float[Tensor, "lags"]:
    """‖∂s_T / ∂s_{T-k}‖ for the lags k = 0 … T: the factor by which time
    stretches a gradient at most (the largest singular value)."""
    jacobians, last = step_jacobians(layer, x)
    product = torch.eye(len(last), dtype=last.dtype, device=last.device)
    norms = [torch.linalg.matrix_norm(product, 2)]
    for jacobian in jacobians.flip(0):
        product = product @ jacobian
        norms.append(torch.linalg.matrix_norm(product, 2))
    return torch.stack(norms)


def resting_rate(
    layer: Recurrent,
    x: Float[Tensor, "d"],
    steps: int = 1000,
) -> float:
    """Log of the spectral radius of the step's Jacobian where the input
    `x`, given forever, brings the state to rest: the slope of log
    `gradient_norms` against the lag.

    Raises `ValueError` when the state does not rest after `steps`.
    """
    jacobians, last = step_jacobians(layer, x.expand(steps, -1))
    if (jacobians[-1] - jacobians[-2]).abs().max() > 1e-6:
        raise ValueError(f"no rest after {steps} steps: try a smaller input")
    return log(torch.linalg.eigvals(jacobians[-1]).abs().max())


@torch.no_grad()
def set_spectral_radius(layer: Recurrent, radius: float) -> None:
    """Scale each W_hh so that its spectral radius is `radius`.

    Raises `ValueError` for a negative radius and for gated layers, whose
    weights are several matrices.
    """
    if radius < 0 or not isinstance(layer, RNN):
        kind = type(layer).__name__
        raise ValueError(f"radius = {radius}, {kind}: ≥ 0, and an RNN")
    for name, W in layer.named_parameters():
        if name.startswith("weight_hh"):
            W.mul_(radius / torch.linalg.eigvals(W).abs().max())


@torch.no_grad()
def set_memory_bias(layer: Recurrent, bias: float) -> None:
    """Let what a step keeps begin at σ(bias), what it writes at σ(-bias).

    In a GRU one gate, z, says both. In an LSTM they are the forget gate
    and the input gate (Gers et al. 2000; Tallec & Ollivier 2018,
    arXiv:1804.11188). For a memory of T steps take log T. Raises
    `ValueError` for an RNN and for a layer without biases.
    """
    if isinstance(layer, RNN) or not layer.bias:
        kind = type(layer).__name__
        raise ValueError(f"{kind} without that bias: an LSTM or a GRU has it")
    n = layer.hidden_size
    for name, b in layer.named_parameters():
        if name.startswith("bias"):
            first = name.startswith("bias_ih")
            b[n : 2 * n] = bias if first else 0.0  # f, or z
            if isinstance(layer, LSTM):
                b[:n] = -bias if first else 0.0  # i


def gate_activity(
    layer: LSTM,
    x: Float[Tensor, "t b d"],
) -> dict[str, Float[Tensor, "t b h"]]:
    """i, f, g, o, c and h of an LSTM's first layer, step by step."""
    h, c = x.new_zeros(2, x.shape[1], layer.hidden_size)
    rows = []
    for now in x:
        i, f, g, o = lstm_gates(now, h, *layer.weights())
        c = f * c + i * g
        h = o * torch.tanh(c)
        rows.append((i, f, g, o, c, h))
    return dict(zip("ifgoch", map(torch.stack, zip(*rows))))


def clip_by_norm(
    gradients: Sequence[Tensor],
    limit: float,
) -> list[Tensor]:
    """Shorten all gradients together to the length `limit`.

    The direction stays (Pascanu et al. 2013, algorithm 1).
    """
    check_limit(limit)
    norm = torch.stack([g.norm() for g in gradients]).norm()
    factor = (limit / norm).clamp(max=1)
    return [factor * g for g in gradients]


def clip_by_value(
    gradients: Sequence[Tensor],
    limit: float,
) -> list[Tensor]:
    """Cut each entry to ± `limit`: the direction may turn (Mikolov 2012)."""
    check_limit(limit)
    return [g.clamp(-limit, limit) for g in gradients]


def detach(state):
    """A state, a tuple of them, or None, without its past."""
    if state is None or isinstance(state, Tensor):
        return state if state is None else state.detach()
    return tuple(map(detach, state))


def truncated_backward(
    network: nn.Module,
    x: Shaped[Tensor, "t b *d"],
    y: Shaped[Tensor, "t b *k"],
    window: int,
    loss: Callable[[Tensor, Tensor], Tensor],
    state=None,
):
    """Backpropagate within windows of `window` steps, carry the state on.

    `network(x, state)` gives (output, state); `loss` is a sum over the
    steps, so that the windows' losses and gradients add up. Returns the
    loss of all steps and the last state. With `window` ≥ t it is full
    backpropagation through time. Raises `ValueError` for a window below 1.
    """
    if window < 1:
        raise ValueError(f"window = {window}: at least 1 step")
    total = 0.0
    for x_part, y_part in zip(x.split(window), y.split(window)):
        out, state = network(x_part, state)
        part = loss(out, y_part)
        part.backward()
        state = detach(state)  # values pass, gradients do not
        total = total + part.detach()
    return total, state


def check_limit(limit: float) -> None:
    if not limit > 0:
        raise ValueError(f"limit = {limit}: a gradient is clipped to a length above 0")

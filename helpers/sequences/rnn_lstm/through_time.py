"""What flows through time: gradients and their decay, clipping, truncation, the gates of an LSTM.

Werbos 1990; Williams & Peng 1990; Pascanu et al. 2013, arXiv:1211.5063; Gers et al. 2000.
"""

from collections.abc import Callable, Sequence
from math import inf, isnan, log

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import jacrev, vmap

from helpers.sequences.rnn_lstm.cells import lstm_gates
from helpers.sequences.rnn_lstm.layers import GRU, LSTM, RNN, Recurrent, check_inputs


def step_jacobians(
    layer: Recurrent,
    x: Float[Tensor, "t d"],
) -> tuple[Float[Tensor, "t s s"], Float[Tensor, "s"]]:
    """The Jacobian of each step in the whole state, and the last state.

    The state is h, for an LSTM h and c one after the other. It begins at
    zero. Raises `ValueError` for a layer with depth or two directions, for
    one that is not of this chapter, and for no steps.
    """
    if x.dim() != 2 or not len(x):
        raise ValueError(f"inputs of shape {tuple(x.shape)}: one sequence [t, d] of at least 1 step")
    step, state = whole_step(layer, x)
    with torch.no_grad():
        states = [state]
        for now in x:
            states.append(step(states[-1], now))
        before = torch.stack(states[:-1])
        return vmap(jacrev(step))(before, x), states[-1]


def whole_step(
    layer: Recurrent,
    x: Float[Tensor, "*t d"],
) -> tuple[Callable[[Tensor, Tensor], Tensor], Float[Tensor, "s"]]:
    """A step as a function of the whole state and one input, and the state
    before the first."""
    if not isinstance(layer, Recurrent):
        raise ValueError(f"{type(layer).__name__}: load its weights into this chapter's RNN, LSTM or GRU")
    if layer.num_layers > 1 or layer.bidirectional:
        raise ValueError("a stacked or two-way layer: measure one of one")
    check_inputs(x, layer.input_size, layer.weight_ih_l0.dtype)
    count = 2 if isinstance(layer, LSTM) else 1

    def step(state: Tensor, x: Tensor) -> Tensor:
        states = [s[None] for s in state.chunk(count)]
        return torch.cat(layer.step(x[None], states), 1)[0]

    return step, x.new_zeros(count * layer.hidden_size)


def gradient_norms(
    layer: Recurrent,
    x: Float[Tensor, "t d"],
) -> Float[Tensor, "lags"]:
    """‖∂s_T / ∂s_{T-k}‖ for the lags k = 0 … T: the factor by which time
    stretches a gradient at most (the largest singular value), in float64."""
    jacobians, last = step_jacobians(layer, x)
    unit = torch.eye(len(last), dtype=torch.float64, device=last.device)
    norms = [unit.new_ones(())]
    for jacobian in jacobians.double().flip(0):
        product = unit @ jacobian
        stretch = torch.linalg.matrix_norm(product, 2)
        norms.append(norms[-1] * stretch)
        unit = product / stretch.clamp(min=1e-300)  # so it never overflows
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
    if steps < 2:
        raise ValueError(f"steps = {steps}: at least 2, to compare the last")
    step, state = whole_step(layer, x)
    with torch.no_grad():
        for _ in range(steps - 1):
            before, state = state, step(state, x)
        last, now = (jacrev(step)(s, x).double() for s in (before, state))
    if not (now - last).abs().max() <= 1e-6:
        raise ValueError(f"no rest after {steps} steps: try a smaller input")
    radius = torch.linalg.eigvals(now).abs().max().item()
    return log(radius) if radius else -inf


@torch.no_grad()
def set_spectral_radius(layer: Recurrent, radius: float) -> None:
    """Scale each W_hh so that its spectral radius is `radius`.

    Raises `ValueError` for a radius that is negative or not finite, for
    gated layers, whose weights are several matrices, and for a W_hh whose
    radius is 0. Then nothing has changed.
    """
    if not 0 <= radius < inf or not isinstance(layer, RNN):
        kind = type(layer).__name__
        raise ValueError(
            f"radius = {radius} for {kind}: a finite number, 0 or more, for "
            "an RNN of this chapter"
        )
    scales = []
    for name, W in layer.named_parameters():
        if name.startswith("weight_hh"):
            now = torch.linalg.eigvals(W.double()).abs().max().item()
            if not 0 < now < inf:
                raise ValueError(f"{name} has the spectral radius {now}: it cannot be scaled, draw it anew")
            scales.append((W, radius / now))
    for W, scale in scales:
        W.mul_(scale)


@torch.no_grad()
def set_memory_bias(layer: Recurrent, bias: float) -> None:
    """Let what a step keeps begin at σ(bias), what it writes at σ(-bias).

    In a GRU one gate, z, says both. In an LSTM they are the forget gate
    and the input gate (Gers et al. 2000; Tallec & Ollivier 2018,
    arXiv:1804.11188). For a memory of T steps take log T. Raises
    `ValueError` for an RNN, for a layer without biases, and for torch's own
    layers, whose weights ours take.
    """
    if not isinstance(layer, LSTM | GRU) or not layer.bias:
        kind = type(layer).__name__
        raise ValueError(f"{kind} without that bias: an LSTM or a GRU of this chapter has it")
    if isnan(bias):
        raise ValueError("bias = nan: a number")
    n = layer.hidden_size
    for name, b in layer.named_parameters():
        if name.startswith("bias"):
            first = name.startswith("bias_ih")
            b[n : 2 * n] = bias if first else 0.0  # f, or z
            if isinstance(layer, LSTM):
                b[:n] = -bias if first else 0.0  # i


def gate_activity(
    layer: LSTM,
    x: Float[Tensor, "t *b d"],
) -> dict[str, Float[Tensor, "t b h"]]:
    """i, f, g, o, c and h of an LSTM's first layer (the way forward), step
    by step. Raises `ValueError` for another layer."""
    if not isinstance(layer, LSTM):
        raise ValueError(f"{type(layer).__name__}: gates i, f, o and a cell are those of this chapter's LSTM")
    if x.dim() != 3:
        raise ValueError(f"inputs of shape {tuple(x.shape)}: [t, b, d], so for one sequence give x[:, None]")
    check_inputs(x, layer.input_size, layer.weight_ih_l0.dtype)
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
    if not gradients:
        return []
    wide = [g.to(torch.promote_types(g.dtype, torch.float32)) for g in gradients]
    norm = torch.stack([g.norm() for g in wide]).norm()
    factor = (limit / norm).clamp(max=1)
    return [(factor.to(w) * w).to(g.dtype) for g, w in zip(gradients, wide)]


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
    backpropagation through time. Raises `ValueError` for a window below 1,
    and when x and y have not as many steps, or the batch comes first.
    """
    if window < 1:
        raise ValueError(f"window = {window}: at least 1 step")
    check_steps_first(network, x, y)
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


def check_steps_first(network: nn.Module, x: Tensor, y: Tensor) -> None:
    """Refuse what would cut the batch into windows, and steps without an answer."""
    if getattr(network, "batch_first", False):
        raise ValueError("batch_first = True: windows are cut along the first axis, so build the network time first")
    if x.shape[:2] != y.shape[:2]:
        raise ValueError(
            f"x of shape {tuple(x.shape)} and y of shape {tuple(y.shape)}: as many steps and sequences, [t, b, …] each"
        )

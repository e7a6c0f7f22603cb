"""Where a query may look: True there, False elsewhere. (In `torch.nn.MultiheadAttention` True means the opposite.)"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def causal_mask(
    t: int, s: int | None = None, *, device: torch.device | None = None
) -> Bool[Tensor, "t s"]:
    """The last `t` of `s` positions look at themselves and the past."""
    s = t if s is None else s
    check_lengths(t, s)
    return torch.ones(t, s, dtype=torch.bool, device=device).tril(s - t)


def window_mask(
    t: int, width: int, *, device: torch.device | None = None
) -> Bool[Tensor, "t t"]:
    """Each position looks at most `width` positions to either side."""
    check_lengths(t, t)
    if width < 0:
        raise ValueError(
            f"width = {width}: 0 lets a position see itself, 1 its neighbours"
        )
    at = torch.arange(t, device=device)
    return (at[:, None] - at).abs() <= width


def padding_mask(
    lengths: Int[Tensor, "b"], s: int
) -> Bool[Tensor, "b 1 1 s"]:
    """No query looks beyond the length of its own sequence."""
    check_range(
        lengths,
        1,
        s,
        "length {value}: each lies in 1 to {high}, the number of keys; cut "
        "the sequences, or build the mask for more keys",
    )
    at = torch.arange(s, device=lengths.device)
    return (at < lengths[:, None])[:, None, None]


def additive(
    mask: Bool[Tensor, "*axes"], dtype: torch.dtype = torch.float32
) -> Float[Tensor, "*axes"]:
    """0 where the mask is True and -∞ elsewhere, to be added to scores.

    Raises `ValueError` for a mask that is not made of booleans.
    """
    if mask.dtype != torch.bool or not dtype.is_floating_point:
        raise ValueError(
            f"mask of {mask.dtype} as {dtype}: give booleans (True: may "
            "look), and a floating-point type that knows infinity"
        )
    zero = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    return zero.masked_fill(~mask, -torch.inf)


def check_mask(mask, b, heads, t, s):
    """Refuse a mask that does not spread over [b heads t s]."""
    if mask is None:
        return
    full = (b, heads, t, s)
    shape = tuple(mask.shape)
    wide = (1,) * (4 - len(shape)) + shape
    fits = len(shape) in (2, 4) and all(
        have in (1, want) for have, want in zip(wide[:3], full)
    )
    if not fits or shape[-1] != s:
        raise ValueError(
            f"mask of shape {shape} for {t} queries and {s} keys: give "
            f"[t s] = {full[2:]}, or [b heads t s] = {full} with 1 for b, "
            "heads or t"
        )
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise ValueError(
            f"mask of {mask.dtype}: give booleans (True: may look), or "
            "floats that are added to the scores"
        )


def check_range(values, low, high, message):
    """Refuse integers outside `low` … `high`; the message shows {value}.

    Not on a GPU, which would have to stop and report, and not in a compiled
    graph, which would break.
    """
    if torch.compiler.is_compiling() or not values.is_cpu:
        return
    if not values.numel():
        return
    least, most = int(values.min()), int(values.max())
    if least < low or most > high:
        value = least if least < low else most
        raise ValueError(message.format(value=value, low=low, high=high))


def check_lengths(t, s):
    """Refuse lengths below 1, and more queries than keys."""
    if not 1 <= t <= s:
        raise ValueError(
            f"{t} queries and {s} keys: at least 1 query, and no fewer keys"
        )

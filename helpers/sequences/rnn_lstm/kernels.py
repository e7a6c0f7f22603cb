"""A whole sequence through one layer: what runs, on a CPU as on a GPU.

The products with the inputs are made before, for all steps at once. Forward, each step is one matrix product for all
gates. Backward is backpropagation through time (Werbos 1990) written out: every factor that does not wait for the
gradient is computed for all steps at once, each step is one matrix product again, and so is the weights' gradient.

Steps lie one below the other in `a`: step t has `sizes[t]` rows, those of the sequences that last so long, the
longest first. A sequence that is over (or, in reverse, not begun) keeps its state.
"""

from collections.abc import Callable
from functools import wraps

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function


def in_order(sizes: list[int], reverse: bool) -> range:
    """The steps in the order in which the layer reads them."""
    return range(len(sizes))[:: -1 if reverse else 1]


def keep(new: Tensor, old: Tensor) -> Tensor:
    """The state after a step: `new` for the first sequences, `old` for those that are not at work."""
    n = len(new)
    return new if n == len(old) else torch.cat([new, old[n:]])


def first_derivative_only(backward: Callable) -> Callable:
    """Refuse to be differentiated again: that would give wrong numbers.

    torch's `once_differentiable` overlooks it when the gradient that
    comes in is a constant.
    """

    @wraps(backward)
    def checked(ctx, *gradients):
        if torch.is_grad_enabled():
            raise RuntimeError(
                "a sweep has first derivatives only: for create_graph=True "
                "build the layer with fused=False"
            )
        return backward(ctx, *gradients)

    return checked


class RNNSweep(Function):
    """h = tanh(a + W h), or ReLU, step after step."""

    @staticmethod
    def forward(
        ctx,
        a: Float[Tensor, "rows h"],
        h: Float[Tensor, "b h"],
        W: Float[Tensor, "h h"],
        sizes: list[int],
        reverse: bool,
        nonlinearity: str,
    ) -> tuple[Float[Tensor, "rows h"], Float[Tensor, "b h"]]:
        out = torch.empty_like(a)
        before: list = [None] * len(sizes)
        a_, out_ = a.split(sizes), out.split(sizes)
        f_ = torch.tanh_ if nonlinearity == "tanh" else torch.relu_
        for t in in_order(sizes, reverse):
            before[t] = h[: sizes[t]]
            h = keep(f_(torch.addmm(a_[t], before[t], W.T, out=out_[t])), h)
        ctx.save_for_backward(out, torch.cat(before), W)
        ctx.how = sizes, reverse, nonlinearity
        return out, h.clone()

    @staticmethod
    @first_derivative_only
    def backward(ctx, d_out, dh):
        out, before, W = ctx.saved_tensors
        sizes, reverse, nonlinearity = ctx.how
        slope = 1 - out**2 if nonlinearity == "tanh" else (out > 0).to(out)
        da = torch.empty_like(out)
        d_out_, slope_, da_ = (x.split(sizes) for x in (d_out, slope, da))
        for t in in_order(sizes, not reverse):
            dh_t = dh[: sizes[t]] + d_out_[t]
            torch.mul(dh_t, slope_[t], out=da_[t])
            dh = keep(da_[t] @ W, dh)
        return da, dh, da.T @ before, None, None, None


class LSTMSweep(Function):
    """i, f, g, o = gates(a + W h); c = f c + i g; h = o tanh(c)."""

    @staticmethod
    def forward(
        ctx,
        a: Float[Tensor, "rows gates"],
        h: Float[Tensor, "b h"],
        c: Float[Tensor, "b h"],
        W: Float[Tensor, "gates h"],
        sizes: list[int],
        reverse: bool,
    ) -> tuple[
        Float[Tensor, "rows h"], Float[Tensor, "b h"], Float[Tensor, "b h"]
    ]:
        H = h.shape[1]
        gates, out = torch.empty_like(a), a.new_empty(len(a), H)
        cell, tanh_c = torch.empty_like(out), torch.empty_like(out)
        before: list = [None] * len(sizes)
        a_, gates_, out_ = (x.split(sizes) for x in (a, gates, out))
        cell_, tanh_c_ = cell.split(sizes), tanh_c.split(sizes)
        i_f_ = gates[:, : 2 * H].split(sizes)
        i_, f_, g_, o_ = (x.split(sizes) for x in gates.chunk(4, 1))
        for t in in_order(sizes, reverse):
            before[t] = h[: sizes[t]], c[: sizes[t]]
            torch.addmm(a_[t], before[t][0], W.T, out=gates_[t])
            i_f_[t].sigmoid_(), g_[t].tanh_(), o_[t].sigmoid_()
            c_t = torch.mul(f_[t], before[t][1], out=cell_[t])
            c_t.addcmul_(i_[t], g_[t])
            torch.tanh(c_t, out=tanh_c_[t])
            h = keep(torch.mul(o_[t], tanh_c_[t], out=out_[t]), h)
            c = keep(c_t, c)
        before_h, before_c = (torch.cat(x) for x in zip(*before))
        ctx.save_for_backward(gates, tanh_c, before_h, before_c, W)
        ctx.how = sizes, reverse
        return out, h.clone(), c.clone()

    @staticmethod
    @first_derivative_only
    def backward(ctx, d_out, dh, dc):
        gates, tanh_c, before_h, before_c, W = ctx.saved_tensors
        sizes, reverse = ctx.how
        i, f, g, o = gates.chunk(4, 1)
        into_c = o * (1 - tanh_c**2)
        by_c = torch.stack(
            [g * i * (1 - i), before_c * f * (1 - f), i * (1 - g**2)], 1
        )
        by_h = tanh_c * o * (1 - o)
        da = torch.empty_like(gates)
        ifg_, o_ = (
            x.split(sizes)
            for x in da.unflatten(1, (4, -1)).split([3, 1], dim=1)
        )
        da_, d_out_, into_c_ = (x.split(sizes) for x in (da, d_out, into_c))
        by_c_, by_h_ = by_c.split(sizes), by_h.unsqueeze(1).split(sizes)
        f_ = f.split(sizes)
        for t in in_order(sizes, not reverse):
            n = sizes[t]
            dh_t = dh[:n] + d_out_[t]
            dc_t = torch.addcmul(dc[:n], dh_t, into_c_[t])
            torch.mul(dc_t.unsqueeze(1), by_c_[t], out=ifg_[t])
            torch.mul(dh_t.unsqueeze(1), by_h_[t], out=o_[t])
            dh = keep(da_[t] @ W, dh)
            dc = keep(dc_t * f_[t], dc)
        return da, dh, dc, da.T @ before_h, None, None


class GRUSweep(Function):
    """r, z = gates(a + W h + b); n = tanh(a + r (W h + b));
    h = (1 - z) n + z h."""

    @staticmethod
    def forward(
        ctx,
        a: Float[Tensor, "rows gates"],
        h: Float[Tensor, "b h"],
        W: Float[Tensor, "gates h"],
        b: Float[Tensor, "gates"],
        sizes: list[int],
        reverse: bool,
    ) -> tuple[Float[Tensor, "rows h"], Float[Tensor, "b h"]]:
        H = h.shape[1]
        gates, out = torch.empty_like(a), a.new_empty(len(a), H)
        before: list = [None] * len(sizes)
        gates_, out_ = gates.split(sizes), out.split(sizes)
        r_z_, n_ = (
            x.split(sizes) for x in gates.split([2 * H, H], dim=1)
        )
        r_, z_ = (x.split(sizes) for x in gates[:, : 2 * H].chunk(2, 1))
        a_r_z_, a_n_ = (x.split(sizes) for x in a.split([2 * H, H], dim=1))
        W_h_n = torch.empty_like(out)
        W_h_n_ = W_h_n.split(sizes)
        for t in in_order(sizes, reverse):
            h_t = before[t] = h[: sizes[t]]
            torch.addmm(b, h_t, W.T, out=gates_[t])
            r_z_[t].add_(a_r_z_[t]).sigmoid_()
            W_h_n_[t].copy_(n_[t])
            torch.addcmul(a_n_[t], r_[t], W_h_n_[t], out=n_[t]).tanh_()
            h = keep(torch.lerp(n_[t], h_t, z_[t], out=out_[t]), h)
        ctx.save_for_backward(gates, W_h_n, torch.cat(before), W)
        ctx.how = sizes, reverse
        return out, h.clone()

    @staticmethod
    @first_derivative_only
    def backward(ctx, d_out, dh):
        gates, W_h_n, before, W = ctx.saved_tensors
        sizes, reverse = ctx.how
        r, z, n = gates.chunk(3, 1)
        by_n = (1 - z) * (1 - n**2)
        by_z = (before - n) * z * (1 - z)
        by_r = by_n * W_h_n * r * (1 - r)
        into_a = torch.stack([by_r, by_z, by_n], 1)
        into_Wh = torch.stack([by_r, by_z, by_n * r], 1)
        dhs, dWh = torch.empty_like(z), torch.empty_like(into_Wh)
        d_out_, z_, dhs_ = (x.split(sizes) for x in (d_out, z, dhs))
        into_Wh_, dWh_ = into_Wh.split(sizes), dWh.split(sizes)
        dWh = dWh.flatten(1)
        flat_ = dWh.split(sizes)
        for t in in_order(sizes, not reverse):
            dh_t = torch.add(dh[: sizes[t]], d_out_[t], out=dhs_[t])
            torch.mul(dh_t.unsqueeze(1), into_Wh_[t], out=dWh_[t])
            dh = keep(torch.addmm(dh_t * z_[t], flat_[t], W), dh)
        da = (dhs.unsqueeze(1) * into_a).flatten(1)
        return da, dh, dWh.T @ before, dWh.sum(0), None, None

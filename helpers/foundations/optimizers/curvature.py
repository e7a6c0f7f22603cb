"""Optimizers that use the Hessian, given (Newton) or gathered from the gradients along the way (BFGS, L-BFGS)."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import grad

from helpers.foundations.optimizers.first_order import Method, check_dense
from helpers.foundations.optimizers.line_search import SEARCHES, Point

Vector = Float[Tensor, " n"]


def flat(tensors: Sequence[Tensor]) -> Vector:
    """All entries of all tensors as one vector."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


class CurvatureMethod(Method):
    """A method whose coordinates all act on one another: one group of parameters, one vector."""

    numbers: Sequence[str] = ()  # settings that are whole numbers from 1 on

    def check(self, group):
        super().check(group)
        if group.get("maximize"):
            raise ValueError(f"maximize = True: {type(self).__name__} goes down, give the negative loss")
        for name in self.numbers:
            if not group[name] >= 1 or group[name] != int(group[name]):
                raise ValueError(f"{name} = {group[name]}: a whole number, at least 1")

    def add_param_group(self, param_group):
        if self.param_groups:
            raise ValueError(
                f"{type(self).__name__} got a second group of parameters: one Hessian joins them all, so give one group"
            )
        super().add_param_group(param_group)

    def check_memory(self, held):
        super().check_memory(held and held | set(self.memories))  # a part may come later

    def evaluate(self, closure):
        """The loss from a closure that is called as in training."""
        if closure is None:
            raise ValueError(
                f"{type(self).__name__}.step needs a closure that returns the loss, as in method.step(closure): "
                "gradient_update drives methods that take the gradients as they are"
            )
        with torch.enable_grad():
            loss = closure()
        if not isinstance(loss, Tensor) or loss.ndim:
            found = f"shape {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise ValueError(f"the closure returns {found}: it returns the loss, a tensor without axes")
        if not loss.isfinite():
            raise ValueError(
                f"the loss is {loss.item():.4g}: an earlier step went too far; lower lr, or search along the line"
            )
        return loss

    def position(self) -> Vector:
        return flat(self.param_groups[0]["params"])

    def gradient(self) -> Vector:
        x = self.param_groups[0]["params"]
        g = [torch.zeros_like(p) if p.grad is None else p.grad for p in x]
        check_dense(g)
        return flat(g)

    def move_to(self, point: Vector) -> None:
        x = self.param_groups[0]["params"]
        for p, part in zip(x, point.split([p.numel() for p in x]), strict=True):
            p.copy_(part.view_as(p))


class Newton(CurvatureMethod):
    """Step to where the gradient of the quadratic that fits here vanishes.

    The closure returns the loss with its graph: it calls no `backward`, or
    `backward(retain_graph=True)`. N parameters cost an N x N Hessian and a
    solve of order N³. `damping` is added to its diagonal.
    """

    def __init__(self, params, lr=1.0, *, damping=0.0):
        super().__init__(params, lr=lr, damping=damping)

    @torch.no_grad()
    def step(self, closure=None):
        loss = self.evaluate(closure)
        group = self.param_groups[0]
        g, H = self.derivatives(loss, group["params"])
        H.diagonal().add_(group["damping"])
        d, failed = torch.linalg.solve_ex(H, g)  # H d = g
        if failed or not d.isfinite().all():
            damping = f"damping = {group['damping']}"
            raise ValueError(f"{damping}: the Hessian is singular, damp more")
        self.move_to(self.position() - group["lr"] * d)  # x = x - lr H⁻¹ g
        return loss

    @torch.enable_grad()
    def derivatives(self, loss, x):
        """The gradient and the Hessian, a row per parameter."""
        unused = {"materialize_grads": True}  # zeros, as for a frozen layer
        try:
            g = flat(grad(loss, x, create_graph=True, **unused))
        except RuntimeError as error:
            raise ValueError(
                "Newton differentiates the loss twice: the closure returns it "
                "without backward(), or after backward(retain_graph=True)"
            ) from error
        n = len(g)
        if not g.requires_grad:  # a linear loss has no curvature
            return g, g.new_zeros(n, n)
        rows = grad(g, x, torch.eye(n).to(g), is_grads_batched=True, **unused)
        H = [row.expand(n, *p.shape).reshape(n, -1) for row, p in zip(rows, x)]
        H = torch.cat(H, dim=1)
        return g.detach(), H.detach()


class QuasiNewton(CurvatureMethod):
    """Newton's direction with an inverse Hessian learnt from the steps.

    A step s changed the gradient by y, so the curvature met on the way is y = H s. The settings, the order of the
    checks and so the path are those of `torch.optim.LBFGS`: one `step` runs up to `max_iter` iterations, and
    `line_search_fn` is None (each iteration goes `lr` times the direction), "strong_wolfe" or "exact".
    """

    numbers = ("max_iter", "max_eval")
    memories = ("evaluations", "iterations", "s", "g")

    def __init__(
        self,
        params,
        lr=1.0,
        *,
        max_iter=20,
        max_eval=None,
        tolerance_grad=1e-7,
        tolerance_change=1e-9,
        line_search_fn=None,
        **settings,
    ):
        super().__init__(
            params,
            lr=lr,
            max_iter=max_iter,
            max_eval=max_iter * 5 // 4 if max_eval is None else max_eval,
            tolerance_grad=tolerance_grad,
            tolerance_change=tolerance_change,
            line_search_fn=line_search_fn,
            **settings,
        )

    def check(self, group):
        super().check(group)
        search = group["line_search_fn"]
        if search not in (None, *SEARCHES):
            raise ValueError(f"line_search_fn = {search!r}: None, {' or '.join(map(repr, SEARCHES))}")

    def direction(self, g: Vector, state: dict) -> Vector:
        """-H⁻¹ g, as far as H is known."""
        raise NotImplementedError

    def remember(self, s: Vector, y: Vector, state: dict) -> None:
        """Learn the curvature met on a step."""
        raise NotImplementedError

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor:
        """Run up to `max_iter` iterations and return the loss before them; `closure` sets the gradients."""
        group = self.param_groups[0]
        state = self.state[group["params"][0]]
        first_loss = self.evaluate(closure)
        loss, g = first_loss.item(), self.gradient()
        budget = state.setdefault("evaluations", 0) + group["max_eval"] - 1
        for iteration in range(1, group["max_iter"] + 1):
            if g.abs().max() <= group["tolerance_grad"]:
                break
            if "s" in state:
                s, y = state.pop("s"), g - state.pop("g")
                if y @ s > 1e-10:  # the loss curves upwards along s
                    self.remember(s, y, state)
            d = self.direction(g, state)
            slope = float(g @ d)
            if slope > -group["tolerance_change"]:
                break

            x, here, t = self.position(), Point(0.0, loss, g, slope), float(group["lr"])
            if "iterations" not in state:  # nothing is known of the scale yet
                t *= min(1.0, 1.0 / float(g.abs().sum()))
            state["iterations"] = state.get("iterations", 0) + 1
            line = self.line(closure, x, d)
            if group["line_search_fn"] is not None:
                search = SEARCHES[group["line_search_fn"]]
                shortest = group["tolerance_change"] / float(d.abs().max())
                end = search(line, t, here, budget - state["evaluations"], shortest)
            else:  # the last iteration need not look where it lands: the next step does, on its own batch
                end = line(t) if iteration < group["max_iter"] else here._replace(t=t)
            self.move_to(x.add(d, alpha=end.t))
            state["s"], state["g"] = end.t * d, g

            change, loss, g = abs(end.loss - loss), end.loss, end.gradient
            if state["evaluations"] >= budget or iteration == group["max_iter"]:
                break
            if state["s"].abs().max() <= group["tolerance_change"] or change < group["tolerance_change"]:
                break
        return first_loss

    def line(self, closure: Callable[[], Tensor], x: Vector, d: Vector) -> Callable[[float], Point]:
        """What the loss does at x + t d, as a function of t."""
        state = self.state[self.param_groups[0]["params"][0]]

        def at(t: float) -> Point:
            self.move_to(x.add(d, alpha=t))
            with torch.enable_grad():
                loss = closure().item()
            g = self.gradient()
            state["evaluations"] += 1
            return Point(t, loss, g, float(g @ d))

        return at


class BFGS(QuasiNewton):
    """The inverse Hessian as a matrix that each step corrects.

    Broyden, Fletcher, Goldfarb, Shanno 1970.
    """

    memories = (*QuasiNewton.memories, "H_inv")

    def direction(self, g, state):
        return -g if "H_inv" not in state else -state["H_inv"] @ g

    def remember(self, s, y, state):
        eye = torch.eye(len(s), dtype=s.dtype, device=s.device)
        H_inv = state.get("H_inv", (y @ s) / (y @ y) * eye)
        V = eye - torch.outer(y, s) / (y @ s)
        # The new matrix maps y to s, and changes the old one least.
        state["H_inv"] = V.T @ H_inv @ V + torch.outer(s, s) / (y @ s)


class LBFGS(QuasiNewton):
    """BFGS with the last steps instead of a matrix (Liu & Nocedal 1989)."""

    numbers = (*QuasiNewton.numbers, "history_size")
    memories = (*QuasiNewton.memories, "history")

    def __init__(self, params, lr=1.0, *, history_size=100, **settings):
        super().__init__(params, lr, history_size=history_size, **settings)

    def direction(self, g, state):
        history = state.get("history", [])
        q, along = -g, []
        for s, y, rho in reversed(history):
            along.append(rho * (s @ q).item())
            q.add_(y, alpha=-along[-1])
        if history:
            s, y, _ = history[-1]
            q *= (y @ s) / (y @ y)  # the newest step's scale
        for s, y, rho in history:
            q.add_(s, alpha=along.pop() - rho * (y @ q).item())
        return q  # = -H⁻¹ g of BFGS, and no matrix was made

    def remember(self, s, y, state):
        history = [*state.get("history", []), (s, y, 1 / (y @ s).item())]
        state["history"] = history[-self.param_groups[0]["history_size"] :]

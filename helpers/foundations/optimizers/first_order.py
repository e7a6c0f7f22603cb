"""Optimizers that see the gradient alone: Robbins & Monro 1951 to AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101).

Each `update` is the method's equations for the lists `x` (parameters) and `g` (gradients), written with torch's kernels
for lists of tensors: `mul_(v, a)` multiplies every tensor of the list `v` by `a`, in place.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Any

import torch
from torch import Tensor
from torch import _foreach_add as add
from torch import _foreach_add_ as add_
from torch import _foreach_addcdiv_ as addcdiv_
from torch import _foreach_addcmul_ as addcmul_
from torch import _foreach_div_ as div_
from torch import _foreach_lerp_ as lerp_
from torch import _foreach_mul_ as mul_
from torch import _foreach_neg as neg
from torch import _foreach_sqrt as sqrt
from torch.optim import Optimizer

from helpers.training.checkpoints import check_moments

Params = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]
ABSENT = object()
# What torch's methods have and some here have not: the value with which the step is the same, if there is one.
NEUTRAL = {
    "alpha": ABSENT,
    "amsgrad": False,
    "betas": ABSENT,
    "bias_correction": True,
    "centered": False,
    "damping": 0,
    "dampening": 0,
    "decoupled_weight_decay": False,
    "differentiable": False,
    "eps": ABSENT,
    "etas": ABSENT,
    "history_size": ABSENT,
    "lambd": ABSENT,
    "line_search_fn": ABSENT,
    "lr_decay": 0,
    "max_iter": ABSENT,
    "maximize": False,
    "momentum": 0,
    "momentum_decay": ABSENT,
    "nesterov": False,
    "rho": ABSENT,
    "step_sizes": ABSENT,
}
IMPLIED = ("decoupled_weight_decay", "nesterov")  # torch's settings that are classes here


def check_settings(group: dict[str, Any], known: Mapping[str, Any], name: str) -> None:
    """Refuse settings with which no step makes sense, those of other methods, and parameters that cannot be moved.

    `known` holds the settings of the method `name`. A setting of another method would be ignored: it passes only with
    the value that changes nothing.
    """
    for setting in known.keys() - group.keys() - {"bias_correction", "maximize", *IMPLIED}:
        raise ValueError(f"{setting} is missing among {name}'s settings: these are those of another method")
    for setting, value in group.items():
        if isinstance(value, Tensor) and setting != "params":
            raise ValueError(f"{setting} = {value}: a number, {setting}.item()")
        if setting not in known and value != NEUTRAL.get(setting, value):
            raise ValueError(f"{setting} = {value}: {name} here has no such setting, another method of torch has it")
    for setting in ("lr", "eps", "weight_decay", "damping", "tolerance_grad", "tolerance_change"):
        if not 0 <= group.get(setting, 0) < inf:
            raise ValueError(f"{setting} = {group[setting]}: a finite number, 0 or more")
    decays = {setting: group[setting] for setting in ("momentum", "alpha") if setting in known}
    if "betas" in known:
        if len(group["betas"]) != 2:
            raise ValueError(f"betas = {group['betas']}: two decay rates, of the mean and of the mean square")
        decays |= {f"betas[{i}]": beta for i, beta in enumerate(group["betas"])}
    for setting, value in decays.items():
        if not 0 <= value < 1:
            raise ValueError(f"{setting} = {value}: a decay rate lies in [0, 1), for example 0.9")
    for dtype in {x.dtype for x in group["params"]}:
        if dtype.is_complex:
            raise ValueError(f"a parameter is {dtype}: optimize torch.view_as_real of it")
        if group.get("eps") and not torch.tensor(group["eps"], dtype=dtype):
            raise ValueError(f"eps = {group['eps']} is 0 in {dtype}: keep parameters in float32, or take 1e-4")


def check_dense(gradients: Sequence[Tensor]) -> None:
    """Refuse the sparse gradients that `nn.Embedding(sparse=True)` makes."""
    if any(g.layout != torch.strided for g in gradients):
        raise ValueError("a gradient is sparse: build the layer with sparse=False, every method here is dense")


class Method(Optimizer):
    """A rule that moves each parameter by its gradient and a memory of it.

    Each also takes torch's `maximize`, in its groups and in the states it loads: the step goes up the gradient.
    """

    implied: Mapping[str, Any] = {}  # torch's settings that say which method this is
    memories: Sequence[str] = ()  # what is remembered of each parameter, under torch's names

    def __init__(self, params: Params, **defaults: Any) -> None:
        super().__init__(params, defaults | self.implied)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        self.check(self.param_groups[-1])

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state of this method, of torch's or of one's own, for parameters of these shapes.

        Raises `ValueError`, and changes nothing, for settings that this method has not and for memories of other shapes.
        """
        for group, own in zip(state_dict["param_groups"], self.param_groups):
            self.check(group | {"params": own["params"]})
        check_moments(self, state_dict["state"])
        for memory in state_dict["state"].values():
            self.check_memory({name for name, value in memory.items() if value is not None} - {"step"})
        super().load_state_dict(state_dict)

    def check_memory(self, held: set[str]) -> None:
        """Refuse what is remembered of a parameter when it is not what this method remembers."""
        if held and held != set(self.memories):
            wanted, found = ", ".join(self.memories) or "nothing", ", ".join(sorted(held))
            raise ValueError(f"the state remembers {found}, {type(self).__name__} here {wanted}: another method saved it")

    def check(self, group: dict[str, Any]) -> None:
        """Refuse a group of parameters whose settings are not this method's."""
        kind = type(self).__name__
        for name, value in self.implied.items():
            if group.get(name, value) != value:
                raise ValueError(f"{name} = {group[name]}: {kind} is the method with {name} = {value}")
        check_settings(group, self.defaults | {"maximize": False}, kind)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Move every parameter that has a gradient; with a `closure`, which sets the gradients, return its loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            x = [p for p in group["params"] if p.grad is not None]
            g = [p.grad for p in x]
            check_dense(g)
            if group.get("maximize"):
                g = neg(g)
            if group["weight_decay"]:
                g = self.decay(x, g, group)
            if x:
                self.update(x, g, group)
        return loss

    def decay(self, x: Sequence[Tensor], g: Sequence[Tensor], group: dict) -> Sequence[Tensor]:
        """L2 regularisation: g + λ x is the gradient of the loss + λ/2 |x|²."""
        return add(g, x, alpha=group["weight_decay"])

    def update(self, x: Sequence[Tensor], g: Sequence[Tensor], group: dict) -> None:
        """One step of the method, in place."""
        raise NotImplementedError

    def memory(self, x: Sequence[Tensor], name: str) -> Sequence[Tensor]:
        """What the method remembers of each tensor under torch's `name` for it; zeros at first."""
        for p in x:
            if self.state[p].get(name) is None:  # torch's SGD keeps a None
                self.state[p][name] = torch.zeros_like(p, memory_format=torch.preserve_format)
        return [self.state[p][name] for p in x]

    def count(self, x: Sequence[Tensor]) -> list[int]:
        """How often each tensor has been moved, this time included: the t of the formulas starts at 1."""
        for p in x:
            self.state[p]["step"] = int(self.state[p].get("step", 0)) + 1
        return [self.state[p]["step"] for p in x]


class SGD(Method):
    """Gradient descent; stochastic on mini-batches (Robbins & Monro 1951)."""

    def __init__(self, params, lr=1e-3, *, weight_decay=0.0):
        super().__init__(params, lr=lr, weight_decay=weight_decay)

    def update(self, x, g, group):
        add_(x, g, alpha=-group["lr"])  # x = x - lr g


class Momentum(Method):
    """A velocity that sums past gradients and forgets (Polyak 1964)."""

    memories = ("momentum_buffer",)

    def __init__(self, params, lr=1e-3, *, momentum=0.9, weight_decay=0.0):
        settings = dict(momentum=momentum, weight_decay=weight_decay)
        super().__init__(params, lr=lr, **settings)

    def update(self, x, g, group):
        v = self.memory(x, "momentum_buffer")
        mul_(v, group["momentum"])
        add_(v, g)  # v = ρ v + g
        add_(x, v, alpha=-group["lr"])  # x = x - lr v


class Nesterov(Momentum):
    """Momentum with the gradient of the point ahead (Nesterov 1983).

    In the variables of Bengio et al. 2013 (arXiv:1212.0901), `x` is that
    point.
    """

    implied = {"nesterov": True}

    def update(self, x, g, group):
        v = self.memory(x, "momentum_buffer")
        mul_(v, group["momentum"])
        add_(v, g)  # v = ρ v + g
        add_(x, g, alpha=-group["lr"])
        # x = x - lr (g + ρ v)
        add_(x, v, alpha=-group["lr"] * group["momentum"])


class AdaGrad(Method):
    """Each coordinate has its own step, scaled by its past gradients.

    Duchi et al. 2011.
    """

    memories = ("sum",)

    def __init__(self, params, lr=1e-2, *, eps=1e-10, weight_decay=0.0):
        super().__init__(params, lr=lr, eps=eps, weight_decay=weight_decay)

    def update(self, x, g, group):
        v = self.memory(x, "sum")
        addcmul_(v, g, g)  # v = v + g²
        root = sqrt(v)
        add_(root, group["eps"])
        addcdiv_(x, g, root, -group["lr"])  # x = x - lr g / (√v + ε)


class RMSProp(Method):
    """AdaGrad that forgets (Tieleman & Hinton 2012)."""

    memories = ("square_avg",)

    def __init__(
        self,
        params,
        lr=1e-2,
        *,
        alpha=0.99,
        eps=1e-8,
        weight_decay=0.0,
    ):
        settings = dict(alpha=alpha, eps=eps, weight_decay=weight_decay)
        super().__init__(params, lr=lr, **settings)

    def update(self, x, g, group):
        v = self.memory(x, "square_avg")
        mul_(v, group["alpha"])
        addcmul_(v, g, g, 1 - group["alpha"])  # v = α v + (1 - α) g²
        root = sqrt(v)
        add_(root, group["eps"])
        addcdiv_(x, g, root, -group["lr"])  # x = x - lr g / (√v + ε)


class Adam(Method):
    """RMSProp with momentum, both corrected for their start at zero.

    Kingma & Ba 2015, arXiv:1412.6980. `bias_correction=False` shows what
    the correction is for.
    """

    memories = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params,
        lr=1e-3,
        *,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.0,
        bias_correction=True,
    ):
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            bias_correction=bias_correction,
        )

    def update(self, x, g, group):
        lr, (beta1, beta2) = group["lr"], group["betas"]
        m, v = self.memory(x, "exp_avg"), self.memory(x, "exp_avg_sq")
        t = self.count(x)
        lerp_(m, g, 1 - beta1)  # m = β₁ m + (1 - β₁) g
        mul_(v, beta2)
        addcmul_(v, g, g, 1 - beta2)  # v = β₂ v + (1 - β₂) g²
        root = sqrt(v)
        if group.get("bias_correction", True):
            div_(root, [(1 - beta2**n) ** 0.5 for n in t])  # √v̂
            step = [-lr / (1 - beta1**n) for n in t]  # m̂ = m / (1 - β₁ᵗ)
        else:
            step = [-lr] * len(t)
        add_(root, group["eps"])
        addcdiv_(x, m, root, step)  # x = x - lr m̂ / (√v̂ + ε)


class AdamW(Adam):
    """Adam with weight decay apart from the gradient.

    Loshchilov & Hutter 2019, arXiv:1711.05101.
    """

    implied = {"decoupled_weight_decay": True}

    def __init__(self, params, lr=1e-3, *, weight_decay=1e-2, **settings):
        super().__init__(params, lr, weight_decay=weight_decay, **settings)

    def decay(self, x, g, group):
        """Shrink the parameters themselves: the moments never see λ."""
        mul_(x, 1 - group["lr"] * group["weight_decay"])  # x = (1 - lr λ) x
        return g

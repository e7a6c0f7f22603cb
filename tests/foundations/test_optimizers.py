"""The optimizers against torch.optim, and the facts that the chapter builds on."""

from copy import deepcopy
from functools import partial
from itertools import pairwise

import pytest
import scipy.optimize
import torch
from torch import nn, optim
from torch.nn import functional as F
from torch.optim.lbfgs import _strong_wolfe

from helpers.foundations.optimizers import (
    BFGS,
    LBFGS,
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    Momentum,
    Nesterov,
    Newton,
    RMSProp,
    beale,
    bowl,
    descend,
    rosenbrock,
    saddle,
)
from helpers.foundations.optimizers.landscapes import coordinates
from helpers.foundations.optimizers.line_search import Point, strong_wolfe

FIRST_ORDER = [SGD, Momentum, Nesterov, AdaGrad, RMSProp, Adam, AdamW]
TORCH = {
    SGD: optim.SGD,
    Momentum: partial(optim.SGD, momentum=0.9),
    Nesterov: partial(optim.SGD, momentum=0.9, nesterov=True),
    AdaGrad: optim.Adagrad,
    RMSProp: optim.RMSprop,
    Adam: optim.Adam,
    AdamW: optim.AdamW,
}
SETTINGS = {
    SGD: {},
    Momentum: {"momentum": 0.8},
    Nesterov: {"momentum": 0.8},
    AdaGrad: {"eps": 1e-6},
    RMSProp: {"alpha": 0.9, "eps": 1e-6},
    Adam: {"betas": (0.8, 0.99), "eps": 1e-6},
    AdamW: {"betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": 0.05},
}
every_first_order = pytest.mark.parametrize("method", FIRST_ORDER, ids=lambda m: m.__name__)


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def batch(step: int):
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(16, 4, generator=generator, dtype=torch.float64)
    return x, (x @ torch.randn(4, 3, generator=torch.Generator().manual_seed(99), dtype=torch.float64)).argmax(1)


def backward(model: nn.Module, step: int = 0) -> torch.Tensor:
    model.zero_grad()
    x, y = batch(step)
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    return loss


def train(model, optimizer, steps=100, first=0):
    for step in range(first, first + steps):
        backward(model, step)
        optimizer.step()


def weights(model: nn.Module) -> torch.Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


@pytest.mark.parametrize(
    "method, per_parameter", [(SGD, 0), (Momentum, 1), (Nesterov, 1), (AdaGrad, 1), (RMSProp, 1), (Adam, 2), (AdamW, 2)]
)
def test_parameter_count(method, per_parameter):
    model = network()
    optimizer = method(model.parameters(), lr=0.01)
    train(model, optimizer, 3)
    n = sum(p.numel() for p in model.parameters())
    state = [v for memory in optimizer.state.values() for v in memory.values() if isinstance(v, torch.Tensor)]
    assert sum(v.numel() for v in state) == per_parameter * n


def test_parameter_count_of_curvature_methods():
    n, history = 5, 3
    count = {}
    for name, make in {"BFGS": BFGS, "LBFGS": partial(LBFGS, history_size=history)}.items():
        x = torch.linspace(0.5, 1.5, n).double().requires_grad_()
        optimizer = make([x], 0.1, max_iter=10)
        optimizer.step(lambda x=x: chain(x))
        tensors = []
        for value in optimizer.state[x].values():
            items = [t for group in value for t in group] if isinstance(value, list) else [value]
            tensors += [t for t in items if isinstance(t, torch.Tensor)]
        count[name] = sum(t.numel() for t in tensors)
    assert count == {"BFGS": n**2 + 2 * n, "LBFGS": 2 * n * history + 2 * n}


def chain(x):
    """Rosenbrock's function in n dimensions, with its gradient."""
    x.grad = None
    loss = (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()
    loss.backward()
    return loss


@every_first_order
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_matches_reference(method, weight_decay):
    ours, reference = network(), network()
    decay = SETTINGS[method] | ({"weight_decay": weight_decay} if weight_decay else {})
    a = method(ours.parameters(), lr=0.05, **decay)
    b = TORCH[method](reference.parameters(), lr=0.05, **decay)
    for step in range(100):
        assert torch.equal(backward(ours, step), backward(reference, step)) or step > 0
        a.step()
        b.step()
        torch.testing.assert_close(weights(ours), weights(reference), rtol=0, atol=1e-12)


@every_first_order
def test_matches_reference_with_groups_and_missing_gradients(method):
    def groups(model):
        return [
            {"params": [*model[0].parameters()], "lr": 0.02, "weight_decay": 0.1},
            {"params": [*model[2].parameters()]},
        ]

    ours, reference = network(), network()
    a, b = method(groups(ours), lr=0.05), TORCH[method](groups(reference), lr=0.05)
    for step in range(100):
        for model, optimizer in ((ours, a), (reference, b)):
            backward(model, step)
            if step % 3 == 0:  # a layer that this batch did not use
                model[0].bias.grad = None
            optimizer.step()
    torch.testing.assert_close(weights(ours), weights(reference), rtol=0, atol=1e-12)


@pytest.mark.parametrize("method, name", [(Adam, "Adam"), (AdamW, "AdamW")])
def test_matches_reference_with_default_settings(method, name):
    ours, reference = network(), network()
    train(ours, method(ours.parameters()))
    train(reference, getattr(optim, name)(reference.parameters()))
    torch.testing.assert_close(weights(ours), weights(reference), rtol=0, atol=1e-12)


@pytest.mark.parametrize("line_search_fn", [None, "strong_wolfe"])
@pytest.mark.parametrize("max_iter", [1, 4, 20])
@pytest.mark.parametrize("history_size", [3, 100])
@pytest.mark.parametrize("start", [(-1.2, 1.0, 0.5, -0.7, 2.0), (3.0, -2.0)])
def test_lbfgs_matches_reference(line_search_fn, max_iter, history_size, start):
    lr = 1.0 if line_search_fn else 0.5
    settings = dict(lr=lr, max_iter=max_iter, history_size=history_size, line_search_fn=line_search_fn)
    ours = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    reference = ours.detach().clone().requires_grad_()
    a, b = LBFGS([ours], **settings), optim.LBFGS([reference], **settings)
    for _ in range(100):
        a.step(lambda: chain(ours))
        b.step(lambda: chain(reference))
        torch.testing.assert_close(ours, reference, rtol=0, atol=1e-12)


@pytest.mark.parametrize("line_search_fn", [None, "strong_wolfe"])
def test_lbfgs_matches_reference_on_mini_batches(line_search_fn):
    ours, reference = network(), network()
    settings = dict(lr=0.3, max_iter=3, history_size=5, line_search_fn=line_search_fn)
    a, b = LBFGS(ours.parameters(), **settings), optim.LBFGS(reference.parameters(), **settings)
    for step in range(100):
        a.step(lambda step=step: backward(ours, step))
        b.step(lambda step=step: backward(reference, step))
    torch.testing.assert_close(weights(ours), weights(reference), rtol=0, atol=1e-12)


def test_newton_matches_a_solve_with_torch_func():
    ours = network()
    start = weights(ours)
    x, y = batch(0)

    def loss_at(vector):
        layers, at = [], 0
        for p in ours.parameters():
            layers.append(vector[at : at + p.numel()].view_as(p))
            at += p.numel()
        return F.cross_entropy(F.linear(F.linear(x, *layers[:2]).tanh(), *layers[2:]), y)

    g, H = torch.func.grad(loss_at)(start), torch.autograd.functional.hessian(loss_at, start)
    expected = start - 0.5 * torch.linalg.solve(H + 0.1 * torch.eye(len(start)).double(), g)
    Newton(ours.parameters(), 0.5, damping=0.1).step(lambda: F.cross_entropy(ours(x), y))
    torch.testing.assert_close(weights(ours), expected, rtol=0, atol=1e-10)


def test_landscapes_have_their_minima():
    minima = {beale: (3.0, 0.5), rosenbrock: (1.0, 1.0), bowl: (0.0, 0.0), saddle: (0.0, 1.0)}
    for f, place in minima.items():
        x = torch.tensor(place, dtype=torch.float64, requires_grad=True)
        (g,) = torch.autograd.grad(f(x), x)
        torch.testing.assert_close(g, torch.zeros_like(g), rtol=0, atol=1e-12)
        assert (torch.linalg.eigvalsh(torch.autograd.functional.hessian(f, x.detach())) > 0).all(), f.__name__
    assert [float(f(torch.tensor(place))) for f, place in minima.items()] == [0, 0, 0, -0.25]
    eigenvalues = torch.linalg.eigvalsh(torch.autograd.functional.hessian(saddle, torch.zeros(2)))
    assert eigenvalues.tolist() == [-1, 1]
    assert bowl(torch.tensor([[2.0, 1.0]]), (3.0, 5.0)).tolist() == [8.5]


def test_landscapes_are_those_of_the_literature():
    """Away from their minima too: Rosenbrock's against scipy, the others against their definitions."""
    points = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a, b = points.unbind(1)
    torch.testing.assert_close(rosenbrock(points), torch.from_numpy(scipy.optimize.rosen(points.T.numpy())))
    rests = (1.5 - a + a * b, 2.25 - a + a * b**2, 2.625 - a + a * b**3)
    torch.testing.assert_close(beale(points), torch.stack(rests).square().sum(0))
    torch.testing.assert_close(saddle(points), a**2 / 2 - b**2 / 2 + b**4 / 4)
    torch.testing.assert_close(bowl(points), a**2 / 2 + 5 * b**2)


@pytest.mark.parametrize("method", [*FIRST_ORDER, Newton, BFGS, LBFGS], ids=lambda m: m.__name__)
def test_gradients_reach_every_parameter(method):
    model = network()
    x, y = batch(0)
    frozen = nn.Parameter(torch.ones(2, dtype=torch.float64))
    before = [p.detach().clone() for p in model.parameters()]
    settings = {"damping": 0.1} if method is Newton else {"lr": 0.1}

    def closure():
        model.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward(retain_graph=True)
        return loss

    method([*model.parameters(), frozen], **settings).step(closure)
    assert all(bool((p != q).any()) for p, q in zip(model.parameters(), before, strict=True))
    assert frozen.tolist() == [1, 1]


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e6])
def test_adam_first_step_ignores_the_scale_of_the_gradient(scale):
    x = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    x.grad = scale * torch.tensor([-3.0, 0.5, 1.0], dtype=torch.float64)
    Adam([x], lr=0.01, eps=0).step()
    torch.testing.assert_close(x.detach(), -0.01 * x.grad.sign(), rtol=1e-12, atol=0)


def test_adam_without_correction_starts_too_fast():
    x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    x.grad = torch.ones_like(x)
    Adam([x], lr=1.0, eps=0, bias_correction=False).step()
    assert x.item() == pytest.approx(-(1 - 0.9) / (1 - 0.999) ** 0.5, rel=1e-12)


def test_nesterov_is_momentum_that_looks_ahead():
    lr, rho = 0.02, 0.8
    path = descend(rosenbrock, (-0.5, 0.5), partial(Nesterov, lr=lr / 20, momentum=rho), 50)
    x, v = torch.tensor([-0.5, 0.5]).double(), torch.zeros(2).double()
    for ahead in path[1:]:
        point = (x + rho * v).requires_grad_()
        (g,) = torch.autograd.grad(rosenbrock(point), point)
        v = rho * v - lr / 20 * g
        x = x + v
        torch.testing.assert_close(ahead, x + rho * v, rtol=0, atol=1e-12)


def test_newton_solves_any_quadratic_in_one_step():
    A = spread(6, 1e4)
    path = descend(lambda x: 0.5 * x @ A @ x - x.sum(), torch.ones(6).double(), Newton, 1)
    torch.testing.assert_close(A @ path[-1], torch.ones(6).double())


@pytest.mark.parametrize("n", [2, 5, 12])
def test_bfgs_with_exact_search_solves_a_quadratic_in_n_steps(n):
    A = spread(n, 50)
    method = partial(BFGS, max_iter=1, max_eval=25, line_search_fn="exact")
    path = descend(lambda x: 0.5 * x @ A @ x, torch.ones(n).double(), method, n)
    loss = torch.stack([0.5 * x @ A @ x for x in path])
    assert loss[n] < 1e-12 * loss[0] < loss[n - 1]


def test_bfgs_takes_the_steps_of_its_equations():
    """Nocedal & Wright 2006, equations 6.17 and 6.20: each pair corrects H, the first one scales H before."""
    A = spread(4, 20)

    def f(x):
        return 0.5 * x @ A @ x + 0.25 * x.pow(4).sum()

    path = descend(f, torch.linspace(-1, 2, 4), partial(BFGS, lr=0.7, max_iter=1), 6)
    g, eye, H = path @ A + path**3, torch.eye(4).double(), None
    torch.testing.assert_close(path[1] - path[0], -0.7 * g[0] / g[0].abs().sum())  # shorter, as the scale is unknown
    for k in range(1, 6):
        s, y = path[k] - path[k - 1], g[k] - g[k - 1]
        rho = 1 / (y @ s)
        H = eye / rho / (y @ y) if H is None else H
        V = eye - rho * torch.outer(s, y)
        H = V @ H @ V.T + rho * torch.outer(s, s)
        torch.testing.assert_close(path[k + 1] - path[k], -0.7 * H @ g[k])


def spread(n: int, condition: float) -> torch.Tensor:
    """A symmetric matrix with n different eigenvalues from 1 to `condition`."""
    Q, _ = torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(n), dtype=torch.float64))
    return Q @ torch.diag(torch.logspace(0, torch.tensor(condition).log10().item(), n).double()) @ Q.T


@pytest.mark.parametrize("search", ["exact", "strong_wolfe"])
@pytest.mark.parametrize("method", [BFGS, LBFGS], ids=lambda m: m.__name__)
def test_line_searches_reach_the_minimum_of_beale(method, search):
    path = descend(beale, (1.0, 1.5), partial(method, line_search_fn=search), 30)
    torch.testing.assert_close(path[-1], torch.tensor([3, 0.5]).double(), rtol=0, atol=1e-4)


def test_exact_search_ends_where_the_slope_is_gone():
    x = torch.tensor([-1.2, 1.0], dtype=torch.float64, requires_grad=True)
    d = -torch.autograd.grad(rosenbrock(x), x)[0]
    path = descend(rosenbrock, x, partial(LBFGS, max_iter=1, max_eval=50, line_search_fn="exact"), 1)
    end = path[-1].requires_grad_()
    (g,) = torch.autograd.grad(rosenbrock(end), end)
    assert abs(g @ d) < 1e-9 * (d @ d)
    assert rosenbrock(end) < rosenbrock(x)


@pytest.mark.parametrize("search", ["exact", "strong_wolfe"])
def test_searches_come_back_from_where_the_loss_is_no_number(search):
    method = partial(BFGS, lr=50, max_iter=5, max_eval=60, line_search_fn=search)
    path = descend(lambda x: (x - x.log()).sum(), (0.1, 4.0), method, 10)
    torch.testing.assert_close(path[-1], torch.ones(2).double(), rtol=0, atol=1e-3)
    starved = partial(BFGS, lr=50, max_iter=1, max_eval=2, line_search_fn=search)
    assert descend(lambda x: (x - x.log()).sum(), (0.1, 4.0), starved, 2).tolist() == [[0.1, 4.0]] * 3


def wavy(seed: int, t: float) -> tuple[float, float]:
    """A line with hills and valleys that begins downwards: its height and slope at t."""
    a, w, p = torch.rand(3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).unbind()
    w, p = 1 + 6 * w, 6.3 * p
    way = -1 if (a * w * p.cos()).sum() > 0.3 else 1
    height = (a * (w * way * t + p).sin()).sum() - 0.3 * way * t + 0.01 * t**2
    return height.item(), (way * (a * w * (w * way * t + p).cos()).sum() - 0.3 * way + 0.02 * t).item()


@pytest.mark.parametrize("first", [0.1, 0.5, 1.0, 4.0])
def test_strong_wolfe_is_torchs_on_wavy_lines(first):
    """Where a step outwards may end higher than the one before: the same length after as many evaluations."""
    d, seen = torch.ones(1, dtype=torch.float64), []

    def evaluate(t: float, seed: int, lengths: list) -> Point:
        lengths.append(float(t))
        height, slope = wavy(seed, lengths[-1])
        return Point(t, height, slope * d, slope)

    for seed in range(150):
        ours, theirs = [], []
        start = evaluate(0.0, seed, [])
        assert start.slope < 0
        end = strong_wolfe(partial(evaluate, seed=seed, lengths=ours), first, start, 25, 1e-9)
        loss, _, t, count = _strong_wolfe(
            lambda _, t, __, seed=seed, theirs=theirs: evaluate(t, seed, theirs)[1:3], 0 * d, first, d, *start[1:]
        )
        if min((abs(a - b) for a, b in pairwise(theirs)), default=1) < 1e-4:
            continue  # so near that rounding decides where the next one lies
        assert ours == pytest.approx(theirs) and len(ours) == count, seed
        assert (float(end.t), end.loss) == pytest.approx((float(t), loss)), seed
        seen.append(count)
    assert len(seen) > 140 and max(seen) > 4  # some brackets were narrowed down


RATES = {SGD: 0.5, Momentum: 0.1, Nesterov: 0.1, AdaGrad: 0.1, RMSProp: 0.01, Adam: 0.03, AdamW: 0.03}
RATES |= {Newton: 1.0, BFGS: 1.0, LBFGS: 1.0}


@pytest.mark.parametrize("method", RATES, ids=lambda m: m.__name__)
def test_learns_toy_problem(method):
    model = network()
    x, y = batch(0)
    settings = {"damping": 0.3} if method is Newton else {}
    if method in (BFGS, LBFGS):
        settings = {"line_search_fn": "strong_wolfe"}
    optimizer = method(model.parameters(), RATES[method], **settings)

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward(retain_graph=True)
        return loss

    first = closure().item()
    for _ in range(150):
        last = optimizer.step(closure)
    assert last.item() < 0.1 < 0.8 < first


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@every_first_order
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_device_and_dtype(method, device, dtype):
    x = torch.linspace(-1, 1, 6).to(device, dtype).view(2, 3).requires_grad_()
    target = x.detach() / 2
    optimizer = method([x], 0.05)
    for _ in range(10):
        optimizer.zero_grad()
        ((x - target) ** 2).sum().backward()
        optimizer.step()
    assert x.device.type == device and x.dtype == dtype and bool(x.isfinite().all())
    assert (x - target).norm() < target.norm()
    for value in optimizer.state[x].values():
        assert not isinstance(value, torch.Tensor) or (value.device, value.dtype) == (x.device, x.dtype)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", [Newton, BFGS, LBFGS], ids=lambda m: m.__name__)
def test_device_and_dtype_of_curvature_methods(method, device):
    x = torch.ones(2, 3, device=device, requires_grad=True)
    y = torch.ones((), device=device, requires_grad=True)
    optimizer = method([x, y])

    def closure():
        optimizer.zero_grad()
        loss = (x**2).sum() + (y - 2) ** 2 + 0.1 * y * x.sum()
        loss.backward(retain_graph=True)
        return loss

    first = optimizer.step(closure)
    assert optimizer.step(closure) < first
    assert x.device.type == device and x.dtype == torch.float32


@pytest.mark.parametrize("method", [*FIRST_ORDER, BFGS, LBFGS], ids=lambda m: m.__name__)
def test_state_dict_resumes_where_it_stopped(method, tmp_path):
    def run(optimizer, model, first, steps):
        for step in range(first, first + steps):
            optimizer.step(lambda step=step: backward(model, step))

    model = network()
    optimizer = method(model.parameters(), lr=0.1)
    run(optimizer, model, 0, 5)
    torch.save((model.state_dict(), optimizer.state_dict()), tmp_path / "checkpoint.pt")
    run(optimizer, model, 5, 5)

    resumed = network(seed=1)
    fresh = method(resumed.parameters(), lr=0.5)
    state, memory = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    resumed.load_state_dict(state)
    fresh.load_state_dict(memory)
    run(fresh, resumed, 5, 5)
    assert torch.equal(weights(model), weights(resumed))


@every_first_order
def test_memory_of_torch_continues_here(method):
    model = network()
    theirs = TORCH[method](model.parameters(), lr=0.05)
    train(model, theirs, 5)
    copy = deepcopy(model)
    ours = method(copy.parameters(), lr=0.05)
    ours.load_state_dict(deepcopy(ours.state_dict() | {"state": theirs.state_dict()["state"]}))
    train(model, theirs, 5, first=5)
    train(copy, ours, 5, first=5)
    torch.testing.assert_close(weights(copy), weights(model), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "make, words",
    [
        (partial(SGD, lr=-0.1), "lr = -0.1: a finite number, 0 or more"),
        (partial(SGD, lr=float("nan")), "lr = nan"),
        (partial(Adam, eps=-1.0), "eps = -1.0"),
        (partial(Adam, weight_decay=float("inf")), "weight_decay = inf"),
        (partial(Newton, damping=-1.0), "damping = -1.0"),
        (partial(Momentum, momentum=1.0), r"momentum = 1.0: a decay rate lies in \[0, 1\), for example 0.9"),
        (partial(RMSProp, alpha=-0.5), "alpha = -0.5"),
        (partial(AdamW, betas=(0.9, 1.5)), r"betas\[1\] = 1.5"),
        (partial(Adam, lr=torch.tensor(0.1)), r"lr = 0.1.*: a number, lr.item\(\)"),
        (partial(SGD, lr=torch.tensor(0.1)), "lr = .*: a number"),
        (partial(Adam, betas=(0.9,)), r"betas = \(0.9,\): two decay rates"),
        (partial(Momentum, momentum=float("nan")), "momentum = nan"),
        (partial(LBFGS, tolerance_grad=float("nan")), "tolerance_grad = nan"),
        (partial(LBFGS, max_iter=2.5), "max_iter = 2.5: a whole number, at least 1"),
        (partial(BFGS, max_eval=0), "max_eval = 0: a whole number"),
        (partial(LBFGS, history_size=0), "history_size = 0: a whole number, at least 1"),
        (partial(LBFGS, max_iter=0), "max_iter = 0: a whole number, at least 1"),
        (partial(BFGS, line_search_fn="wolfe"), "line_search_fn = 'wolfe': None, 'strong_wolfe' or 'exact'"),
    ],
)
def test_bad_settings_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make([nn.Parameter(torch.ones(2))])


def test_bad_parameters_and_groups_are_refused():
    with pytest.raises(ValueError, match="complex64: optimize torch.view_as_real"):
        SGD([nn.Parameter(torch.ones(2, dtype=torch.complex64))])
    with pytest.raises(ValueError, match="lr = -1"):
        SGD([{"params": [nn.Parameter(torch.ones(2))], "lr": -1}])
    for method in (Newton, BFGS, LBFGS):
        with pytest.raises(ValueError, match=f"{method.__name__} got a second group"):
            method([{"params": [nn.Parameter(torch.ones(1))]} for _ in range(2)])


@pytest.mark.parametrize("method", [SGD, LBFGS], ids=lambda m: m.__name__)
def test_sparse_gradients_are_refused(method):
    layer = nn.Embedding(5, 2, sparse=True)

    def closure():
        loss = layer(torch.tensor([1, 2])).sum()
        loss.backward()
        return loss

    with pytest.raises(ValueError, match="sparse=False"):
        method(layer.parameters()).step(closure)


def test_bad_closures_are_refused():
    x = nn.Parameter(torch.ones(2))

    def spent():
        loss = (x**2).sum()
        loss.backward()
        return loss

    with pytest.raises(ValueError, match=r"without backward\(\), or after backward\(retain_graph=True\)"):
        Newton([x]).step(spent)
    for method in (Newton, BFGS, LBFGS):
        with pytest.raises(
            ValueError, match=rf"{method.__name__}.step needs a closure .*step\(closure\): gradient_update"
        ):
            method([x]).step()
    for returned, found in ((None, "NoneType"), (torch.ones(2), r"shape \[2\]")):
        with pytest.raises(ValueError, match=f"the closure returns {found}: it returns the loss"):
            BFGS([x]).step(lambda returned=returned: returned)
    with pytest.raises(ValueError, match="the loss is nan: an earlier step went too far"):
        LBFGS([x]).step(lambda: (x * float("nan")).sum())
    for flat in (lambda: x.sum(), lambda: x[0] ** 2 + 0 * x[1]):
        with pytest.raises(ValueError, match="damping = 0.0: the Hessian is singular, damp more"):
            Newton([x]).step(flat)
    assert x.tolist() == [1, 1]


@pytest.mark.parametrize("method", [Adam, AdaGrad, RMSProp], ids=lambda m: m.__name__)
def test_an_eps_that_vanishes_is_refused(method):
    """1e-8 is 0 in float16: the first gradient of 0 would make 0 / 0."""
    half = nn.Parameter(torch.ones(2, dtype=torch.float16))
    with pytest.raises(ValueError, match="eps = 1e-.* is 0 in torch.float16: keep parameters in float32, or take 1e-4"):
        method([half])
    half.grad = torch.tensor([0.0, 1.0], dtype=torch.float16)
    method([half], eps=1e-4).step()
    assert bool(half.isfinite().all()) and half[0] == 1


# -- states: torch's go on here as there, or are refused ---------------------------------------------------------------


def continued(mine, theirs):
    """Weights after five steps of torch, and five more there and here."""
    model = network()
    reference = theirs(model.parameters())
    train(model, reference, 5)
    copy = deepcopy(model)
    ours = mine(copy.parameters())
    ours.load_state_dict(deepcopy(reference.state_dict()))
    train(model, reference, 5, first=5)
    train(copy, ours, 5, first=5)
    return weights(copy), weights(model)


@pytest.mark.parametrize("maximize", [False, True])
@every_first_order
def test_states_of_torch_go_on_here(method, maximize):
    """Settings and memory: learning rate, decay and direction are torch's, whatever this one was built with."""
    theirs = partial(TORCH[method], lr=0.02, weight_decay=0.1, maximize=maximize)
    torch.testing.assert_close(*continued(partial(method, lr=0.5), theirs), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "mine, theirs, message",
    [
        (Adam, partial(optim.Adam, amsgrad=True), "amsgrad = True: Adam here has no such setting"),
        (Adam, optim.AdamW, "decoupled_weight_decay = True: Adam here has no such setting"),
        (AdamW, optim.Adam, "decoupled_weight_decay = False: AdamW is the method with decoupled_weight_decay = True"),
        (SGD, partial(optim.SGD, momentum=0.9), "momentum = 0.9: SGD here has no such setting"),
        (Momentum, partial(optim.SGD, momentum=0.9, nesterov=True), "nesterov = True: Momentum here has no such"),
        (Momentum, partial(optim.SGD, momentum=0.9, dampening=0.5), "dampening = 0.5"),
        (Nesterov, partial(optim.SGD, momentum=0.9), "nesterov = False: Nesterov is the method with nesterov = True"),
        (RMSProp, partial(optim.RMSprop, centered=True), "centered = True"),
        (RMSProp, partial(optim.RMSprop, momentum=0.5), "momentum = 0.5: RMSProp here has no such setting"),
        (AdaGrad, partial(optim.Adagrad, lr_decay=0.1), "lr_decay = 0.1"),
        (AdaGrad, optim.RMSprop, "alpha = 0.99: AdaGrad here has no such setting"),
        (Adam, partial(optim.SGD, lr=0.1), "(betas|eps) is missing among Adam's settings"),
        (Adam, partial(optim.Adam, lr=torch.tensor(0.1)), "lr = .*: a number"),
        (Adam, partial(Momentum, lr=0.1), "(betas|eps) is missing among Adam's settings"),
        (Momentum, Nesterov, "nesterov = True: Momentum here has no such setting"),
        (Adam, AdamW, "decoupled_weight_decay = True"),
    ],
    ids=str,
)
def test_states_of_other_methods_are_refused(mine, theirs, message):
    model = network()
    reference, ours = theirs(model.parameters()), mine(model.parameters(), lr=0.3)
    train(model, reference, 2)
    before = deepcopy(ours.state_dict())
    with pytest.raises(ValueError, match=message):
        ours.load_state_dict(reference.state_dict())
    assert ours.state_dict() == before
    with pytest.raises(ValueError, match="here has no such setting"):  # the same, given to a group
        Adam([{"params": [nn.Parameter(torch.ones(1))], "amsgrad": True}])


@pytest.mark.parametrize("method", [Momentum, AdaGrad, Adam, BFGS, LBFGS], ids=lambda m: m.__name__)
def test_memories_that_do_not_fit_are_refused(method):
    def started(model):
        optimizer = method(model.parameters(), lr=0.1)
        for step in range(3):
            optimizer.step(lambda step=step: backward(model, step))
        return optimizer

    ours = started(network())
    wide = nn.Sequential(nn.Linear(4, 9), nn.Tanh(), nn.Linear(9, 3)).double()
    before = deepcopy(ours.state_dict())
    with pytest.raises(ValueError, match="is of shape .*: it was saved from another model"):
        ours.load_state_dict(started(wide).state_dict())
    strange = deepcopy(before)
    strange["state"][0]["ro"] = [1.0]
    with pytest.raises(ValueError, match=f"remembers .*ro, .*{method.__name__} here .*: another method saved it"):
        ours.load_state_dict(strange)
    if method is Adam:
        del strange["state"][0]["ro"], strange["state"][0]["exp_avg_sq"]
        with pytest.raises(ValueError, match="remembers exp_avg, Adam here exp_avg, exp_avg_sq"):
            ours.load_state_dict(strange)
    torch.testing.assert_close(ours.state_dict(), before, rtol=0, atol=0)


def test_curvature_goes_down_only():
    for method in (Newton, BFGS, LBFGS):
        with pytest.raises(ValueError, match=f"maximize = True: {method.__name__} goes down, give the negative loss"):
            method([{"params": [nn.Parameter(torch.ones(1))], "maximize": True}])
    model = network()
    theirs = optim.LBFGS(model.parameters(), max_iter=2)
    theirs.step(lambda: backward(model))
    with pytest.raises(ValueError, match="the state remembers .*old_dirs.*, LBFGS here .*: another method saved it"):
        LBFGS(model.parameters()).load_state_dict(theirs.state_dict())


def test_surfaces_refuse_other_points():
    with pytest.raises(ValueError, match=r"points \[4, 3\]: this surface lies over the plane"):
        coordinates(torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"2 curvatures for points \[5, 1\]: give one for each coordinate"):
        bowl(torch.ones(5, 1), (1.0, 10.0))
    with pytest.raises(ValueError, match=r"f is of shape \[2\] at \[1.0, 2.0\]: its value there is one number"):
        descend(lambda x: x**2, (1.0, 2.0), SGD, 1)

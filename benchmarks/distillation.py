"""Distillation: the loss against torch's parts, kept answers against a teacher that answers live, a crowd against a loop."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.harness import Pair
from helpers.convnets.output_size import Conv, Linear, Pool, as_module
from helpers.data import digits
from helpers.efficiency.distillation import Crowd, answers, distillation_loss, distilling, hard_loss
from helpers.efficiency.distillation.experiments import WIDE
from helpers.foundations.optimizers import Adam
from helpers.training import gradient_update

IMAGE = (1, 8, 8)
STUDENTS = {
    "MLP of 32 units": {"hidden": Linear(32), "out": Linear(10)},
    "convnet of 8 channels": {"conv": Conv(8, 3, padding=1), "pool": Pool(2, 2), "out": Linear(10)},
}


def pairs(device: torch.device, tiny: bool = False) -> Iterator[Pair]:
    """Losses of several batches and classes; a student's step with either teacher; five students' losses and gradients."""
    for b, k in ((4, 3),) if tiny else ((64, 10), (256, 1000)):
        yield Pair(f"distillation loss, both ways, {b} x {k}", "F.kl_div and F.cross_entropy", *losses(b, k, device))
    data = digits().to(device)
    n = 8 if tiny else 64
    for name, plan in STUDENTS.items():
        yield Pair(f"a student's step, {name}: answers kept", "teacher live", *lessons(plan, data, n, device))
    for name, plan in STUDENTS.items():
        yield Pair(f"five students at once, {name}", "a loop over five", *five(plan, data, n, device))


def losses(b, k, device):
    """Both sides return the loss and its gradient."""
    random = torch.Generator().manual_seed(0)
    z, v = (3 * torch.randn(b, k, generator=random).to(device) for _ in range(2))
    y = torch.randint(k, (b,), generator=random).to(device)
    z.requires_grad_()
    T, w = 4.0, 0.7

    def both(loss):
        return loss, torch.autograd.grad(loss, z)[0]

    def ours():
        return both(distillation_loss(z, v, y, temperature=T, weight=w, form="kl"))

    def other():
        p = (v / T).softmax(1)
        soft = F.kl_div((z / T).log_softmax(1), p, reduction="batchmean")
        return both(w * T**2 * soft + (1 - w) * F.cross_entropy(z, y))

    return ours, other


def lessons(plan, data, n, device):
    """Both sides take one step on the same images, and return its loss."""
    torch.manual_seed(0)
    teacher = as_module(WIDE, IMAGE).to(device).eval()
    kept = answers(teacher, data.images[:n])
    start = as_module(plan, IMAGE).to(device).state_dict()

    def side(who, *columns):
        student = as_module(plan, IMAGE).to(device)
        student.load_state_dict(start)
        update = gradient_update(student, Adam(student.parameters(), 1e-3), distilling(who, temperature=4, weight=1))
        batch = data.images[:n], data.labels[:n], *columns

        def step():
            return update(batch)["loss"][0]

        return step

    return side(None, kept), side(teacher)


def five(plan, data, n, device):
    """Both sides return the sum of five losses, and the gradients of all weights, of five networks on five parts."""
    make = partial(as_module, plan, IMAGE)
    crowd = Crowd(make, range(5)).to(device)
    members = [crowd.member(i) for i in range(5)]
    images = data.images[: 5 * n].unflatten(0, (n, 5))
    labels = data.labels[: 5 * n].unflatten(0, (n, 5))

    def ours():
        loss = hard_loss(crowd(images), labels)
        return loss, *torch.autograd.grad(loss, list(crowd.parameters()))

    def other():
        found = [alone(net, images[:, i], labels[:, i]) for i, net in enumerate(members)]
        total, *gradients = zip(*found)
        return sum(total), *map(torch.stack, gradients)

    def alone(net: nn.Module, images, labels):
        loss = F.cross_entropy(net(images), labels)
        return loss, *torch.autograd.grad(loss, list(net.parameters()))

    return ours, other

"""Targets and losses against torch.nn.functional, in values and gradients; who learns from whom; what is refused."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from helpers.convnets.architectures.lenet import lenet_small
from helpers.convnets.architectures.preactivation import wrn_small
from helpers.convnets.output_size import Linear, as_module
from helpers.data import batches, digits
from helpers.efficiency import distillation as kd
from helpers.foundations.optimizers import Adam
from helpers.training import autocast, fit, gradient_update

close = partial(torch.testing.assert_close, rtol=0, atol=1e-10)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels_for(b: int, k: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(k, (b,), generator=torch.Generator().manual_seed(seed))


def gradient(loss: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(loss, x, retain_graph=True)[0]


@settings(max_examples=30, deadline=None)
@given(b=st.integers(1, 5), k=st.integers(2, 6), T=st.sampled_from([0.5, 1.0, 4.0, 20.0]), seed=st.integers(0, 99))
def test_matches_reference(b, k, T, seed):
    """F.kl_div(batchmean) and F.cross_entropy with probabilities."""
    z, v = 3 * noise(b, k, seed=seed).requires_grad_(), 3 * noise(b, k, seed=seed + 1)
    p = (v / T).softmax(1)
    close(kd.soft_targets(v, T), p)
    theirs = {
        "kl": F.kl_div((z / T).log_softmax(1), p, reduction="batchmean"),
        "cross-entropy": F.cross_entropy(z / T, p),
    }
    for form, reference in theirs.items():
        for balanced, factor in ((True, T**2), (False, 1.0)):
            ours = kd.soft_loss(z, p, T, form=form, balanced=balanced)
            close(ours, factor * reference)
            close(gradient(ours, z), factor * gradient(reference, z))
    y = labels_for(b, k, seed)
    close(kd.hard_loss(z, y), F.cross_entropy(z, y))
    weight = (seed % 11) / 10
    ours = kd.distillation_loss(z, v, y, temperature=T, weight=weight, form="kl")
    close(ours, weight * T**2 * theirs["kl"] + (1 - weight) * F.cross_entropy(z, y))


@settings(max_examples=20, deadline=None)
@given(k=st.integers(2, 6), amount=st.sampled_from([0.0, 0.1, 0.5, 1.0]), seed=st.integers(0, 99))
def test_smoothed_labels_match_torch(k, amount, seed):
    z, y = noise(4, k, seed=seed), labels_for(4, k, seed)
    targets = kd.smoothed(y, classes=k, amount=amount).double()
    torch.testing.assert_close(
        kd.soft_loss(z, targets), F.cross_entropy(z, y, label_smoothing=amount), rtol=0, atol=1e-6
    )


@settings(max_examples=20, deadline=None)
@given(b=st.integers(1, 4), seeds=st.integers(1, 3), form=st.sampled_from(["kl", "cross-entropy"]))
def test_losses_of_a_crowd_are_those_of_its_members_added(b, seeds, form):
    z, v, y = noise(b, seeds, 5), noise(b, seeds, 5, seed=1), labels_for(b * seeds, 5).view(b, seeds)
    together = kd.distillation_loss(z, v, y, temperature=3.0, weight=0.4, form=form)
    each = [
        kd.distillation_loss(z[:, i], v[:, i], y[:, i], temperature=3.0, weight=0.4, form=form) for i in range(seeds)
    ]
    close(together, sum(each))


@pytest.mark.parametrize("form", ["kl", "cross-entropy"])
def test_balance_of_both_losses(form):
    """Unbalanced, the soft part alone loses the factor T²."""
    z, v, y = noise(4, 5), noise(4, 5, seed=1), labels_for(4, 5)
    settings = dict(temperature=3.0, weight=0.25, form=form)
    soft = kd.soft_loss(z, kd.soft_targets(v, 3.0), 3.0, form=form, balanced=False)
    close(kd.distillation_loss(z, v, y, **settings, balanced=False), 0.25 * soft + 0.75 * F.cross_entropy(z, y))
    close(kd.distillation_loss(z, v, y, **settings), 0.25 * 9 * soft + 0.75 * F.cross_entropy(z, y))


@pytest.mark.parametrize("labels", [labels_for(4, 5), torch.full((4,), -1), torch.full((4,), -100), None])
def test_weight_one_leaves_labels_alone(labels):
    """Also in batches: their labels may be any numbers, or be left out."""
    z, v = noise(4, 5), noise(4, 5, seed=1)
    soft = kd.soft_loss(z, kd.soft_targets(v, 4.0), 4.0)
    close(kd.distillation_loss(z, v, labels, temperature=4.0, weight=1), soft)
    loss = kd.distilling(temperature=4.0, weight=1)
    batch = (z, v) if labels is None else (z, labels, v)
    close(loss(nn.Identity(), batch), soft)
    live = kd.distilling(Says(v), temperature=4.0, weight=1)
    close(live(nn.Identity(), batch[:-1]), soft)


@pytest.mark.parametrize("teacher", [None, torch.full((4, 5), torch.nan).double()])
def test_weight_zero_leaves_the_teacher_alone(teacher):
    z, y = noise(4, 5), labels_for(4, 5)
    close(kd.distillation_loss(z, teacher, y, temperature=4.0, weight=0), F.cross_entropy(z, y))
    batch = (z, y) if teacher is None else (z, y, teacher)
    close(kd.distilling(temperature=4.0, weight=0)(nn.Identity(), batch), F.cross_entropy(z, y))


class Says(nn.Module):
    """Says the same whatever it is shown."""

    def __init__(self, said):
        super().__init__()
        self.said = said
        self.eval()

    def forward(self, images):
        return self.said


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    """What soft_targets gives is taken; losses are those of the same numbers in float32, at any temperature."""
    for seed in range(30):
        k = (10, 1000, 50_000)[seed % 3]
        z, v = (noise(4, k, seed=seed).to(dtype), (3 * noise(4, k, seed=seed + 1)).to(dtype))
        kd.soft_loss(z, kd.soft_targets(v, 4.0), 4.0)
    z, v, y = z[:, :10], v[:, :10], labels_for(4, 10)
    for T in (0.01, 4.0, 300.0):
        found = kd.distillation_loss(z, v, y, temperature=T, weight=0.5)
        expected = kd.distillation_loss(z.float(), v.float(), y, temperature=T, weight=0.5)
        assert found.dtype == torch.float32 and found.isfinite() and torch.equal(found, expected)
    assert kd.shift_for_share(z, 3, 0.5).isfinite()


def test_coldest_temperature_is_one_hot():
    v = torch.tensor([[5.0, 4.0, -2.5], [-300.0, 100.0, 99.0]])
    for T in (1e-45, 1e-40, 1e-3):
        assert torch.equal(kd.soft_targets(v, T), torch.eye(3)[:2])
    assert torch.equal(kd.soft_targets(v.half(), 1e-4), torch.eye(3)[:2].half())
    close(kd.soft_targets(noise(3, 4), 1e30), torch.full((3, 4), 0.25).double())


def test_losses_read_no_values_and_break_no_graph(unchecked):
    """So a GPU need not be waited for: they run on fakes, which have no values, and in one graph."""
    live = kd.distilling(nn.Identity().eval(), temperature=4.0, weight=0.5)
    losses = {
        "distillation": lambda z, v, y: kd.distillation_loss(z, v, y, temperature=4.0, weight=0.5, form="kl"),
        "soft": lambda z, v, y: kd.soft_loss(z, v.softmax(-1), 4.0, checked=True),
        "hard": lambda z, v, y: kd.hard_loss(z, y),
        "smoothed": lambda z, v, y: kd.soft_loss(z, kd.smoothed(y, classes=5, amount=0.1), checked=True),
        "live": lambda z, v, y: live(nn.Identity(), (z, y)),
    }
    z, v, y = noise(4, 5).float(), noise(4, 5, seed=1).float(), labels_for(4, 5)
    for name, loss in losses.items():
        with FakeTensorMode():
            fakes = torch.empty(4, 5), torch.empty(4, 5), torch.empty(4, dtype=torch.long)
            assert loss(*fakes).shape == (), name
        compiled = torch.compile(loss, backend="eager", fullgraph=True)
        close(compiled(z, v, y), loss(z, v, y), atol=1e-6)


def test_soft_loss_reads_targets_that_nobody_checked():
    wrong = torch.tensor([[0.7, 0.25, 0.5]] * 2)
    with pytest.raises(ValueError, match="sum to 1.45"):
        kd.soft_loss(Z, wrong)
    assert kd.soft_loss(Z, wrong, checked=True).isfinite()
    with pytest.raises(ValueError, match="sum to 1.45"):
        kd.check_targets(torch.cat([Z.softmax(1), wrong]))


def test_gradient_is_the_difference_of_soft_answers():
    z, v = noise(6, 5).requires_grad_(), noise(6, 5, seed=1)
    for T in (0.5, 1.0, 7.0):
        loss = kd.soft_loss(z, kd.soft_targets(v, T), T, balanced=False)
        close(6 * gradient(loss, z), ((z / T).softmax(1) - (v / T).softmax(1)) / T)


def test_high_temperature_matches_logits():
    z, v = (x - x.mean(1, keepdim=True) for x in (noise(50, 10), noise(50, 10, seed=1)))
    z.requires_grad_()
    limit = (z - v) / (10 * 50)
    errors = [
        ((gradient(kd.soft_loss(z, kd.soft_targets(v, T), T), z) - limit).norm() / limit.norm()).item()
        for T in (100.0, 1000.0)
    ]
    assert errors[1] < 2e-3 and errors[0] / errors[1] == pytest.approx(10, rel=0.02)


@pytest.mark.parametrize("mean", ["logits", "probabilities"])
def test_ensemble_is_the_mean_it_names(mean):
    v = 2 * noise(4, 3, 5)
    answer = kd.ensemble(v, mean).softmax(1)
    if mean == "probabilities":
        close(answer, v.softmax(2).mean(1))
        close(kd.ensemble(v, mean).exp(), answer)  # its logits are the logarithms of the mean
    else:
        geometric = v.softmax(2).log().mean(1).exp()
        close(answer, geometric / geometric.sum(1, keepdim=True))
        close(kd.soft_targets(kd.ensemble(v), 3.0), (v / 3).mean(1).softmax(1))
    close(kd.ensemble(v[:, :1], mean).softmax(1), v[:, 0].softmax(1))


def test_shuffling_moves_the_wrong_shares_and_nothing_else():
    p, y = noise(400, 6).softmax(1), labels_for(400, 6)
    dealt = kd.shuffle_wrong(p, y, generator=torch.Generator().manual_seed(1))
    close(dealt.gather(1, y[:, None]), p.gather(1, y[:, None]))
    close(dealt.sort(1).values, p.sort(1).values)
    places = torch.arange(6.0).expand(400, 6).double() / 15
    wrong = torch.ones_like(places).scatter(1, y[:, None], 0).bool()
    moved = kd.shuffle_wrong(places, y, generator=torch.Generator().manual_seed(2))
    for c in range(6):  # every wrong share comes to every wrong class alike often
        came = moved[(y != c), c]
        assert abs(came.mean() - places[(y != c)][wrong[y != c]].view(-1, 5).mean()) < 0.03
    seeds = kd.shuffle_wrong(p.view(200, 2, 6), y.view(200, 2), generator=torch.Generator().manual_seed(1))
    close(seeds.sort(2).values, p.view(200, 2, 6).sort(2).values)


def test_shift_gives_the_class_its_share():
    z = noise(1000, 3, 10)
    shift = kd.shift_for_share(z, 3, 0.1)
    lifted = z.clone()
    lifted[..., 3] += shift
    assert ((lifted.argmax(2) == 3).double().mean(0) - 0.1).abs().max() < 2e-3
    raised = z.clone()
    raised[..., 3] += 5
    close(kd.shift_for_share(raised, 3, 0.1), shift - 5)


def test_gradients_reach_every_parameter():
    """Of the student; not one of the teacher, and not one way round."""
    torch.manual_seed(0)
    teacher, student = wrn_small(depth=10, k=1, channels=1).eval(), lenet_small(channels=1)
    images, labels = torch.rand(4, 1, 28, 28), torch.arange(4)
    kd.distilling(teacher, temperature=3, weight=0.5)(student, (images, labels)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in student.parameters())
    assert all(p.grad is None for p in teacher.parameters())
    v = noise(4, 10).requires_grad_()
    z = noise(4, 10, seed=1).requires_grad_()
    kd.distillation_loss(z, v, labels, temperature=3, weight=0.5).backward()
    assert v.grad is None and z.grad is not None
    p = kd.soft_targets(v, 2.0)
    kd.soft_loss(z, p, 2.0).backward()
    assert v.grad is None


def test_teacher_stays_as_it_was():
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Dropout(0.5), nn.Linear(64, 10)).eval()
    before = {name: t.clone() for name, t in teacher.state_dict().items()}
    student = as_module({"out": Linear(10)}, (1, 8, 8))
    data = digits()
    optimizer = Adam(student.parameters(), 1e-2)
    update = gradient_update(student, optimizer, kd.distilling(teacher, temperature=2, weight=1))
    fit(update, batches(data.images, data.labels, batch_size=32, generator=torch.Generator()), 5, progress=False)
    assert all(torch.equal(before[name], t) for name, t in teacher.state_dict().items())
    assert not teacher.training


def test_kept_answers_train_the_same_student():
    torch.manual_seed(0)
    data = digits().subset(slice(0, 200))
    teacher = as_module({"hidden": Linear(40), "out": Linear(10)}, (1, 8, 8)).eval()
    kept = kd.answers(teacher, data.images, batch_size=64)
    close(kept, teacher(data.images).detach(), atol=1e-5)
    assert not kept.requires_grad  # a whole set of graphs would fill the memory
    weights = []
    for columns, who in (([data.images, data.labels], teacher), ([data.images, data.labels, kept], None)):
        torch.manual_seed(1)
        student = as_module({"out": Linear(10)}, (1, 8, 8))
        update = gradient_update(
            student, Adam(student.parameters(), 1e-2), kd.distilling(who, temperature=4, weight=0.7)
        )
        fit(update, batches(*columns, batch_size=50, generator=torch.Generator().manual_seed(2)), 20, progress=False)
        weights.append(student[1].weight.detach())
    torch.testing.assert_close(*weights, rtol=0, atol=1e-5)


def test_learns_toy_problem():
    """A linear student recovers a linear teacher from answers to noise, without one label: logits up to a constant."""
    torch.manual_seed(0)
    teacher, student = nn.Linear(6, 4).double().eval(), nn.Linear(6, 4).double()
    x = noise(512, 6)
    none = torch.zeros(512, dtype=torch.long)
    update = gradient_update(
        student, Adam(student.parameters(), 3e-2), kd.distilling(teacher, temperature=5, weight=1, form="kl")
    )
    history = fit(update, batches(x, none, batch_size=128, generator=torch.Generator()), 600, progress=False)
    gap = (student(x) - teacher(x)).detach()
    assert (gap - gap.mean(1, keepdim=True)).abs().max() < 1e-2
    assert history["loss"][-1] < 1e-4


@pytest.mark.parametrize("device", DEVICES)
def test_device_and_dtype(device):
    torch.manual_seed(0)
    teacher = as_module({"out": Linear(10)}, (1, 8, 8)).to(device).eval()
    student = as_module({"hidden": Linear(8), "out": Linear(10)}, (1, 8, 8)).to(device)
    batch = torch.rand(6, 1, 8, 8, device=device), torch.arange(6, device=device)
    value = autocast(kd.distilling(teacher, temperature=20, weight=0.5))(student, batch)
    assert value.isfinite() and value.device.type == device
    soft = kd.shuffle_wrong(
        kd.soft_targets(kd.answers(teacher, batch[0]), 3), batch[1], generator=torch.Generator().manual_seed(0)
    )
    assert soft.device.type == device and kd.shift_for_share(soft, 0, 0.5).device.type == device
    assert kd.smoothed(batch[1], classes=10, amount=0.1).device.type == device


Z, Y = torch.zeros(2, 3), torch.tensor([0, 2])
loss = partial(kd.distillation_loss, Z, Z, Y)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: kd.soft_targets(Z, 0), "temperature = 0: it is above 0; 1 leaves"),
        (lambda: kd.soft_targets(Z, -2.0), "temperature = -2.0: it is above 0"),
        (lambda: loss(temperature=float("nan"), weight=0.5), "temperature = nan"),
        (lambda: kd.distilling(temperature=0, weight=0.5), "temperature = 0"),
        (lambda: loss(temperature=1, weight=1.5), r"weight = 1.5: 0 learns from labels alone, 1 from the teacher"),
        (lambda: kd.distilling(temperature=1, weight=-0.1), "weight = -0.1"),
        (
            lambda: kd.distillation_loss(Z, torch.zeros(2, 4), Y, temperature=1, weight=1),
            "the student has 3 classes and the teacher 4: build both with the same `classes`",
        ),
        (lambda: kd.soft_loss(Z, torch.tensor([[0.7, 0.25, 0.5]] * 2)), "sum to 1.45, not to 1: divide them"),
        (lambda: kd.soft_loss(Z, torch.full((2, 3), torch.nan)), "sum to nan"),
        (lambda: kd.soft_loss(Z, torch.tensor([[1.5, -0.5, 0.0]] * 2)), "a soft target is -0.5"),
        (lambda: kd.soft_loss(Z, Z.softmax(1), form="mse"), "form = 'mse': it is 'cross-entropy' or 'kl'"),
        (lambda: kd.hard_loss(Z, torch.tensor([0, 3])), "labels from 0 to 3: 3 classes are 0 to 2"),
        (lambda: kd.smoothed(Y, classes=3, amount=1.1), "amount = 1.1: 0 keeps the labels"),
        (lambda: kd.smoothed(Y, classes=2, amount=0.1), "labels from 0 to 2: 2 classes are 0 to 1"),
        (lambda: kd.ensemble(Z[None], "median"), "mean = 'median': the mean of 'logits' or 'probabilities'"),
        (lambda: kd.shift_for_share(Z, 3, 0.1), "index = 3: the 3 classes are 0 to 2"),
        (lambda: kd.shift_for_share(Z, 0, 10), "share = 10: it is in 0 … 1, as 0.1 for 10 %"),
        (lambda: kd.hard_loss(Z, torch.tensor([0, -100])), "labels from -100 to 0: 3 classes are 0 to 2"),
        (lambda: kd.hard_loss(Z, Y.float()), "labels of torch.float32: they are numbers of classes"),
        (lambda: kd.hard_loss(Z, Y[:1]), r"labels of \(1,\) for answers of \(2, 3\): one for each image"),
        (lambda: kd.hard_loss(Z[:0], Y[:0]), r"labels of \(0,\) for answers of \(0, 3\): .* 1 image or more"),
        (lambda: kd.soft_loss(Z, Z[:1].softmax(1)), r"answers of \(2, 3\) and of \(1, 3\): both are"),
        (lambda: kd.soft_loss(Z[0], Z[0].softmax(0)), r"answers of \(3,\) and of \(3,\): both are"),
        (lambda: kd.soft_loss(Z, torch.tensor([[0, 1, 0]] * 2)), "soft targets of torch.int64: they are shares"),
        (lambda: loss(temperature=1e-5, weight=1), "temperature = 1e-05: T² times the loss is exact from 0.001"),
        (lambda: loss(temperature=torch.tensor(4.0), weight=1), r"temperature = tensor\(4.\): a plain number"),
        (lambda: kd.distillation_loss(Z, Z, None, temperature=1, weight=0.5), "weight = 0.5 and no labels"),
        (
            lambda: kd.distillation_loss(Z, None, Y, temperature=1, weight=0.5),
            "weight = 0.5 and no teacher's logits: 0 learns without",
        ),
        (
            lambda: kd.distilling(temperature=1, weight=0.5)(nn.Identity(), (Z,)),
            r"a batch of 1 columns: they are \(images, labels, the teacher's logits\)",
        ),
        (
            lambda: kd.distilling(Says(Z), temperature=1, weight=0.5)(nn.Identity(), (Z, Y, Z)),
            r"a batch of 3 columns: they are \(images, labels\)",
        ),
        (lambda: kd.ensemble(Z), r"logits of \(2, 3\): an ensemble's are \[images, members, classes\]"),
        (lambda: kd.shift_for_share(Z + torch.nan, 0, 0.1), "logits hold nan"),
        (lambda: kd.shift_for_share(Z[:, :1], 0, 0.1), r"logits of \(2, 1\): .* 2 classes or more"),
        (lambda: kd.answers(Says(Z / 0), Z), "the teacher's answer to image 0 is not finite"),
        (lambda: kd.answers(Says(Z), Z, batch_size=0), "batch_size = 0: it is at least 1"),
        (
            lambda: kd.answers(nn.Sequential(nn.Dropout()).eval().append(nn.Dropout()), Z),
            "the teacher is in training mode",
        ),
        (lambda: kd.answers(nn.Linear(3, 3), Z), "the teacher is in training mode: call teacher.eval"),
        (
            lambda: kd.distilling(nn.Linear(3, 3), temperature=1, weight=1)(nn.Linear(3, 3), (Z, Y)),
            "the teacher is in training mode",
        ),
    ],
)
def test_bad_input_is_named(call, message, unchecked):
    with pytest.raises(ValueError, match=message):
        call()

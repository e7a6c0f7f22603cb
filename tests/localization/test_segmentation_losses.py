"""Losses for masks that are nearly all background: against torch, torchvision and naive loops; identities, dtypes, bad input."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.testing import assert_close
from torchvision.ops import sigmoid_focal_loss

from helpers.localization.segmentation_losses import (
    PixelNet,
    best_threshold,
    dice,
    dice_loss,
    dice_of_iou,
    focal_loss,
    hypercolumns,
    inverse_frequency,
    iou,
    jaccard_loss,
    lovasz_gradient,
    lovasz_hinge,
    pixel_cross_entropy,
    precision,
    prior_logit,
    recall,
    sample_pixels,
    weighted_cross_entropy,
)

LOSSES = {
    "weighted": lambda z, g: weighted_cross_entropy(z, g, (0.5, 7)),
    "focal": focal_loss,
    "dice": dice_loss,
    "jaccard": jaccard_loss,
    "lovasz": lovasz_hinge,
}
every_loss = pytest.mark.parametrize("name", LOSSES)
seeds = st.integers(0, 2**20)


def pair(seed: int, *shape: int, share: float = 0.3, dtype: torch.dtype = torch.float64):
    """Logits and a hard mask, in which at least one pixel is foreground."""
    noise = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(shape, generator=noise, dtype=torch.float64)
    mask = torch.rand(shape, generator=noise) < share
    mask.view(-1)[0] = True
    return logits.to(dtype), mask


def with_gradient(loss, logits):
    z = logits.clone().requires_grad_()
    value = loss(z)
    return value.detach(), torch.autograd.grad(value, z)[0]


# --- Against references ---


@settings(max_examples=25, deadline=None)
@given(seed=seeds, k=st.integers(2, 5), weighted=st.booleans())
def test_cross_entropy_matches_torch(seed, k, weighted):
    noise = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, k, 4, 3, generator=noise, dtype=torch.float64)
    labels = torch.randint(k, (2, 4, 3), generator=noise)
    weight = 0.1 + torch.rand(k, generator=noise, dtype=torch.float64) if weighted else None
    ours = with_gradient(lambda z: pixel_cross_entropy(z, labels, weight), logits)
    assert_close(ours, with_gradient(lambda z: F.cross_entropy(z, labels, weight), logits))
    assert ours[0] > 0  # the minus sign is there


@settings(max_examples=25, deadline=None)
@given(seed=seeds, w0=st.floats(0.1, 3), w1=st.floats(0.1, 90))
def test_binary_weights_are_those_of_two_classes(seed, w0, w1):
    logits, mask = pair(seed, 2, 5, 4)
    both = torch.stack([torch.zeros_like(logits), logits], 1)
    expected = F.cross_entropy(both, mask.long(), torch.tensor([w0, w1], dtype=torch.float64))
    assert_close(weighted_cross_entropy(logits, mask, (w0, w1)), expected)
    plain = F.binary_cross_entropy_with_logits(logits, mask.double())
    assert_close(weighted_cross_entropy(logits, mask), plain)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, alpha=st.none() | st.floats(0, 1), gamma=st.floats(0, 5), soft=st.booleans())
def test_focal_loss_matches_torchvision(seed, alpha, gamma, soft):
    logits, mask = pair(seed, 3, 4, 4)
    targets = (
        torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        if soft
        else mask.double()
    )

    def reference(z):
        return sigmoid_focal_loss(z, targets, -1 if alpha is None else alpha, gamma, reduction="mean")

    found = with_gradient(lambda z: focal_loss(z, targets, alpha, gamma), logits)
    expected = with_gradient(reference, logits)
    # torchvision takes p_t = p g + (1 - p)(1 - g): the same as one minus ours for soft targets, too.
    assert_close(found, expected)


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_dice_jaccard_and_lovasz_match_segmentation_models_pytorch(seed):
    """Theirs sum over the batch, and halve the sizes of Dice before they smooth: their 1 is our 2."""
    smp = pytest.importorskip("segmentation_models_pytorch.losses")
    logits, mask = pair(seed, 3, 1, 4, 5)
    truth = mask.double()
    for ours, theirs, times in ((dice_loss, smp.DiceLoss, 2), (jaccard_loss, smp.JaccardLoss, 1)):
        for smooth in (0.0, 1.0):
            expected = theirs("binary", smooth=smooth, eps=1e-12)(logits, truth)
            assert_close(ours(logits, mask, smooth=times * smooth, per_image=False), expected)
    for per_image in (True, False):
        expected = smp.LovaszLoss("binary", per_image=per_image)(logits[:, 0].float(), truth[:, 0].float())
        assert_close(lovasz_hinge(logits.float(), mask, per_image=per_image), expected)


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_gradient_of_dice_is_the_formula_of_the_page(seed):
    logits, mask = pair(seed, 1, 30)
    _, found = with_gradient(lambda z: dice_loss(z, mask, smooth=0), logits)
    p, g = logits.sigmoid(), mask.double()
    both, sizes = (p * g).sum(), p.sum() + g.sum()
    assert_close(found, -2 * (g * sizes - both) / sizes**2 * p * (1 - p))


@pytest.mark.parametrize("share", [0.01, 0.3])
def test_a_constant_answer_is_best_at_the_share(share):
    mask = torch.arange(1000)[None] < 1000 * share
    bias = prior_logit(share)
    _, pull = with_gradient(lambda z: weighted_cross_entropy(z, mask), torch.full((1, 1000), bias, dtype=torch.float64))
    assert abs(pull.sum()) < 1e-9 and math.isclose(1 / (1 + math.exp(-bias)), share)


def test_focal_loss_is_cross_entropy_at_gamma_zero_and_leaves_a_hundredth():
    logits, mask = pair(1, 2, 6, 6)
    plain = F.binary_cross_entropy_with_logits(logits, mask.double())
    assert_close(focal_loss(logits, mask, None, 0), plain)
    sure = torch.full((1, 4), math.log(9), dtype=torch.float64)  # p = 0.9
    ratio = focal_loss(sure, torch.ones(1, 4), None, 2) / focal_loss(sure, torch.ones(1, 4), None, 0)
    assert_close(ratio, torch.tensor(0.01, dtype=torch.float64))


@settings(max_examples=25, deadline=None)
@given(seed=seeds, smooth=st.floats(0, 3), squared=st.booleans(), per_image=st.booleans())
def test_dice_and_jaccard_match_loops(seed, smooth, squared, per_image):
    logits, mask = pair(seed, 3, 2, 4)
    mask[:, 0, 0] = True
    p, g = logits.sigmoid().flatten(1).tolist(), mask.flatten(1).double().tolist()
    if not per_image:
        p, g = [sum(p, [])], [sum(g, [])]
    dices, jaccards = [], []
    for ps, gs in zip(p, g):
        both = sum(a * b for a, b in zip(ps, gs))
        sizes = sum(a * a + b * b if squared else a + b for a, b in zip(ps, gs))
        dices.append(1 - (2 * both + smooth) / (sizes + smooth))
        jaccards.append(1 - (both + smooth) / (sum(ps) + sum(gs) - both + smooth))
    settings_ = dict(smooth=smooth, per_image=per_image)
    assert_close(dice_loss(logits, mask, squared=squared, **settings_).item(), sum(dices) / len(dices))
    assert_close(jaccard_loss(logits, mask, **settings_).item(), sum(jaccards) / len(jaccards))


@settings(max_examples=25, deadline=None)
@given(seed=seeds, per_image=st.booleans())
def test_lovasz_hinge_matches_a_loop(seed, per_image):
    """Each error weighs what 1 - IoU grows by when its pixel joins those that are wrong."""
    logits, mask = pair(seed, 2, 3, 3)
    rows = zip(logits.flatten(1), mask.flatten(1)) if per_image else [(logits.flatten(), mask.flatten())]
    values = []
    for z, g in rows:
        errors = 1 - z * (2.0 * g - 1)
        wrong, before, total = torch.zeros_like(g), 0.0, 0.0
        for i in errors.argsort(descending=True).tolist():
            wrong[i] = True
            said = g ^ wrong  # the mask with these pixels turned over
            now = 1 - (said & g).sum().item() / max((said | g).sum().item(), 1)
            total += max(errors[i].item(), 0) * (now - before)
            before = now
        values.append(total)
    assert_close(lovasz_hinge(logits, mask, per_image=per_image).item(), sum(values) / len(values))


def test_lovasz_hinge_of_clear_answers_is_the_jaccard_loss():
    """Where all margins are one and errors two, half of the extension is 1 - IoU of the mask that the signs make."""
    mask = torch.tensor([[1, 1, 1, 0, 0, 0, 0, 0]]).bool()
    said = torch.tensor([[1, 1, 0, 1, 0, 0, 0, 0]]).bool()
    logits = torch.where(said, 1.0, -1.0)
    assert_close(lovasz_hinge(logits, mask).item() / 2, 1 - iou(said, mask))
    assert lovasz_hinge(5 * torch.where(mask, 1.0, -1.0), mask) == 0


def test_lovasz_gradient_sums_to_one():
    order = torch.tensor([[1.0, 0, 0, 1, 0], [0.0, 0, 1, 0, 0]])
    rises = lovasz_gradient(order)
    assert (rises >= 0).all()
    assert_close(rises.sum(1), torch.ones(2))  # all wrong: no pixel is shared


# --- What the losses are for ---


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_dice_is_two_iou_over_one_plus_iou(seed):
    logits, mask = pair(seed, 2, 5, 5)
    found = logits > 0
    assert_close(dice(found, mask), dice_of_iou(iou(found, mask)))
    p, r = precision(found, mask), recall(found, mask)
    assert_close(dice(found, mask), 2 * p * r / (p + r) if p + r else 0.0)


@every_loss
@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_the_order_of_pixels_does_not_matter(name, seed):
    logits, mask = pair(seed, 2, 4, 4)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(seed))
    mixed = [part.flatten(1)[:, order] for part in (logits, mask)]
    assert_close(LOSSES[name](*mixed), LOSSES[name](logits, mask))


def test_clear_background_changes_the_cross_entropy_and_not_dice():
    logits, mask = pair(3, 1, 4, 4)
    more_logits = torch.cat([logits, torch.full((1, 96, 4), -30.0, dtype=torch.float64)], 1)
    more_mask = torch.cat([mask, torch.zeros(1, 96, 4, dtype=torch.bool)], 1)
    for loss in (dice_loss, jaccard_loss, lovasz_hinge):
        assert_close(loss(more_logits, more_mask), loss(logits, mask))
    assert_close(weighted_cross_entropy(more_logits, more_mask), weighted_cross_entropy(logits, mask) / 25)


def test_inverse_frequency_gives_each_class_the_same_sum():
    labels = torch.tensor([[0] * 97 + [1] * 2 + [2]])
    weights = inverse_frequency(labels, 3)
    assert_close(weights * torch.tensor([97.0, 2, 1]), torch.full((3,), 100 / 3))


def test_empty_masks():
    logits, empty = torch.full((2, 3, 3), -40.0), torch.zeros(2, 3, 3)
    for loss in LOSSES.values():
        assert loss(logits, empty) < 1e-6
    assert dice_loss(logits.double() * 100, empty, smooth=0) == 0  # nothing to find, nothing found
    assert (
        iou(empty.bool(), empty.bool()) == dice(empty.bool(), empty.bool()) == recall(empty.bool(), empty.bool()) == 1
    )


def test_best_threshold_is_the_best_of_all():
    p = torch.tensor([0.1, 0.2, 0.3, 0.6])
    truth = torch.tensor([False, True, True, True])
    assert best_threshold(p, truth, [0.05, 0.15, 0.5, 0.9]) == 0.15
    assert best_threshold(p, p > 0.4, [0.35, 0.5, 0.55]) == 0.5  # of equal ones the nearest to a half


# --- PixelNet ---


def test_hypercolumns_are_the_maps_enlarged():
    noise = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, c, size, size, generator=noise) for c, size in ((3, 8), (5, 4), (2, 2))]
    large = torch.cat([F.interpolate(m, (8, 8), mode="bilinear", align_corners=False) for m in maps], 1)
    every = torch.arange(64).expand(2, -1)
    assert_close(hypercolumns(maps, every, 8, 8), large.flatten(2).transpose(1, 2), atol=1e-5, rtol=1e-5)


def test_pixelnet_answers_the_same_for_one_pixel_as_for_all():
    torch.manual_seed(0)
    net, images = PixelNet(outputs=3, widths=(4, 6, 8)).eval(), torch.rand(2, 3, 16, 12)
    pixels = sample_pixels(2, 16, 12, 20, torch.Generator().manual_seed(1))
    assert_close(net(images, pixels), net(images).gather(1, pixels[..., None].expand(-1, -1, 3)))


def test_parameter_count():
    net = PixelNet(outputs=3)
    scales = sum(9 * (i * c + c * c) + 4 * c for i, c in ((3, 8), (8, 16), (16, 24), (24, 32)))
    assert sum(p.numel() for p in net.parameters()) == scales + (80 + 1) * 32 + 33 * 32 + 33 * 3


def test_scales_halve_and_a_pixel_sees_47_pixels():
    torch.manual_seed(0)
    net, x = PixelNet(outputs=2, widths=(4, 4, 4, 4)).double().eval(), torch.rand(1, 3, 96, 96).double()
    sizes = []
    for convolutions in net.scales:
        sizes.append((x := convolutions(x)).shape[-1])
    assert sizes == [96, 48, 24, 12]
    images = torch.rand(1, 3, 96, 96).double().requires_grad_()
    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.weight.data.abs_()  # no path is switched off
    net.scales[-1](net.scales[-2](net.scales[-3](net.scales[-4](images))))[0, 0, 6, 6].backward()
    rows = images.grad[0, 0].any(1).nonzero()
    assert rows[-1] - rows[0] + 1 == 47


def test_gradients_reach_every_parameter_from_one_pixel():
    torch.manual_seed(0)
    net = PixelNet(outputs=2, widths=(4, 6, 8)).eval()
    net(torch.rand(1, 3, 16, 16), torch.tensor([[5 * 16 + 9]])).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert all(p.grad.abs().sum() > 0 for name, p in net.named_parameters() if p.ndim > 1)


@settings(max_examples=15, deadline=None)
@given(seed=seeds, count=st.integers(1, 30))
def test_sampled_pixels_differ_and_lie_in_the_image(seed, count):
    pixels = sample_pixels(2, 5, 6, count, torch.Generator().manual_seed(seed))
    assert pixels.shape == (2, count) and pixels.min() >= 0 and pixels.max() < 30
    assert all(len(row.unique()) == count for row in pixels)


def test_learns_toy_problem():
    """Bright squares on a dark ground, of which PixelNet sees 5 % of the pixels in each step."""
    noise = torch.Generator().manual_seed(0)
    mask = torch.zeros(8, 16, 16, dtype=torch.bool)
    for i, (r, c) in enumerate(torch.randint(0, 12, (8, 2), generator=noise).tolist()):
        mask[i, r : r + 4, c : c + 4] = True
    images = 0.3 * torch.rand(8, 3, 16, 16, generator=noise) + 0.5 * mask[:, None]
    torch.manual_seed(0)
    net = PixelNet(outputs=2, widths=(8, 16, 32))
    method = torch.optim.Adam(net.parameters(), 2e-2)
    labels = mask.flatten(1).long()
    for _ in range(100):
        pixels = sample_pixels(8, 16, 16, 13, noise)
        loss = pixel_cross_entropy(net(images, pixels).transpose(1, 2), labels.gather(1, pixels))
        method.zero_grad()
        loss.backward()
        method.step()
    net.eval()
    with torch.no_grad():
        found = net(images).argmax(2).bool()
    assert iou(found, mask.flatten(1)) > 0.8 > 0.2 > iou(torch.ones_like(found), mask.flatten(1))


# --- Dtypes, devices, compilers, bad input ---


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_device_and_dtype(unchecked, name, dtype):
    logits, mask = pair(2, 2, 4, 4, dtype=dtype)
    value = LOSSES[name](logits, mask)
    assert value.dtype == (dtype if dtype == torch.float64 else torch.float32)
    for targets in (mask, mask.long(), mask.to(dtype)):
        assert_close(LOSSES[name](logits, targets), value)
    assert_close(value, LOSSES[name](logits.double(), mask), check_dtype=False, atol=1e-5, rtol=1e-5)
    compiled = torch.compile(LOSSES[name], backend="eager", fullgraph=True)
    assert_close(compiled(logits, mask), value)


@pytest.mark.gpu
@every_loss
def test_device_and_dtype_on_a_gpu(name):
    logits, mask = pair(2, 2, 4, 4, dtype=torch.float32)
    assert_close(LOSSES[name](logits.cuda(), mask.cuda()).cpu(), LOSSES[name](logits, mask))


@every_loss
def test_gradients_are_finite_for_large_logits(name):
    logits, mask = pair(4, 2, 4, 4, dtype=torch.float32)
    _, gradient = with_gradient(lambda z: LOSSES[name](z, mask), 1000 * logits)
    assert gradient.isfinite().all()


Z, G = torch.zeros(2, 3), torch.zeros(2, 3)
BAD = {
    "give one target for each logit": lambda: dice_loss(torch.zeros(2, 1, 3), G),
    r"logits of shape \[0, 3\]: give 1 pixel or more": lambda: focal_loss(Z[:0], G[:0]),
    "targets from 0 to 255: .* masks of 255 are divided by 255": lambda: dice_loss(
        Z, torch.tensor([[0, 255, 0], [0, 0, 0]])
    ),
    "targets from nan": lambda: weighted_cross_entropy(Z, G * math.nan),
    "gamma = -1: it is at least 0": lambda: focal_loss(Z, G, gamma=-1),
    "alpha = 1.5: the share of the foreground": lambda: focal_loss(Z, G, 1.5),
    r"weights = \(0, 1\): both are positive": lambda: weighted_cross_entropy(Z, G, (0, 1)),
    "share = 1: it lies between 0 and 1": lambda: prior_logit(1),
    r"widths = \(\): give the channels": lambda: PixelNet(outputs=2, widths=()),
    "images of 12 by 16: 4 scales want sizes that divide by 8": lambda: PixelNet(outputs=2)(torch.zeros(1, 3, 12, 16)),
    "smooth = -1: it is at least 0": lambda: jaccard_loss(Z, G, smooth=-1),
    "6 targets between 0 and 1: the Lovász hinge wants hard masks": lambda: lovasz_hinge(Z, G + 0.5),
    "labels from 0 to 3: 3 classes are 0 to 2": lambda: pixel_cross_entropy(
        torch.zeros(1, 3, 2), torch.tensor([[0, 3]])
    ),
    r"give \[b k \*shape\]": lambda: pixel_cross_entropy(torch.zeros(1, 3, 2), torch.zeros(1, 3, dtype=torch.long)),
    "3 classes have as many weights": lambda: pixel_cross_entropy(
        torch.zeros(1, 3, 2), torch.zeros(1, 2, dtype=torch.long), torch.ones(2)
    ),
    "class 1 has no pixel": lambda: inverse_frequency(torch.zeros(4, dtype=torch.long), 2),
    "count = 31: an image of 5 by 6 has 1 to 30 pixels": lambda: sample_pixels(1, 5, 6, 31, torch.Generator()),
    r"masks of shape \[2\] and \[3\]": lambda: iou(torch.ones(2).bool(), torch.ones(3).bool()),
    "iou = 1.5: it lies in 0 … 1": lambda: dice_of_iou(1.5),
    "candidates: give one threshold or more": lambda: best_threshold(torch.ones(2), torch.ones(2).bool(), []),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input(unchecked, message):
    with pytest.raises(ValueError, match=message):
        BAD[message]()

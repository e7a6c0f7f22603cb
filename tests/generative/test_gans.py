"""GANs against the PyTorch tutorial's layout, scipy and naive loops, and the facts that the chapter builds on."""

from math import dist, log

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.integrate import quad
from scipy.stats import norm, wasserstein_distance
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from helpers.foundations.optimizers import SGD, Adam
from helpers.generative import gans
from helpers.training import fit


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def players(classes: int = 0, norm: bool = True, image: int = 8):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        g = gans.DCGANGenerator(image=image, channels=1, hidden=8, latent=4 + classes)
        d = gans.DCGANDiscriminator(image=image, channels=1 + classes, hidden=8, norm=norm)
    if classes:
        return gans.Conditional(g, classes=classes), gans.Conditional(d, classes=classes)
    return g, d


def tutorial(nz=100, ngf=64, nc=3):
    """The layout of the generator and the discriminator of PyTorch's DCGAN tutorial, written out."""

    def up(a, b):
        return [nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU(True)]

    def down(a, b):
        return [nn.Conv2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.2, inplace=True)]

    g, d = nn.Module(), nn.Module()
    g.main = nn.Sequential(
        nn.ConvTranspose2d(nz, ngf * 8, 4, 1, 0, bias=False), nn.BatchNorm2d(ngf * 8), nn.ReLU(True),
        *up(ngf * 8, ngf * 4), *up(ngf * 4, ngf * 2), *up(ngf * 2, ngf),
        nn.ConvTranspose2d(ngf, nc, 4, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip
    d.main = nn.Sequential(
        nn.Conv2d(nc, ngf, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True),
        *down(ngf, ngf * 2), *down(ngf * 2, ngf * 4), *down(ngf * 4, ngf * 8),
        nn.Conv2d(ngf * 8, 1, 4, 1, 0, bias=False), nn.Sigmoid(),
    )  # fmt: skip
    return g, d


def test_parameter_count():
    preset = gans.DCGAN["tutorial"]
    g, d = gans.DCGANGenerator(**preset), gans.DCGANDiscriminator(**preset)

    def count(net):
        return sum(p.numel() for p in net.parameters())

    assert (count(g), count(d)) == (3_576_704, 2_765_568)
    x, sides = torch.zeros(2, 100, 1, 1), []
    paper = gans.DCGANGenerator(**gans.DCGAN["paper"])
    for layer in paper.main:
        x = layer(x)
        if isinstance(layer, nn.ConvTranspose2d):
            sides.append(tuple(x.shape[1:]))
    assert sides == [(1024, 4, 4), (512, 8, 8), (256, 16, 16), (128, 32, 32), (3, 64, 64)]


@pytest.mark.parametrize("name", gans.DCGAN)
def test_each_preset_makes_and_reads_its_image(name):
    preset = gans.DCGAN[name]
    g, d = gans.DCGANGenerator(**preset), gans.DCGANDiscriminator(**preset)
    image = g(torch.randn(2, 100))
    assert image.shape == (2, preset["channels"], preset["image"], preset["image"])
    assert image.abs().max() <= 1 and d(image).shape == (2,)


def test_matches_reference():
    torch.manual_seed(0)
    ours = gans.DCGANGenerator(**gans.DCGAN["tutorial"]), gans.DCGANDiscriminator(**gans.DCGAN["tutorial"])
    for net, reference in zip(ours, tutorial(), strict=True):
        net.load_state_dict(reference.state_dict())
    (g, d), (g_ref, d_ref) = ours, tutorial()
    g_ref.load_state_dict(g.state_dict())
    d_ref.load_state_dict(d.state_dict())
    z = torch.randn(2, 100, generator=random())
    for net in (g, d, g_ref, d_ref):
        net.double()
    image, expected = g(z.double()), g_ref.main(z.double()[:, :, None, None])
    assert_close(image, expected, rtol=0, atol=1e-12)
    assert_close(d(image).sigmoid(), d_ref.main(expected).flatten(), rtol=0, atol=1e-12)
    d(image).sigmoid().sum().backward()
    d_ref.main(expected).sum().backward()
    for p, q in zip([*g.parameters(), *d.parameters()], [*g_ref.parameters(), *d_ref.parameters()], strict=True):
        assert_close(p.grad, q.grad, rtol=1e-9, atol=1e-12)


def test_losses_match_reference():
    real, fake = torch.randn(2, 50, generator=random(), dtype=torch.float64) * 3
    one, zero = torch.ones(50).double(), torch.zeros(50).double()
    bce, mse = F.binary_cross_entropy_with_logits, F.mse_loss
    pairs = {name: gans.loss_pair(name) for name in gans.LOSSES}
    for name in ("minimax", "non-saturating"):
        assert_close(pairs[name].discriminator(real, fake), bce(real, one) + bce(fake, zero))
    assert_close(pairs["minimax"].generator(fake), torch.log(1 - fake.sigmoid()).mean())
    assert_close(pairs["non-saturating"].generator(fake), bce(fake, one))
    squares = pairs["least squares"]
    assert_close(squares.discriminator(real, fake), (mse(real, one) + mse(fake, -one)) / 2)
    assert_close(squares.generator(fake), mse(fake, zero) / 2)
    coded = pairs["least squares 0-1"]
    assert_close(coded.discriminator(real, fake), (mse(real, one) + mse(fake, zero)) / 2)
    assert_close(coded.generator(fake), mse(fake, one) / 2)
    critic = pairs["wasserstein"]
    assert_close(critic.discriminator(real, fake), -(real.mean() - fake.mean()))
    assert_close(critic.generator(fake), -fake.mean())


@pytest.mark.parametrize("one_sided", [False, True])
def test_gradient_penalty_matches_a_loop(one_sided):
    torch.manual_seed(0)
    critic = gans.MLPDiscriminator(dim=3, hidden=8, depth=2).double()
    with torch.no_grad():
        critic.main[-1].weight.mul_(15)  # slopes on both sides of 1
    real, fake = torch.randn(2, 6, 3, generator=random(), dtype=torch.float64)
    mix = torch.rand(6, generator=random(1)).double()
    expected, slopes = torch.zeros(()).double(), []
    for x, y, m in zip(real, fake, mix):
        at = (m * x + (1 - m) * y).requires_grad_()
        (slope,) = torch.autograd.grad(critic(at[None]).sum(), at, create_graph=True)
        excess = slope.square().sum().sqrt() - 1
        slopes.append(excess.item() + 1)
        if not one_sided or excess > 0:
            expected = expected + excess**2 / 6
    assert min(slopes) < 1 < max(slopes)
    ours = gans.gradient_penalty(critic, real, fake, mix, one_sided=one_sided)
    assert_close(ours, expected)
    weights = [p for p in critic.parameters() if p.ndim == 2]
    for p, q in zip(torch.autograd.grad(ours, weights), torch.autograd.grad(expected, weights), strict=True):
        assert_close(p, q)


def on_a_line():
    x = torch.linspace(-12, 12, 4801, dtype=torch.float64)
    return (
        x,
        (x[1] - x[0]).item(),
        gans.normal_mixture(x, [-1.0, 2.0], [0.5, 1.0]),
        gans.normal_mixture(x, [0.3], [1.5]),
    )


@pytest.mark.parametrize("one_sided", [False, True])
def test_steps_and_update_pass_the_side_of_the_penalty_on(one_sided):
    critic, data, z = gans.MLPDiscriminator(dim=1, hidden=4, depth=1), torch.zeros(8, 1), torch.zeros(8, 1)
    nn.init.zeros_(critic.main[-1].weight)  # a flat critic pays for its slope of 0 on one condition
    settings = dict(penalty=5.0, mix=torch.rand(8, generator=random()), one_sided=one_sided)
    pair = gans.loss_pair("wasserstein")
    loss = gans.discriminator_step(nn.Identity(), critic, SGD(critic.parameters(), 0.0), pair, (data,), z, **settings)
    assert loss.item() == (0 if one_sided else 5)
    del settings["mix"]
    g = gans.MLPGenerator(latent=1, dim=1, hidden=4, depth=1)
    optimizers = SGD(g.parameters(), 0.0), SGD(critic.parameters(), 0.0)
    update = gans.adversarial_update(g, critic, *optimizers, pair, latent=1, random=random(), **settings)
    assert update((data,))["discriminator loss"][0] == (0 if one_sided else 5)


@pytest.mark.parametrize(("distance", "run"), [(1.0, 0), (3.0, 1)])
def test_critic_reads_the_wasserstein_distance(distance, run, unchecked):
    torch.manual_seed(run)
    r, critic = random(run), gans.MLPDiscriminator(dim=1, hidden=32, depth=2)
    optimizer = Adam(critic.parameters(), 5e-3, betas=(0.5, 0.9))
    for step in range(300):
        optimizer.param_groups[0]["lr"] = 5e-3 * (1 - step / 300)
        x, y = torch.randn(256, 1, generator=r), 2 * torch.randn(256, 1, generator=r) + distance
        settings = dict(penalty=100.0, mix=torch.rand(256, generator=r), one_sided=True)
        pair = gans.loss_pair("wasserstein")
        gans.discriminator_step(nn.Identity(), critic, optimizer, pair, (x,), y, **settings)
    x, y = torch.randn(4000, 1, generator=r), 2 * torch.randn(4000, 1, generator=r) + distance
    gap = (gans.generate(critic, x).mean() - gans.generate(critic, y).mean()).item()
    assert gap == pytest.approx(wasserstein_distance(x[:, 0].numpy(), y[:, 0].numpy()), rel=0.1)


def test_exact_quantities_match_quadrature():
    x, dx, p, q = on_a_line()

    def fp(t):
        return (norm.pdf(t, -1, 0.5) + norm.pdf(t, 2, 1)) / 2

    def fq(t):
        return norm.pdf(t, 0.3, 1.5)

    def integral(f):
        return quad(f, -10, 10, limit=200)[0]

    def half_kl(f, g):
        return integral(lambda t: f(t) * np.log(2 * f(t) / (f(t) + g(t)))) / 2

    jsd = half_kl(fp, fq) + half_kl(fq, fp)
    assert gans.jensen_shannon(p, q, dx).item() == pytest.approx(jsd, abs=1e-6)
    at_best = integral(lambda t: fp(t) * np.log(fp(t) / (fp(t) + fq(t))) + fq(t) * np.log(fq(t) / (fp(t) + fq(t))))
    assert gans.value_at_optimum(p, q, dx).item() == pytest.approx(at_best, abs=1e-6)
    assert at_best == pytest.approx(-log(4) + 2 * jsd, abs=1e-6)
    logit = torch.logit(gans.optimal_discriminator(p, q).clamp(1e-15, 1 - 1e-15))
    assert gans.game_value(logit, p, q, dx).item() == pytest.approx(at_best, abs=1e-6)
    assert gans.kl(p, q, dx).item() == pytest.approx(integral(lambda t: fp(t) * np.log(fp(t) / fq(t))), abs=1e-6)
    for shift in (-0.1, 0.1):
        assert gans.game_value(logit + shift, p, q, dx).item() < at_best - 1e-4
    chi2 = integral(lambda t: (2 * fq(t) - (fp(t) + fq(t))) ** 2 / (fp(t) + fq(t)))
    assert gans.pearson_chi2(p, q, dx).item() == pytest.approx(chi2, abs=1e-6)
    best = gans.optimal_squares(p, q)
    assert gans.squares_value(best, p, q, dx).item() == pytest.approx(chi2 / 2, abs=1e-6)

    def d_loss(d):
        return ((p * (d - 1) ** 2 + q * (d + 1) ** 2).sum() * dx / 2).item()

    assert_close(gans.optimal_squares(p, q, a=0.0, b=1.0), gans.optimal_discriminator(p, q))
    with_c = integral(lambda t: (fp(t) + fq(t)) * ((fp(t) - fq(t)) / (fp(t) + fq(t)) - 0.7) ** 2) / 2
    assert gans.squares_value(best, p, q, dx, c=0.7).item() == pytest.approx(with_c, abs=1e-6)
    assert d_loss(best) < min(d_loss(best + 0.01), d_loss(best - 0.01), d_loss(1.02 * best))


@pytest.mark.parametrize(("dtype", "gap"), [(torch.float32, 1e-3), (torch.float64, 1e-6)])
def test_small_divergences_are_exact(dtype, gap):
    x = torch.linspace(-60, 60, 4001, dtype=dtype)  # at the ends both densities are 0
    dx = (x[1] - x[0]).item()
    p, q = (gans.normal_mixture(x, [mean], [1.0]) for mean in (0.0, gap))
    assert p[0] == q[0] == 0 or dtype == torch.float64
    assert gans.jensen_shannon(p, p, dx) == gans.kl(p, p, dx) == gans.pearson_chi2(p, p, dx) == 0
    assert gans.jensen_shannon(p, q, dx).item() == pytest.approx(gap**2 / 8, rel=1e-2)
    assert gans.pearson_chi2(p, q, dx).item() == pytest.approx(gap**2 / 2, rel=1e-2)
    apart = torch.tensor([1.0, 0.0, 0.0], dtype=dtype), torch.tensor([0.0, 0.5, 0.0], dtype=dtype) * 2
    assert gans.jensen_shannon(*apart, 1.0).item() == pytest.approx(log(2)) and gans.kl(*apart, 1.0) == torch.inf
    for d in (gans.optimal_discriminator(p, q), gans.optimal_squares(p, q)):
        assert d.isfinite().all()
    assert gans.optimal_discriminator(*apart).tolist() == [1, 0, 0.5]  # where nothing is, it cannot tell
    assert gans.optimal_squares(*apart).tolist() == [1, -1, 0]


def test_wasserstein_matches_scipy():
    x, y = torch.randn(2, 400, generator=random(), dtype=torch.float64)
    y = 2 * y + 1
    expected = wasserstein_distance(x.numpy(), y.numpy())
    assert gans.wasserstein_samples(x, y).item() == pytest.approx(expected, abs=1e-12)
    line, dx, p, q = on_a_line()
    expected = wasserstein_distance(line.numpy(), line.numpy(), p.numpy(), q.numpy())
    assert gans.wasserstein_density(p, q, dx).item() == pytest.approx(expected, abs=1e-6)


def test_frechet_distance_matches_scipy():
    a, b = torch.randn(2, 300, 6, generator=random(), dtype=torch.float64)
    b = b @ torch.randn(6, 6, generator=random(1)).double() + 0.5
    m, n, c, d = a.mean(0).numpy(), b.mean(0).numpy(), np.cov(a.T.numpy()), np.cov(b.T.numpy())
    expected = ((m - n) ** 2).sum() + np.trace(c + d - 2 * scipy.linalg.sqrtm(c @ d).real)
    assert gans.frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert gans.frechet_distance(a[:, :1], b[:, :1]) == pytest.approx(
        (m[0] - n[0]) ** 2 + (c[0, 0] ** 0.5 - d[0, 0] ** 0.5) ** 2, rel=1e-9
    )


@pytest.mark.parametrize(("n", "d", "scale", "shift"), [(20, 64, 1.0, 0.0), (5, 32, 5.0, 100.0), (300, 6, 1.0, 0.0)])
def test_small_frechet_distances_are_exact(n, d, scale, shift):
    a = scale * torch.randn(n, d, generator=random()) + shift
    assert 0 <= gans.frechet_distance(a, a) < 1e-20  # also with fewer samples than features
    wide = a.double()
    assert gans.frechet_distance(wide, wide + 1e-6) == pytest.approx(d * 1e-12, rel=1e-4)
    stretched = wide + 1e-6 * (wide - wide.mean(0))
    assert gans.frechet_distance(wide, stretched) == pytest.approx(1e-12 * wide.var(0).sum().item(), rel=1e-4)


@pytest.mark.parametrize("n", [5, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_copies_are_at_distance_zero(n, dtype):
    images = torch.rand(n, 1, 16, 16, generator=random()).to(dtype)
    found, which = gans.nearest(images, images.flip(0))
    assert found.dtype == torch.float32 and found.max() == 0 and which.tolist() == list(range(n))[::-1]
    near = images.float() + 1e-4
    assert_close(gans.nearest(near, images.float())[0], torch.full((n,), 16e-4), rtol=1e-2, atol=0)
    assert gans.precision_recall(images.flatten(1), images.flatten(1)) == (1, 1)
    centres = gans.ring(n, radius=100.0)
    assert gans.covered(centres.repeat(30, 1), centres, 1e-6) == (n, 1)


def test_precision_recall_matches_a_loop():
    real, fake = torch.randn(2, 30, 2, generator=random(), dtype=torch.float64)
    fake = fake + torch.tensor([1.5, 0.0])

    def share(points, of, k=3):
        inside = 0
        for p in points:
            hit = False
            for i, center in enumerate(of):
                others = [dist(center, o) for j, o in enumerate(of) if j != i]
                hit |= dist(p, center) <= sorted(others)[k - 1]
            inside += hit
        return inside / len(points)

    expected = share(fake.tolist(), real.tolist()), share(real.tolist(), fake.tolist())
    assert gans.precision_recall(real, fake) == pytest.approx(expected)
    assert expected[0] != expected[1]


def test_toy_worlds_lie_where_they_should():
    assert_close(gans.ring(4, radius=3.0), torch.tensor([[3.0, 0], [0, 3], [-3, 0], [0, -3]]), rtol=0, atol=1e-6)
    assert gans.grid(3, spacing=2.0).tolist() == [[x, y] for x in (-2, 0, 2) for y in (-2, 0, 2)]
    cloud = gans.around(torch.tensor([[1.0, -1.0], [5.0, -1.0]]), 20_000, 0.5, random())
    assert_close(cloud.mean(0), torch.tensor([3.0, -1.0]), rtol=0, atol=0.05)
    assert_close(cloud.var(0), torch.tensor([4.25, 0.25]), rtol=0.03, atol=0)
    points = gans.line(0.7, 10_000, random())
    assert (points[:, 0] == 0.7).all() and 0 <= points[:, 1].min() < 0.01 and 0.99 < points[:, 1].max() <= 1


def test_a_mode_needs_its_share():
    centres, per_mode = gans.ring(4), torch.tensor([70, 20, 9, 1])
    samples = centres.repeat_interleave(per_mode, dim=0)  # an even split would give each 25
    assert [gans.covered(samples, centres, 0.1, share=share)[0] for share in (0.01, 0.1, 0.36, 0.37, 0.9)] == [
        4,
        3,
        3,
        2,
        1,
    ]
    edge = centres[:1] + torch.tensor([[0.29, 0.0], [0.31, 0.0]])
    assert gans.covered(edge, centres, 0.1)[1] == 0.5  # three standard deviations


def test_weights_begin_as_in_the_paper():
    torch.manual_seed(0)
    preset = gans.DCGAN["tutorial"]
    for net in (gans.DCGANGenerator(**preset), gans.DCGANDiscriminator(**preset)):
        for layer in net.requires_grad_(False).main:
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                assert abs(layer.weight.mean()) < 2e-3 and layer.weight.std() == pytest.approx(0.02, rel=0.1)
            if isinstance(layer, nn.BatchNorm2d):
                assert layer.weight.mean() == pytest.approx(1, abs=0.01) and layer.bias.abs().max() == 0
                assert layer.weight.std() == pytest.approx(0.02, rel=0.3)


def test_perceptrons_match_reference():
    torch.manual_seed(0)
    x = torch.randn(5, 2)
    g, d = gans.MLPGenerator(latent=2, dim=3, hidden=4, depth=2), gans.MLPDiscriminator(dim=2, hidden=4, depth=2)
    for net, activation, last in ((g, F.relu, 3), (d, lambda x: F.leaky_relu(x, 0.2), 1)):
        layers = [m for m in net.main if isinstance(m, nn.Linear)]
        assert [m.out_features for m in layers] == [4, 4, last]
        expected = layers[2](activation(layers[1](activation(layers[0](x)))))
        assert_close(net(x), expected if last == 3 else expected[:, 0])


def test_classifier_matches_reference():
    """Two convolutions, means of a grid of 4 by 4, two linear layers, ReLU between."""
    torch.manual_seed(0)
    net, x = gans.Classifier(classes=5, channels=2, hidden=3, dim=7).double(), torch.randn(3, 2, 12, 12).double()
    one, two, three = (m for m in net.body if list(m.parameters()))
    h = F.conv2d(x, one.weight, one.bias, padding=1).relu()
    h = F.conv2d(h, two.weight, two.bias, stride=2, padding=1).relu()
    h = F.adaptive_avg_pool2d(h, 4).flatten(1)
    h = F.linear(h, three.weight, three.bias).relu()
    assert_close(net.features(x), h)
    assert_close(net(x), F.linear(h, net.head.weight, net.head.bias))


@pytest.mark.parametrize(
    ("image", "side", "stages"), [(8, 4, 1), (12, 3, 2), (14, 7, 1), (28, 7, 2), (40, 5, 3), (48, 3, 4), (64, 4, 4)]
)
def test_sides_are_halved_while_they_are_even_and_above_four(image, side, stages):
    with torch.device("meta"):
        preset = dict(image=image, channels=1, hidden=2)
        g, d = gans.DCGANGenerator(**preset), gans.DCGANDiscriminator(**preset)
    first, *ups = [m for m in g.main if isinstance(m, nn.ConvTranspose2d)]
    *downs, last = [m for m in d.main if isinstance(m, nn.Conv2d)]
    assert first.kernel_size == last.kernel_size == (side, side) and len(ups) == len(downs) == stages


def test_modes_are_counted():
    centres = gans.ring(8)
    three = gans.around(centres[:3], 900, 0.1, random())
    modes, good = gans.covered(three, centres, 0.1)
    assert modes == 3 and 0.97 < good < 1  # 3 σ of a plane hold 98.9 %
    assert gans.covered(torch.zeros(100, 2), centres, 0.1) == (0, 0.0)
    grid = gans.grid(5)
    assert len(grid) == 25 and gans.covered(gans.around(grid, 5000, 0.05, random()), grid, 0.05)[0] == 25


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("loss", gans.LOSSES)
def test_gradients_reach_every_parameter(loss, classes):
    g, d = players(classes, image=16)
    y = [torch.arange(6) % 3][: bool(classes)]
    batch = (torch.rand(6, 1, 16, 16, generator=random()) * 2 - 1, *y)
    z = torch.randn(6, 4, generator=random())
    pair = gans.loss_pair(loss)
    gans.discriminator_step(g, d, SGD(d.parameters(), 0.1), pair, batch, z)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in d.parameters())
    assert all(p.grad is None for p in g.parameters())  # D's turn leaves G alone
    before = [p.grad.clone() for p in d.parameters()]
    gans.generator_step(g, d, SGD(g.parameters(), 0.1), pair, batch, z)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in g.parameters())
    assert all(torch.equal(p.grad, old) for p, old in zip(d.parameters(), before, strict=True))
    assert all(p.requires_grad for p in d.parameters())


def test_each_step_moves_its_player_only():
    g, d = players()
    batch, z = (torch.zeros(4, 1, 8, 8),), torch.randn(4, 4, generator=random())

    def weights(net):
        return nn.utils.parameters_to_vector(net.parameters()).detach().clone()

    pair, a, b = gans.loss_pair("non-saturating"), weights(g), weights(d)
    gans.discriminator_step(g, d, SGD(d.parameters(), 0.1), pair, batch, z)
    assert torch.equal(weights(g), a) and not torch.equal(weights(d), b)
    b = weights(d)
    gans.generator_step(g, d, SGD(g.parameters(), 0.1), pair, batch, z)
    assert torch.equal(weights(d), b) and not torch.equal(weights(g), a)


def test_update_matches_a_plain_loop():
    def make():
        return (
            gans.MLPGenerator(latent=2, dim=2, hidden=8, depth=1),
            gans.MLPDiscriminator(dim=2, hidden=8, depth=1),
        )

    torch.manual_seed(0)
    (g, d), (g2, d2) = make(), make()
    g2.load_state_dict(g.state_dict())
    d2.load_state_dict(d.state_dict())
    data = torch.randn(10, 24, 2, generator=random(3))
    optimizers = Adam(g.parameters(), 1e-2), Adam(d.parameters(), 1e-2)
    settings = dict(latent=2, random=random(), d_steps=3, clip=0.3)
    update = gans.adversarial_update(g, d, *optimizers, gans.loss_pair("wasserstein"), **settings)
    fit(update, iter([(x,) for x in data]), 10, progress=False)
    og, od, r = torch.optim.Adam(g2.parameters(), 1e-2), torch.optim.Adam(d2.parameters(), 1e-2), random()
    for x in data:
        for part in x.split(8):
            od.zero_grad()
            fake = g2(torch.randn(8, 2, generator=r)).detach()
            (d2(fake).mean() - d2(part).mean()).backward()
            od.step()
            for p in d2.parameters():
                p.data.clamp_(-0.3, 0.3)
        og.zero_grad()
        (-d2(g2(torch.randn(8, 2, generator=r))).mean()).backward()
        og.step()
    for p, q in zip([*g.parameters(), *d.parameters()], [*g2.parameters(), *d2.parameters()], strict=True):
        assert_close(p, q, rtol=1e-5, atol=1e-6)


def test_penalised_update_matches_a_plain_loop():
    """Noise, then mix and noise for each step of D; means of the losses over the steps."""
    torch.manual_seed(0)
    g, d = gans.MLPGenerator(latent=2, dim=2, hidden=8, depth=1), gans.MLPDiscriminator(dim=2, hidden=8, depth=1)
    data, r, pair = torch.randn(8, 2, generator=random(3)), random(), gans.loss_pair("wasserstein")
    settings = dict(latent=2, random=random(), d_steps=2, penalty=3.0)
    frozen = SGD(g.parameters(), 0.0), SGD(d.parameters(), 0.0)
    metrics = gans.adversarial_update(g, d, *frozen, pair, **settings)((data,))
    losses = []
    for x in data.split(4):
        mix, z = torch.rand(4, generator=r), torch.randn(4, 2, generator=r)
        at = (mix[:, None] * x + (1 - mix[:, None]) * g(z).detach()).requires_grad_()
        (slope,) = torch.autograd.grad(d(at).sum(), at)
        losses.append(d(g(z)).mean() - d(x).mean() + 3 * ((slope.norm(dim=1) - 1) ** 2).mean())
    total, count = metrics["discriminator loss"]
    assert_close(total / count, torch.stack(losses).mean())
    total, count = metrics["generator loss"]
    assert_close(total / count, -d(g(torch.randn(4, 2, generator=r))).mean())


def test_every_sample_of_a_batch_is_used():
    seen = []

    class Recorder(gans.MLPDiscriminator):
        def forward(self, x):
            seen.append(len(x))
            return super().forward(x)

    d, g = Recorder(dim=2, hidden=4, depth=1), gans.MLPGenerator(latent=2, dim=2, hidden=4, depth=1)
    optimizers = SGD(g.parameters(), 0.1), SGD(d.parameters(), 0.1)
    settings = dict(latent=2, random=random(), d_steps=3, penalty=1.0)
    gans.adversarial_update(g, d, *optimizers, gans.loss_pair("wasserstein"), **settings)((torch.randn(10, 2),))
    assert seen == [3] * 3 + [3] * 3 + [4] * 3 + [4]  # real, fake and between, three times; then G's turn


def test_losses_keep_double_and_widen_half_precision():
    pair, batch, z = gans.loss_pair("least squares"), (torch.zeros(4, 1, 8, 8).double(),), torch.randn(4, 4).double()
    g, d = (net.double() for net in players())
    loss = gans.discriminator_step(g, d, SGD(d.parameters(), 0.0), pair, batch, z)
    assert loss.dtype == torch.float64
    g, d = gans.MLPGenerator(latent=1, dim=1, hidden=2, depth=1), gans.MLPDiscriminator(dim=1, hidden=2, depth=1)
    nn.init.zeros_(d.main[-1].weight)
    nn.init.constant_(d.main[-1].bias, 1000.0)  # whose square is no float16
    g, d = g.half(), d.half()
    x, z = torch.zeros(2, 4, 1).half()
    loss = gans.discriminator_step(g, d, SGD(d.parameters(), 0.0), pair, (x,), z)
    assert loss.item() == (999**2 + 1001**2) / 2  # a number: as float16 this is infinite, and equal to an infinite loss
    loss = gans.generator_step(g, d, SGD(g.parameters(), 0.0), pair, (x,), z)
    assert loss.item() == 500_000


def test_condition_reaches_both_players():
    g, d = players(classes=3)
    z, x = torch.randn(2, 4, generator=random()), torch.zeros(2, 1, 8, 8)
    zero, one = torch.zeros(2).long(), torch.ones(2).long()
    g.eval(), d.eval()
    assert not torch.equal(g(z, zero), g(z, one)) and not torch.equal(d(x, zero), d(x, one))
    told = torch.tensor([[0.0, 1, 0], [0, 0, 1]])
    assert torch.equal(g(z, torch.tensor([1, 2])), g.net(torch.cat([z, told], 1)))
    maps = told[:, :, None, None].expand(2, 3, 8, 8)
    assert torch.equal(d(x, torch.tensor([1, 2])), d.net(torch.cat([x, maps], 1)))


RULES = {
    "minimax": {},
    "non-saturating": {},
    "least squares": {},
    "wasserstein": dict(d_steps=3, penalty=1.0),
}


@pytest.mark.parametrize("loss", RULES)
def test_learns_toy_problem(loss, unchecked):
    torch.manual_seed(0)
    g, d = gans.MLPGenerator(latent=2, dim=2, hidden=32, depth=1), gans.MLPDiscriminator(dim=2, hidden=32, depth=1)
    r, n = random(), 128 * RULES[loss].get("d_steps", 1)
    optimizers = [Adam(net.parameters(), lr, betas=(0.5, 0.9)) for net, lr in ((g, 2e-3), (d, 6e-3))]
    update = gans.adversarial_update(g, d, *optimizers, gans.loss_pair(loss), latent=2, random=r, **RULES[loss])
    centre = torch.tensor([[2.0, -1.0]])

    def distance():
        return (gans.generate(g, torch.randn(500, 2, generator=random(5))).mean(0) - centre).norm().item()

    before = distance()
    fit(update, gans.endless(lambda: gans.around(centre, n, 0.5, r)), 600, progress=False)
    assert distance() < 0.8 < 1.8 < before


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("loss", RULES)
def test_device_and_dtype(device, dtype, loss, tmp_path):
    g, d = players(classes=3, norm=loss != "wasserstein")
    g, d = g.to(device), d.to(device)
    optimizers = [Adam(net.parameters(), 1e-3) for net in (g, d)]
    settings = dict(latent=4, random=random(), dtype=dtype, **RULES[loss])
    update = gans.adversarial_update(g, d, *optimizers, gans.loss_pair(loss), **settings)
    batch = (torch.rand(12, 1, 8, 8).to(device) * 2 - 1, (torch.arange(12) % 3).to(device))
    for _ in range(3):
        metrics = update(batch)
    assert all(torch.as_tensor(total).isfinite() for total, _ in metrics.values())
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in [*g.parameters(), *d.parameters()])
    torch.save(g.state_dict(), tmp_path / "g.pt")
    copy, _ = players(classes=3)
    copy.load_state_dict(torch.load(tmp_path / "g.pt", weights_only=True))
    z, y = torch.randn(3, 4), torch.arange(3)
    assert_close(gans.generate(copy, z, y), gans.generate(g, z.to(device), y.to(device)).cpu(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
@pytest.mark.parametrize("loss", ["non-saturating", "wasserstein"])
def test_pairs_for_downloaded_pictures_learn_in_their_format(name, loss):
    preset = gans.DCGAN[name] | {"hidden": 4}
    torch.manual_seed(0)
    g = gans.Conditional(gans.DCGANGenerator(**preset, latent=6 + 10), classes=10)
    wide = preset | {"channels": preset["channels"] + 10}
    d = gans.Conditional(gans.DCGANDiscriminator(**wide, norm=loss != "wasserstein"), classes=10)
    optimizers = [Adam(net.parameters(), 1e-3) for net in (g, d)]
    update = gans.adversarial_update(g, d, *optimizers, gans.loss_pair(loss), latent=6, random=random(), **RULES[loss])
    x, y = torch.rand(12, preset["channels"], preset["image"], preset["image"]) * 2 - 1, torch.arange(12) % 10
    before = nn.utils.parameters_to_vector(g.parameters()).detach().clone()
    assert all(torch.as_tensor(total).isfinite() for total, _ in update((x, y)).values())
    assert not torch.equal(nn.utils.parameters_to_vector(g.parameters()), before)
    made = gans.generate(g, torch.randn(5, 6), torch.arange(5))
    reader = gans.Classifier(classes=10, channels=preset["channels"])
    assert made.shape == (5, *x.shape[1:]) and reader(made).shape == (5, 10) and reader.features(made).shape == (5, 32)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("loss", RULES)
def test_bf16_is_close(device, loss):
    """Losses of three updates, and the pictures after them, in bf16 and in float32; the penalty's second gradient too."""
    found = []
    for dtype in (None, torch.bfloat16):
        g, d = (net.to(device) for net in players(classes=3, norm=loss != "wasserstein", image=16))
        optimizers = SGD(g.parameters(), 0.01), SGD(d.parameters(), 0.01)
        settings = dict(latent=4, random=random(), dtype=dtype, **RULES[loss])
        update = gans.adversarial_update(g, d, *optimizers, gans.loss_pair(loss), **settings)
        x = torch.rand(24, 1, 16, 16, generator=random(2)).to(device) * 2 - 1
        y = (torch.arange(24) % 3).to(device)
        metrics = [update((x, y)) for _ in range(3)]
        losses = torch.tensor([float(total) / count for m in metrics for total, count in m.values()])
        z = torch.randn(5, 4, generator=random(1)).to(device)
        found.append((losses, gans.generate(g, z, y[:5])))
    (losses, images), (rough_losses, rough_images) = found
    assert_close(rough_losses, losses, rtol=0.02, atol=0.01)
    assert_close(rough_images, images, rtol=0, atol=0.02)
    assert not torch.equal(losses, rough_losses)  # autocast did something


def double_players(device, norm=True):
    g = gans.DCGANGenerator(image=8, channels=3, hidden=8, latent=4 + 3)
    d = gans.DCGANDiscriminator(image=8, channels=3 + 3, hidden=8, norm=norm)
    return [gans.Conditional(net, classes=3).double().to(device) for net in (g, d)]


@pytest.mark.parametrize("device", DEVICES)
def test_compiled_players_are_equal(device, compiler, unchecked):
    """On the CPU a VAE is the one that Inductor compiles for this part."""
    backend = "inductor" if device == "cuda" else "aot_eager"
    torch.manual_seed(0)
    g, d = double_players(device)
    z, x = torch.randn(12, 4).double().to(device), torch.rand(12, 3, 8, 8).double().to(device) * 2 - 1
    y = torch.arange(12, device=device) % 3

    def both(z, x, y):
        return g(z, y), d(x, y)

    with torch.no_grad():
        expected = both(z, x, y)
        try:
            found = compiler(both, backend=backend, fullgraph=True)(z, x, y)
        except Exception as error:
            if "InvalidCxxCompiler" in repr(error) or "Python.h" in str(error):
                pytest.skip("needs a C++ compiler and Python's headers for torch.compile")
            raise
    assert_close(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("loss", "settings", "backend"),
    [
        ("non-saturating", {}, "aot_eager"),
        ("wasserstein", dict(clip=0.05), "eager"),
        ("wasserstein", dict(penalty=10.0), "eager"),
    ],
)
def test_updates_of_compiled_players_are_equal(loss, settings, backend, device, compiler, unchecked):
    """A compiled generator always, a compiled discriminator where no penalty asks for a second gradient."""
    x, y = torch.rand(6, 3, 8, 8, generator=random(1)).double() * 2 - 1, torch.arange(6) % 3
    weights = []
    for compiled in (False, True):
        torch.manual_seed(0)
        g, d = double_players(device, norm=not settings)
        optimizers = SGD(g.parameters(), 0.1), SGD(d.parameters(), 0.1)
        played = [g, d]
        for i in range(2 - ("penalty" in settings)):
            played[i] = compiler(played[i], backend=backend, fullgraph=True) if compiled else played[i]
        pair = gans.loss_pair(loss)
        update = gans.adversarial_update(*played, *optimizers, pair, latent=4, random=random(), **settings)
        for _ in range(2):
            update((x.to(device), y.to(device)))
        weights.append(torch.cat([p.detach().flatten() for net in (g, d) for p in net.parameters()]))
    assert_close(*weights, rtol=1e-6, atol=1e-8)
    assert weights[0].isfinite().all()


def test_generate_puts_the_mode_back():
    g, _ = players()
    statistics = g.main[1].running_mean.clone()
    g.main[1].eval()  # one norm is frozen, and stays so
    gans.generate(g, torch.randn(4, 4))
    assert g.training and torch.equal(g.main[1].running_mean, statistics)
    assert [m.training for m in g.main] == [i != 1 for i in range(len(g.main))]


def test_arithmetic_is_of_averages():
    plus, minus, base = torch.tensor([[2.0, 0.0], [4.0, 0.0]]), torch.tensor([[1.0, 1.0]]), torch.tensor([[0.0, 5.0]])
    assert gans.latent_arithmetic(plus, minus, base).tolist() == [2, 4]


def test_unknown_loss_is_named():
    with pytest.raises(ValueError, match="loss 'hinge' is unknown: choose one of 'minimax', 'non-saturating'"):
        gans.loss_pair("hinge")


@pytest.mark.parametrize(
    "settings, words",
    [
        (dict(latent=0), "latent = 0: at least 1"),
        (dict(d_steps=0), "d_steps = 0: at least 1"),
        (dict(clip=0.0), "clip = 0.0: a bound is above 0"),
        (dict(clip=float("nan")), "clip = nan: a bound is above 0"),
        (dict(penalty=-1.0), "penalty = -1.0: its weight is 0 or more"),
        (dict(penalty=float("inf")), "penalty = inf: its weight is 0 or more"),
    ],
)
def test_bad_settings_are_refused(settings, words):
    g, d = players()
    settings = dict(latent=4, random=random()) | settings
    with pytest.raises(ValueError, match=words):
        gans.adversarial_update(g, d, SGD(g.parameters()), SGD(d.parameters()), gans.loss_pair("minimax"), **settings)


def test_bad_input_is_refused():
    g, d = players()
    settings = dict(latent=4, random=random(), d_steps=5)
    update = gans.adversarial_update(
        g, d, SGD(g.parameters()), SGD(d.parameters()), gans.loss_pair("minimax"), **settings
    )
    with pytest.raises(ValueError, match="d_steps = 5: the batch has 3 samples"):
        update((torch.zeros(3, 1, 8, 8),))
    d.eval()
    with pytest.raises(ValueError, match=r"the discriminator is in evaluation mode: call discriminator.train\(\)"):
        update((torch.zeros(10, 1, 8, 8),))
    with pytest.raises(ValueError, match="image = 9: halved while it is even"):
        gans.DCGANGenerator(image=9, channels=1, hidden=4)
    with pytest.raises(ValueError, match="3 against 4 samples: take as many of both"):
        gans.wasserstein_samples(torch.zeros(3), torch.zeros(4))
    with pytest.raises(ValueError, match="1 and 5 samples: a covariance needs two or more"):
        gans.frechet_distance(torch.zeros(1, 2), torch.zeros(5, 2))
    with pytest.raises(ValueError, match="k = 5: 5 samples have 1 to 4 neighbours"):
        gans.precision_recall(torch.zeros(5, 2), torch.zeros(5, 2), k=5)
    d.train()
    with pytest.raises(ValueError, match=r"columns of \[6, 5\] items: as many of each"):
        update((torch.zeros(6, 1, 8, 8), torch.zeros(5).long()))
    with pytest.raises(ValueError, match=r"2 means and 1 stds: as many of both"):
        gans.normal_mixture(torch.zeros(3), [0.0, 1.0], [1.0])
    with pytest.raises(ValueError, match="limit = -0.1: a bound is above 0"):
        gans.clip_weights(d, -0.1)
    with pytest.raises(ValueError, match="modes = 0: at least 1"):
        gans.ring(0)
    with pytest.raises(ValueError, match="side = 0: at least 1"):
        gans.grid(0)
    for settings in (dict(std=0.0), dict(std=0.1, share=float("nan"))):
        with pytest.raises(ValueError, match="(std|share) = .*: it is positive"):
            gans.covered(torch.zeros(5, 2), gans.ring(8), **settings)
    with pytest.raises(ValueError, match="minus has no latent: an average needs one"):
        gans.latent_arithmetic(torch.zeros(3, 2), torch.zeros(0, 2), torch.zeros(3, 2))


def test_values_that_are_no_numbers_are_refused():
    points, broken = torch.rand(2, 30, 2, generator=random())
    broken[4, 1] = torch.nan
    calls = (
        gans.nearest,
        gans.precision_recall,
        gans.frechet_distance,
        lambda x, y: gans.covered(y, gans.ring(8), 0.1),
    )
    for call in calls:
        with pytest.raises(ValueError, match="1 of 60 values are not finite"):
            call(points, broken)


def test_a_critic_that_mixes_samples_is_refused():
    real, fake = torch.rand(2, 4, 1, 8, 8, generator=random())
    mix = torch.rand(4, generator=random())
    _, critic = players()
    with pytest.raises(ValueError, match="the critic has batch norm, which mixes samples: build it without"):
        gans.gradient_penalty(players(image=16)[1], real.repeat(1, 1, 2, 2), fake.repeat(1, 1, 2, 2), mix)
    assert gans.gradient_penalty(critic, real, fake, mix).isfinite()  # one stage has no norm
    assert gans.gradient_penalty(players(image=16)[1].eval(), real.repeat(1, 1, 2, 2), fake.repeat(1, 1, 2, 2), mix) > 0
    optimizer, pair = SGD(critic.parameters(), 0.1), gans.loss_pair("wasserstein")
    with pytest.raises(ValueError, match="mix of shape None: the penalty needs as many fakes as reals and one number"):
        gans.discriminator_step(
            nn.Unflatten(1, (1, 8, 8)), critic, optimizer, pair, (real,), fake.flatten(1), penalty=1.0
        )


SHAPES = {
    "larger images": (lambda: players()[1](torch.zeros(2, 1, 16, 16)), r"items of shape \[1, 8, 8\] is wanted"),
    "one image": (lambda: players()[1](torch.zeros(1, 8, 8)), r"input of shape \[1, 8, 8\]: a batch of items"),
    "one latent": (lambda: players()[0](torch.zeros(4)), r"items of shape \[4\] is wanted"),
    "wider noise": (lambda: players()[0](torch.zeros(2, 5)), r"input of shape \[2, 5\]"),
    "one point": (lambda: gans.MLPDiscriminator(dim=2, hidden=4, depth=1)(torch.zeros(2)), r"items of shape \[2\]"),
    "flat noise": (lambda: gans.MLPGenerator(latent=2, dim=2, hidden=4, depth=1)(torch.zeros(2)), r"items of shape"),
    "labels": (lambda: players(3)[0](torch.zeros(2, 4), torch.zeros(3).long()), r"y of shape \[3\] for 2 items"),
    "a column of labels": (
        lambda: players(3)[1](torch.zeros(2, 1, 8, 8), torch.zeros(2, 1).long()),
        r"y of shape \[2, 1\] for 2 items: one class an item",
    ),
    "no class": (lambda: players(3)[0](torch.zeros(2, 4), torch.tensor([0, 3])), "labels of 3 classes run from 0 to 2"),
    "real labels": (lambda: players(3)[0](torch.zeros(2, 4), torch.zeros(2)), "classes are whole numbers"),
    "fewer fakes": (
        lambda: gans.gradient_penalty(players()[1], torch.zeros(4, 1, 8, 8), torch.zeros(1, 1, 8, 8), torch.rand(4)),
        r"fake of shape \[1, 1, 8, 8\], mix of shape \[4\]: the penalty needs as many fakes as reals",
    ),
    "one mix": (
        lambda: gans.gradient_penalty(players()[1], *torch.zeros(2, 4, 1, 8, 8), torch.rand(1)),
        r"mix of shape \[1\]: the penalty needs",
    ),
    "features": (lambda: gans.frechet_distance(torch.rand(5, 2), torch.rand(5, 3)), "2 against 3 features: as many"),
    "images": (lambda: gans.nearest(torch.rand(5, 4), torch.rand(5, 3)), r"items of shape \[4\] against references"),
    "nothing": (lambda: gans.nearest(torch.rand(5, 4), torch.rand(0, 4)), "5 items and 0 references: at least 1"),
    "no samples": (lambda: gans.wasserstein_samples(*torch.rand(2, 0)), "0 against 0 samples"),
}


@pytest.mark.parametrize("case", SHAPES)
def test_shapes_that_do_not_match_are_refused(case, unchecked):
    call, words = SHAPES[case]
    with pytest.raises(ValueError, match=words):
        call()

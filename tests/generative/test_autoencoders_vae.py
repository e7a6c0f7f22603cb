"""Autoencoders against scikit-learn's PCA, bounds against closed forms, torch.distributions and a solvable model."""

from functools import partial
from math import log

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Independent, MultivariateNormal, Normal, kl_divergence
from torch.testing import assert_close

from helpers.data import batches, digits
from helpers.generative.autoencoders_vae import (
    VAE,
    Autoencoder,
    ConditionalVAE,
    GaussianClassifier,
    LinearGaussian,
    VAEOutput,
    active_dimensions,
    bernoulli,
    conv_autoencoder,
    conv_decoder,
    conv_encoder,
    conv_vae,
    elbo,
    gaussian,
    interpolate,
    iwae_bound,
    kl_between_normals,
    kl_to_standard_normal,
    log_normal,
    manifold_grid,
    mlp_autoencoder,
    mlp_decoder,
    mlp_encoder,
    mlp_vae,
    nearest_distance,
    negative_elbo,
    negative_iwae_bound,
    pathwise_gradient,
    power_spectrum,
    reconstruction_loss,
    reparameterise,
    sample,
    score_function_gradient,
    warmed_up,
)
from helpers.training import autocast, fit, gradient_update, linear_decay

IMAGE = (1, 8, 8)
NETWORKS = {
    "mlp autoencoder": partial(mlp_autoencoder, image=IMAGE, dim=3, hidden=(16,)),
    "conv autoencoder": partial(conv_autoencoder, image=IMAGE, dim=3, channels=(4, 8)),
    "mlp vae": partial(mlp_vae, image=IMAGE, dim=3, hidden=(16,)),
    "conv vae": partial(conv_vae, image=IMAGE, dim=3, channels=(4, 8)),
    "mlp conditional vae": partial(mlp_vae, image=IMAGE, dim=3, hidden=(16,), classes=10),
    "conv conditional vae": partial(conv_vae, image=IMAGE, dim=3, channels=(4, 8), classes=10),
}
every_network = pytest.mark.parametrize("name", NETWORKS)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def build(make, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def batch_for(model: nn.Module, n: int = 12) -> tuple[torch.Tensor, ...]:
    data = digits()
    x, y = data.images[:n].to(next(model.parameters())), data.labels[:n].to(next(model.parameters()).device)
    return (x, y) if isinstance(model, ConditionalVAE) else (x,)


def loss_of(model: nn.Module):
    return negative_elbo if isinstance(model, VAE) else reconstruction_loss


def world(q: int = 2, d: int = 5, seed: int = 0) -> LinearGaussian:
    """A linear-Gaussian model whose posterior is correlated."""
    return LinearGaussian(normal(d, q, seed=seed), normal(d, seed=seed + 1), torch.tensor(0.3, dtype=torch.float64))


def linear_vae(model: LinearGaussian, *, stretch: float = 1.0) -> VAE:
    """The VAE whose decoder is `model` and whose q is its posterior, standard deviations times `stretch`."""
    d, q = model.weight.shape
    net = VAE(nn.Linear(d, 2 * q), nn.Linear(q, d), dim=q).double()
    at_zero, covariance = model.posterior(torch.zeros(1, d, dtype=torch.float64))
    slope = model.posterior(torch.eye(d, dtype=torch.float64))[0] - at_zero
    with torch.no_grad():
        net.decoder.weight.copy_(model.weight)
        net.decoder.bias.copy_(model.offset)
        net.encoder.weight.copy_(torch.cat([slope.T, torch.zeros(q, d)]))
        net.encoder.bias.copy_(torch.cat([at_zero[0], (stretch**2 * covariance.diagonal()).log()]))
    return net


# --- counts and shapes


def test_parameter_count():
    def count(net):
        return sum(p.numel() for p in net.parameters())

    mlp = mlp_vae(image=IMAGE, dim=2, hidden=(128, 32))
    assert count(mlp.encoder) == 65 * 128 + 129 * 32 + 33 * 4
    assert count(mlp.decoder) == 3 * 32 + 33 * 128 + 129 * 64
    conv = conv_vae(image=(1, 28, 28), dim=2)
    assert count(conv.encoder) == (16 + 1) * 32 + (32 * 16 + 1) * 64 + (64 * 49 + 1) * 4
    assert count(conv.decoder) == 3 * 64 * 49 + (64 * 16 * 32 + 32) + (32 * 16 + 1)
    linear = mlp_autoencoder(image=(10,), dim=3, hidden=())
    assert count(linear) == 11 * 3 + 4 * 10
    conditional = mlp_vae(image=IMAGE, dim=2, hidden=(32,), classes=10)
    assert count(conditional) == (11 * 64 + 1) * 32 + 33 * 4 + (2 + 10 + 1) * 32 + 33 * 64


@every_network
def test_shapes(name):
    model = build(NETWORKS[name])
    batch = batch_for(model)
    output = model(*batch)
    if not isinstance(model, VAE):
        assert model.encode(*batch).shape == (12, 3) and output.shape == (12, *IMAGE)
        return
    assert output.mean.shape == output.log_variance.shape == output.z.shape == (12, 3)
    assert output.prediction.shape == (12, *IMAGE)
    several = model(*batch, samples=5)
    assert several.z.shape == (5, 12, 3) and several.prediction.shape == (5, 12, *IMAGE)
    rest = batch[1:]
    assert_close(several.prediction[2], model.decode(several.z[2], *rest), rtol=1e-5, atol=1e-6)
    assert sample(model, 7, *(label[:7] for label in rest)).shape == (7, *IMAGE)
    assert elbo(batch[0], several).shape == (5, 12)


def test_stages_of_the_convolutional_nets():
    encoder, decoder = conv_encoder(image=(3, 32, 32), dim=5), conv_decoder(image=(3, 32, 32), dim=5)
    shapes = []
    for net, x in ((encoder, torch.zeros(1, 3, 32, 32)), (decoder, torch.zeros(1, 5))):
        for layer in net:
            x = layer(x)
            shapes += [tuple(x.shape[1:])] if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) else []
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(32, 16, 16), (64, 8, 8), (5,), (32, 16, 16), (3, 32, 32), (3, 32, 32)]


def test_networks_match_reference():
    """The layers one after another, a ReLU before each but the first, and nothing else between them or behind."""
    torch.manual_seed(0)
    image, code, x = (2, 8, 8), normal(4, 3), normal(4, 2, 8, 8)
    nets = [
        (conv_encoder(image=image, dim=3, channels=(3, 4)), x),
        (conv_decoder(image=image, dim=3, channels=(3, 4)), code),
        (mlp_encoder(image=image, dim=3, hidden=(6, 5)), x),
        (mlp_decoder(image=image, dim=3, hidden=(6, 5)), code),
    ]
    for net, given in nets:
        first, *_, last = [layer for layer in net.double() if list(layer.parameters())]
        nn.init.constant_(last.bias, -5.0)  # a ReLU behind it would leave nothing
        expected = given
        for layer in net:
            if isinstance(layer, nn.Flatten | nn.Unflatten):
                expected = layer(expected)
            elif list(layer.parameters()):
                expected = layer(expected if layer is first else expected.clamp(min=0))
        assert (expected < 0).all()
        assert_close(net(given), expected, rtol=0, atol=1e-12)


# --- references


def test_matches_reference_kl():
    mean, log_variance = normal(6, 4), 2 * normal(6, 4, seed=1)
    q, p = Normal(mean, (log_variance / 2).exp()), Normal(torch.zeros(()).double(), torch.ones(()).double())
    assert_close(kl_to_standard_normal(mean, log_variance), kl_divergence(q, p), rtol=0, atol=1e-12)
    z = q.sample((200_000,))
    estimate = (q.log_prob(z) - p.log_prob(z)).mean(0)
    assert_close(estimate, kl_to_standard_normal(mean, log_variance), rtol=0.05, atol=0.05)


def test_small_divergences_are_exact():
    """Where the terms of the formula nearly cancel: never below 0, and right to three digits in float32 too."""
    for dtype in (torch.float32, torch.float64):
        log_variance = torch.cat([sign * torch.logspace(-12, 0, 2001, dtype=dtype) for sign in (-1, 1)])
        kl = kl_to_standard_normal(torch.zeros_like(log_variance), log_variance)
        wide = log_variance.double()
        series = wide**2 / 4 + wide**3 / 12  # of ½ (e^s - 1 - s)
        small = (wide.abs() < 1e-2) & (wide.abs() > 1e-3)
        assert (kl >= 0).all()
        assert_close(kl.double()[small], series[small], rtol=1e-3, atol=0)
    for d in (3, 30):
        factor = torch.randn(d, d, generator=generator())
        mean, covariance = torch.randn(4, d, generator=generator(1)), factor @ factor.T + torch.eye(d)
        assert kl_between_normals(mean, covariance, mean, covariance).abs().max() < 1e-11
        wider = kl_between_normals(mean, covariance, mean, covariance * (1 + 1e-3))
        assert_close(wider, torch.full((4,), d * 1e-6 / 4), rtol=1e-2, atol=0)  # ½ d (t - ln(1 + t)), |t| = 1e-3


def test_bounds_are_wide_in_half_precision():
    x, logits = torch.rand(3, 3, 32, 32, generator=generator()), torch.full((3, 3, 32, 32), 40.0)
    for dtype in (torch.float16, torch.bfloat16):
        found = bernoulli(x, logits.to(dtype)), gaussian(x, logits.to(dtype), 0.01)  # sums beyond 65,504
        assert all(f.dtype == torch.float32 for f in found)
        assert_close(found, (bernoulli(x, logits), gaussian(x, logits, 0.01)))
        kl = kl_to_standard_normal(torch.zeros(2, 3, dtype=dtype), torch.full((2, 3), 12.0, dtype=dtype))
        assert_close(kl, kl_to_standard_normal(torch.zeros(2, 3), torch.full((2, 3), 12.0)))
        assert log_normal(torch.full((2,), 400.0, dtype=dtype)).isfinite().all()
        loss = reconstruction_loss(nn.Hardtanh(40, 41), (x.to(dtype),))  # 40 everywhere
        assert loss.dtype == torch.float32 and loss == pytest.approx(float(((40 - x) ** 2).sum() / 3), rel=1e-2)
        assert power_spectrum(x.to(dtype)).isfinite().all()
        assert nearest_distance(x.to(dtype), x.to(dtype)).max() == 0


def test_a_kl_of_weight_zero_is_not_used():
    class Overflowing(nn.Module):
        def forward(self, x):
            return VAEOutput(torch.zeros_like(x), torch.zeros(3, 2), torch.zeros(3, 2), torch.full((3, 2), 200.0))

    loss, metrics = negative_elbo(Overflowing(), (X,), beta=0.0)
    assert loss == pytest.approx(64 * log(2)) and metrics["kl"][0] == torch.inf
    assert negative_elbo(Overflowing(), (X,))[0] == torch.inf


def test_matches_reference_kl_between_normals():
    factors = normal(2, 4, 4)
    one, other = (f @ f.T + torch.eye(4).double() for f in factors)
    mean, target = normal(3, 4, seed=2), normal(3, 4, seed=3)
    expected = kl_divergence(MultivariateNormal(mean, one), MultivariateNormal(target, other))
    assert_close(kl_between_normals(mean, one, target, other), expected, rtol=0, atol=1e-12)
    diagonal = torch.diag(torch.tensor([0.5, 2.0, 1.0, 0.1]).double())
    general = kl_between_normals(mean, diagonal, torch.zeros(3, 4).double(), torch.eye(4).double())
    assert_close(general, kl_to_standard_normal(mean, diagonal.diagonal().log().expand(3, 4)).sum(1))


def test_matches_reference_likelihoods():
    x, prediction = torch.rand(3, *IMAGE, generator=generator()).double(), normal(5, 3, *IMAGE)
    hard = x.round()
    bits = Independent(Bernoulli(logits=prediction), 3).log_prob(hard)
    assert_close(bernoulli(hard, prediction), bits, rtol=0, atol=1e-10)
    density = Independent(Normal(prediction, 0.3**0.5), 3).log_prob(x)
    assert_close(gaussian(x, prediction, 0.3), density, rtol=0, atol=1e-10)
    assert_close(gaussian(x, prediction, torch.tensor(0.3).double()), density, rtol=0, atol=1e-5)
    assert_close(log_normal(x), Normal(0, 1).log_prob(x), rtol=0, atol=1e-12)


def test_reparameterised_samples_have_the_right_moments():
    mean, log_variance = torch.tensor([[1.0, -2.0]]).double(), torch.tensor([[0.0, log(9)]]).double()
    z = reparameterise(mean, log_variance, normal(100_000, 1, 2))
    assert_close(z.mean((0, 1)), mean[0], rtol=0, atol=0.04)
    assert_close(z.std((0, 1)), torch.tensor([1.0, 3.0]).double(), rtol=0.02, atol=0)


def test_matches_reference_linear_gaussian():
    model = world()
    x, z = normal(7, 5, seed=9), normal(7, 2, seed=10)
    W, I = model.weight, torch.eye(5).double()
    evidence = MultivariateNormal(model.offset, W @ W.T + 0.3 * I)
    assert_close(model.log_evidence(x), evidence.log_prob(x), rtol=0, atol=1e-10)
    # Bayes' rule at any z: p(z | x) p(x) = p(x | z) p(z)
    mean, covariance = model.posterior(x)
    log_posterior = MultivariateNormal(mean, covariance).log_prob(z)
    log_joint = gaussian(x, z @ W.T + model.offset, 0.3) + log_normal(z).sum(1)
    assert_close(log_posterior + model.log_evidence(x), log_joint, rtol=0, atol=1e-10)


def test_elbo_and_gap_make_log_evidence():
    model = world()
    x = normal(6, 5, seed=4)
    posterior = model.posterior(x)
    for seed in range(5):
        mean, covariance = normal(6, 2, seed=seed), torch.diag(normal(2, seed=seed).exp())
        gap = kl_between_normals(mean, covariance, *posterior)
        bound = model.elbo(x, mean, covariance)
        assert (gap > 1e-3).all() and (bound < model.log_evidence(x)).all()
        assert_close(bound + gap, model.log_evidence(x), rtol=0, atol=1e-10)
    assert_close(model.elbo(x, *posterior), model.log_evidence(x), rtol=0, atol=1e-10)


def test_sampled_elbo_is_the_exact_one_on_average():
    model = LinearGaussian.fit(world(2, 5).sample(500, generator=generator()), 2)
    x = normal(3, 5, seed=4)
    net = linear_vae(model, stretch=1.5)
    output = net(x, noise=normal(200_000, 3, 2, seed=5))
    sampled = elbo(x, output, partial(gaussian, variance=float(model.variance))).mean(0)
    exact = model.elbo(x, output.mean, torch.diag(output.log_variance[0].exp()))
    assert_close(sampled, exact, rtol=0, atol=0.03)


def test_iwae_bound_is_log_evidence_if_q_is_the_posterior():
    model = LinearGaussian.fit(world(2, 5).sample(500, generator=generator()), 2)
    x = normal(4, 5, seed=4)
    for k in (1, 3):
        output = linear_vae(model)(x, noise=normal(k, 4, 2))
        bound = iwae_bound(x, output, partial(gaussian, variance=float(model.variance)))
        assert_close(bound, model.log_evidence(x), rtol=0, atol=1e-10)


def test_iwae_bound_rises_with_k_to_log_evidence():
    model = LinearGaussian.fit(world(2, 5).sample(500, generator=generator()), 2)
    x = model.sample(1, generator=generator(3))
    net = linear_vae(model, stretch=2.0)
    output = net(x.expand(4000, -1), noise=normal(64, 4000, 2, seed=6))  # 4,000 repetitions
    likelihood = partial(gaussian, variance=float(model.variance))
    mean = {
        k: iwae_bound(
            x.expand(4000, -1),
            VAEOutput(output.prediction[:k], output.z[:k], output.mean, output.log_variance),
            likelihood,
        ).mean()
        for k in (1, 2, 4, 16, 64)
    }
    values = [*mean.values(), model.log_evidence(x)[0]]
    gaps = [float((values[-1] - v).detach()) for v in values[:-1]]
    assert all(a > 1.3 * b for a, b in zip(gaps, gaps[1:])) and gaps[0] > 1 and abs(gaps[-1]) < 0.05
    exact = model.elbo(x, output.mean[:1], torch.diag(output.log_variance[0].exp()))[0]
    assert_close(mean[1], exact, rtol=0, atol=0.1)


def test_linear_gaussian_samples_what_it_models():
    model = world()
    drawn = model.sample(100_000, generator=generator())
    assert_close(drawn.mean(0), model.offset, rtol=0, atol=0.05)
    assert_close(drawn.T.cov(), model.covariance(), rtol=0.03, atol=0.03)


def test_optimum_of_the_linear_gaussian_model():
    from sklearn.decomposition import PCA

    data = world(2, 6, seed=3).sample(400, generator=generator())
    best = LinearGaussian.fit(data, 2)
    pca = PCA(2).fit(data.numpy())
    assert pca.noise_variance_ * 399 / 400 == pytest.approx(float(best.variance), rel=1e-10)
    # sklearn divides by n - 1, the maximum of the likelihood by n
    expected = PCA(2).fit(data.numpy() * (399 / 400) ** 0.5).get_covariance()
    assert_close(best.covariance(), torch.from_numpy(expected), rtol=0, atol=1e-10)
    lengths = best.weight.norm(dim=0)
    assert lengths[0] > lengths[1] and abs(best.weight[:, 0] @ best.weight[:, 1]) < 1e-10  # the largest first
    axis = torch.from_numpy(pca.components_[0])
    assert abs(axis @ best.weight[:, 0] / lengths[0]) > 1 - 1e-8
    top = best.log_evidence(data).mean()
    parameters = [t.clone().requires_grad_() for t in (best.weight, best.offset, best.variance)]
    gradients = torch.autograd.grad(LinearGaussian(*parameters).log_evidence(data).mean(), parameters)
    assert all(g.abs().max() < 1e-10 for g in gradients)
    for seed in range(5):
        near = LinearGaussian(best.weight + 0.05 * normal(6, 2, seed=seed), best.offset, best.variance)
        assert near.log_evidence(data).mean() < top


def test_linear_autoencoder_spans_the_pca_subspace():
    from sklearn.decomposition import PCA

    x = (normal(300, 6) * torch.tensor([3.0, 2.0, 1.0, 0.5, 0.3, 0.2])) @ torch.linalg.qr(normal(6, 6, seed=1))[0]
    model = build(partial(mlp_autoencoder, image=(6,), dim=2, hidden=())).double()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=500, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = reconstruction_loss(model, (x,))
        loss.backward()
        return loss

    optimizer.step(closure)
    pca = PCA(2).fit(x.numpy())
    rebuilt = torch.from_numpy(pca.inverse_transform(pca.transform(x.numpy())))
    assert_close(reconstruction_loss(model, (x,)), ((x - rebuilt) ** 2).sum(1).mean(), rtol=1e-6, atol=0)
    basis, _ = torch.linalg.qr(model.decoder[0].weight.detach())
    cosines = torch.linalg.svdvals(basis.T @ torch.from_numpy(pca.components_.T.copy()))
    assert (cosines > 1 - 1e-6).all()


@pytest.mark.parametrize("classes", [2, 3])
def test_matches_reference_gaussian_classifiers(classes):
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
    from sklearn.naive_bayes import GaussianNB

    x, y = normal(200, 4), torch.arange(200) % classes
    x = x @ normal(4, 4, seed=1) + normal(classes, 4, seed=2)[y]
    y[:30] = 0  # unequal priors
    ours = partial(GaussianClassifier.fit, x, y, classes=classes)
    new = normal(50, 4, seed=3)
    check = partial(assert_close, rtol=0, atol=1e-8)
    shared = LinearDiscriminantAnalysis(solver="lsqr").fit(x.numpy(), y.numpy())
    check(ours().posterior(new), torch.from_numpy(shared.predict_proba(new.numpy())))
    naive = GaussianNB(var_smoothing=0).fit(x.numpy(), y.numpy())
    check(
        ours(covariance="own diagonal").log_joint(new),
        torch.from_numpy(naive.predict_joint_log_proba(new.numpy())),
    )
    for kind in ("shared", "own", "own diagonal"):
        ridged = ours(covariance=kind, ridge=0.3).covariances - ours(covariance=kind).covariances
        check(ridged, 0.3 * torch.eye(4).double().expand(classes, 4, 4))
    own = ours(covariance="own").posterior(new)
    scores = []
    for k in range(classes):
        members = x[y == k]
        spread = torch.from_numpy(np.cov(members.numpy().T, bias=True))
        scores.append(MultivariateNormal(members.mean(0), spread).log_prob(new) + log(len(members) / 200))
    check(own, torch.stack(scores, 1).softmax(1))
    assert QuadraticDiscriminantAnalysis().fit(x.numpy(), y.numpy()).score(x.numpy(), y.numpy()) == pytest.approx(
        float((ours(covariance="own").posterior(x).argmax(1) == y).double().mean()), abs=0.02
    )


def test_shared_covariance_is_exactly_logistic():
    x, y = normal(120, 3), torch.arange(120) % 3
    x = x @ normal(3, 3, seed=1) + normal(3, 3, seed=2)[y]
    model = GaussianClassifier.fit(x, y, classes=3)
    W, b = model.logistic()
    new = 10 * normal(40, 3, seed=3)
    assert_close((new @ W.T + b).softmax(1), model.posterior(new), rtol=0, atol=1e-12)
    own = GaussianClassifier.fit(x, y, classes=3, covariance="own").log_joint(new)
    odds = own[:, 0] - own[:, 1]
    design = torch.cat([new, torch.ones(40, 1).double()], 1)
    residual = odds[:, None] - design @ torch.linalg.lstsq(design, odds[:, None]).solution
    assert residual.abs().max() > 1  # with covariances of their own the odds bend


def test_gaussian_classifier_samples_what_it_models():
    x, y = normal(300, 2), torch.arange(300) % 2
    model = GaussianClassifier.fit(x * torch.tensor([1.0, 3.0]) + 2.0 * y[:, None], y, classes=2)
    drawn = model.sample(torch.ones(50_000, dtype=torch.long), generator=generator())
    assert_close(drawn.mean(0), model.means[1], rtol=0, atol=0.05)
    assert_close(drawn.T.cov(), model.covariances[1], rtol=0.03, atol=0.05)


def test_both_gradients_agree_with_the_true_one():
    target = torch.tensor([1.0, -0.5]).double()

    def f(z):
        return ((z - target) ** 2).sum(-1)  # E f = |mean - target|² + Σ σ²

    mean, log_variance = torch.tensor([0.3, 0.2]).double(), torch.tensor([-1.0, 0.5]).double()
    expected = 2 * (mean - target), log_variance.exp()
    noise = normal(400_000, 2)
    means, spreads = {}, {}
    for name, method in {
        "path": pathwise_gradient,
        "score": score_function_gradient,
        "baseline": partial(score_function_gradient, baseline=2.0),
    }.items():
        estimates = method(f, mean, log_variance, noise)
        means[name] = [e.mean(0) for e in estimates]
        spreads[name] = sum(float(e.var(0).sum()) for e in estimates)
        for found, true in zip(means[name], expected):
            assert_close(found, true, rtol=0, atol=0.05)
    assert spreads["score"] > 3 * spreads["path"] and spreads["score"] > spreads["baseline"]


def test_pathwise_gradient_is_autograd_through_reparameterise():
    def f(z):
        return z.sin().prod(-1)

    mean, log_variance, noise = normal(3).requires_grad_(), normal(3, seed=1).requires_grad_(), normal(50, 3, seed=2)
    value = f(reparameterise(mean[None], log_variance[None], noise[:, None])).mean()
    expected = torch.autograd.grad(value, (mean, log_variance))
    found = pathwise_gradient(f, mean.detach(), log_variance.detach(), noise)
    for a, b in zip(found, expected):
        assert_close(a.mean(0), b, rtol=0, atol=1e-12)


def test_negative_elbo_weighs_its_terms():
    model = build(NETWORKS["mlp vae"]).double()
    batch = batch_for(model)

    def terms(**settings):
        torch.manual_seed(0)
        loss, metrics = negative_elbo(model, batch, **settings)
        return float(loss.detach()), {name: float(total) / count for name, (total, count) in metrics.items()}

    loss, metrics = terms()
    torch.manual_seed(0)
    assert loss == pytest.approx(-elbo(batch[0], model(*batch)).mean().item(), rel=1e-12)
    assert loss == pytest.approx(metrics["distortion"] + metrics["kl"]) and metrics["elbo"] == pytest.approx(-loss)
    heavy, same = terms(beta=4.0)
    assert same == metrics and heavy == pytest.approx(metrics["distortion"] + 4 * metrics["kl"])
    output = model(*batch)
    each = kl_to_standard_normal(output.mean, output.log_variance).mean(0)
    free = float(each.max()) * 2
    assert terms(free_bits=free)[0] == pytest.approx(metrics["distortion"] + 3 * free)
    least = float(each.min()) * 0.5
    assert terms(free_bits=least)[0] == pytest.approx(loss)


def test_free_bits_give_a_cheap_dimension_no_gradient():
    model = build(NETWORKS["mlp vae"]).double()
    x = batch_for(model)[0]

    def blind(x, prediction):
        return 0 * prediction.sum((-3, -2, -1))  # only the KL is left

    for free_bits, moves in ((0.0, True), (50.0, False)):
        model.zero_grad()
        negative_elbo(model, (x,), likelihood=blind, free_bits=free_bits)[0].backward()
        assert bool((model.encoder[1].weight.grad != 0).any()) == moves


def test_warm_up_counts_training_steps():
    model = build(NETWORKS["mlp vae"])
    seen = []
    first = warmed_up(lambda model, batch, beta: seen.append(beta), linear_decay(4, start=0.3, end=1.0))
    first(model.eval(), ())
    assert seen.pop() == 0.3  # before any training, the schedule's first
    model.train()
    loss = warmed_up(lambda model, batch, beta: seen.append(beta), linear_decay(4, start=0.0, end=1.0))
    loss(model, ())
    loss(model, ())
    model.eval()
    loss(model, ())
    model.train()
    for _ in range(4):
        loss(model, ())
    assert seen == [0, 0.25, 0.25, 0.5, 0.75, 1, 1]


def test_linear_denoiser_is_the_wiener_filter(unchecked):
    spread = torch.tensor([2.0, 1.0, 0.3]).double()
    x = normal(20_000, 3) * spread
    model = nn.Linear(3, 3).double()
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    torch.manual_seed(0)

    def corrupt(x):
        return x + 0.8 * torch.randn_like(x)

    fit(
        gradient_update(model, optimizer, partial(reconstruction_loss, corrupt=corrupt)),
        batches(x, batch_size=2000, generator=generator()),
        400,
        progress=False,
    )
    assert_close(model.weight.detach(), torch.diag(spread**2 / (spread**2 + 0.8**2)), rtol=0, atol=0.03)


# --- gradients and structure


@every_network
def test_gradients_reach_every_parameter(name):
    model = build(NETWORKS[name])
    result = loss_of(model)(model, batch_for(model))
    (result[0] if isinstance(result, tuple) else result).backward()
    for parameter, p in model.named_parameters():
        assert p.grad is not None and bool((p.grad != 0).any()), parameter


def test_loss_of_the_iwae_is_minus_its_bound():
    model = build(NETWORKS["conv conditional vae"]).double()
    batch, losses = batch_for(model), []
    for loss in (
        lambda: negative_iwae_bound(model, batch, samples=3),
        lambda: -iwae_bound(batch[0], model(*batch, samples=3)).mean(),
    ):
        torch.manual_seed(0)
        losses.append(loss())
    assert_close(*losses, rtol=0, atol=1e-12)
    assert losses[0] > 0  # 64 pixels cost some nats


def test_gradients_reach_every_parameter_through_the_iwae_bound():
    model = build(NETWORKS["conv conditional vae"])
    negative_iwae_bound(model, batch_for(model), samples=3).backward()
    assert all(bool((p.grad != 0).any()) for p in model.parameters())


def test_iwae_bound_of_one_sample_is_the_elbo_by_sampling():
    model = build(NETWORKS["mlp vae"]).double()
    x = batch_for(model)[0]
    output = model(x, noise=normal(1, 12, 3))
    ratio = log_normal(output.z[0], output.mean, output.log_variance) - log_normal(output.z[0])
    expected = bernoulli(x, output.prediction[0]) - ratio.sum(1)
    assert_close(iwae_bound(x, output), expected, rtol=0, atol=1e-10)


def test_each_sample_depends_on_its_own_image_and_class():
    model = build(NETWORKS["conv conditional vae"]).double()
    x, y = batch_for(model)
    x.requires_grad_()
    output = model(x, y, noise=normal(2, 12, 3))
    (slope,) = torch.autograd.grad(output.prediction[:, 4].sum(), x)
    touched = slope.flatten(1).abs().sum(1) > 0
    assert touched.tolist() == [i == 4 for i in range(12)]
    other = model(x, (y + (torch.arange(12) == 4)) % 10, noise=normal(2, 12, 3))
    changed = (other.prediction != output.prediction).flatten(2).any(2)
    assert changed.tolist() == [[i == 4 for i in range(12)]] * 2


def test_walks_through_the_latent_space():
    grid = manifold_grid(5, tail=0.1)
    assert grid.shape == (25, 2) and torch.equal(grid[12], torch.zeros(2))
    assert grid[0, 0] < 0 < grid[0, 1] and grid[4, 0] > 0 and grid[-1, 1] < 0
    shares = torch.special.ndtr(grid[:5, 0])
    assert_close(shares, torch.linspace(0.1, 0.9, 5))
    a, b = normal(3, 2), normal(3, 2, seed=1)
    walk = interpolate(a, b, 5)
    assert walk.shape == (5, 3, 2) and torch.equal(walk[0], a)
    assert_close(walk[2], (a + b) / 2)
    assert_close(walk[4], b)
    assert active_dimensions(normal(500, 4) * torch.tensor([1.0, 0.5, 0.05, 0.0])) == 2
    near = nearest_distance(torch.tensor([[[3.0, 4.0]]]), torch.zeros(2, 1, 2))
    assert near.tolist() == [5.0]
    images = torch.rand(40, 1, 16, 16, generator=generator())
    assert nearest_distance(images, images).max() == 0  # copies, of more images than cdist takes one by one


def test_codes_of_samples_are_standard_normal():
    """What is decoded, by a decoder that leaves it as it is: moments one to four, and no two axes alike."""
    model = VAE(nn.Linear(3, 6), nn.Identity(), dim=3).double()
    z = sample(model, 200_000, generator=generator())
    for power, moment in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)):
        assert_close((z**power).mean(0), torch.full((3,), moment).double(), rtol=0, atol=0.06)
    assert_close(z.T.cov(), torch.eye(3).double(), rtol=0, atol=0.02)


def test_samples_are_decoded_in_evaluation_mode():
    model = build(NETWORKS["mlp vae"])
    model.decoder.insert(1, nn.BatchNorm1d(16))
    model.encoder.eval()
    statistics = model.decoder[1].running_mean.clone()
    sample(model, 5, generator=generator())
    assert torch.equal(model.decoder[1].running_mean, statistics)
    assert model.training and model.decoder[1].training and not model.encoder.training


def test_power_spectrum_finds_the_waves():
    x = normal(6, 2, 8, 8)
    assert_close(power_spectrum(x).sum(), (x**2).sum((1, 2, 3)).mean())
    column = torch.arange(8) * 2 * torch.pi / 8
    for waves in range(5):
        image = (waves * column).cos().expand(1, 1, 8, 8)
        assert int(power_spectrum(image).argmax()) == waves
    assert power_spectrum(torch.ones(1, 1, 8, 8)).tolist() == [64, 0, 0, 0, 0]
    for down, across, index in ((1, 1, 1), (1, 2, 2), (2, 2, 3), (1, 3, 3), (3, 3, 4)):  # √2, √5, √8, √10, √18, rounded
        image = (down * column[:, None] + across * column).cos().expand(1, 1, 8, 8)
        assert int(power_spectrum(image).argmax()) == index
    wide = (2 * torch.arange(12) * 2 * torch.pi / 12).cos().expand(2, 1, 6, 12)  # two waves across
    assert int(power_spectrum(wide).argmax()) == 2 and len(power_spectrum(wide)) == 4
    tall = (3 * torch.arange(12) * 2 * torch.pi / 12).cos()[:, None].expand(2, 1, 12, 6)
    assert int(power_spectrum(tall).argmax()) == 3


# --- learning


def test_learns_toy_problem_the_optimum_of_the_linear_model(unchecked):
    data = world(2, 5, seed=3).sample(500, generator=generator())
    best = LinearGaussian.fit(data, 2)
    torch.manual_seed(0)
    net = VAE(nn.Linear(5, 4), nn.Linear(2, 5), dim=2).double()
    likelihood = partial(gaussian, variance=float(best.variance))
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    before = negative_elbo(net, (data,), likelihood=likelihood)[0]
    update = gradient_update(net, optimizer, partial(negative_elbo, likelihood=likelihood))
    fit(update, batches(data, batch_size=500, generator=generator()), 1500, progress=False)
    bound = elbo(data, net(data, samples=200), likelihood).mean()
    top = best.log_evidence(data).mean()
    assert -before < top - 2 and top - 0.06 < bound < top + 0.02
    learnt = LinearGaussian(net.decoder.weight.detach(), net.decoder.bias.detach(), best.variance)
    assert_close(learnt.covariance(), best.covariance(), rtol=0.1, atol=0.3)


@every_network
def test_learns_toy_problem_digits(name, unchecked):
    model = build(NETWORKS[name])
    data = digits()
    columns = (data.images, data.labels)[: 2 if isinstance(model, ConditionalVAE) else 1]
    torch.manual_seed(0)
    update = gradient_update(model, torch.optim.Adam(model.parameters(), 5e-3), loss_of(model))
    history = fit(update, batches(*columns, batch_size=128, generator=generator()), 300, progress=False)
    mean = data.images.mean(0, keepdim=True).expand_as(data.images)  # the best that ignores the image
    if not isinstance(model, VAE):
        assert history["loss"][-20:].mean() < 0.85 * float(((data.images - mean) ** 2).sum((1, 2, 3)).mean())
        return
    blind = float(bernoulli(data.images, mean.logit(eps=1e-3)).mean())
    assert history["elbo"][-20:].mean() > blind + 0.7 > history["elbo"][0] + 10
    assert history["loss"][-1] == pytest.approx(-history["elbo"][-1], rel=1e-5)
    assert history["distortion"][-1] + history["kl"][-1] == pytest.approx(history["loss"][-1], rel=1e-5)


def test_conditional_vae_draws_the_class_that_is_asked(unchecked):
    torch.manual_seed(0)
    x = torch.zeros(400, 1, 4, 4)
    y = torch.arange(400) % 4
    x[torch.arange(400), 0, y] = 1.0  # class k is a bar in row k
    x = (x + (torch.rand(400, 1, 1, 1) < 0.5) * 0.5).clamp(max=1)  # on a ground that is dark or grey
    model = mlp_vae(image=(1, 4, 4), dim=1, hidden=(32,), classes=4)
    update = gradient_update(model, torch.optim.Adam(model.parameters(), 0.01), negative_elbo)
    fit(update, batches(x, y, batch_size=100, generator=generator()), 300, progress=False)
    drawn = sample(model, 40, torch.arange(40) % 4, generator=generator())
    assert torch.equal(drawn.mean((1, 3)).argmax(1), torch.arange(40) % 4)


# --- device, dtype, compiler


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@every_network
def test_device_and_dtype(name, dtype, device):
    model = build(NETWORKS[name]).to(device, dtype)
    result = loss_of(model)(model, batch_for(model))
    value = result[0] if isinstance(result, tuple) else result
    assert value.device.type == device and value.dtype == dtype and bool(value.isfinite())
    other = build(NETWORKS[name], seed=1).to(device, dtype)
    other.load_state_dict(model.state_dict())
    if isinstance(model, VAE):
        labels = () if name.find("conditional") < 0 else (torch.arange(4, device=device),)
        drawn = [sample(m, 4, *labels, generator=generator()) for m in (model, other)]
        assert_close(*drawn, rtol=1e-5, atol=1e-5)  # a GPU adds in any order
        assert drawn[0].dtype == dtype and drawn[0].device.type == device


@pytest.mark.parametrize("device", DEVICES)
@every_network
def test_bf16_autocast_is_finite_and_close(name, device):
    model = build(NETWORKS[name]).to(device)
    batch = batch_for(model)
    values, gradients = [], []
    for loss in (loss_of(model), autocast(loss_of(model))):
        torch.manual_seed(0)
        model.zero_grad()
        value = loss(model, batch)
        value = value[0] if isinstance(value, tuple) else value
        value.backward()
        values.append(value.detach())
        assert value.dtype == torch.float32
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert_close(*values, rtol=0.02, atol=0)
    assert not torch.equal(*values)  # autocast did something
    assert all(bool(g.isfinite().all()) for g in gradients)
    assert (gradients[0] - gradients[1]).norm() < 0.03 * gradients[0].norm()


@pytest.mark.parametrize("image", [(1, 28, 28), (3, 32, 32)])
@pytest.mark.parametrize("make", [mlp_vae, conv_vae])
@pytest.mark.parametrize("likelihood", [bernoulli, partial(gaussian, variance=0.01)])
def test_downloaded_pictures_are_learnt_in_their_format(image, make, likelihood):
    settings = dict(hidden=(8,)) if make is mlp_vae else dict(channels=(4, 8))
    model = build(lambda: make(image=image, dim=3, **settings))
    x = torch.rand(10, *image, generator=generator())
    loss = autocast(partial(negative_elbo, likelihood=likelihood))
    update = gradient_update(model, torch.optim.Adam(model.parameters(), 5e-3), loss)
    history = fit(update, iter([(x,)] * 30), 30, progress=False)
    assert history["loss"][-1] < history["loss"][0]
    assert sample(model, 4).shape == (4, *image)
    assert power_spectrum(x).shape == (image[1] // 2 + 1,)


@pytest.mark.parametrize("device", DEVICES)
def test_compiled_model_is_equal(device, inductor):
    model = build(NETWORKS["mlp conditional vae"]).to(device)
    batch, noise = batch_for(model), torch.randn(12, 3, generator=generator()).to(device)
    with torch.no_grad():
        expected = model(*batch, noise=noise)
        try:
            found = inductor(model, fullgraph=True)(*batch, noise=noise)
        except Exception as error:
            if "InvalidCxxCompiler" in repr(error) or "Python.h" in str(error):
                pytest.skip("needs a C++ compiler and Python's headers for torch.compile")
            raise
    assert_close(tuple(found), tuple(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("name", "loss", "backend", "close"),
    [
        ("mlp conditional vae", negative_elbo, "eager", 1e-4),
        ("conv conditional vae", partial(negative_elbo, likelihood=gaussian), "eager", 1e-4),
        ("conv conditional vae", autocast(negative_elbo), "aot_eager", 0.02),
    ],
)
def test_compiled_loss_has_the_same_gradients(name, loss, backend, close, device, compiler, unchecked):
    model, gradients = build(NETWORKS[name]).to(device), []
    batch = batch_for(model)

    def run(*batch):
        return loss(model, batch)[0]

    for call in (run, compiler(run, backend=backend, fullgraph=True)):
        model.zero_grad()
        torch.manual_seed(1)
        call(*batch).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert gradients[1].isfinite().all()
    assert (gradients[0] - gradients[1]).norm() < close * gradients[0].norm()


# --- bad input

X = torch.rand(3, *IMAGE)


def mlp(**settings):
    return mlp_vae(**dict(image=IMAGE, dim=2) | settings)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: VAE(nn.Flatten(), nn.Identity(), dim=0), "dim = 0: at least 1"),
        (
            lambda: VAE(nn.Flatten(), nn.Identity(), dim=2)(X),
            r"the encoder gives \[3, 64\], not \[3, 4\], for x of shape \[3, 1, 8, 8\]: x is a batch, and for dim = 2",
        ),
        (lambda: ConditionalVAE(nn.Flatten(), nn.Identity(), dim=2, classes=0), "classes = 0: at least 1"),
        (lambda: mlp(classes=10)(X, torch.tensor([1, 2, 10])), "y from 1 to 10: labels of 10 classes run from 0 to 9"),
        (lambda: mlp()(X, samples=0), "samples = 0: at least 1"),
        (
            lambda: mlp()(X, samples=5, noise=torch.zeros(2, 3, 2)),
            r"samples = 5 and noise of shape \[2, 3, 2\]: give one",
        ),
        (lambda: mlp(dim=0), "dim = 0: at least 1"),
        (lambda: mlp(hidden=(64, 0)), r"hidden = \(64, 0\): numbers of 1 or more"),
        (lambda: mlp(classes=-1), "classes = -1: 0 for none"),
        (lambda: sample(mlp(), 3, torch.arange(3)), "a VAE takes no classes y"),
        (lambda: sample(mlp(classes=10), 3), "a ConditionalVAE takes the classes y"),
        (lambda: sample(mlp(), 0), "n = 0: at least 1"),
        (
            lambda: conv_vae(image=(1, 10, 8), dim=2),
            r"2 stages halve it 2 times, so height and width are multiples of 4",
        ),
        (lambda: conv_vae(image=(64,), dim=2), r"image = \(64,\): \(channels, height, width\)"),
        (lambda: conv_encoder(image=IMAGE, dim=2, channels=()), "stages = 0: at least 1"),
        (lambda: bernoulli(2 * X - 1, X), r"Bernoulli pixels lie in \[0, 1\]; rescale them, or use `gaussian`"),
        (lambda: bernoulli(X * torch.nan, X), r"x from nan to nan: Bernoulli pixels lie in \[0, 1\]"),
        (lambda: bernoulli(X, X[:, :, :, :1]), "prediction of shape .* for x of shape"),
        (lambda: gaussian(X, X, 0.0), "variance = 0.0: positive and finite"),
        (lambda: gaussian(X, X, float("inf")), "variance = inf: positive and finite"),
        (lambda: gaussian(X, X.flatten(1)), r"prediction of shape \[3, 64\] for x of shape \[3, 1, 8, 8\]"),
        (lambda: iwae_bound(X, mlp()(X)), r"call model\(x, samples=k\)"),
        (lambda: negative_elbo(mlp(), (X,), beta=-1.0), "beta = -1.0: 0 or more"),
        (lambda: negative_elbo(mlp(), (X,), free_bits=float("nan")), "free_bits = nan: 0 or more"),
        (lambda: reconstruction_loss(nn.Flatten(), (X,)), "prediction of shape"),
        (
            lambda: reconstruction_loss(nn.Identity(), (X, torch.arange(3))),
            r"a batch of 2 columns: this loss takes \(x,\)",
        ),
        (lambda: LinearGaussian.fit(torch.rand(9, 3), 3), "dim = 3: between 1 and 2 for data of 3 dimensions"),
        (
            lambda: LinearGaussian.fit(torch.rand(3, 5), 2),
            "dim = 2: 3 points vary in no further direction, which leaves no noise",
        ),
        (lambda: LinearGaussian.fit(X.flatten(1) * torch.nan, 2), "x: 192 of 192 values are not finite"),
        (
            lambda: kl_between_normals(torch.zeros(1, 2), torch.eye(2), torch.zeros(1, 2), -torch.eye(2)),
            "other_covariance is not positive definite: add to its diagonal",
        ),
        (lambda: manifold_grid(1), "side = 1: at least 2"),
        (lambda: manifold_grid(5, tail=0.0), "tail = 0.0: between 0 and 0.5"),
        (lambda: interpolate(X, X, 1), "steps = 1: at least 2"),
        (lambda: active_dimensions(torch.zeros(1, 2)), "n = 1: at least 2"),
        (lambda: active_dimensions(torch.zeros(3, 2) / 0), "mean: 6 of 6 values are not finite"),
        (lambda: nearest_distance(X, X / 0), "references: 192 of 192 values are not finite"),
        (
            lambda: pathwise_gradient(lambda z: z.round().detach().sum(1), *torch.zeros(2, 2), torch.zeros(5, 2)),
            "f.z. has no derivative by z: take score_function_gradient",
        ),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


SHAPES = {
    "noise": (lambda: mlp()(X, noise=torch.zeros(3, 3)), r"noise of shape \[3, 3\] for a code of shape \[3, 2\]"),
    "noise for one": (
        lambda: reparameterise(torch.zeros(3, 2), torch.zeros(3, 2), torch.zeros(3, 1)),
        r"noise of shape \[3, 1\] for a code of shape \[3, 2\]",
    ),
    "variances for one": (
        lambda: reparameterise(torch.zeros(3, 2), torch.zeros(1, 2), torch.zeros(3, 2)),
        r"a code of shape \[3, 2\] with log variances \[1, 2\]",
    ),
    "KL": (
        lambda: kl_to_standard_normal(torch.zeros(3, 2), torch.zeros(2)),
        r"mean of shape \[3, 2\], log_variance of shape \[2\]: one shape for both",
    ),
    "one vector": (
        lambda: Autoencoder(nn.Linear(5, 2), nn.Linear(2, 5))(torch.zeros(5)),
        r"a code of shape \[2\] for x of shape \[5\]: the encoder maps \[b \*item\] to \[b d\]",
    ),
    "labels": (lambda: mlp(classes=10)(X, torch.zeros(1).long()), r"y of shape \[1\] for 3 items: one class an item"),
    "labels of codes": (
        lambda: mlp(classes=10).decode(torch.zeros(3, 2), torch.zeros(1).long()),
        r"y of shape \[1\] for 3 items",
    ),
    "values": (
        lambda: score_function_gradient(lambda z: z.sum(1, keepdim=True), *torch.zeros(2, 2), torch.zeros(5, 2)),
        r"f\(z\) of shape \[5, 1\] for z of shape \[5, 2\]: one value a sample, \[5\]",
    ),
    "baseline": (
        lambda: score_function_gradient(
            lambda z: z.sum(1), *torch.zeros(2, 2), torch.zeros(5, 2), baseline=torch.zeros(5)
        ),
        r"baseline of shape \[5\]: one number for all",
    ),
    "steps": (
        lambda: pathwise_gradient(lambda z: z.sum(1), torch.zeros(2), torch.zeros(1), torch.zeros(5, 2)),
        "noise of shape",
    ),
    "a number of units": (lambda: mlp(hidden=256), r"hidden = 256: numbers of 1 or more in brackets, like \(64,\)"),
    "a number of pixels": (lambda: mlp(image=64), "image = 64: numbers of 1 or more in brackets"),
    "a number of channels": (
        lambda: conv_vae(image=IMAGE, dim=2, channels=32),
        "channels = 32: numbers of 1 or more in brackets",
    ),
    "ends": (lambda: interpolate(X, X[:1], 5), r"from a code of shape \[3, 1, 8, 8\] to one of shape \[1, 1, 8, 8\]"),
    "images": (lambda: nearest_distance(X, X[..., :4]), r"items of shape \[1, 8, 8\] against references of shape"),
}


@pytest.mark.parametrize("case", SHAPES)
def test_shapes_that_do_not_match_are_refused(case, unchecked):
    call, words = SHAPES[case]
    with pytest.raises(ValueError, match=words):
        call()


def test_bad_classifiers_are_refused():
    x, y = torch.rand(20, 2).double(), torch.arange(20) % 2
    fit_classifier = partial(GaussianClassifier.fit, x, y)
    with pytest.raises(ValueError, match="covariance = 'full': one of 'shared', 'own', 'own diagonal'"):
        fit_classifier(classes=2, covariance="full")
    with pytest.raises(ValueError, match=r"no example of the classes \[2\]"):
        fit_classifier(classes=3)
    with pytest.raises(ValueError, match="y from 0 to 1: labels of 1 classes"):
        fit_classifier(classes=1)
    with pytest.raises(ValueError, match="ridge = 0.0: a covariance is singular"):
        GaussianClassifier.fit(torch.zeros(20, 2).double(), y, classes=2)
    with pytest.raises(ValueError, match="x: 1 of 40 values are not finite"):  # and not "raise the ridge"
        broken = x.clone()
        broken[3, 1] = torch.nan
        GaussianClassifier.fit(broken, y, classes=2)
    with pytest.raises(ValueError, match="y from -1 to -1: labels of 2 classes"):
        fit_classifier(classes=2).sample(torch.tensor([-1]))
    assert GaussianClassifier.fit(x.half(), y, classes=2).posterior(x.float()).isfinite().all()
    with pytest.raises(ValueError, match="covariance = 'own': the posterior is logistic in x only if"):
        fit_classifier(classes=2, covariance="own").logistic()

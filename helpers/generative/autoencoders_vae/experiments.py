"""What the page on autoencoders and VAEs runs: how networks are trained, and what is measured on them."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.data import ImageSet, mnist
from helpers.foundations.optimizers import LBFGS
from helpers.generative.autoencoders_vae.bounds import (
    gaussian,
    kl_to_standard_normal,
    negative_elbo,
    reconstruction_loss,
)
from helpers.generative.autoencoders_vae.builders import mlp_autoencoder, mlp_vae
from helpers.generative.autoencoders_vae.classifiers import GaussianClassifier
from helpers.generative.autoencoders_vae.linear_gaussian import LinearGaussian
from helpers.generative.autoencoders_vae.networks import VAE
from helpers.training import History, train
from helpers.training.loop import Loss

VARIANCE = 0.05
"""Of the Gaussian decoders of digits."""
STRENGTHS = {
    "shared covariance": (0.01, 0.03, 0.1),  # added to the variances
    "naive Bayes": (0.01, 0.03, 0.1),
    "logistic": (0.1, 1.0, 10.0),  # inverse of the penalty
}
PLANE_HIDDEN = (96,)  # few enough that a page can carry the decoder

dense = partial(gaussian, variance=VARIANCE)
negative_bound = partial(negative_elbo, likelihood=dense)


def train_network(
    make: Callable[..., nn.Module],
    loss: Loss,
    columns: Sequence[Tensor],
    run: int,
    *,
    steps: int,
    rate: float = 2e-3,
    **settings,
) -> tuple[nn.Module, History]:
    """Build `make(**settings)` with the seed `run` and train it: Adam, batches of 100, a cosine down to 0.

    The network takes the device and the precision of the first column.
    """
    torch.manual_seed(run)
    model = make(**settings).to(columns[0])
    history = train(model, loss, columns, steps, rate=rate, batch_size=100, seed=run, weight_decay=0.0)
    return model, history


def train_plane(seed: int = 0, steps: int = 800, size: int = 16) -> VAE:
    """A VAE that squeezes the digits of MNIST, of `size` pixels a side, into two numbers."""
    images = mnist(size).images
    model, _ = train_network(
        mlp_vae, negative_bound, (images,), seed, steps=steps, image=tuple(images.shape[1:]), dim=2, hidden=PLANE_HIDDEN
    )
    return model


def linear_autoencoder(
    flat: Float[Tensor, "n d"], run: int, *, dim: int, iterations: int
) -> tuple[float, Float[Tensor, "d dim"]]:
    """The optimum of a linear autoencoder that L-BFGS finds: its squared error and the decoder's weight."""
    torch.manual_seed(run)
    model = mlp_autoencoder(image=(flat.shape[1],), dim=dim, hidden=()).to(flat)
    optimizer = LBFGS(model.parameters(), max_iter=iterations, history_size=30, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = reconstruction_loss(model, (flat,))
        value.backward()
        return value

    optimizer.step(closure)
    return closure().item(), model.decoder[0].weight.detach().cpu()


def activity(
    points: Float[Tensor, "n d"], variance: float, run: int, *, beta: float = 1.0
) -> Float[Tensor, "d"]:
    """Variances of the posterior means of a linear VAE at its optimum, by L-BFGS, in descending order.

    As many latent numbers as features; `variance` is the decoder's, `beta` the price of the KL.
    """
    torch.manual_seed(run)
    n, d = points.shape
    weight, encoder = (torch.randn(d, d).to(points).div(2).requires_grad_() for _ in range(2))
    log_variance = torch.zeros(d).to(points).requires_grad_()
    noise, zero = torch.tensor(variance).to(points), torch.zeros(d).to(points)
    optimizer = LBFGS([weight, encoder, log_variance], max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        model, q = LinearGaussian(weight, zero, noise), torch.diag(log_variance.exp())
        means = points @ encoder.T
        fit_term = model.expected_log_likelihood(points, means, q)
        kl = kl_to_standard_normal(means, log_variance.expand(n, d))
        loss = (beta * kl.sum(1) - fit_term).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    return (points @ encoder.T).detach().var(0, correction=0).sort().values.flip(0)


def moved_codes(letters: ImageSet, run: int, *, steps: int) -> list[Float[Tensor, "n c h w"]]:
    """Regular upright letters, decoded after four moves of their codes: less bold, none, bolder, slanted.

    `letters` have the attributes "bold" and "slanted"; a move is the difference of two mean codes of a VAE of 16.
    """
    bold, slanted = (letters.attributes[name].bool() for name in ("bold", "slanted"))
    images = letters.images
    model, _ = train_network(
        mlp_vae, negative_bound, (images,), run, steps=steps, image=tuple(images.shape[1:]), dim=16
    )
    with torch.no_grad():
        code, _ = model.encode(images)
        to_bold = code[bold].mean(0) - code[~bold].mean(0)
        to_slanted = code[slanted].mean(0) - code[~slanted].mean(0)
        upright = code[~bold & ~slanted]
        moves = (-to_bold, 0 * to_bold, to_bold, to_slanted)
        return [model.decode(upright + move).clamp(0, 1).cpu() for move in moves]


def ink(images: Float[Tensor, "n 1 h w"]) -> Float[Tensor, "n"]:
    """The sum of an image's values."""
    return images.sum((1, 2, 3))


def lean(images: Float[Tensor, "n 1 h w"]) -> Float[Tensor, "n"]:
    """How far a glyph shifts to the right for each pixel upwards."""
    weight = images[:, 0] / images[:, 0].sum((1, 2), keepdim=True)
    h, w = images.shape[2:]
    y, x = torch.meshgrid(torch.arange(float(h)), torch.arange(float(w)), indexing="ij")
    dy = y - (weight * y).sum((1, 2), keepdim=True)
    dx = x - (weight * x).sum((1, 2), keepdim=True)
    return -(weight * dx * dy).sum((1, 2)) / (weight * dy**2).sum((1, 2))


def rise(
    before: Float[Tensor, "n"], after: Float[Tensor, "n"], real: Float[Tensor, "m"], attribute: Bool[Tensor, "m"]
) -> tuple[float, float]:
    """Which fraction of measures rose, and the mean rise over the difference that the attribute makes in real data."""
    whole = real[attribute].mean() - real[~attribute].mean()
    return (after > before).double().mean().item(), ((after - before).mean() / whole).item()


def balanced(labels: Int64[Tensor, "n"], count: int, run: int) -> Int64[Tensor, "count"]:
    """Indices of `count` items, equally many of each of ten classes."""
    order = torch.Generator().manual_seed(1000 + run)
    chosen = []
    for k in range(10):
        members = (labels.cpu() == k).nonzero().flatten()
        chosen.append(members[torch.randperm(len(members), generator=order)[: count // 10]])
    return torch.cat(chosen)


def fine_tune(
    encoder: nn.Module, data: ImageSet, test: ImageSet, chosen: Int64[Tensor, "n"], run: int, *, rounds: int = 100
) -> float:
    """Test accuracy of a copy of an encoder and a linear layer that learn together from the chosen images."""
    torch.manual_seed(run)
    body = deepcopy(encoder).requires_grad_(True)
    model = nn.Sequential(body, nn.Linear(32, 10)).to(data.images.device)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    images, labels = data.images[chosen], data.labels[chosen]
    for _ in range(rounds):
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    with torch.no_grad():
        return (model(test.images).argmax(1) == test.labels).float().mean().item()


def compare_classifiers(
    images: Float[Tensor, "n d"], labels: Int64[Tensor, "n"], *, sizes: Sequence[int], splits: Sequence[int]
) -> dict[str, Float[Tensor, "splits sizes"]]:
    """Test accuracy of a shared covariance, naive Bayes and logistic regression at numbers of labels.

    Each split, a seed, cuts off a fifth to test and a fifth to choose among three strengths of the regulariser; the
    last of `sizes` is the whole rest, the others are equally many of each of ten classes.
    """
    found = {name: torch.zeros(len(splits), len(sizes)) for name in ("shared covariance", "naive Bayes", "logistic")}
    fifth = len(images) // 5
    for i, run in enumerate(splits):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(run))
        test, validation, pool = order.split([fifth, fifth, len(images) - 2 * fifth])
        for j, size in enumerate(sizes):
            chosen = pool
            if size < len(pool):
                chosen = torch.cat([pool[labels[pool] == k][: size // 10] for k in range(10)])
            for name, column in found.items():
                tried = []
                for strength in STRENGTHS[name]:
                    guess = classified(name, strength, images[chosen], labels[chosen], images)
                    hits = (guess == labels).float()
                    tried.append((hits[validation].mean().item(), hits[test].mean().item()))
                column[i, j] = max(tried, key=lambda pair: pair[0])[1]
    return found


def classified(
    name: str,
    strength: float,
    images: Float[Tensor, "n d"],
    labels: Int64[Tensor, "n"],
    new: Float[Tensor, "m d"],
) -> Int64[Tensor, "m"]:
    """The classes of new images by one of the three classifiers, fitted to images and labels."""
    if name == "logistic":
        from sklearn.linear_model import LogisticRegression

        centre, unit = images.mean(0), images.std()
        logistic = LogisticRegression(C=strength, max_iter=300)
        logistic.fit(((images - centre) / unit).numpy(), labels.numpy())
        return torch.tensor(logistic.predict(((new - centre) / unit).numpy()))
    covariance = "shared" if name == "shared covariance" else "own diagonal"
    fitted = GaussianClassifier.fit(images, labels, classes=10, covariance=covariance, ridge=strength)
    return fitted.posterior(new).argmax(1)

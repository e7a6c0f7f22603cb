"""What the page on GANs runs: games on points and on images, critics against scipy, and how it judges samples."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from helpers.data import ImageSet, batches
from helpers.generative.autoencoders_vae import mlp_vae, negative_elbo
from helpers.generative.autoencoders_vae import sample as sample_vae
from helpers.generative.gans.game import adversarial_update, discriminator_step, generate
from helpers.generative.gans.losses import clip_weights, loss_pair
from helpers.generative.gans.metrics import Classifier, frechet_distance, latent_arithmetic, precision_recall
from helpers.generative.gans.networks import (
    Conditional,
    DCGANDiscriminator,
    DCGANGenerator,
    MLPDiscriminator,
    MLPGenerator,
)
from helpers.generative.gans.toys import around, endless, line
from helpers.training import fit, train
from helpers.training.classification import classification_loss

Sampler = Callable[[int, torch.Generator], Float[Tensor, "n d"]]
Device = torch.device | str

SPAN = torch.linspace(-3.2, 3.2, 36)
"""Where a discriminator of the plane is looked at, along each axis."""
SHOWN = 150  # generated points that a view shows
RATES = (4e-3, 4e-3)  # of the generator and the discriminator on points
PENALISED = dict(penalty=100.0, one_sided=True)
"""The critic that reads the Wasserstein distance on a line."""


class World(NamedTuple):
    """A mixture of round Gaussians in the plane, in equal shares."""

    centres: Float[Tensor, "k 2"]
    std: float


class View(NamedTuple):
    """A game at one moment: D's probabilities on the grid of `SPAN`, row by row from below, and 150 samples."""

    opinion: Float[Tensor, "y x"]
    points: Float[Tensor, "n 2"]


class Game(NamedTuple):
    """Two trained players, 2,000 samples, and the views that were taken."""

    generator: nn.Module
    discriminator: nn.Module
    samples: Float[Tensor, "n 2"]
    views: list[View]


def adam(net: nn.Module, rate: float, betas: tuple[float, float] = (0.9, 0.999)) -> torch.optim.Optimizer:
    """Adam for one player."""
    return torch.optim.Adam(net.parameters(), rate, betas=betas, fused=True)


def shown_noise(device: Device = "cpu") -> Float[Tensor, "n 2"]:
    """The noise of the points that views show, always the same."""
    return torch.randn(SHOWN, 2, generator=torch.Generator().manual_seed(9)).to(device)


def look(generator: nn.Module, discriminator: nn.Module) -> View:
    """What both players make of the plane now."""
    device = next(generator.parameters()).device
    plane = torch.cartesian_prod(SPAN, SPAN).to(device)
    opinion = generate(discriminator, plane).cpu().sigmoid()
    return View(opinion.view(len(SPAN), -1).T, generate(generator, shown_noise(device)).cpu())


def play(
    world: World,
    run: int,
    *,
    loss: str,
    steps: int,
    hidden: int = 64,
    rates: tuple[float, float] = RATES,
    d_steps: int = 1,
    views: int = 0,
    device: Device = "cpu",
    **rule,
) -> Game:
    """Play `steps` updates of the seed `run`; a view before them and after each of `views` equal parts, if any.

    A step of the discriminator sees 128 points; `rule` are further keywords of `adversarial_update`. Raises
    `ValueError` for steps that cannot be cut into `views` parts.
    """
    if views and steps % views:
        raise ValueError(f"steps = {steps}, views = {views}: take a multiple of {views} steps")
    torch.manual_seed(run)
    random = torch.Generator().manual_seed(run)
    generator = MLPGenerator(latent=2, dim=2, hidden=hidden, depth=2).to(device)
    discriminator = MLPDiscriminator(dim=2, hidden=hidden, depth=2).to(device)
    optimizers = [adam(net, rate, (0.5, 0.9)) for net, rate in zip((generator, discriminator), rates, strict=True)]
    update = adversarial_update(
        generator, discriminator, *optimizers, loss_pair(loss), latent=2, random=random, d_steps=d_steps, **rule
    )
    stream = endless(lambda: around(world.centres, 128 * d_steps, world.std, random).to(device))
    seen = [look(generator, discriminator)] if views else []
    for _ in range(max(views, 1)):
        fit(update, stream, steps // max(views, 1))
        if views:
            seen.append(look(generator, discriminator))
    noise = torch.randn(2000, 2, generator=random).to(device)
    return Game(generator, discriminator, generate(generator, noise).cpu(), seen)


class Turns(NamedTuple):
    """One turn of each player of a game."""

    real: Float[Tensor, "n 2"]
    points: Float[Tensor, "m 2"]
    before: Float[Tensor, "y x"]
    after: Float[Tensor, "y x"]
    pull: Float[Tensor, "m 2"]


def one_turn_each(game: Game, world: World, run: int) -> Turns:
    """Ten steps of the discriminator on 256 points of the world, then the gradient of G's loss at its own points.

    The discriminator of the game is moved; the loss is the non-saturating one.
    """
    device = next(game.generator.parameters()).device
    random, losses = torch.Generator().manual_seed(run), loss_pair("non-saturating")
    before, points = look(game.generator, game.discriminator)
    real = around(world.centres, 256, world.std, random).to(device)
    optimizer = adam(game.discriminator, 4e-3, (0.5, 0.9))
    for _ in range(10):
        noise = torch.randn(256, 2, generator=random).to(device)
        discriminator_step(game.generator, game.discriminator, optimizer, losses, (real,), noise)
    after = look(game.generator, game.discriminator).opinion
    at = points.to(device).clone().requires_grad_()
    (pull,) = torch.autograd.grad(losses.generator(game.discriminator(at)), at)
    return Turns(real.cpu(), points, before, after, pull.cpu())


@dataclass(frozen=True)
class Mixture:
    """Draws from a mixture of normal distributions on a line, in equal shares; `(n, random)` gives [n 1]."""

    means: Sequence[float]
    stds: Sequence[float]

    def __call__(self, n: int, random: torch.Generator) -> Float[Tensor, "n 1"]:
        which = torch.randint(len(self.means), (n,), generator=random)
        mean, std = torch.tensor(self.means)[which], torch.tensor(self.stds)[which]
        return (mean + std * torch.randn(n, generator=random))[:, None]


@dataclass(frozen=True)
class Line:
    """Draws from the line (at, u) with u uniform on [0, 1]."""

    at: float

    def __call__(self, n: int, random: torch.Generator) -> Float[Tensor, "n 2"]:
        return line(self.at, n, random)


TWO_PEAKS = Mixture((-1.5, 1.5), (0.5, 0.7))
"""The data of the line."""


def fakes_at(mean: float) -> Mixture:
    """A generator that never learns: a normal distribution of deviation 1.2."""
    return Mixture((mean,), (1.2,))


class Trained(NamedTuple):
    """A discriminator, and 4,000 fresh samples of either kind."""

    discriminator: nn.Module
    real: Float[Tensor, "n d"]
    fake: Float[Tensor, "n d"]


def train_discriminator(
    loss: str,
    real: Sampler,
    fake: Sampler,
    run: int,
    *,
    steps: int,
    batch_size: int = 256,
    clip: float | None = None,
    start: nn.Module | None = None,
    **rule,
) -> Trained:
    """Train a discriminator alone, against fakes that never change: Adam, the rate falls from 0.005 along a line.

    `clip` bounds its weights, `start` is a discriminator that learns on, and `rule` the penalty's keywords.
    """
    torch.manual_seed(run)
    random = torch.Generator().manual_seed(run)
    discriminator = start or MLPDiscriminator(dim=real(1, random).shape[1], hidden=32, depth=2)
    optimizer, losses = adam(discriminator, 5e-3, (0.5, 0.9)), loss_pair(loss)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 5e-3 * (1 - step / steps)
        x, y = real(batch_size, random), fake(batch_size, random)
        mix = torch.rand(batch_size, generator=random)
        discriminator_step(nn.Identity(), discriminator, optimizer, losses, (x,), y, mix=mix, **rule)
        if clip is not None:
            clip_weights(discriminator, clip)
    return Trained(discriminator, real(4000, random), fake(4000, random))


def gap(loss: str, trained: Trained) -> float:
    """What a discriminator makes of its fresh samples: minus its loss; for a critic, the gap of its means."""
    real, fake = (generate(trained.discriminator, x) for x in (trained.real, trained.fake))
    return -loss_pair(loss).discriminator(real, fake).item()


def steepest_slope(trained: Trained) -> float:
    """The largest slope that a discriminator of a line has between its outermost samples."""
    both = torch.cat([trained.real, trained.fake])
    x = torch.linspace(both.min(), both.max(), 2001)[:, None]
    return (generate(trained.discriminator, x).diff() / (x[1] - x[0])).abs().max().item()


def scipy_distance(trained: Trained) -> float:
    """Scipy's Wasserstein distance of the fresh samples on a line."""
    from scipy.stats import wasserstein_distance

    return wasserstein_distance(trained.real[:, 0].numpy(), trained.fake[:, 0].numpy())


class Reading(NamedTuple):
    """The true distance, a critic's gap over it, and the same divided by the critic's steepest slope."""

    distance: float
    gap: float
    bound: float


def read_critic(mean: float, run: int, *, steps: int, **rule) -> Reading:
    """Train a critic between the two peaks and fakes around `mean`, and compare its gap with scipy's distance."""
    trained = train_discriminator("wasserstein", TWO_PEAKS, fakes_at(mean), run, steps=steps, **rule)
    distance = scipy_distance(trained)
    found = gap("wasserstein", trained) / distance
    return Reading(distance, found, found / steepest_slope(trained))


def after_a_wrong_start(run: int, *, steps: int) -> tuple[float, float]:
    """The gap over scipy's distance under a two-sided and under a one-sided penalty of weight 10.

    Both critics begin as the same one, which was trained with data and fakes exchanged.
    """
    real, fake = TWO_PEAKS, fakes_at(1.5)
    wrong = train_discriminator("wasserstein", fake, real, run, steps=steps, **PENALISED).discriminator
    found = []
    for one_sided in (False, True):
        start = MLPDiscriminator(dim=1, hidden=32, depth=2)
        start.load_state_dict(wrong.state_dict())
        trained = train_discriminator(
            "wasserstein", real, fake, run, steps=steps, start=start, penalty=10.0, one_sided=one_sided
        )
        found.append(gap("wasserstein", trained) / scipy_distance(trained))
    return found[0], found[1]


def gradient_lengths(
    world: World, run: int, *, stages: Sequence[int], losses: Sequence[str]
) -> Float[Tensor, "losses stages"]:
    """How long the gradient of an untrained generator would be while the discriminator alone learns.

    `stages` are numbers of steps of the discriminator, in ascending order.
    """
    torch.manual_seed(run)
    random = torch.Generator().manual_seed(run)
    generator = MLPGenerator(latent=2, dim=2, hidden=64, depth=2)
    discriminator = MLPDiscriminator(dim=2, hidden=64, depth=2)
    optimizer = adam(discriminator, 2e-3)
    lengths = []
    for step in range(stages[-1] + 1):
        noise = torch.randn(256, 2, generator=random)
        if step in stages:
            values = [loss_pair(name).generator(discriminator(generator(noise))) for name in losses]
            gradients = [torch.autograd.grad(value, [*generator.parameters()]) for value in values]
            lengths.append([torch.cat([x.flatten() for x in parts]).norm().item() for parts in gradients])
        batch = (around(world.centres, 256, world.std, random),)
        discriminator_step(generator, discriminator, optimizer, loss_pair("non-saturating"), batch, noise)
    return torch.tensor(lengths).T


def train_generator(
    data: ImageSet,
    run: int,
    preset: dict[str, int],
    steps: int,
    *,
    conditional: bool,
    latent: int = 32,
    batch_size: int = 64,
    rate: float = 1e-3,
    dtype: torch.dtype | None = None,
) -> nn.Module:
    """The generator of a DCGAN that learned from images with values in 0 … 1; `conditional` tells both their class.

    `preset` is one of `DCGAN`, `dtype` that of autocast. Non-saturating loss, Adam with a first beta of 0.5.
    """
    torch.manual_seed(run)
    random = torch.Generator().manual_seed(run)
    classes = len(data.classes) if conditional else 0
    generator = DCGANGenerator(**preset, latent=latent + classes)
    discriminator = DCGANDiscriminator(**(preset | {"channels": preset["channels"] + classes}))
    players = [generator, discriminator]
    columns = [2 * data.images - 1]
    if conditional:
        players = [Conditional(net, classes=classes) for net in players]
        columns.append(data.labels)
    players = [net.to(data.images.device, memory_format=torch.channels_last) for net in players]
    optimizers = [adam(net, rate, (0.5, 0.999)) for net in players]
    update = adversarial_update(
        *players, *optimizers, loss_pair("non-saturating"), latent=latent, random=random, dtype=dtype
    )
    fit(update, batches(*columns, batch_size=batch_size, generator=random, drop_last=True), steps)
    return players[0]


def draw_images(
    generator: nn.Module, run: int, n: int, *condition: Tensor, latent: int = 32
) -> Float[Tensor, "n c h w"]:
    """Images with values in 0 … 1, from noise of the seed `run`."""
    random = torch.Generator().manual_seed(run)
    device = next(generator.parameters()).device
    noise = torch.randn(n, latent, generator=random).to(device)
    return (generate(generator, noise, *condition) + 1) / 2


def train_classifier(
    images: Float[Tensor, "n c h w"], labels: Int64[Tensor, "n"], classes: int, *, seed: int, steps: int = 300
) -> Classifier:
    """The book's own classifier, whose features judge samples, by the book's recipe."""
    torch.manual_seed(seed)
    model = Classifier(classes=classes, channels=images.shape[1]).to(memory_format=torch.channels_last)
    columns = (images, labels)
    train(model, classification_loss, columns, steps, rate=3e-3, batch_size=64, seed=seed)
    return model


@torch.no_grad()
def classify(classifier: nn.Module, images: Float[Tensor, "n c h w"]) -> Int64[Tensor, "n"]:
    """The most probable class of each image."""
    return classifier(images).argmax(1)


def images_of_a_vae(images: Float[Tensor, "m c h w"], run: int, n: int, *, steps: int) -> Float[Tensor, "n c h w"]:
    """`n` images of a fully connected VAE with eight latent numbers, trained for `steps` updates."""
    torch.manual_seed(run)
    vae = mlp_vae(image=tuple(images.shape[1:]), dim=8)
    train(vae, negative_elbo, (images,), steps, rate=2e-3, batch_size=64, seed=run, weight_decay=0.0, end=1.0)
    return sample_vae(vae, n).sigmoid()


class Quality(NamedTuple):
    """Fréchet distance over the variance of the data's features, precision and recall."""

    frechet: float
    precision: float
    recall: float


@torch.no_grad()
def assess(images: Float[Tensor, "n c h w"], data: Float[Tensor, "m c h w"], classifier: Classifier) -> Quality:
    """Judge images against data by the features of a classifier."""
    made, truth = classifier.features(images), classifier.features(data)
    distance = frechet_distance(truth, made) / truth.var(0).sum().item()
    return Quality(distance, *precision_recall(truth, made))


class Sums(NamedTuple):
    """Of each kind: the fraction of samples around the sum of the three others that are of it, and the four images."""

    hits: Float[Tensor, "4"]
    images: Float[Tensor, "16 c h w"]


def add_latents(letters: ImageSet, classifier: nn.Module, run: int, preset: dict[str, int], steps: int) -> Sums:
    """Train an unconditional GAN on letters of four kinds, and predict each kind's noise from that of the others.

    Kinds are 0 to 3, as a classifier sorts them: bit 0 is one attribute, bit 1 the other. The sum of averages is
    stretched by 1.5, and the 64 points around it have a deviation of 0.3. Raises `ValueError` where 1,000 samples
    show only part of the kinds.
    """
    generator = train_generator(letters, run, preset, steps, conditional=False, latent=16)
    random = torch.Generator().manual_seed(run)
    device = letters.images.device
    noise = torch.randn(1000, 16, generator=random).to(device)
    kinds = classify(classifier, (generate(generator, noise) + 1) / 2)
    hits, images = [], []
    for wanted in range(4):
        plus, minus, base = (noise[kinds == wanted ^ flip] for flip in (1, 3, 2))
        point = 1.5 * latent_arithmetic(plus, minus, base)
        cloud = point + 0.3 * torch.randn(64, 16, generator=random).to(device)
        found = classify(classifier, (generate(generator, cloud) + 1) / 2)
        hits.append((found == wanted).float().mean())
        terms = torch.stack([1.5 * plus.mean(0), 1.5 * minus.mean(0), 1.5 * base.mean(0), point])
        images.append((generate(generator, terms) + 1) / 2)
    return Sums(torch.stack(hits), torch.cat(images))

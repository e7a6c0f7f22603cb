"""What the page on GANs runs and draws: games repeat, critics are read rightly, images are judged by what they show."""

import matplotlib
import pytest
import torch
from matplotlib import pyplot
from torch import nn
from torch.testing import assert_close

from helpers.data import ImageSet
from helpers.generative import gans
from helpers.generative.gans import experiments, figures

matplotlib.use("Agg")

RING = experiments.World(gans.ring(), 0.1)


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


def short(run: int = 0, **settings) -> experiments.Game:
    return experiments.play(RING, run, **(dict(loss="minimax", steps=6, hidden=8) | settings))


def test_a_game_is_that_of_its_seed_and_watching_changes_nothing():
    game = short()
    assert game.samples.shape == (2000, 2) and game.views == []
    assert_close(short(views=3).samples, game.samples, rtol=0, atol=0)
    assert not torch.equal(short(1).samples, game.samples)
    assert not torch.equal(short(rates=(4e-3, 1e-3)).samples, game.samples)
    with pytest.raises(ValueError, match="steps = 6, views = 4: take a multiple of 4 steps"):
        short(views=4)


def test_views_show_the_game_from_before_it_to_its_end():
    game = short(views=3)
    assert len(game.views) == 4
    last = experiments.look(game.generator, game.discriminator)
    assert_close(game.views[-1], last)
    x, y = experiments.SPAN[[3, 20]]
    (opinion,) = gans.generate(game.discriminator, torch.stack([x, y])[None]).sigmoid()
    assert_close(last.opinion[20, 3], opinion)
    assert_close(last.points, gans.generate(game.generator, experiments.shown_noise()))


def test_one_turn_each_moves_d_towards_the_data_and_gives_the_gradient_of_g():
    game = short(steps=30)
    moment = experiments.one_turn_each(game, RING, 0)
    assert (moment.after - moment.before).abs().max() > 1e-3
    loss = gans.loss_pair("non-saturating").generator
    step = torch.zeros_like(moment.points)
    step[5, 1] = 1e-2
    up, down = (loss(gans.generate(game.discriminator, moment.points + s)) for s in (step, -step))
    assert_close((up - down) / 2e-2, moment.pull[5, 1], rtol=0.05, atol=1e-5)


def test_samplers_have_their_means_and_widths():
    x = experiments.Mixture((-9.0, 9.0), (0.5, 0.7))(20_000, random())
    assert x.shape == (20_000, 1)
    left, right = x[x < 0], x[x > 0]
    assert len(left) == pytest.approx(10_000, abs=300)
    assert_close(torch.stack([left.mean(), right.mean()]), torch.tensor([-9.0, 9.0]), atol=0.03, rtol=0)
    assert_close(torch.stack([left.std(), right.std()]), torch.tensor([0.5, 0.7]), atol=0.02, rtol=0)
    points = experiments.Line(0.5)(1000, random())
    assert (points[:, 0] == 0.5).all() and 0 <= points[:, 1].min() < points[:, 1].max() <= 1


class Slope(nn.Module):
    """A critic f(x) = 2 x."""

    def forward(self, x):
        return 2 * x[:, 0]


def test_a_critic_is_read_by_its_gap_and_by_its_steepest_slope():
    real = experiments.fakes_at(1.0)(4000, random())
    trained = experiments.Trained(Slope(), real, real - 3)
    assert experiments.gap("wasserstein", trained) == pytest.approx(6, rel=1e-5)
    assert experiments.steepest_slope(trained) == pytest.approx(2, rel=1e-2)
    assert experiments.scipy_distance(trained) == pytest.approx(3, rel=1e-5)


def test_a_discriminator_learns_alone_within_its_clip_and_from_its_start():
    far, near = experiments.Line(0.0), experiments.Line(3.0)
    apart = experiments.train_discriminator("minimax", far, near, 0, steps=60, batch_size=32)
    assert experiments.gap("minimax", apart) > -0.1  # 0 where both kinds are told apart
    clipped = experiments.train_discriminator("wasserstein", far, near, 0, steps=3, batch_size=32, clip=0.05)
    assert max(p.abs().max() for p in clipped.discriminator.parameters()) <= 0.05
    again = experiments.train_discriminator("minimax", far, near, 0, steps=1, start=apart.discriminator)
    assert again.discriminator is apart.discriminator


def test_critics_report_three_numbers_and_two_ends():
    reading = experiments.read_critic(1.5, 0, steps=2, clip=0.1)
    assert reading.distance == pytest.approx(1.5, abs=0.1)
    assert reading.bound <= 1
    two, one = experiments.after_a_wrong_start(0, steps=2)
    assert two != one


def test_gradients_are_those_of_the_untrained_generator():
    found = experiments.gradient_lengths(RING, 3, stages=(0, 2), losses=("minimax", "least squares"))
    assert found.shape == (2, 2)
    torch.manual_seed(3)
    g = gans.MLPGenerator(latent=2, dim=2, hidden=64, depth=2)
    d = gans.MLPDiscriminator(dim=2, hidden=64, depth=2)
    gans.loss_pair("minimax").generator(d(g(torch.randn(256, 2, generator=random(3))))).backward()
    assert_close(found[0, 0], torch.cat([p.grad.flatten() for p in g.parameters()]).norm())


def bars(n: int = 80) -> ImageSet:
    """Two classes: bright above, bright below."""
    labels = torch.arange(n) % 2
    images = torch.zeros(n, 1, 8, 8)
    images[labels == 0, :, :4], images[labels == 1, :, 4:] = 1, 1
    noise = 0.1 * torch.rand(n, 1, 8, 8, generator=random())
    return ImageSet((images + noise).clamp(0, 1), labels, ("above", "below"))


def test_images_are_sorted_and_judged_by_a_classifier_that_learned():
    data = bars()
    classifier = experiments.train_classifier(data.images, data.labels, 2, seed=0, steps=20)
    assert torch.equal(experiments.classify(classifier, data.images), data.labels)
    same = experiments.assess(data.images, data.images, classifier)
    assert same == pytest.approx((0, 1, 1), abs=1e-5)
    dark = experiments.assess(torch.zeros_like(data.images), data.images, classifier)
    assert dark.frechet > 0.1 and dark.precision == 0


@pytest.mark.parametrize("conditional", [True, False])
def test_generators_and_vaes_of_images_have_their_shapes(conditional):
    data, preset = bars(), dict(image=8, channels=1, hidden=4)
    g = experiments.train_generator(data, 0, preset, 2, conditional=conditional, latent=3, batch_size=8)
    condition = [data.labels[:5]] if conditional else []
    made = experiments.draw_images(g, 0, 5, *condition, latent=3)
    assert made.shape == (5, 1, 8, 8) and 0 <= made.min() < made.max() <= 1
    assert experiments.images_of_a_vae(data.images, 0, 4, steps=2).shape == (4, 1, 8, 8)


class Halves(nn.Module):
    """Noise to two pixels of an image: bright where the first or the second number is positive."""

    def __init__(self):
        super().__init__()
        self.steep = nn.Parameter(torch.tensor(9.0))

    def forward(self, z):
        return (self.steep * z[:, :2]).tanh()[:, None, None]


class ByHalves(nn.Module):
    """Logits of the four kinds: bit 0 is the first pixel, bit 1 the second."""

    def forward(self, x):
        kind = ((x[:, 0, 0] > 0.5) * torch.tensor([1, 2])).sum(1)
        return nn.functional.one_hot(kind, 4).float()


def test_where_attributes_add_up_three_kinds_give_the_fourth(monkeypatch):
    monkeypatch.setattr(experiments, "train_generator", lambda *args, **settings: Halves())
    found = experiments.add_latents(bars(), ByHalves(), 0, {}, 1)
    assert found.hits.min() > 0.9
    assert experiments.classify(ByHalves(), found.images)[3::4].tolist() == [0, 1, 2, 3]


def test_figures_show_what_they_are_given():
    game = short(views=2)
    assert "frames=3" in repr(figures.games(RING, {"one": game.views, "two": game.views}))
    assert len(figures.turns(experiments.one_turn_each(game, RING, 0)).axes) == 2
    assert len(figures.players().texts) >= 8
    x = torch.linspace(0, 1, 5)
    figure = figures.on_the_formula(x, x, {"a": torch.zeros(3, 5), "b": torch.ones(3, 5)}, {"a": x, "b": x})
    assert [len(ax.lines) for ax in figure.axes] == [4, 4]
    assert len(figures.gradients([1, 2], {"minimax": torch.ones(3, 2)}).axes) == 2
    assert len(figures.critics(x, {"one": torch.ones(3, 5)}).lines) == 4
    score = {("ring", "minimax"): [(8, 0.5), (7, 0.4)]}
    assert len(figures.scores(score, {"ring": 8, "grid": 25}, ["minimax", "squares"]).axes) == 4
    made = {(world, "minimax"): game.samples for world in ("ring", "grid")}
    assert len(figures.samples(made, {"ring": RING, "grid": RING}, ["minimax"]).axes) == 2
    assert len(figures.quality({"GAN": [experiments.Quality(0.1, 0.5, 0.6)]}).axes) == 3

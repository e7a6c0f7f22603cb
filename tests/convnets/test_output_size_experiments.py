"""What the page trains and draws: one recipe, halved maps, the coordinate task, a filter on its way."""

from functools import partial
from itertools import product

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers.convnets.output_size import experiments, figures
from helpers.data import ImageSet
from helpers.training.classification import classification_loss

matplotlib.use("Agg")


def stripes(n: int = 128) -> ImageSet:
    """Stripes along one axis or the other, which are the two classes."""
    labels = torch.arange(n) % 2
    pattern = torch.arange(6) % 2 * 0.8
    images = torch.where(labels[:, None, None, None] > 0, pattern, pattern[:, None]).clone()
    images += 0.2 * torch.rand(n, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    return ImageSet(images, labels, ("rows", "columns"))


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))


def learned(data: ImageSet, seed: int, steps: int = 60) -> nn.Module:
    columns = data.images, data.labels
    return experiments.trained(net, columns, classification_loss, steps, rate=2e-2, seed=seed)


def test_one_recipe_learns_and_repeats():
    data = stripes()
    first, again, other = (learned(data, seed) for seed in (0, 0, 1))
    assert experiments.percentage(first, data) > 95 and not first.training
    assert all(map(torch.equal, first.parameters(), again.parameters()))
    assert not torch.equal(first[0].weight, other[0].weight)


def test_accuracy_is_a_percentage():
    data = stripes(4)
    always = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
    nn.init.zeros_(always[1].weight)
    always[1].bias.data = torch.tensor([1.0, 0.0])
    assert experiments.percentage(always, data) == 50
    shares = experiments.probabilities(always, data)
    torch.testing.assert_close(shares, torch.tensor([1.0, 0.0]).softmax(0).expand(4, 2))


def test_random_stacks_keep_the_size_of_their_activations():
    torch.manual_seed(0)
    stack = experiments.random_stack(16)
    assert sum(isinstance(m, nn.Conv2d) for m in stack) == 16
    out = stack(torch.randn(1, 3, 33, 33))
    assert out.shape == (1, 24, 33, 33) and 0.02 < out.std() < 20


def test_coordinate_nets_give_a_logit_for_each_pixel():
    positions = torch.rand(5, 2)
    assert torch.equal(experiments.Tile(4)(positions)[:, :, 3, 1], positions)
    for side in (4, 16):
        for make in (experiments.coordconv, experiments.transposed):
            assert make(side)(positions).shape == (5, side**2)
    with pytest.raises(ValueError, match="side = 12: it is a power of 2"):
        experiments.transposed(12)


def test_coordconv_learns_where_pixels_are():
    side = 4
    pixels = torch.cartesian_prod(torch.arange(side), torch.arange(side))
    positions = 2 * pixels / (side - 1) - 1
    columns = positions.repeat(8, 1), torch.arange(side**2).repeat(8)
    make = partial(experiments.coordconv, side)
    model = experiments.trained(make, columns, experiments.pixel_loss, 250, rate=2e-2, seed=0)
    right = experiments.right_pixels(model, positions, side)
    assert right.shape == (side, side) and right.double().mean() > 0.8


class First(nn.Module):
    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        return F.one_hot(torch.zeros(len(positions)).long(), 16).float()


def test_a_net_that_lights_the_first_pixel_is_right_once():
    one = experiments.right_pixels(First(), torch.rand(16, 2), 4)
    assert one.sum() == 1 and one[0, 0]


def test_the_drawn_sums_are_those_of_the_convolution():
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 3, (2, 5, 5), generator=generator).double()
    kernel = torch.randint(-1, 2, (2, 2, 3, 3), generator=generator).double()
    bias = torch.tensor([1.0, 0.0]).double()
    expected = F.conv2d(image[None], kernel, bias, stride=2, padding=1)[0]
    steps = list(product(range(2), range(3), range(3)))
    for step in (steps[4], steps[-1]):
        figure = figures.convolution_step(F.pad(image, (1,) * 4), kernel, bias, steps, step)
        assert figure.get_suptitle().endswith(f"sum: {expected[step]:.0f}".replace("-", "−"))
        drawn = [text.get_text() for row in (2, 5) for text in figure.axes[row].texts[1:]]
        done = [f"{expected[s]:.0f}".replace("-", "−") for s in steps[: steps.index(step) + 1]]
        assert drawn == done
        plt.close(figure)


def test_a_bell_is_drawn_beside_its_profile():
    weight = torch.rand(9, 9)
    left, right = figures.bell(weight, torch.ones(9), layers=4).axes
    assert left.get_title() == "4 layers: field 9x9"
    measured, predicted = right.lines
    assert measured.get_ydata() == pytest.approx(weight.sum(0).tolist()) and measured.get_xdata()[0] == -4
    plt.close("all")

"""One pair of networks for points, one for images, and the condition: Radford et al. 2016 (arXiv:1511.06434).

The discriminators return one number a sample, without a sigmoid: the loss decides what it means.
"""

from itertools import pairwise

from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from helpers.generative.autoencoders_vae.networks import with_class

# Full size: hidden 128 is figure 1 of the paper, 64 the PyTorch tutorial.
DCGAN = {
    "letters": dict(image=16, channels=1, hidden=16),
    "digits": dict(image=16, channels=1, hidden=24),
    "mnist": dict(image=28, channels=1, hidden=64),
    "cifar10": dict(image=32, channels=3, hidden=128),
    "tutorial": dict(image=64, channels=3, hidden=64),
    "paper": dict(image=64, channels=3, hidden=128),
}


class MLPGenerator(nn.Module):
    """Noise to points of the space that has `dim` axes."""

    def __init__(self, *, latent: int, dim: int, hidden: int, depth: int):
        super().__init__()
        sizes = [latent, *[hidden] * depth, dim]
        self.main = perceptron(sizes, nn.ReLU())
        self.item = (latent,)

    def forward(self, z: Float[Tensor, "b latent"]) -> Float[Tensor, "b d"]:
        check_items(z, self.item)
        return self.main(z)


class MLPDiscriminator(nn.Module):
    """Points to one number each."""

    def __init__(self, *, dim: int, hidden: int, depth: int):
        super().__init__()
        sizes = [dim, *[hidden] * depth, 1]
        self.main = perceptron(sizes, nn.LeakyReLU(0.2))
        self.item = (dim,)

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b"]:
        check_items(x, self.item)
        return self.main(x)[:, 0]


class DCGANGenerator(nn.Module):
    """Noise to images in [-1, 1]: each stage doubles the side.

    `hidden` is the width before the last layer; towards the noise it
    doubles at each stage. Raises `ValueError` for a side that halving
    while it is even and above 4 does not bring to 3 ... 8.
    """

    def __init__(
        self, *, image: int, channels: int, hidden: int, latent: int = 100
    ):
        super().__init__()
        side, stages = halvings(image)
        widths = [hidden * 2**i for i in reversed(range(stages))]
        layers = [
            nn.ConvTranspose2d(latent, widths[0], side, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        ]
        for a, b in pairwise(widths):
            layers += [
                nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False),
                nn.BatchNorm2d(b),
                nn.ReLU(),
            ]
        out = nn.ConvTranspose2d(hidden, channels, 4, 2, 1, bias=False)
        self.main = nn.Sequential(*layers, out, nn.Tanh())
        self.item = (latent,)
        self.apply(initialise)

    def forward(
        self, z: Float[Tensor, "b latent"]
    ) -> Float[Tensor, "b c h w"]:
        check_items(z, self.item)
        return self.main(rearrange(z, "b d -> b d 1 1"))


class DCGANDiscriminator(nn.Module):
    """The mirror image: each stage halves the side.

    `norm=False` leaves batch norm out, as the gradient penalty needs.
    """

    def __init__(
        self, *, image: int, channels: int, hidden: int, norm: bool = True
    ):
        super().__init__()
        side, stages = halvings(image)
        widths = [hidden * 2**i for i in range(stages)]
        layers = [
            nn.Conv2d(channels, hidden, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2),
        ]
        for a, b in pairwise(widths):
            layers += [
                nn.Conv2d(a, b, 4, 2, 1, bias=False),
                nn.BatchNorm2d(b) if norm else nn.Identity(),
                nn.LeakyReLU(0.2),
            ]
        out = nn.Conv2d(widths[-1], 1, side, bias=False)
        self.main = nn.Sequential(*layers, out)
        self.item = (channels, image, image)
        self.apply(initialise)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b"]:
        check_items(x, self.item)
        return self.main(x).flatten()


class Conditional(nn.Module):
    """A generator or discriminator that is told the class.

    The class joins the input as one-hot channels, of a latent as of an
    image (Mirza & Osindero 2014, arXiv:1411.1784); `net` takes that
    many more. Raises `ValueError` for labels that are not one class a
    sample.
    """

    def __init__(self, net: nn.Module, *, classes: int):
        super().__init__()
        self.net, self.classes = net, classes

    def forward(
        self, x: Float[Tensor, "b c *hw"], y: Int64[Tensor, "b"]
    ) -> Float[Tensor, "b *out"]:
        return self.net(with_class(x, y, self.classes))


def perceptron(sizes: list[int], activation: nn.Module) -> nn.Sequential:
    """Linear layers of these sizes with `activation` between them."""
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), activation]
    return nn.Sequential(*layers[:-1])


def check_items(x: Tensor, item: tuple[int, ...]) -> None:
    """Refuse what is no batch of such items; a larger image would give several numbers."""
    if x.shape[1:] != item:
        raise ValueError(f"input of shape {list(x.shape)}: a batch of items of shape {list(item)} is wanted")


def halvings(image: int) -> tuple[int, int]:
    """The side that is left, and how often `image` was halved.

    64 leaves 4 after 4 halvings, 28 leaves 7 after 2.
    """
    side, stages = image, 0
    while side % 2 == 0 and side > 4:
        side, stages = side // 2, stages + 1
    if stages == 0 or side > 8:
        raise ValueError(
            f"image = {image}: halved while it is even and above 4, a side "
            "ends between 3 and 8, as 8, 28, 32 and 64 do"
        )
    return side, stages


def initialise(module: nn.Module) -> None:
    """Weights N(0, 0.02²), batch norm N(1, 0.02²), as the paper does."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0, 0.02)
    if isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1, 0.02)

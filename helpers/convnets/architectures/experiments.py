"""What the chapter measures that belongs to no family: shifted images, aliasing of a first layer, random cells,
and drawings of blocks."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from helpers.convnets.architectures.nasnet import Fit, SamePool, Separable
from helpers.plotting import COLOURS, INK

if TYPE_CHECKING:
    import matplotlib.axes

OPERATIONS = ("sep3", "sep5", "avg", "max", "same")
Genotype = list[tuple[tuple[str, int], tuple[str, int]]]


def shifted(
    images: Float[Tensor, "n c h w"],
    most: int,
    generator: torch.Generator,
) -> Float[Tensor, "n c h w"]:
    """Move each image by up to `most` pixels along either axis.

    The direction is drawn anew for each; zeros come in at the border.
    """
    h, w = images.shape[2:]
    if not 0 <= most < min(h, w):
        raise ValueError(f"most = {most}: the images measure {h}x{w}")
    moves = torch.randint(-most, most + 1, (len(images), 2), generator=generator)
    wide = F.pad(images, (most,) * 4)
    cuts = (most - moves).tolist()
    return torch.stack([x[:, i : i + h, j : j + w] for x, (i, j) in zip(wide, cuts)])


def aliased_share(
    filters: Float[Tensor, "o c kh kw"],
    images: Float[Tensor, "n c h w"],
    stride: int,
) -> Float[Tensor, "o"]:
    """How much of each filter's response a stride folds over.

    The share of the power of the response at stride 1, its mean left
    out, at frequencies above 1 / (2 stride) along either axis: what every
    `stride`-th place cannot tell from something slower. A filter that does
    not respond at all folds nothing: 0.
    """
    if stride < 1:
        raise ValueError(f"stride = {stride}: it is at least 1")
    response = F.conv2d(images, filters)
    size = response.square().sum((0, 2, 3))  # o
    response = response - response.mean((2, 3), keepdim=True)
    power = torch.fft.fft2(response).abs().square().sum(0)  # o h w
    rows, columns = (torch.fft.fftfreq(n).abs() for n in power.shape[1:])
    highest = torch.maximum(rows[:, None], columns[None, :])
    above = (highest > 1 / (2 * stride)).to(power)
    whole = power.sum((1, 2))
    rounding = torch.finfo(power.dtype).eps ** 2 * size * power[0].numel()
    share = (power * above).sum((1, 2)) / whole
    return share.where(whole > 100 * rounding, 0.0)


def random_cell(nodes: int, generator: torch.Generator) -> Genotype:
    """Draw a cell as NASNet's search space has them.

    Each of `nodes` adds two operations, each on one of the two inputs
    (0 the cell before, 1 the one before that) or on an earlier node.
    """
    if nodes < 1:
        raise ValueError(f"nodes = {nodes}: a cell has at least 1")

    def draw(sources: int) -> tuple[str, int]:
        which = torch.randint(len(OPERATIONS), (), generator=generator)
        source = torch.randint(sources, (), generator=generator)
        return OPERATIONS[which], int(source)

    return [(draw(2 + i), draw(2 + i)) for i in range(nodes)]


class CellOf(nn.Module):
    """A cell with the nodes of `genotype`; the unused ones are joined."""

    def __init__(self, genotype: Genotype, prev: int, inputs: int, width: int):
        super().__init__()
        self.genotype = genotype
        self.fits = nn.ModuleList([Fit(inputs, width), Fit(prev, width)])
        self.steps = nn.ModuleList(
            nn.ModuleList(operation(kind, width) for kind, _ in node)
            for node in genotype
        )
        used = {source for node in genotype for _, source in node}
        ends = [i for i in range(2 + len(genotype)) if i not in used]
        self.ends = [i for i in ends if i > 1]
        self.outputs = width * len(self.ends)

    def forward(
        self,
        x: Float[Tensor, "b c h w"],
        prev: Float[Tensor, "b p h w"],
    ) -> Float[Tensor, "b o h w"]:
        made = [fit(image) for fit, image in zip(self.fits, (x, prev))]
        for node, steps in zip(self.genotype, self.steps):
            made.append(sum(f(made[s]) for f, (_, s) in zip(steps, node)))
        return torch.cat([made[i] for i in self.ends], 1)


def operation(kind: str, width: int) -> nn.Module:
    """One of `OPERATIONS`, of NASNet's own layers."""
    if kind not in OPERATIONS:
        raise ValueError(f"kind = {kind!r}: one of {', '.join(OPERATIONS)}")
    if kind == "same":
        return nn.Identity()
    if kind.startswith("sep"):
        return Separable(width, width, int(kind[3:]), 1)
    return SamePool(kind, 1)


class CellNet(nn.Module):
    """A stem, then two stages of `depth` cells with a 2x2 pool between."""

    def __init__(
        self,
        genotype: Genotype,
        *,
        depth: int,
        width: int,
        classes: int = 10,
        channels: int = 3,
    ):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.stages = nn.ModuleList()
        before = width
        for stage in range(2):
            cells, prev = nn.ModuleList(), before
            for _ in range(depth):
                cell = CellOf(genotype, prev, before, width * 2**stage)
                prev, before = before, cell.outputs
                cells.append(cell)
            self.stages.append(cells)
        self.head = nn.Linear(before, classes)

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k"]:
        x = self.stem(images)
        for i, cells in enumerate(self.stages):
            x = F.max_pool2d(x, 2) if i else x
            prev = x
            for cell in cells:
                x, prev = cell(x, prev), x
        return self.head(F.relu(x).mean((2, 3)))


def draw_block(
    ax: "matplotlib.axes.Axes",
    parts: Mapping[str, tuple],
    arrows: Sequence[tuple],
    title: str = "",
) -> "matplotlib.axes.Axes":
    """Draw a block as boxes and arrows, data flowing upwards.

    `parts` maps a name to x, y and the text in the box; a text of one
    character is drawn as a circle, an empty one as a dot. An arrow is a
    pair of names, with a third number for how far it bends.
    """
    xs, ys = zip(*((x, y) for x, y, _ in parts.values()))
    ax.set(xlim=(min(xs) - 0.8, max(xs) + 0.8), ylim=(min(ys) - 0.4, max(ys) + 0.4))
    ax.set_axis_off()
    ax.set_title(title)
    for tail, head, *bend in arrows:
        for name in (tail, head):
            if name not in parts:
                raise ValueError(f"arrow ({tail!r}, {head!r}): {name!r} is no part: {', '.join(parts)}")
        ax.annotate(
            "",
            xy=parts[head][:2],
            xytext=parts[tail][:2],
            arrowprops=dict(
                arrowstyle="-|>",
                color=COLOURS[1] if bend else INK,
                lw=1.4 if bend else 1.0,
                shrinkA=9,
                shrinkB=9,
                connectionstyle=f"arc3,rad={bend[0] if bend else 0}",
            ),
        )
    for x, y, text in parts.values():
        if not text:
            ax.plot([x], [y], "o", color=INK, markersize=4)
            continue
        shape = "circle,pad=0.2" if len(text) == 1 else "round,pad=0.25"
        edge = COLOURS[1] if len(text) == 1 else COLOURS[0]
        ax.text(x, y, text, ha="center", va="center", color=INK, size=8.5, bbox=dict(boxstyle=shape, fc="none", ec=edge))
    return ax

"""Cells as NASNet's search draws them, and nets that stack one cell (Zoph et al. 2018, arXiv:1707.07012)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from helpers.convnets.architectures.nasnet import Fit, SamePool, Separable

OPERATIONS = ("sep3", "sep5", "avg", "max", "same")
Genotype = list[tuple[tuple[str, int], tuple[str, int]]]


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

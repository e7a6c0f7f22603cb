"""The three forms of a ResNeXt block, figure 3 of Xie et al. 2017 (arXiv:1611.05431): one function, three programs.

`Bottleneck` with `groups` is the third form; the other two copy its weights
and compute its `branch`. The nets themselves are in `resnet`.
"""

from copy import deepcopy

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from helpers.convnets.architectures.resnet import Bottleneck


class Path(nn.Module):
    """One of the narrow paths: 1x1, 3x3, each with its norm and ReLU."""

    def __init__(self, block: Bottleneck, which: slice):
        super().__init__()
        self.conv1 = part(block.conv1, which)
        self.bn1 = part(block.bn1, which)
        self.conv2 = part(block.conv2, which)
        self.bn2 = part(block.bn2, which)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d p q"]:
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)))


class EarlyConcatenation(nn.Module):
    """Form (b): concatenate the paths, then one 1x1 convolution."""

    def __init__(self, block: Bottleneck):
        super().__init__()
        self.paths = nn.ModuleList(Path(block, s) for s in slices(block))
        self.last, self.norm = deepcopy((block.conv3, block.bn3))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o p q"]:
        paths = [path(x) for path in self.paths]
        return self.norm(self.last(torch.cat(paths, 1)))


class SplitTransformMerge(nn.Module):
    """Form (a): a 1x1 convolution for each path, then the sum."""

    def __init__(self, block: Bottleneck):
        super().__init__()
        self.paths = nn.ModuleList(Path(block, s) for s in slices(block))
        up = block.conv3
        lasts = (convolution(up.weight[:, s], up) for s in slices(block))
        self.lasts, self.norm = nn.ModuleList(lasts), deepcopy(block.bn3)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o p q"]:
        each = zip(self.paths, self.lasts)
        return self.norm(sum(last(path(x)) for path, last in each))


def slices(block: Bottleneck) -> list[slice]:
    """The inner channels of each group."""
    groups = block.conv2.groups
    width = block.conv2.out_channels // groups
    return [slice(i * width, (i + 1) * width) for i in range(groups)]


def part(layer: nn.Module, which: slice) -> nn.Module:
    """The same layer for some of its output channels, its weights copied.

    Of a grouped convolution the filters of one group, which read that
    group's channels alone.
    """
    if isinstance(layer, nn.Conv2d):
        return convolution(layer.weight[which], layer)
    one = nn.BatchNorm2d(which.stop - which.start).to(layer.weight)
    state = layer.state_dict()
    one.load_state_dict(
        {k: v[which] if v.ndim else v for k, v in state.items()}
    )
    return one.train(layer.training)


def convolution(
    weight: Float[Tensor, "o c kh kw"], like: nn.Conv2d
) -> nn.Conv2d:
    """A convolution with this weight, and the stride and padding of `like`."""
    o, c, *kernel = weight.shape
    conv = nn.Conv2d(c, o, kernel, like.stride, like.padding, bias=False)
    conv.weight = nn.Parameter(weight.detach().clone())
    return conv

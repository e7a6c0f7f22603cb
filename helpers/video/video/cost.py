"""What a network for videos costs, attention's products included."""

import copy

import torch
from torch import nn

from helpers.localization.detection import experiments


def multiply_adds(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Those of one clip of `shape`, (f, c, h, w), without computing any.

    Of convolutions, linear layers and products of matrices, as torch
    counts them on the device "meta"; a multiply-add is two of its
    operations.
    """
    twin = copy.deepcopy(network).to("meta").eval()
    clip = torch.empty(1, *shape, device="meta")
    return experiments.multiply_adds(lambda: twin(clip))

"""A classifier of patches, asked about every pixel: four ways to the same answers, of very different cost.

Farabet et al. 2013 (learned scene labelling, pixel by pixel); Sermanet et al. 2014 (arXiv:1312.6229), section 3.5;
Long et al. 2015 (arXiv:1411.4038), section 3.2, on shift-and-stitch. The classifier and its convolutional form
`slide` are those of the detection chapter.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.localization.detection.sliding_window import WindowClassifier, slide


def patchwise(
    classifier: WindowClassifier,
    images: Float[Tensor, "b c h w"],
    stride: int = 1,
) -> Float[Tensor, "b k rows columns"]:
    """Cut out every window, `stride` apart, and classify it by itself."""
    b, side = len(images), classifier.window
    check_window(images, side)
    rows, columns = ((n - side) // stride + 1 for n in images.shape[-2:])
    patches = F.unfold(images, side, stride=stride)  # b c·side² n
    patches = patches.mT.reshape(-1, images.shape[1], side, side)
    return classifier(patches).view(b, rows, columns, -1).movedim(3, 1)


def shift_and_stitch(
    classifier: WindowClassifier, images: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b k rows columns"]:
    """Windows at every pixel, from as many passes as a cell has pixels.

    Each pass begins another pixel further; its answers go to every s-th
    row and column, for a network of stride s.
    """
    side, s = classifier.window, classifier.stride
    check_window(images, side)
    rows, columns = (n - side + 1 for n in images.shape[-2:])
    out = None
    for i in range(min(s, rows)):
        for j in range(min(s, columns)):
            answers = slide(classifier, images[..., i:, j:])
            if out is None:
                out = answers.new_empty(*answers.shape[:2], rows, columns)
            out[..., i::s, j::s] = answers
    return out


def with_holes(
    classifier: WindowClassifier, images: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b k rows columns"]:
    """Windows at every pixel, from one pass without strides.

    Where a stride is left out, all later kernels are read that many times
    further apart (the à trous algorithm).
    """
    check_window(images, classifier.window)
    x, rate = 4 * images - 2, 1
    for layer in classifier.features:
        if isinstance(layer, nn.Conv2d):
            x = F.conv2d(x, layer.weight, layer.bias, dilation=rate)
            rate *= layer.stride[0]
        else:
            x = layer(x)
    hidden, output = classifier.hidden, classifier.output
    kernel = hidden.weight.unflatten(1, (-1, 4, 4))
    x = F.relu(F.conv2d(x, kernel, hidden.bias, dilation=rate))
    return F.conv2d(x, output.weight[:, :, None, None], output.bias)


def check_window(images: Tensor, side: int) -> None:
    h, w = images.shape[-2:]
    if min(h, w) < side:
        raise ValueError(f"images of {h} x {w} pixels are smaller than the window of {side}: enlarge them")


__all__ = ["WindowClassifier", "patchwise", "shift_and_stitch", "slide", "with_holes"]

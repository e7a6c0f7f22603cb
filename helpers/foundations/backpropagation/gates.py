"""Gates: operations that know how to go forward, and how to carry a gradient back (Rumelhart, Hinton & Williams 1986).

`forward` computes and remembers what `backward` needs. `backward` takes the
gradient of the loss with respect to the output, "upstream", and returns that
with respect to each input: upstream times the gate's own slope.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


class Add:
    """a + b. Distributes: both inputs get the upstream gradient."""

    def forward(self, a, b):
        check_alike(a, b)
        return a + b

    def backward(self, upstream):
        return upstream, upstream


class Multiply:
    """a · b, entry by entry. Swaps: each input gets upstream times the
    other."""

    def forward(self, a, b):
        check_alike(a, b)
        self.a, self.b = a, b
        return a * b

    def backward(self, upstream):
        return upstream * self.b, upstream * self.a


class Max:
    """The larger of a and b. Routes: the larger input gets all, the other
    nothing; equal ones get half each, as in torch."""

    def forward(self, a, b):
        check_alike(a, b)
        self.share = (a > b) + 0.5 * (a == b)
        return np.maximum(a, b)

    def backward(self, upstream):
        return upstream * self.share, upstream * (1 - self.share)


class Sigmoid:
    """σ(s) = 1 / (1 + exp(-s)). Its slope σ (1 - σ) is 1/4 at most."""

    def forward(self, s):
        self.out = 0.5 * (1 + np.tanh(s / 2))  # without overflow
        return self.out

    def backward(self, upstream):
        return (upstream * self.out * (1 - self.out),)


class MatMul:
    """A B, [n k] times [k m]. The shapes leave only one product each."""

    def forward(self, A, B):
        check_product(A, B)
        self.A, self.B = A, B
        return A @ B

    def backward(self, upstream):                      # [n m]
        return upstream @ self.B.T, self.A.T @ upstream


class Convolve:
    """Images [b c h w] with kernels [o c k l], where they fit (no padding).

    Backward, the kernels' gradient correlates images with upstream; the
    images' gradient correlates padded upstream with turned kernels.
    """

    def forward(self, images, kernels):
        check_images(images, kernels.shape[2:])
        check_channels(images, kernels)
        self.kernels = kernels
        self.windows = sliding_window_view(images, kernels.shape[2:], (2, 3))
        return np.einsum("bchwkl,ockl->bohw", self.windows, kernels)

    def backward(self, upstream):                      # [b o h w]
        to_kernels = np.einsum("bohw,bchwkl->ockl", upstream, self.windows)
        k, l = self.kernels.shape[2:]
        around = ((0, 0), (0, 0), (k - 1, k - 1), (l - 1, l - 1))
        wide = sliding_window_view(np.pad(upstream, around), (k, l), (2, 3))
        turned = self.kernels[:, :, ::-1, ::-1]
        return np.einsum("bohwkl,ockl->bchw", wide, turned), to_kernels


class Pool:
    """What both poolings share: windows of `size` pixels a side that do not
    overlap; what does not fill a window is left out."""

    def __init__(self, size):
        if size < 1 or size != int(size):
            raise ValueError(f"size = {size}: windows have 1 pixel or more")
        self.size = size

    def windows(self, images):                         # [b c h w n]
        check_images(images, (self.size, self.size))
        self.shape, n = images.shape, self.size
        b, c, h, w = images.shape
        cut = images[:, :, : h // n * n, : w // n * n]
        parts = cut.reshape(b, c, h // n, n, w // n, n)
        return parts.transpose(0, 1, 2, 4, 3, 5).reshape(b, c, h // n, w // n, n * n)

    def spread(self, parts):
        """Gradients of windows [b c h w n] back at their pixels."""
        n, (b, c, h, w) = self.size, self.shape
        parts = parts.reshape(b, c, h // n, w // n, n, n).transpose(0, 1, 2, 4, 3, 5)
        whole = np.zeros(self.shape, parts.dtype)
        whole[:, :, : h // n * n, : w // n * n] = parts.reshape(b, c, h // n * n, w // n * n)
        return whole


class MaxPool(Pool):
    """The largest of each window. Routes, as `Max`: to the first largest."""

    def forward(self, images):
        parts = self.windows(images)
        self.first = parts.argmax(-1)[..., None]
        return parts.max(-1)

    def backward(self, upstream):
        parts = np.zeros((*upstream.shape, self.size**2), upstream.dtype)
        np.put_along_axis(parts, self.first, upstream[..., None], -1)
        return (self.spread(parts),)


class AveragePool(Pool):
    """The mean of each window. Distributes, as `Add`, in equal shares."""

    def forward(self, images):
        return self.windows(images).mean(-1)

    def backward(self, upstream):
        share = upstream[..., None] / self.size**2
        return (self.spread(np.repeat(share, self.size**2, -1)),)


def check_alike(a, b) -> None:
    if np.shape(a) != np.shape(b):
        raise ValueError(f"inputs of shapes {list(np.shape(a))} and {list(np.shape(b))}: this gate takes equal ones")


def check_product(A, B) -> None:
    if np.ndim(A) != 2 or np.ndim(B) != 2 or A.shape[1] != B.shape[0]:
        raise ValueError(f"matrices of shapes {list(np.shape(A))} and {list(np.shape(B))}: give [n k] and [k m]")


def check_images(images, window: tuple[int, int]) -> None:
    if images.ndim != 4 or images.shape[2] < window[0] or images.shape[3] < window[1]:
        raise ValueError(
            f"images of shape {list(images.shape)}, a window of {window[0]}x{window[1]}: give [b c h w] in which it fits"
        )


def check_channels(images, kernels) -> None:
    if kernels.ndim != 4 or kernels.shape[1] != images.shape[1]:
        raise ValueError(
            f"kernels of shape {list(kernels.shape)} for images of {images.shape[1]} channels: give [o c k l]"
        )

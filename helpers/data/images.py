"""Labelled images in one tensor: the form in which every image data set of the book reaches a chapter."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with values in 0 … 1, one class index each, and the names of the classes.

    A label of -1 marks an image without a label. `attributes` holds what else is known of each image (a glyph's font,
    its rotation). Raises `ValueError` when the fields do not fit together.
    """

    images: Float[Tensor, "n c h w"]
    labels: Int64[Tensor, " n"]
    classes: tuple[str, ...]
    attributes: dict[str, Shaped[Tensor, "n ..."]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        images, labels, k = self.images, self.labels, len(self.classes)
        if images.ndim != 4 or not images.is_floating_point():
            raise ValueError(f"images are {_form(images)}: an image set holds floats of shape [n c h w]")
        if labels.shape != images.shape[:1] or labels.dtype != torch.long:
            raise ValueError(f"labels are {_form(labels)}: {len(images)} images take an int64 tensor of {len(images)}")
        if labels.device != images.device:
            raise ValueError(f"images on {images.device}, labels on {labels.device}: move both with .to(device)")
        for name, values in self.attributes.items():
            if values.shape[:1] != labels.shape:
                raise ValueError(f"attribute {name!r} is {_form(values)}: the first axis counts {len(images)} images")
        if len(images) == 0:
            return
        low, high = (bound.item() for bound in images.aminmax())
        if not (low >= 0 and high <= 1):  # also refuses NaN
            raise ValueError(f"image values reach from {low:.3g} to {high:.3g}: scale them into 0 … 1")
        low, high = (bound.item() for bound in labels.aminmax())
        if low < -1 or high >= k:
            raise ValueError(f"labels reach from {low} to {high}: with {k} classes they lie in 0 … {k - 1}, or are -1")

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> "ImageSet":
        """The same set with its tensors on `device`."""
        return self._map(lambda tensor: tensor.to(device))

    def subset(self, indices: Tensor | slice) -> "ImageSet":
        """The images that `indices` picks: positions, a mask of booleans, or a slice.

        Raises `ValueError` for a mask of another length, for positions beyond the set, and for what is none of these.
        """
        if not isinstance(indices, slice):
            indices = torch.as_tensor(indices, device=self.images.device)
            kind, n = indices.dtype, len(self)
            whole = not kind.is_floating_point and not kind.is_complex
            if indices.ndim != 1 or not whole or (kind == torch.bool and len(indices) != n):
                raise ValueError(f"indices are {_form(indices)}: give positions, {n} booleans, or a slice")
            if kind != torch.bool and len(indices) and not -n <= int(indices.min()) <= int(indices.max()) < n:
                reach = f"from {int(indices.min())} to {int(indices.max())}"
                raise ValueError(f"indices reach {reach}: the set has the images 0 to {n - 1}")
        return self._map(lambda tensor: tensor[indices])

    def split(self, *fractions: float, generator: torch.Generator, stratified: bool = False) -> tuple["ImageSet", ...]:
        """Shuffle once and cut into disjoint parts, one for each fraction of the whole; a rest is left out.

        `stratified` cuts each class by the fractions, up to one image, so that all parts are mixed alike.
        Raises `ValueError` for a fraction outside 0 … 1, a sum above one, and a fraction above 0 that gets no image.
        """
        if not fractions or not all(0 <= f <= 1 for f in fractions) or sum(fractions) > 1 + 1e-9:
            raise ValueError(f"fractions {fractions}: name one or more shares in 0 … 1 that sum to one at the most")
        if generator.device.type != "cpu":
            raise ValueError(f"generator on {generator.device}: the order is drawn on the CPU, pass torch.Generator()")
        n = len(self)
        cuts = [round(n * sum(fractions[:i])) for i in range(len(fractions) + 1)]
        for fraction, start, stop in zip(fractions, cuts, cuts[1:]):
            if n and fraction > 0 and start == stop:
                raise ValueError(f"fraction {fraction} of {n} images is less than one: ask for more")
        order = torch.randperm(n, generator=generator)
        if stratified:
            labels = self.labels.cpu()[order]
            place = torch.zeros(n)  # within the class, in 0 … 1
            for label in labels.unique():
                mine = (labels == label).nonzero()[:, 0]
                place[mine] = (torch.arange(len(mine)) + 0.5) / len(mine)
            order = order[place.argsort(stable=True)]
        return tuple(self.subset(order[start:stop]) for start, stop in zip(cuts, cuts[1:], strict=False))

    def _map(self, change: Callable[[Tensor], Tensor]) -> "ImageSet":
        attributes = {name: change(values) for name, values in self.attributes.items()}
        return replace(self, images=change(self.images), labels=change(self.labels), attributes=attributes)


def _form(tensor: Tensor) -> str:
    """Type and shape of a tensor, for messages."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"

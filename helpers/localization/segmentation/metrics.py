"""How well a labelling of pixels fits: a table of confusions with void pixels, mean IoU, and what counts boundaries alone.

Mean IoU as in PASCAL VOC (Everingham et al. 2015); Boundary IoU: Cheng et al. 2021 (arXiv:2103.16562); boundary F: Martin,
Fowlkes & Malik 2004, Csurka et al. 2013.
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from helpers.localization.segmentation_losses.metrics import iou

VOID = 255  # PASCAL VOC's label of pixels that do not count


def confusion_matrix(
    found: Int[Tensor, "*shape"],
    truth: Int[Tensor, "*shape"],
    *,
    classes: int,
    void: int | None = VOID,
) -> Int[Tensor, "k k"]:
    """Pixels of class i (row) that were called class j (column).

    Pixels whose truth is `void` do not count, whatever was found there.
    Tables of several batches add up. Raises `ValueError` for other
    shapes and for labels that name no class.
    """
    check_labellings(found, truth, classes, void)
    counts = truth != void if void is not None else truth == truth
    pairs = truth[counts].long() * classes + found[counts].long()
    return pairs.bincount(minlength=classes**2).view(classes, classes)


def pixel_accuracy(table: Int[Tensor, "k k"]) -> float:
    """The share of the pixels that bear the right label; NaN without pixels."""
    return (table.trace() / table.sum()).item()


def class_iou(table: Int[Tensor, "k k"]) -> Float[Tensor, " k"]:
    """Hits over hits, misses and false alarms, for each class.

    NaN for a class that neither the truth nor the answer has: its IoU is
    0 / 0, and says nothing.
    """
    hits = table.diagonal().double()
    union = table.sum(0) + table.sum(1) - hits
    return hits / union


def mean_iou(table: Int[Tensor, "k k"]) -> float:
    """The mean over the classes that occur, in the truth or the answer."""
    return class_iou(table).nanmean().item()


def inner_boundary(
    masks: Bool[Tensor, "*n h w"], distance: int
) -> Bool[Tensor, "*n h w"]:
    """The pixels of each mask at most `distance` from what is outside.

    Steps go to the eight neighbours. Beyond the image is outside, as in
    the paper's code. Raises `ValueError` for a distance below 1.
    """
    if distance < 1:
        raise ValueError(
            f"distance = {distance}: a boundary is at least 1 pixel wide"
        )
    outside = F.pad(1 - as_maps(masks), [distance] * 4, value=1.0)
    near = F.max_pool2d(outside, 2 * distance + 1, 1) > 0
    return masks & near.view(masks.shape)


def boundary_iou(
    found: Bool[Tensor, "*n h w"],
    truth: Bool[Tensor, "*n h w"],
    *,
    distance: int,
) -> float:
    """IoU of the boundaries alone (Cheng et al. 2021, section 4).

    Pixels are counted over all masks together; 1 where both have none.
    The paper takes 2 % of the image's diagonal as `distance`.
    """
    return iou(inner_boundary(found, distance), inner_boundary(truth, distance))


def mean_boundary_iou(
    found: Int[Tensor, "b h w"],
    truth: Int[Tensor, "b h w"],
    *,
    classes: int,
    distance: int,
    void: int | None = VOID,
) -> float:
    """Boundary IoU of each class over all images; the mean of those that occur.

    Boundaries are those of whole labellings, then void pixels are left
    out. NaN where no class occurs. Raises `ValueError` as `confusion_matrix` does.
    """
    check_labellings(found, truth, classes, void)
    counts = truth != void if void is not None else truth == truth
    values = []
    for k in range(classes):
        ours = inner_boundary(found == k, distance) & counts
        theirs = inner_boundary(truth == k, distance) & counts
        if ours.any() or theirs.any():
            values.append(iou(ours, theirs))
    return sum(values) / len(values) if values else float("nan")


def boundary_f(
    found: Bool[Tensor, "*n h w"],
    truth: Bool[Tensor, "*n h w"],
    *,
    tolerance: int,
) -> float:
    """F measure of boundary pixels, of which a match may lie `tolerance` away.

    The boundary is one pixel wide, inside the mask. Precision is the
    share of the found boundary within `tolerance` steps (to the eight
    neighbours) of the true one, recall the reverse. 1 where both are
    empty, 0 where one is. Raises `ValueError` for a negative tolerance.
    """
    if tolerance < 0:
        raise ValueError(f"tolerance = {tolerance}: 0 pixels or more")
    ours, theirs = inner_boundary(found, 1), inner_boundary(truth, 1)
    if not ours.any() or not theirs.any():
        return float(ours.any() == theirs.any())
    precision = (ours & widen(theirs, tolerance)).sum() / ours.sum()
    recall = (theirs & widen(ours, tolerance)).sum() / theirs.sum()
    total = precision + recall
    return (2 * precision * recall / total).item() if total > 0 else 0.0


def widen(masks: Bool[Tensor, "*n h w"], steps: int) -> Bool[Tensor, "*n h w"]:
    """Each mask with all pixels at most `steps` away."""
    wide = F.max_pool2d(as_maps(masks), 2 * steps + 1, 1, steps)
    return wide.view(masks.shape) > 0


def as_maps(masks: Bool[Tensor, "*n h w"]) -> Float[Tensor, "m 1 h w"]:
    """Masks as zeros and ones for a pool, one map each."""
    return masks.float().reshape(-1, 1, *masks.shape[-2:])


def check_labellings(found: Tensor, truth: Tensor, classes: int, void: int | None) -> None:
    """Refuse labellings of other shapes, and labels that are neither a class nor void."""
    if found.shape != truth.shape:
        raise ValueError(
            f"labels of shape {list(found.shape)} for a truth of shape {list(truth.shape)}: compare labellings of one "
            "size, as after resizing to the mask"
        )
    if classes < 1:
        raise ValueError(f"classes = {classes}: at least 1")
    if not truth.numel() or not truth.is_cpu:
        return
    wrong = truth[((truth < 0) | (truth >= classes)) & (truth != void if void is not None else truth == truth)]
    if len(wrong):
        known = "" if void is None else f" or {void} where nothing counts"
        raise ValueError(f"label {int(wrong[0])} in the truth: {classes} classes are 0 to {classes - 1}{known}")
    low, high = (int(bound) for bound in found.aminmax())
    if low < 0 or high >= classes:
        raise ValueError(f"labels from {low} to {high} were found: {classes} classes are 0 to {classes - 1}")

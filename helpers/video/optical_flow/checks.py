"""What functions on video refuse: other axes, whole numbers, no numbers."""

from torch import Tensor


def check_axes(x: Tensor, axes: str, what: str) -> None:
    """Refuse a tensor whose axes are not `axes`, such as "b f 3 h w".

    A letter stands for any size, a number for itself. Raises `ValueError`
    for other axes and for whole numbers, which are 0 … 255 where 0 … 1 is
    meant. Shapes and dtypes only: nothing is read off the device.
    """
    wanted = axes.split()
    fits = x.ndim == len(wanted)
    for n, axis in zip(x.shape, wanted):
        fits = fits and (not axis.isdigit() or n == int(axis))
    if not fits:
        hint = ""
        if x.ndim == len(wanted) - 1:
            hint = "; a single one is x[None]"
        elif x.ndim == len(wanted) == 5 and str(x.shape[1]) == wanted[2]:
            hint = "; frames come first: x.transpose(1, 2)"
        raise ValueError(
            f"{what} of shape {tuple(x.shape)}: give [{axes}]{hint}"
        )
    if not x.is_floating_point():
        raise ValueError(
            f"{what} of {x.dtype}: give numbers with a point, pixels from 0 "
            "to 1, such as x.float() / 255"
        )


def check_numbers(x: Tensor, what: str, remedy: str) -> None:
    """Refuse what is no number, where results are judged: reads values."""
    lost = (~x.isfinite()).sum().item()
    if lost:
        raise ValueError(
            f"{what}: {lost} of {x.numel()} are no finite numbers; {remedy}"
        )

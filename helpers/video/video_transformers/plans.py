"""Who looks at whom in a clip: the five schemes of TimeSformer as plans
(Bertasius, Wang & Torresani 2021, arXiv:2102.05095, section 3).
"""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float, Shaped
from torch import Tensor


class Step(NamedTuple):
    """What a patch looks along in one attention of a block.

    `axes` are some of t, h and w. With `near` the image is cut into that
    many parts a side, and a patch looks within its own. With `far` it
    looks at every `far`-th place along each of the axes. `token` says
    whether the class token joins, `dense` puts a linear layer behind.
    """

    axes: str
    near: int = 1
    far: int = 1
    token: bool = True
    dense: bool = False


Plan = Sequence[Step]
PLANS: dict[str, Plan] = {
    "space": (Step("hw"),),
    "joint": (Step("thw"),),
    "local_global": (
        Step("thw", near=2, dense=True),
        Step("thw", far=2),
    ),
    "divided": (Step("t", dense=True), Step("hw")),
    "axial": (Step("t", dense=True), Step("w", dense=True), Step("h")),
    # as the authors' code has it: no class token in the look along time
    "released": (Step("t", token=False, dense=True), Step("hw")),
}


def splits(
    step: Step, sizes: tuple[int, int, int]
) -> list[tuple[int, int, int]]:
    """Cut each axis into (parts, places looked at, stride between them).

    `sizes` are those of time, height and width, in patches. Raises
    `ValueError` for a size that `near` or `far` does not divide.
    """
    cut = []
    for axis, n in zip("thw", sizes):
        near = step.near if axis in "hw" else 1
        if axis not in step.axes:
            cut.append((n, 1, 1))
            continue
        if n % (near * step.far):
            raise ValueError(
                f"{n} patches along {axis} in {step}: near * far = "
                f"{near * step.far} does not divide them; change the "
                "frames, the patch or the plan"
            )
        cut.append((near, n // near // step.far, step.far))
    return cut


OPEN = "b (T t u) (H h i) (W w j) d"
GROUPED = "(b T u H i W j) (t h w) d"


def group(
    x: Shaped[Tensor, "b f h w d"], step: Step
) -> Shaped[Tensor, "groups n d"]:
    """Put those that look at each other into one row."""
    return rearrange(x, f"{OPEN} -> {GROUPED}", **names(step, x.shape[1:4]))


def ungroup(
    rows: Shaped[Tensor, "groups n d"], step: Step, sizes: tuple[int, int, int]
) -> Shaped[Tensor, "b f h w d"]:
    """Undo `group`."""
    return rearrange(rows, f"{GROUPED} -> {OPEN}", **names(step, sizes))


def names(step, sizes):
    """The numbers of parts, places and strides by the letters of `OPEN`."""
    letters = ("Ttu", "Hhi", "Wwj")
    cuts = splits(step, tuple(sizes))
    pairs = (zip(word, cut) for word, cut in zip(letters, cuts))
    return {letter: n for pair in pairs for letter, n in pair}


def comparisons(plan: str | Plan, frames: int, side: int) -> int:
    """Keys that each patch compares itself with in one block."""
    steps = chosen(plan)
    sizes = (frames, side, side)
    looked = ([n for _, n, _ in splits(step, sizes)] for step in steps)
    return sum(prod(n) + step.token for n, step in zip(looked, steps))


def neighbourhood(
    plan: str | Plan, at: tuple[int, int, int], sizes: tuple[int, int, int]
) -> Float[Tensor, "steps f h w"]:
    """1 where the patch at (t, h, w) looks in each step, 0 elsewhere.

    Raises `ValueError` for a place outside `sizes`.
    """
    if not all(0 <= i < n for i, n in zip(at, sizes, strict=True)):
        raise ValueError(f"at = {at}: a place among {sizes} patches")
    grid = torch.arange(prod(sizes)).view(1, *sizes, 1)
    me = grid[0, at[0], at[1], at[2], 0]
    seen = []
    for step in chosen(plan):
        rows = group(grid, step)
        mine = (rows == me).any(1, keepdim=True).expand_as(rows)
        seen.append(ungroup(mine.float(), step, sizes)[0, ..., 0])
    return torch.stack(seen)


def reach(
    plan: str | Plan, sizes: tuple[int, int, int]
) -> Float[Tensor, "steps n n"]:
    """1 where a patch (row) knows of another after each step of one block.

    The product of who looks at whom, step after step, without the class
    token; patches in reading order, frame by frame.
    """
    n = prod(sizes)
    grid = torch.eye(n).view(1, *sizes, n)
    known = []
    for step in chosen(plan):
        rows = group(grid, step)
        rows = rows.amax(1, keepdim=True).expand_as(rows)
        grid = ungroup(rows, step, sizes)
        known.append(grid.reshape(n, n))
    return torch.stack(known)


def chosen(plan):
    """The plan of a name."""
    if not isinstance(plan, str):
        if isinstance(plan, Step) or not all(
            isinstance(step, Step) for step in plan
        ):
            raise ValueError(f"plan = {plan}: give a list of Step(...)")
        plan = tuple(plan)
        wrong = [s for s in plan if not s.axes or set(s.axes) - set("thw")]
        if not plan or wrong:
            raise ValueError(
                f"plan = {plan}: at least one step, along some of t, h and w"
            )
        for step in plan:
            check_step(step)
        return plan
    if plan not in PLANS:
        raise ValueError(f"plan = {plan!r}: choose {', '.join(PLANS)}")
    return PLANS[plan]


def check_step(step):
    """Refuse parts and strides that do nothing, or cannot be."""
    if step.near < 1 or step.far < 1:
        raise ValueError(f"{step}: near and far are 1 at the least")
    if step.near > 1 and not set(step.axes) & set("hw"):
        raise ValueError(
            f"{step}: near cuts the image, and this step looks along time "
            "alone; leave it at 1"
        )

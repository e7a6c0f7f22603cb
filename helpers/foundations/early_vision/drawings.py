"""Line drawings to label: a cube, the same with a line rubbed out, a stair, and the tribar of Penrose & Penrose 1958."""

import math

from helpers.foundations.early_vision.labelling import Drawing

COS30, SIN30 = math.cos(math.pi / 6), 0.5


def from_corners(corners: dict[str, tuple[int, int, int]], lines: str) -> Drawing:
    """A drawing in isometric view, x to the lower right, y to the lower left, z up; `lines` are pairs of names, as "ab bc"."""
    places = {name: i for i, name in enumerate(corners)}
    points = tuple(((x - y) * COS30, z - (x + y) * SIN30) for x, y, z in corners.values())
    return Drawing(points, tuple((places[a], places[b]) for a, b in lines.split()))


def cube() -> Drawing:
    """Nine lines, seven junctions: the outline clockwise, then the three lines that meet at the near corner."""
    corners = dict(a=(0, 0, 1), b=(1, 0, 1), c=(1, 0, 0), d=(1, 1, 0), e=(0, 1, 0), f=(0, 1, 1), g=(1, 1, 1))
    return from_corners(corners, "ab bc cd de ef fa gb gd gf")


def rubbed_out() -> Drawing:
    """The cube without its last inner line: no body of plane faces looks like this."""
    whole = cube()
    return Drawing(whole.points, whole.lines[:-1])


def stair() -> Drawing:
    """Two steps: fifteen lines, one of them a groove."""
    corners = dict(
        a=(0, 0, 2), b=(0, 2, 2), c=(1, 0, 2), d=(1, 2, 2), e=(1, 0, 1), f=(1, 2, 1),
        g=(2, 0, 1), h=(2, 2, 1), i=(2, 0, 0), j=(2, 2, 0), k=(0, 2, 0),
    )  # fmt: skip
    return from_corners(corners, "ab ac bd cd ce df ef eg fh gh gi hj ij bk kj")


def tribar() -> Drawing:
    """Three bars, each in front of the next: every junction is possible, the whole is not."""
    sides = [(math.cos(a), math.sin(a)) for a in (0, math.tau / 3, 2 * math.tau / 3)]

    def place(**steps: int) -> tuple[float, float]:
        x, y = (sum(t * sides["abc".index(side)][i] for side, t in steps.items()) for i in range(2))
        return x - 1.5, y - 1.5 / math.sqrt(3)  # from the middle of the hole, whose side is 3

    third = [place(a=3), place(a=4), place(a=4, b=6), place(a=5, b=6)]  # a corner of the hole, an L, two on the outline
    points, lines = [], []
    for turn in range(3):
        (c, s), at, after = sides[turn], 4 * turn, 4 * turn + 4
        points += [(c * x - s * y, s * x + c * y) for x, y in third]
        lines += [(at, after), (at, at + 1), (at + 1, at + 2), (at + 2, at + 3), (at + 2, after + 3)]
    return Drawing(tuple(points), tuple((a % 12, b % 12) for a, b in lines))

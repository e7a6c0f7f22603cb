"""Line drawings of polyhedra, labelled: Huffman 1971, Clowes 1971; the filter of Waltz 1975.

A line is convex (+: both faces turn towards us and the edge sticks out), concave (-), or occluding (an arrow: walking
along it, the body whose edge it is lies on the right and hides what is on the left). Where three planes meet in each
corner and the view is general, few combinations can stand at a junction: `CATALOGUE`.
"""

import math
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

LABELS = ("+", "-", ">", "<")  # of a line (a, b): > is an arrow from a to b, < one from b to a
STRAIGHT = math.radians(2)  # two lines of a T continue each other up to this angle

# What may stand at a junction. Its lines are listed counter-clockwise; "out" is an arrow that leaves the junction. An L
# begins so that the first gap is the one below 180°; an arrow after the gap above 180°, so that its shaft is in the
# middle; a fork anywhere; a T with its stem.
CATALOGUE = {
    "L": {("in", "out"), ("out", "in"), ("+", "in"), ("out", "+"), ("in", "-"), ("-", "out")},
    "arrow": {("in", "+", "out"), ("-", "+", "-"), ("+", "-", "+")},
    "fork": {("+", "+", "+"), ("-", "-", "-"), ("out", "in", "-"), ("in", "-", "out"), ("-", "out", "in")},
    "T": {(stem, "in", "out") for stem in ("+", "-", "in", "out")},
}
TURNED = {"in": "out", "out": "in", "+": "+", "-": "-"}  # an arrow, seen from the other end of its line


class Junction(NamedTuple):
    """A point where lines meet: its kind, and the lines' other ends counter-clockwise, as `CATALOGUE` wants them."""

    kind: str
    ends: tuple[int, ...]


class Drawing(NamedTuple):
    """Points (x to the right, y up) and straight lines between them, as pairs of places among the points."""

    points: tuple[tuple[float | int, float | int], ...]
    lines: tuple[tuple[int, int], ...]


def junctions(drawing: Drawing) -> list[Junction]:
    """The kind of each point. Raises `ValueError` for points where not two or three lines meet, or all in a half-turn's line."""
    found = []
    for point, (x, y) in enumerate(drawing.points):
        ends = [b if a == point else a for a, b in drawing.lines if point in (a, b)]
        if len(ends) not in (2, 3) or len(set(ends)) < len(ends):
            raise ValueError(
                f"{len(ends)} lines meet at point {point}: in a drawing of corners of three planes two or three do; "
                "split or remove lines"
            )
        angle = {end: math.atan2(drawing.points[end][1] - y, drawing.points[end][0] - x) for end in ends}
        found.append(junction(point, angle))
    return found


def junction(point: int, angle: dict[int, float]) -> Junction:
    """The junction of lines that leave at these angles, in radians counter-clockwise."""
    ends = sorted(angle, key=angle.get)
    gaps = [(angle[after] - angle[end]) % math.tau for end, after in zip(ends, ends[1:] + ends[:1])]
    straight = [abs(gap - math.pi) < STRAIGHT for gap in gaps]
    if len(ends) == 2:
        if any(straight):
            raise ValueError(f"the two lines at point {point} continue each other: make them one line")
        first = min(range(2), key=gaps.__getitem__)
        kind = "L"
    elif any(straight):
        kind, first = "T", (straight.index(True) - 1) % 3
    elif max(gaps) > math.pi:
        kind, first = "arrow", (gaps.index(max(gaps)) + 1) % 3
    else:
        kind, first = "fork", 0
    return Junction(kind, tuple(ends[first:] + ends[:first]))


def label_junctions(
    drawing: Drawing, known: dict[int, str] | None = None
) -> list[tuple[str, ...]]:
    """All legal labellings of a line drawing: a label for each line.

    `known` gives some lines their label beforehand. First the junctions
    are filtered (`waltz`), then what is left is tried out, junction by
    junction, filtering after each choice. A drawing that no trihedral
    scene explains has no labelling; the converse does not hold. Raises
    `ValueError` for junctions that are none of L, arrow, fork and T, and
    for unknown lines and labels.
    """
    corners = junctions(drawing)
    found: list[tuple[str, ...]] = []

    def search(options: list[set[tuple[str, ...]]]) -> None:
        options = waltz(drawing, corners, options)
        if not all(options):
            return  # a junction has nothing left
        open_ = [point for point, left in enumerate(options) if len(left) > 1]
        if not open_:
            found.append(read_lines(drawing, corners, options))
            return
        point = min(open_, key=lambda p: len(options[p]))
        for choice in sorted(options[point]):
            search([*options[:point], {choice}, *options[point + 1 :]])

    search(candidates(drawing, corners, known or {}))
    return sorted(found)


def candidates(
    drawing: Drawing, corners: Sequence[Junction], known: dict[int, str]
) -> list[set[tuple[str, ...]]]:
    """What the catalogue allows at each junction by itself."""
    for line, label in known.items():
        if not 0 <= line < len(drawing.lines) or label not in LABELS:
            raise ValueError(
                f"known = {{{line}: {label!r}}}: lines are 0 to {len(drawing.lines) - 1}, "
                f"labels {', '.join(LABELS)}"
            )
    fixed = {frozenset(drawing.lines[line]): (drawing.lines[line][0], label) for line, label in known.items()}

    def allows(point: int, end: int, label: str) -> bool:
        start, wanted = fixed.get(frozenset((point, end)), (None, None))
        return wanted is None or as_line(label, leaves_start=start == point) == wanted

    return [
        {
            option
            for option in CATALOGUE[corner.kind]
            if all(allows(point, end, label) for end, label in zip(corner.ends, option))
        }
        for point, corner in enumerate(corners)
    ]


def waltz(
    drawing: Drawing,
    corners: Sequence[Junction],
    options: list[set[tuple[str, ...]]],
) -> list[set[tuple[str, ...]]]:
    """Strike out, until nothing changes, what no neighbour can match.

    A line has one label: an option of a junction survives if each of its
    lines has the same label in some option of the junction at the other
    end. A queue of lines, as in arc consistency.
    """
    options = [set(option) for option in options]
    queue = [(a, b) for line in drawing.lines for a, b in (line, line[::-1])]
    while queue:
        a, b = queue.pop()  # does b still allow what a offers?
        at_a, at_b = corners[a].ends.index(b), corners[b].ends.index(a)
        offered = {TURNED[option[at_b]] for option in options[b]}
        kept = {option for option in options[a] if option[at_a] in offered}
        if kept != options[a]:
            options[a] = kept
            queue += [(end, a) for end in corners[a].ends]
    return options


def read_lines(
    drawing: Drawing, corners: Sequence[Junction], options: Sequence[set[tuple[str, ...]]]
) -> tuple[str, ...]:
    """The label of each line, where every junction has one option left."""
    labels = []
    for a, b in drawing.lines:
        (option,) = options[a]
        labels.append(as_line(option[corners[a].ends.index(b)], leaves_start=True))
    return tuple(labels)


def as_line(label: str, *, leaves_start: bool) -> str:
    """A junction's label as that of the line, which starts at this junction or ends there."""
    if label in ("+", "-"):
        return label
    return ">" if (label == "out") == leaves_start else "<"


def enumerate_labellings(drawing: Drawing) -> list[tuple[str, ...]]:
    """All legal labellings by trying all 4 ** lines: the definition, without any search. For up to ten lines."""
    n = len(drawing.lines)
    if n > 10:
        raise ValueError(f"{n} lines have 4 ** {n} labellings: use label_junctions")
    tried = np.stack(np.unravel_index(np.arange(4**n), (4,) * n), 1)  # places in LABELS
    seen_from_start = np.array(["+", "-", "out", "in"])
    seen_from_end = np.array(["+", "-", "in", "out"])
    legal = np.ones(4**n, dtype=bool)
    number = {frozenset(line): i for i, line in enumerate(drawing.lines)}
    for point, corner in enumerate(junctions(drawing)):
        fits = np.zeros(4**n, dtype=bool)
        for option in CATALOGUE[corner.kind]:
            same = np.ones(4**n, dtype=bool)
            for end, label in zip(corner.ends, option):
                line = number[frozenset((point, end))]
                words = seen_from_start if drawing.lines[line][0] == point else seen_from_end
                same &= words[tried[:, line]] == label
            fits |= same
        legal &= fits
    return sorted(tuple(LABELS[i] for i in labels) for labels in tried[legal].tolist())


def seen_corners() -> dict[str, set[tuple[str, ...]]]:
    """Derive the catalogue of L, arrow and fork as Huffman 1971 does, from corners of three planes seen from all sides.

    Three planes cut space into eight octants. Fill some so that exactly three edges, not in one plane, leave the middle;
    look from each empty octant; note which edges are seen, how they run in the picture, and which of their two faces turn
    towards the eye.
    """
    found: dict[str, set[tuple[str, ...]]] = {"L": set(), "arrow": set(), "fork": set()}
    octants = list(product((1, -1), repeat=3))
    for filled in product((False, True), repeat=8):
        solid = dict(zip(octants, filled))
        edges = [edge for edge in half_axes() if is_edge(solid, *edge)]
        if len(edges) != 3 or len({axis for axis, _ in edges}) != 3 or any(is_pinched(solid, *e) for e in half_axes()):
            continue
        for eye in octants:
            if solid[eye]:
                continue
            angle, label = {}, {}
            for axis, sign in edges:
                seen = seen_edge(solid, eye, axis, sign)
                if seen is not None:
                    place = len(angle)
                    angle[place], label[place] = seen
            if len(angle) >= 2:
                corner = junction(-1, angle)
                options = {tuple(label[end] for end in corner.ends)}
                if corner.kind == "fork":  # it begins anywhere
                    (one,) = options
                    options = {one[i:] + one[:i] for i in range(3)}
                found[corner.kind] |= options
    return found


def half_axes() -> list[tuple[int, int]]:
    return [(axis, sign) for axis in range(3) for sign in (1, -1)]


def around(solid: dict[tuple[int, int, int], bool], axis: int, sign: int) -> dict[tuple[int, int], bool]:
    """Which of the four octants around a half-axis are filled, by their signs on the other two axes."""
    return {octant[:axis] + octant[axis + 1 :]: full for octant, full in solid.items() if octant[axis] == sign}


def is_edge(solid: dict[tuple[int, int, int], bool], axis: int, sign: int) -> bool:
    return sum(around(solid, axis, sign).values()) in (1, 3)


def is_pinched(solid: dict[tuple[int, int, int], bool], axis: int, sign: int) -> bool:
    """Whether two opposite octants of four are filled: bodies that touch in a line."""
    quarters = around(solid, axis, sign)
    return quarters[1, 1] == quarters[-1, -1] != quarters[1, -1] == quarters[-1, 1]


def seen_edge(
    solid: dict[tuple[int, int, int], bool], eye: tuple[int, int, int], axis: int, sign: int
) -> tuple[float, str] | None:
    """Angle in the picture and label of an edge as seen from an octant; None if it is hidden."""
    quarters = around(solid, axis, sign)
    towards = eye[:axis] + eye[axis + 1 :]
    if quarters[towards]:
        return None
    view = np.array(eye) * (1.0, 0.9, 1.1)  # from the corner to the eye: a general direction within the octant
    right = np.cross((0.3, 0.2, 1.0), view)
    up = np.cross(view, right)
    right, up = right / np.linalg.norm(right), up / np.linalg.norm(up)
    edge = sign * np.eye(3)[axis]
    angle = math.atan2(edge @ up, edge @ right)
    if sum(quarters.values()) == 3:
        return angle, "-"
    (body,) = (quarter for quarter, full in quarters.items() if full)
    others = [other for other in range(3) if other != axis]
    # The face across other axis i is seen when the eye is on its outer side; it runs towards the body along the other one.
    seen = [i for i in range(2) if towards[i] == -body[i]]
    if len(seen) == 2:
        return angle, "+"
    along = 1 - seen[0]
    face = body[along] * np.eye(3)[others[along]]
    to_the_right = (edge @ right) * (face @ up) - (edge @ up) * (face @ right) < 0
    return angle, "out" if to_the_right else "in"

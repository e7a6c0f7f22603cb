"""Edges, line drawings, blocks, surfaces and bodies against enumeration, scipy, numpy and the renderer."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage, optimize
from torch.testing import assert_close

from helpers.foundations.early_vision import blocks, drawings, edges, experiments, fitting, labelling, shading
from helpers.foundations.early_vision.blocks import Ball, Box, Camera
from helpers.foundations.early_vision.labelling import CATALOGUE, Drawing, enumerate_labellings, label_junctions

CAMERA, BOX, BALL = experiments.CAMERA, experiments.BOX, experiments.BALL


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- Edges ---


@pytest.mark.parametrize("sigma", [0.8, 1.5, 3.0])
def test_matches_reference(sigma):
    image = noise(40, 33)
    ours = edges.laplacian_of_gaussian(image, sigma)
    expected = ndimage.gaussian_laplace(image.numpy(), sigma, mode="nearest", truncate=6)
    assert_close(ours, torch.from_numpy(expected))
    for down, right in product(range(3), repeat=2):
        ours = edges.smooth(image, sigma, down, right)
        expected = ndimage.gaussian_filter(image.numpy(), sigma, (down, right), mode="nearest", truncate=6)
        assert_close(ours, torch.from_numpy(expected))


def test_a_second_derivative_does_not_see_brightness():
    kernels = [edges.gaussian_kernel(sigma, 2).sum().abs().item() for sigma in (1.0, 2.0, 5.0)]
    assert max(kernels) < 1e-6


def test_zero_crossings_lie_where_a_plane_crosses_zero():
    x, y = torch.meshgrid(torch.arange(9.0), torch.arange(7.0), indexing="xy")
    found = edges.zero_crossings(0.5 * x + y - 3.3)
    assert_close(0.5 * found.places[:, 0] + found.places[:, 1], torch.full((len(found.places),), 3.3))
    assert len(edges.zero_crossings(torch.ones(4, 4)).places) == 0
    steep = edges.zero_crossings(0.5 * x + y - 3.3, threshold=0.6)
    assert len(steep.places) == 7 and steep.slopes.min() > 0.99  # only from row to row


def test_tokens_are_the_eigenvalues_of_the_hessian():
    image, sigma = noise(20, 20), 2.0
    token = edges.tokens(image, sigma)
    parts = {(d, r): edges.smooth(image, sigma, d, r) for d, r in ((2, 0), (1, 1), (0, 2))}
    hessian = torch.stack([parts[2, 0], parts[1, 1], parts[1, 1], parts[0, 2]], -1).reshape(20, 20, 2, 2)
    expected = sigma**2 * torch.linalg.eigvalsh(hessian)
    assert_close(torch.stack([token.strong, token.weak], -1).sort(-1).values, expected)
    assert (token.strong.abs() >= token.weak.abs() - 1e-12).all()


def test_blobs_are_found_with_their_radius():
    image = torch.zeros(96, 96, dtype=torch.float64)
    image[:65, :65] += edges.disc(65, 8)
    image[62:95, 62:95] -= edges.disc(33, 4)
    found = edges.find_blobs(image, [2.0 * 1.1**i for i in range(16)], threshold=0.2)
    found = found[found[:, 3].argsort()]
    assert len(found) == 2
    assert_close(found[:, 2], torch.tensor([4.0, 8.0], dtype=torch.float64), rtol=0.1, atol=0)
    assert_close(found[:, :2], torch.tensor([[78.0, 78.0], [32.0, 32.0]], dtype=torch.float64), atol=0.51, rtol=0)


def test_straight_edges_stay_and_curved_ones_move():
    places = experiments.edge_places([40.0, 40.3], [1.0, 4.0], size=80)
    assert (places - torch.tensor([[40.0], [40.3]])).abs().max() < 0.1
    radii = experiments.disc_radii(10.0, [1.0, 5.0], size=80)
    assert abs(radii[0] - 10) < 0.1 and radii[1] > 11


# --- Line drawings ---


def test_catalogue_follows_from_octants():
    assert labelling.seen_corners() == {kind: CATALOGUE[kind] for kind in ("L", "arrow", "fork")}
    assert {kind: len(options) for kind, options in CATALOGUE.items()} == {"L": 6, "arrow": 3, "fork": 5, "T": 4}


def test_cube_has_four_labellings_and_a_broken_one_none():
    assert label_junctions(drawings.cube()) == enumerate_labellings(drawings.cube())
    assert len(label_junctions(drawings.cube())) == 4
    assert label_junctions(drawings.rubbed_out()) == enumerate_labellings(drawings.rubbed_out()) == []
    assert len(label_junctions(drawings.tribar())) == 4  # impossible, and no junction says so
    kinds = [corner.kind for corner in labelling.junctions(drawings.tribar())]
    assert sorted(set(kinds)) == ["L", "T", "arrow"]


def test_stair_contains_the_true_labelling():
    stair = drawings.stair()
    names = ["ab", "ac", "bd", "cd", "ce", "df", "ef", "eg", "fh", "gh", "gi", "hj", "ij", "bk", "kj"]
    # Outline: arrows with the body on the right; the step's groove is concave, all other inner edges are convex.
    true = dict.fromkeys(names, "+") | {"ef": "-", "ab": "<", "ac": ">", "ce": ">", "eg": ">", "gi": ">", "ij": ">"}
    true |= {"bk": "<", "kj": "<"}
    assert tuple(true[name] for name in names) in label_junctions(stair)


WHEEL = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 0), (4, 1), (4, 2))  # a point joined to three of a ring of four
GRAPHS = (
    ((0, 1), (1, 2), (2, 0)),
    ((0, 1), (1, 2), (2, 3), (3, 0), (0, 2)),
    ((0, 1), (1, 2), (2, 0), (3, 0), (3, 1), (3, 2)),
    WHEEL,
)


@settings(max_examples=25, deadline=None)
@given(graph=st.sampled_from(GRAPHS), seed=st.integers(0, 2**20))
def test_propagation_equals_enumeration_on_random_drawings(graph, seed):
    n = max(max(line) for line in graph) + 1
    points = np.random.default_rng(seed).uniform(-1, 1, (n, 2))
    drawing = Drawing(tuple(map(tuple, points.tolist())), graph)
    try:
        labelling.junctions(drawing)
    except ValueError:
        reject()  # two lines in one, which is refused
    assert label_junctions(drawing) == enumerate_labellings(drawing)


@settings(max_examples=20, deadline=None)
@given(turn=st.floats(0, 6.28), line=st.integers(0, 8), label=st.sampled_from(labelling.LABELS))
def test_turns_do_not_matter_and_knowledge_only_removes(turn, line, label):
    cube = drawings.cube()
    c, s = math.cos(turn), math.sin(turn)
    turned = Drawing(tuple((c * x - s * y, s * x + c * y) for x, y in cube.points), cube.lines)
    everything = label_junctions(cube)
    assert label_junctions(turned) == everything
    assert label_junctions(cube, {line: label}) == [one for one in everything if one[line] == label]


def test_the_filter_loses_no_labelling():
    for drawing in (drawings.cube(), drawings.stair(), drawings.tribar()):
        corners = labelling.junctions(drawing)
        left = labelling.waltz(drawing, corners, labelling.candidates(drawing, corners, {}))
        for point in range(len(corners)):
            used = set()
            for labels in label_junctions(drawing):
                known = labelling.candidates(drawing, corners, dict(enumerate(labels)))
                used |= known[point]
            assert used <= left[point]


# --- Blocks ---


def test_rays_meet_the_box_where_its_planes_are():
    view = blocks.render([BOX, BALL], CAMERA)
    normals, offsets = BOX.planes()
    on_box = view.points[view.body == 1]
    beyond = (on_box @ normals.T - offsets).amax(1)  # the plane that is met, and no other is passed
    assert_close(beyond, torch.zeros_like(beyond), atol=1e-9, rtol=0)
    away = (view.points[view.body == 2] - torch.tensor([BALL.x, BALL.y, BALL.radius], dtype=torch.float64)).norm(dim=1)
    assert_close(away, torch.full_like(away, BALL.radius))
    assert view.points[view.body == 0][:, 2].abs().max() < 1e-9
    assert_close(CAMERA.project(view.points.reshape(-1, 3)).reshape(*CAMERA.size, 2), CAMERA.pixels())
    assert_close(view.normals.norm(dim=-1), torch.ones_like(view.depth))
    facing = (view.normals * -CAMERA.rays(CAMERA.pixels())).sum(-1)
    assert (facing > 0).all()  # what is seen looks at the camera


def test_the_drawing_is_the_outline_of_what_is_rendered():
    drawing, corners = blocks.line_drawing(BOX, CAMERA)
    assert len(drawing.lines) == 9 and len(corners) == 7
    body = blocks.render([BOX], CAMERA).body == 1
    rows, columns = body.nonzero(as_tuple=True)
    points = np.array(drawing.points) * (1, -1)
    assert np.abs(points.min(0) - [columns.min(), rows.min()]).max() < 1
    assert np.abs(points.max(0) - [columns.max(), rows.max()]).max() < 1
    kinds = sorted(corner.kind for corner in labelling.junctions(drawing))
    assert kinds == ["L"] * 3 + ["arrow"] * 3 + ["fork"]
    assert len(label_junctions(drawing)) == 4


def test_nearer_bodies_hide_farther_ones():
    near, far = Box(0, 8, 0.3, 1, 1, 1), Box(0, 10.5, 0.3, 1, 1, 1)
    both, alone = blocks.render([far, near], CAMERA), blocks.render([near], CAMERA)
    assert ((both.body == 2) == (alone.body == 1)).all()
    assert (both.depth <= blocks.render([far], CAMERA).depth).all()


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_a_block_is_recovered_from_its_corners(seed):
    box = experiments.random_box(torch.Generator().manual_seed(seed))
    _, corners = blocks.line_drawing(box, CAMERA)
    assume(len(corners) == 7)
    fit = fitting.fit_box(CAMERA.project(blocks.box_corners(box.numbers()))[corners], corners, CAMERA)
    assert experiments.same_box(fit.numbers, box) < 1e-6


def test_fit_equals_scipy_with_noise():
    _, corners = blocks.line_drawing(BOX, CAMERA)
    seen = CAMERA.project(blocks.box_corners(BOX.numbers()))[corners]
    seen = seen + torch.randn(seen.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def residuals(numbers):
        return (CAMERA.project(blocks.box_corners(torch.from_numpy(numbers))[corners]) - seen).flatten().numpy()

    expected = optimize.least_squares(residuals, BOX.numbers().numpy(), xtol=1e-12, ftol=1e-12)
    fit = fitting.fit_box(seen, corners, CAMERA)
    assert_close(fit.numbers, torch.from_numpy(expected.x), rtol=1e-4, atol=1e-4)
    assert abs(fit.loss - 2 * expected.cost) < 1e-6


def test_without_the_floor_size_is_free():
    _, corners = blocks.line_drawing(BOX, CAMERA)
    jacobian = fitting.free_box_jacobian(BOX.numbers(), corners, CAMERA)
    values = torch.linalg.svdvals(jacobian)
    assert values[-1] < 1e-9 < 1 < values[-2]
    # The free direction: everything k times as far from the camera and k times as large.
    x, y, _, *sides = BOX.numbers().tolist()
    along = torch.tensor([x, y, 0, *sides, -CAMERA.height], dtype=torch.float64)
    assert (jacobian @ along).abs().max() < 1e-9


def test_pose_errors_grow_with_noise():
    errors = experiments.pose_errors([0.0, 1.0], 3, seed=1)
    assert errors[0].max() < 1e-6 and errors[1].min() > 0 and errors[1].max() < 0.2


# --- Surfaces ---


def scene():
    view = blocks.render([BOX, BALL], CAMERA)
    lights = torch.stack([shading.light(a, 70) for a in (0, 90, 180, 270)])
    albedo = 0.5 + 0.5 * noise(*CAMERA.size)
    return view, lights, albedo, torch.stack([blocks.shade(view.normals, light, albedo) for light in lights])


def test_photometric_stereo_returns_normals_and_albedo():
    view, lights, albedo, images = scene()
    normals, found = shading.photometric_stereo(images, lights)
    solved = normals.isfinite().all(-1)
    assert solved.double().mean() > 0.99 and ((images > 0).sum(0) >= 3)[solved].all()
    assert_close(normals[solved], view.normals[solved])
    assert_close(found[solved], albedo[solved])


def test_photometric_stereo_equals_lstsq_with_noise():
    _, lights, _, images = scene()
    images = (images[:, 50:60, 50:60] + 0.01 * noise(4, 10, 10)).clamp(min=0.001)
    normals, albedo = shading.photometric_stereo(images, lights)
    expected = np.linalg.lstsq(lights.numpy(), images.flatten(1).numpy(), rcond=None)[0].T
    assert_close((normals * albedo[..., None]).reshape(-1, 3), torch.from_numpy(expected))


def test_edges_lie_where_the_renderer_put_them():
    view, *_ = scene()
    sketch = shading.edges_of_surfaces(view.depth, view.normals, CAMERA)
    depth, creases = experiments.true_edges([BOX, BALL], CAMERA, view)
    for found, true in ((sketch.depth, depth), (sketch.orientation, creases)):
        assert min(shading.agreement(found, true).values()) > 0.95
    assert not any((a & b).any() for a, b in zip(sketch.depth, sketch.orientation))


def test_labels_of_the_standing_block_are_its_edges():
    drawing, _ = blocks.line_drawing(BOX, CAMERA)
    view = blocks.render([BOX], CAMERA)
    kinds = experiments.kinds_of_lines(drawing, shading.edges_of_surfaces(view.depth, view.normals, CAMERA))
    standing = [labels for labels in label_junctions(drawing) if labels.count("-") == 2]
    expected = [["orientation" if label in "+-" else "depth" for label in labels] for labels in standing]
    assert kinds in expected and kinds.count("depth") == 4


def test_a_plane_has_no_edges():
    camera = Camera(size=(20, 20))
    view = blocks.render([], camera)
    sketch = shading.edges_of_surfaces(view.depth, view.normals, camera)
    assert not any(part.any() for part in (*sketch.depth, *sketch.orientation))
    assert not shading.marked(sketch.depth).any()


def test_edges_of_two_steps():
    """A wall of depth 1, one of depth 2, seen head on: one column of depth edges, nothing else."""
    camera = Camera(size=(6, 8))
    depth = torch.ones(6, 8, dtype=torch.float64)
    depth[:, 4:] = 2
    normals = torch.tensor([0.0, 0, 1], dtype=torch.float64).expand(6, 8, 3)
    sketch = shading.edges_of_surfaces(depth, normals, camera)
    assert sketch.depth[0].nonzero()[:, 1].unique().tolist() == [3] and not sketch.depth[1].any()
    assert shading.marked(sketch.depth).nonzero()[:, 1].unique().tolist() == [3]


def test_a_steep_crease_is_no_edge_of_depth():
    """A wall head on, then one that recedes by more than a tenth of the depth a pixel: one of the two planes predicts well."""
    camera = Camera(size=(6, 8), focal=10.0)
    rays = camera.rays(camera.pixels())
    steep = torch.tensor([math.sin(1.0), 0, math.cos(1.0)], dtype=torch.float64)
    receding = (rays[0, 3] @ steep) / (rays @ steep)  # depth 1 at column 3
    right = torch.arange(8) > 3
    depth = torch.where(right, receding, 1.0)
    normals = torch.where(right[:, None], steep, torch.tensor([0.0, 0, 1], dtype=torch.float64)).expand(6, 8, 3)
    assert depth[0, 4] / depth[0, 3] > 1.1
    sketch = shading.edges_of_surfaces(depth, normals, camera)
    assert not sketch.depth[0].any() and sketch.orientation[0].nonzero()[:, 1].unique().tolist() == [3]


# --- Bodies ---


def test_superquadric_distance_by_hand():
    ellipsoid = torch.tensor([2.0, 1.0, 0.5, 1, 1, 0, 0, 0, 0, 0, 0], dtype=torch.float64)
    ellipsoid[:3] = ellipsoid[:3].log()
    points = torch.tensor([[2.0, 0, 0], [4, 0, 0], [0, 0.5, 0], [0, 0, 1]], dtype=torch.float64)
    distance = fitting.superquadric_distance(ellipsoid, points)
    assert_close(distance, torch.tensor([0.0, 2, -0.5, 0.5], dtype=torch.float64), atol=1e-8, rtol=0)


def test_superquadric_is_recovered_and_equals_scipy():
    generator = torch.Generator().manual_seed(3)
    numbers = experiments.random_superquadric(generator)
    points = fitting.superquadric_points(numbers, 200, generator)
    assert fitting.superquadric_distance(numbers, points).abs().max() < 1e-9
    exact = fitting.fit_superquadric(points)
    assert exact.loss < 1e-15
    assert_close(exact.numbers[:3].sort().values, numbers[:3].sort().values, rtol=1e-5, atol=1e-5)
    assert_close(exact.numbers[8:], numbers[8:], rtol=1e-5, atol=1e-5)
    noisy = points + 0.02 * torch.randn(points.shape, generator=generator, dtype=torch.float64)
    fit = fitting.fit_superquadric(noisy)

    def residuals(x):
        return fitting.superquadric_distance(torch.from_numpy(x), noisy).numpy()

    expected = optimize.least_squares(residuals, fit.numbers.numpy() * 1.01, xtol=1e-12)
    assert abs(fit.loss - 2 * expected.cost) < 1e-5 * fit.loss


def test_rotation_matches_scipy():
    from scipy.spatial.transform import Rotation

    vector = torch.tensor([0.3, -1.0, 0.7], dtype=torch.float64)
    matrix = fitting.rotation(vector)
    assert_close(matrix, torch.from_numpy(Rotation.from_rotvec(vector.numpy()).as_matrix()))
    assert_close(fitting.rotation_vector(matrix), vector)


def test_superquadric_errors_grow_with_noise():
    errors = experiments.superquadric_errors([0.0, 0.05], 1, seed=2, points=120)
    assert errors[0, 0] < 1e-5 < errors[1, 0] < 0.2


# --- Bad input ---


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: edges.gaussian_kernel(0), "sigma = 0, order = 0: sigma is positive"),
        (lambda: edges.gaussian_kernel(1, 3), "order = 3"),
        (lambda: edges.find_blobs(torch.zeros(9, 9), [1.0, 2.0], 0.1), "give three scales or more"),
        (lambda: edges.disc(10, 6), "radius = 6: a disc in a picture of 10 pixels has one below 5"),
        (lambda: label_junctions(Drawing(((0, 0), (1, 0)), ((0, 1),))), "1 lines meet at point 0"),
        (
            lambda: label_junctions(Drawing(((0, 0), (1, 0), (2, 0)), ((0, 1), (1, 2), (0, 2)))),
            "make them one line|lines",
        ),
        (lambda: label_junctions(drawings.cube(), {9: "+"}), r"lines are 0 to 8, labels \+"),
        (lambda: label_junctions(drawings.cube(), {0: "x"}), "known = {0: 'x'}"),
        (lambda: enumerate_labellings(drawings.stair()), "15 lines have 4 .. 15 labellings: use label_junctions"),
        (lambda: Camera(pitch=2.0), "the pitch lies between 0 and π/2"),
        (lambda: Box(width=0), "sides are positive"),
        (lambda: Ball(radius=-1.0), "radius = -1.0: it is positive"),
        (lambda: blocks.render([], Camera(pitch=0.05)), "some rays meet no floor"),
        (lambda: fitting.fit_box(torch.zeros(2, 2), [0, 1], CAMERA), "give a place for each of at least 3 corners"),
        (lambda: fitting.fit_superquadric(torch.zeros(10, 3)), "10 points: a superquadric has 11 numbers"),
        (lambda: shading.photometric_stereo(torch.ones(2, 3, 3), torch.eye(3)[:2]), "2 lamps in 2 independent"),
        (lambda: shading.photometric_stereo(torch.ones(3, 3, 3), torch.ones(3, 3)), "3 lamps in 1 independent"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()

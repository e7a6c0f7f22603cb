"""What the page runs: the rendered scene, a turned photograph, recognition before and after grouping, features against pixels."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.data import ImageSet, photograph, scenes
from helpers.foundations.early_vision.blocks import Ball, Box, Camera, View, box_corners, line_drawing, render
from helpers.foundations.early_vision.edges import disc, laplacian_of_gaussian, step_edge, zero_crossings
from helpers.foundations.early_vision.features import VisualWords, colour_histogram
from helpers.foundations.early_vision.fitting import fit_box, fit_superquadric, superquadric_points
from helpers.foundations.early_vision.grouping import figure_of, normalised_cut
from helpers.foundations.early_vision.hog import hog
from helpers.foundations.early_vision.labelling import Drawing
from helpers.foundations.early_vision.shading import Sketch, marked
from helpers.foundations.early_vision.sift import Features, match, raw_patches, sift
from helpers.training import train
from helpers.training.classification import accuracy, classification_loss

CAMERA, BOX, BALL = Camera(), Box(), Ball(-1.3, 10.6, 0.6)
PHOTOGRAPHS = ("camera", "coffee", "astronaut", "chelsea", "rocket")


def grey(name: str, size: int = 256) -> Float[Tensor, "size size"]:
    """The middle square of a photograph, grey, at that size."""
    image = photograph(name).mean(0)
    h, w = image.shape
    side = min(h, w)
    image = image[(h - side) // 2 :, (w - side) // 2 :][:side, :side]
    return F.interpolate(image[None, None], (size, size), mode="area")[0, 0]


# --- Edges ---------------------------------------------------------------------------------------------------------


def edge_places(places: Sequence[float | int], sigmas: Sequence[float | int], size: int = 160) -> Float[Tensor, "places sigmas"]:
    """Where the zero crossing of a straight step at each place lies, for each sigma, on the middle row."""
    found = torch.zeros(len(places), len(sigmas), dtype=torch.float64)
    for i, place in enumerate(places):
        for j, sigma in enumerate(sigmas):
            row = laplacian_of_gaussian(step_edge(size, place), sigma)[size // 2]
            found[i, j] = zero_crossings(row.expand(2, -1), 1e-6).places[0, 0]
    return found


def disc_radii(radius: float | int, sigmas: Sequence[float | int], size: int = 128) -> Float[Tensor, " sigmas"]:
    """Mean distance of the zero crossings from the middle of a disc, for each sigma."""
    radii = []
    for sigma in sigmas:
        places = zero_crossings(laplacian_of_gaussian(disc(size, radius), sigma), 1e-6).places
        radii.append((places - (size - 1) / 2).norm(dim=1).mean())
    return torch.stack(radii)


# --- Blocks --------------------------------------------------------------------------------------------------------


def random_box(generator: torch.Generator) -> Box:
    """A box near the middle of the picture, turned by any amount of 0.2 to 1.3, with sides of 0.8 to 2."""
    u = torch.rand(6, generator=generator, dtype=torch.float64).tolist()
    return Box(u[0] - 0.5, 8.5 + u[1], 0.2 + 1.1 * u[2], *(0.8 + 1.2 * v for v in u[3:]))


def same_box(numbers: Float[Tensor, " 6"], box: Box) -> float:
    """The largest difference of any number from the box's own; turns count modulo half a turn."""
    gap = numbers - box.numbers()
    gap[2] = (gap[2] + math.pi / 2) % math.pi - math.pi / 2
    return gap.abs().max().item()


def pose_errors(noises: Sequence[float | int], boxes: int, seed: int) -> Float[Tensor, "noises boxes"]:
    """Relative error of the three sides together, for boxes whose seven corners are measured with noise (pixels)."""
    errors = torch.zeros(len(noises), boxes, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    for j in range(boxes):
        box = random_box(generator)
        _, seen = line_drawing(box, CAMERA)
        places = CAMERA.project(box_corners(box.numbers()))[seen]
        noise = torch.randn(places.shape, generator=generator, dtype=torch.float64)
        sides = box.numbers()[3:]
        for i, amount in enumerate(noises):
            found = fit_box(places + amount * noise, seen, CAMERA).numbers[3:]
            errors[i, j] = (found - sides).norm() / sides.norm()
    return errors


def true_jumps(
    bodies: list[Box | Ball], camera: Camera, finer: int = 32
) -> tuple[Float[Tensor, "h v"], Float[Tensor, "u w"]]:
    """The largest change of depth between places `finer` times as dense, from each pixel to the right and downwards.

    On one surface it shrinks as the places come closer; where one hides another it stays.
    """
    pixels, found = camera.pixels(), []
    for axis in (1, 0):
        n = pixels.shape[axis] - 1
        a, b = pixels.narrow(axis, 0, n), pixels.narrow(axis, 1, n)
        depths = [render(bodies, camera, a + (b - a) * i / finer).depth for i in range(finer + 1)]
        found.append(torch.stack(depths).diff(dim=0).abs().amax(0))
    return found[0], found[1]


def true_edges(bodies: list[Box | Ball], camera: Camera, view: View, jump: float | int = 0.1):
    """Edges of depth and of orientation alone as the renderer put them: pairs of bool pictures, to the right and downwards.

    A crease: no jump of depth, and another plane or another body. (A ball has no crease.)
    """
    depth = tuple(gap > jump for gap in true_jumps(bodies, camera))
    round_ = torch.tensor([False, *(isinstance(body, Ball) for body in bodies)])[view.body]
    creases = []
    for axis, broken in zip((1, 0), depth):
        n = broken.shape[axis]
        here, there = ((x.narrow(axis, 0, n), x.narrow(axis, 1, n)) for x in (view.body, view.normals)), round_
        (body, other), (normal, turned) = here
        bends = (normal - turned).abs().amax(-1) > 1e-9
        one_ball = (body == other) & there.narrow(axis, 0, n)
        creases.append(bends & ~one_ball & ~broken)
    return depth, tuple(creases)


def kinds_of_lines(drawing: Drawing, sketch: Sketch) -> list[str]:
    """Of each line of a drawing, whether the 2½-D sketch has an edge of "depth" or of "orientation" along it.

    Eleven places on the middle 60 % of the line vote for the nearer kind of edge.
    """
    marks = [marked(sketch.depth).nonzero(), marked(sketch.orientation).nonzero()]
    kinds = []
    for a, b in drawing.lines:
        start, end = (torch.tensor(drawing.points[i], dtype=torch.float64) for i in (a, b))
        places = start + torch.linspace(0.2, 0.8, 11, dtype=torch.float64)[:, None] * (end - start)
        pixels = places.flip(1) * torch.tensor([-1.0, 1.0], dtype=torch.float64)  # (row, column)
        depth, orientation = (torch.cdist(pixels, mark.double()).amin(1) for mark in marks)
        kinds.append("depth" if (depth < orientation).double().mean() > 0.5 else "orientation")
    return kinds


def random_superquadric(generator: torch.Generator) -> Float[Tensor, " 11"]:
    """Half-axes of 0.5 to 2 in ratios of 1.2 and more, exponents of 0.2 to 1.2, any turn, any place."""
    u = torch.rand(11, generator=generator, dtype=torch.float64)
    sizes = 0.5 * torch.cumprod(1.2 + 0.4 * u[:3], 0)
    order = torch.randperm(3, generator=generator)
    return torch.cat([sizes[order].log(), 0.2 + u[3:5], 3 * (u[5:8] - 0.5), 4 * (u[8:] - 0.5)])


def superquadric_errors(
    noises: Sequence[float | int], bodies: int, seed: int, points: int = 150
) -> Float[Tensor, "noises bodies"]:
    """Largest relative error of the three half-axes (sorted) when points of the surface carry noise."""
    errors = torch.zeros(len(noises), bodies, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    for j in range(bodies):
        numbers = random_superquadric(generator)
        exact = superquadric_points(numbers, points, generator)
        noise = torch.randn(exact.shape, generator=generator, dtype=torch.float64)
        for i, amount in enumerate(noises):
            found = fit_superquadric(exact + amount * noise).numbers
            errors[i, j] = (found[:3].sort().values - numbers[:3].sort().values).exp().sub(1).abs().max()
    return errors


# --- Matching ------------------------------------------------------------------------------------------------------


def turned(image: Float[Tensor, "h w"], degrees: float | int) -> Float[Tensor, "h w"]:
    """A square picture turned counter-clockwise about its middle, with bicubic interpolation; corners reflect the picture."""
    a = math.radians(degrees)
    turn = torch.tensor([[[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0]]])
    grid = F.affine_grid(turn, (1, 1, *image.shape), align_corners=False)
    copy = F.grid_sample(image[None, None], grid, mode="bicubic", padding_mode="reflection", align_corners=False)
    return copy[0, 0].clamp(0, 1)


def turned_places(places: Float[Tensor, "n 2"], degrees: float | int, size: int) -> Float[Tensor, "n 2"]:
    """Where `turned` brings places (column, row) of a picture of `size` pixels."""
    a, middle = math.radians(degrees), (size - 1) / 2
    turn = torch.tensor([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
    return (places - middle) @ turn + middle


class Matching(NamedTuple):
    """Keypoints in the disc that both pictures show, and what becomes of them."""

    keypoints: int
    repeatability: float  # share found again within 2 pixels and a factor √2 of the scale
    matches: int
    precision: float  # share of matches within 3 pixels of the right place
    score: float  # right matches a keypoint


def evaluate_matching(first: Features, second: Features, degrees: float | int, size: int, ratio: float | int = 0.8) -> Matching:
    """Compare keypoints of a picture and its turned copy, whose true correspondence is known."""
    middle = (size - 1) / 2
    near = [(f.places - middle).norm(dim=1) < middle - 8 for f in (first, second)]
    first, second = (Features(*(part[kept] for part in f)) for f, kept in zip((first, second), near))
    gap = torch.cdist(turned_places(first.places, degrees, size), second.places)
    alike = (first.sigmas[:, None] / second.sigmas).log2().abs() < 0.5
    again = ((gap < 2) & alike).any(1).float().mean().item()
    pairs = match(first.descriptors, second.descriptors, ratio)
    right = (gap[pairs[:, 0], pairs[:, 1]] < 3).sum().item()
    n = len(first.places)
    return Matching(n, again, len(pairs), right / max(len(pairs), 1), right / n)


def with_descriptors(features: Features, descriptors: Float[Tensor, "n d"]) -> Features:
    return features._replace(descriptors=descriptors)


def skimage_sift(image: Float[Tensor, "h w"]) -> Features:
    """scikit-image's SIFT."""
    from skimage.feature import SIFT

    detector = SIFT()
    detector.detect_and_extract(image.double().numpy())
    places = torch.from_numpy(detector.positions[:, ::-1].copy()).float()
    sigmas, angles = (torch.from_numpy(x).float() for x in (detector.sigmas, detector.orientations))
    return Features(places, sigmas, angles, torch.from_numpy(detector.descriptors.astype("float32")))


def opencv_sift(image: Float[Tensor, "h w"]) -> Features:
    """OpenCV's SIFT, with pixels in the right place after doubling; its size of a keypoint is twice the sigma."""
    import cv2

    detector = cv2.SIFT_create(enable_precise_upscale=True)
    points, descriptors = detector.detectAndCompute((image * 255).round().byte().numpy(), None)
    places = torch.tensor([point.pt for point in points])
    sigmas = torch.tensor([point.size / 2 for point in points])
    angles = torch.tensor([math.radians(point.angle) for point in points])
    return Features(places, sigmas, angles, torch.from_numpy(descriptors).float())


def matching_table(
    degrees: float | int, photographs: tuple[str, ...] = PHOTOGRAPHS, size: int = 256
) -> dict[str, list[Matching]]:
    """Ours, ours with raw patches (upright, turned), scikit-image's and OpenCV's: an entry a photograph."""
    results: dict[str, list[Matching]] = {}
    for name in photographs:
        image = grey(name, size)
        pictures = image, turned(image, degrees)
        ours = [sift(picture) for picture in pictures]
        ways = {
            "SIFT": ours,
            "raw patches": [with_descriptors(f, raw_patches(p, f)) for f, p in zip(ours, pictures)],
            "raw patches, turned": [with_descriptors(f, raw_patches(p, f, turned=True)) for f, p in zip(ours, pictures)],
            "scikit-image's SIFT": [skimage_sift(picture) for picture in pictures],
            "OpenCV's SIFT": [opencv_sift(picture) for picture in pictures],
        }
        for way, pair in ways.items():
            results.setdefault(way, []).append(evaluate_matching(*pair, degrees, len(image)))
    return results


# --- Recognition ---------------------------------------------------------------------------------------------------


def shapes_anywhere(n: int, seed: int, size: int = 32) -> tuple[ImageSet, Bool[Tensor, "n h w"]]:
    """One plain shape of eight, anywhere, on a textured ground; and where it is."""
    rules = scenes.Rules(
        count=1, shapes=scenes.SHAPES, sizes=("medium", "large"), materials=("plain",), backgrounds=TEXTURED
    )
    made = scenes.make_scenes(n, size, seed=seed, rules=rules)
    return ImageSet(made.images.clamp(0, 1), torch.cat(made.labels), scenes.SHAPES), made.instances > 0


TEXTURED = ("clouds", "stripes", "checks", "brick", "grass", "gravel")


def objects(n: int, seed: int, size: int = 24) -> ImageSet:
    """One shape of eight, up to 0.15 of the picture from its middle, 0.2 to 0.4 of it in radius, any ground and material.

    Shape k comes in four of the eight colours, k to k + 3: colour tells something of the class, and never all.
    """
    names = list(scenes.COLOURS)
    pairs = [(shape, names[(k + i) % 8]) for k, shape in enumerate(scenes.SHAPES) for i in range(4)]
    rules = scenes.Rules(count=1, shapes=scenes.SHAPES, combinations=pairs)
    generator = torch.Generator().manual_seed(seed)
    chance = torch.rand(n, 3, generator=generator).tolist()
    images, labels = [], []
    for i, (a, b, c) in enumerate(chance):
        scene = scenes.sample_scene(seed, rules, index=i)
        (thing,) = scene.things
        place = (0.35 + 0.3 * a, 0.35 + 0.3 * b)
        thing = replace(thing, position=place, size=0.2 + 0.2 * c)
        images.append(scenes.render(replace(scene, things=(thing,)), size).image)
        labels.append(scenes.SHAPES.index(thing.shape))
    return ImageSet(torch.stack(images).clamp(0, 1), torch.tensor(labels), scenes.SHAPES)


def fine_hog(images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
    """HOG with cells of 4 x 4 pixels and blocks of 2 x 2 cells, for pictures of 24 or 32 pixels."""
    return hog(images, pixels_per_cell=4, cells_per_block=2)


def segments(images: Float[Tensor, "n 3 h w"]) -> Bool[Tensor, "n h w"]:
    """The figure in each picture by the normalised cut."""
    return torch.stack([figure_of(normalised_cut(image, radius=5, colour=0.12, space=5).part) for image in images])


def cropped(masks: Bool[Tensor, "n h w"], size: int = 32) -> Float[Tensor, "n 1 size size"]:
    """Each mask's bounding square, enlarged to the same size, with a margin of a tenth; an empty mask stays empty."""
    crops = []
    for mask in masks:
        rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        if len(rows) == 0:
            crops.append(torch.zeros(1, size, size))
            continue
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        half = 0.6 * max(bottom - top, right - left).item()
        y, x = (top + bottom).item() / 2, (left + right).item() / 2
        h, w = mask.shape
        at = (torch.arange(size) + 0.5) / size * 2 - 1
        grid = torch.stack(torch.meshgrid((x + half * at) * 2 / w - 1, (y + half * at) * 2 / h - 1, indexing="xy"), -1)
        crops.append(F.grid_sample(mask[None, None].float(), grid[None], align_corners=False)[0])
    return torch.stack(crops)


def linear_accuracy(
    train: tuple[Float[Tensor, "n d"], Int64[Tensor, " n"]],
    validation: tuple[Float[Tensor, "m d"], Int64[Tensor, " m"]],
    test: tuple[Float[Tensor, "t d"], Int64[Tensor, " t"]],
    strengths: tuple[float, ...] = (1e-3, 1e-2, 1e-1),
) -> float:
    """Test accuracy of logistic regression on standardised features; its regularisation is chosen on the validation split."""
    from sklearn.linear_model import LogisticRegression

    mean, spread = train[0].mean(0), train[0].std(0) + 1e-3
    (x, y), (v, w), (t, u) = (((features - mean) / spread, labels) for features, labels in (train, validation, test))
    best = (-1.0, 0.0)
    for strength in strengths:
        model = LogisticRegression(C=strength, max_iter=200, tol=1e-3).fit(x.numpy(), y.numpy())
        best = max(best, (model.score(v.numpy(), w.numpy()), model.score(t.numpy(), u.numpy())), key=lambda s: s[0])
    return best[1]


def grouping_trial(seed: int, train: int = 100, held: int = 80, more: int = 10) -> dict[str, float]:
    """Test accuracy for the shape, from the whole picture, from the segment, and from the true silhouette.

    HOG describes each; the whole picture also visual words, which do not mind where the shape lies, and either with `more`
    times the training pictures. All share the validation and test pictures. "segments right": the share of test pictures
    whose segment overlaps the shape by more than 0.8 (intersection over union).
    """
    images, masks = shapes_anywhere(2 * held + train * more, seed)
    few = 2 * held + train
    found = segments(images.images[:few])
    overlap = (found & masks[:few]).sum((1, 2)) / (found | masks[:few]).sum((1, 2))
    whole = fine_hog(images.images)
    counts = VisualWords(100, seed).fit(images.images[2 * held : few])(images.images)
    inputs = {
        "whole picture, HOG": whole[:few],
        f"whole picture, HOG, {more} times the training pictures": whole,
        "whole picture, visual words": counts[:few],
        f"whole picture, visual words, {more} times the training pictures": counts,
        "segment": fine_hog(cropped(found)),
        "true silhouette": fine_hog(cropped(masks[:few])),
    }
    results = {name: split_accuracy(x, images.labels[: len(x)], held) for name, x in inputs.items()}
    return {**results, "segments right": (overlap[held : 2 * held] > 0.8).double().mean().item()}


def split_accuracy(features: Float[Tensor, "n d"], labels: Int64[Tensor, " n"], held: int) -> float:
    """The first `held` pictures choose, the next `held` judge, the rest train."""
    parts = (slice(2 * held, None), slice(0, held), slice(held, 2 * held))
    return linear_accuracy(*((features[part], labels[part]) for part in parts))


FEATURES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "pixels": lambda images: images.flatten(1),
    "colour histogram": colour_histogram,
    "HOG": fine_hog,
    "HOG + colour": lambda images: torch.cat([fine_hog(images), colour_histogram(images)], 1),
}


def small_convnet(classes: int) -> nn.Module:
    """Three convolutions, each with a pool that halves the picture, then the mean over places and a linear layer."""
    layers: list[nn.Module] = []
    for before, after in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


def trained_convnet(data: ImageSet, seed: int, steps: int, rate: float) -> nn.Module:
    """The ConvNet after so many steps on these pictures."""
    torch.manual_seed(seed)
    model = small_convnet(len(data.classes))
    columns = (data.images, data.labels)
    batch_size = min(32, len(data))
    train(model, classification_loss, columns, steps, rate=rate, batch_size=batch_size, seed=seed, rise=steps // 10)
    return model


def size_trials(
    sizes: Mapping[int, int], seeds: range, held: int = 300, rates: tuple[float, ...] = (3e-3, 1e-2)
) -> dict[str, Float[Tensor, "seeds sizes"]]:
    """Test accuracies by size of the training set: each feature with a linear classifier, and the ConvNet.

    `sizes` gives for each number of training pictures the ConvNet's steps (of 32 pictures). All see the same pictures of a
    seed. What is chosen is chosen on the same validation pictures: the linear classifiers' strength for each seed and size, the
    ConvNet's learning rate once, with the first seed and the middle size.
    """
    middle = sorted(sizes)[len(sizes) // 2]
    results: dict[str, list[list[float]]] = {}
    rate = 0.0
    for seed in seeds:
        data = objects(max(sizes) + 2 * held, seed)
        validation, test = data.subset(slice(0, held)), data.subset(slice(held, 2 * held))
        words = VisualWords(100, seed).fit(data.images[2 * held : 2 * held + min(sizes)])
        features = {**FEATURES, "visual words + colour": partial(words_and_colour, words)}
        scores: dict[str, list[float]] = {name: [] for name in (*features, "ConvNet")}
        if not rate:
            learnt = data.subset(slice(2 * held, 2 * held + middle))
            tried = {r: trained_convnet(learnt, seed, sizes[middle], r) for r in rates}
            rate = max(tried, key=lambda r: accuracy(tried[r], validation.images, validation.labels))
        for size, steps in sizes.items():
            learnt = data.subset(slice(2 * held, 2 * held + size))
            for name, feature in features.items():
                parts = [(feature(s.images), s.labels) for s in (learnt, validation, test)]
                scores[name].append(linear_accuracy(*parts))
            scores["ConvNet"].append(accuracy(trained_convnet(learnt, seed, steps, rate), test.images, test.labels))
        for name, values in scores.items():
            results.setdefault(name, []).append(values)
    return {name: torch.tensor(values) for name, values in results.items()}


def words_and_colour(words: VisualWords, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
    return torch.cat([words(images), colour_histogram(images)], 1)

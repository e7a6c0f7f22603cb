"""What can be seen without learning: edges, line drawings, surfaces, bodies, groups, details, descriptions of pictures.

`edges`: zero crossings, bars, blobs. `labelling`: line drawings by constraint propagation. `blocks`: a renderer of boxes
and balls. `fitting`: blocks from corners, superquadrics from points. `shading`: normals from lamps, edges of depth and of
orientation. `grouping`: the normalised cut. `sift`, `hog`, `features`: keypoints and whole pictures as vectors.
"""

from helpers.foundations.early_vision.blocks import Ball, Box, Camera, render
from helpers.foundations.early_vision.edges import laplacian_of_gaussian, zero_crossings
from helpers.foundations.early_vision.features import VisualWords, colour_histogram
from helpers.foundations.early_vision.fitting import fit_box, fit_superquadric
from helpers.foundations.early_vision.grouping import normalised_cut
from helpers.foundations.early_vision.hog import hog
from helpers.foundations.early_vision.labelling import label_junctions
from helpers.foundations.early_vision.shading import edges_of_surfaces, photometric_stereo
from helpers.foundations.early_vision.sift import match, sift

__all__ = [
    "Ball",
    "Box",
    "Camera",
    "VisualWords",
    "colour_histogram",
    "edges_of_surfaces",
    "fit_box",
    "fit_superquadric",
    "hog",
    "label_junctions",
    "laplacian_of_gaussian",
    "match",
    "normalised_cut",
    "photometric_stereo",
    "render",
    "sift",
    "zero_crossings",
]

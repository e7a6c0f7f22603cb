"""Data: sets that ship inside packages, sets that are downloaded and checked, sets that are drawn; batches."""

from helpers.data.batches import Batches, batches, once
from helpers.data.downloads import VOC_CLASSES, DataUnavailable, bytes_downloaded, data_folder, load, voc_boxes
from helpers.data.embedded import PHOTOGRAPHS, digits, docstrings, faces, karate_club, mnist, photograph, stereo_pair
from helpers.data.glyphs import FONTS, draw_glyphs, glyphs
from helpers.data.images import ImageSet

__all__ = [
    "FONTS",
    "PHOTOGRAPHS",
    "VOC_CLASSES",
    "Batches",
    "DataUnavailable",
    "ImageSet",
    "batches",
    "bytes_downloaded",
    "data_folder",
    "digits",
    "docstrings",
    "draw_glyphs",
    "faces",
    "glyphs",
    "karate_club",
    "load",
    "mnist",
    "once",
    "photograph",
    "stereo_pair",
    "voc_boxes",
]

"""Segmentation: a class for every pixel.

`unet` has the U-Net, `metrics` the measures of a labelling: confusions with void pixels, mean IoU, boundaries.
"""

from helpers.localization.segmentation.metrics import (
    VOID,
    boundary_f,
    boundary_iou,
    class_iou,
    confusion_matrix,
    inner_boundary,
    mean_boundary_iou,
    mean_iou,
    pixel_accuracy,
)
from helpers.localization.segmentation.unet import UNet

__all__ = [
    "VOID",
    "UNet",
    "boundary_f",
    "boundary_iou",
    "class_iou",
    "confusion_matrix",
    "inner_boundary",
    "mean_boundary_iou",
    "mean_iou",
    "pixel_accuracy",
]

"""Losses for segmentation when nearly all pixels are background, and training on few pixels of each image.

`losses` has weighted cross-entropy, focal loss, soft Dice, soft Jaccard and the Lovász hinge, `metrics` IoU and its relatives,
`pixelnet` hypercolumns with a head that classifies pixels one by one.
"""

from helpers.localization.segmentation_losses.losses import (
    dice_loss,
    focal_loss,
    inverse_frequency,
    jaccard_loss,
    lovasz_gradient,
    lovasz_hinge,
    pixel_cross_entropy,
    prior_logit,
    weighted_cross_entropy,
)
from helpers.localization.segmentation_losses.metrics import best_threshold, dice, dice_of_iou, iou, precision, recall
from helpers.localization.segmentation_losses.pixelnet import PixelNet, hypercolumns, sample_pixels

__all__ = [
    "PixelNet",
    "best_threshold",
    "dice",
    "dice_loss",
    "dice_of_iou",
    "focal_loss",
    "hypercolumns",
    "inverse_frequency",
    "iou",
    "jaccard_loss",
    "lovasz_gradient",
    "lovasz_hinge",
    "pixel_cross_entropy",
    "precision",
    "prior_logit",
    "recall",
    "sample_pixels",
    "weighted_cross_entropy",
]

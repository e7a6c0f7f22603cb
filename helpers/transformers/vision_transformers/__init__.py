"""Transformers that see.

`vit` reads an image as a row of patches.
"""

from helpers.transformers.vision_transformers.vit import (
    ViT,
    attention_distance,
    attention_maps,
    interpolate_positions,
    patches,
    resize,
    vit_b_16,
    vit_b_32,
    vit_h_14,
    vit_l_16,
    vit_l_32,
    vit_s_16,
    vit_small,
    vit_ti_16,
)

__all__ = [
    "ViT",
    "attention_distance",
    "attention_maps",
    "interpolate_positions",
    "patches",
    "resize",
    "vit_b_16",
    "vit_b_32",
    "vit_h_14",
    "vit_l_16",
    "vit_l_32",
    "vit_s_16",
    "vit_small",
    "vit_ti_16",
]

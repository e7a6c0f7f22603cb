"""Transformers that see.

`vit` reads an image as a row of patches; `swin` looks around in
windows, which it shifts.
"""

from helpers.transformers.vision_transformers.swin import (
    Swin,
    WindowAttention,
    attention_cost,
    shift_mask,
    swin_b,
    swin_s,
    swin_small,
    swin_t,
    windows,
)
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
    "Swin",
    "ViT",
    "WindowAttention",
    "attention_cost",
    "attention_distance",
    "attention_maps",
    "interpolate_positions",
    "patches",
    "resize",
    "shift_mask",
    "swin_b",
    "swin_s",
    "swin_small",
    "swin_t",
    "vit_b_16",
    "vit_b_32",
    "vit_h_14",
    "vit_l_16",
    "vit_l_32",
    "vit_s_16",
    "vit_small",
    "vit_ti_16",
    "windows",
]

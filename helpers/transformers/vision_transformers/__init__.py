"""Transformers that see.

`vit` reads an image as a row of patches; `swin` looks around in
windows, which it shifts; `image_gpt` writes images pixel by pixel;
`perceiver` looks at any number of inputs through a few latents.
"""

from helpers.transformers.vision_transformers.image_gpt import (
    ImageGPT,
    bits_per_pixel,
    complete,
    from_transformers,
    igpt_l,
    igpt_m,
    igpt_s,
    igpt_small,
    masked_loss,
)
from helpers.transformers.vision_transformers.perceiver import (
    Perceiver,
    fourier_features,
    grid,
)
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
    "ImageGPT",
    "Perceiver",
    "Swin",
    "ViT",
    "WindowAttention",
    "attention_cost",
    "attention_distance",
    "attention_maps",
    "bits_per_pixel",
    "complete",
    "fourier_features",
    "from_transformers",
    "grid",
    "igpt_l",
    "igpt_m",
    "igpt_s",
    "igpt_small",
    "interpolate_positions",
    "masked_loss",
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

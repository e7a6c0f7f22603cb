"""Attention in space and time.

`plans` says who looks at whom; `timesformer` is the network.
"""

from helpers.video.video_transformers.plans import (
    PLANS,
    Step,
    comparisons,
    neighbourhood,
    reach,
)
from helpers.video.video_transformers.timesformer import (
    TimeSformer,
    from_transformers,
    timesformer_b,
    timesformer_hr,
    timesformer_l,
    timesformer_small,
    token_maps,
)

__all__ = [
    "PLANS",
    "Step",
    "TimeSformer",
    "comparisons",
    "from_transformers",
    "neighbourhood",
    "reach",
    "timesformer_b",
    "timesformer_hr",
    "timesformer_l",
    "timesformer_small",
    "token_maps",
]

"""Convolutions that span time.

`inflate` turns a network for images into one for videos, `i3d` does so
with Inception; `slowfast` sees what slowly and motion fast, `laterals`
carry the one into the other; `trips` are clips that ask which way.
"""

from helpers.video.spacetime_convnets.i3d import (
    InceptionI3d,
    bootstrap,
    from_googlenet,
    i3d_small,
    inception_i3d,
    inception_i3d_flow,
)
from helpers.video.spacetime_convnets.inflate import (
    FramesFirst,
    inflate,
    inflate_weight,
)
from helpers.video.spacetime_convnets.laterals import (
    Lateral,
    pathways,
    slow_places,
)
from helpers.video.spacetime_convnets.slowfast import (
    SlowFast,
    slowfast_r50,
    slowfast_r50_4x16,
    slowfast_r101,
    slowfast_small,
)
from helpers.video.spacetime_convnets.trips import (
    BIG,
    LENGTHS,
    WAYS,
    WHATS,
    Trips,
    make_trips,
    mirrored_trips,
)

__all__ = [
    "BIG",
    "FramesFirst",
    "InceptionI3d",
    "LENGTHS",
    "Lateral",
    "SlowFast",
    "Trips",
    "WAYS",
    "WHATS",
    "bootstrap",
    "from_googlenet",
    "i3d_small",
    "inception_i3d",
    "inception_i3d_flow",
    "inflate",
    "inflate_weight",
    "make_trips",
    "mirrored_trips",
    "pathways",
    "slow_places",
    "slowfast_r101",
    "slowfast_r50",
    "slowfast_r50_4x16",
    "slowfast_small",
]

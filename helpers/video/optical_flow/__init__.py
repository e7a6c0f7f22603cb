"""Where each pixel goes, and two streams that read it.

`flow` finds where pixels go; `two_stream` reads a frame and a stack of
flow; `light` has a third stream, for when flow fails; `clips` reads
videos of the reader's own.
"""

from helpers.video.optical_flow.clips import (
    KINDS,
    VideoFolder,
    count_frames,
    frame_places,
    read_frames,
)
from helpers.video.optical_flow.flow import (
    colour_wheel,
    endpoint_error,
    flow_to_rgb,
    horn_schunck,
    lucas_kanade,
    warp,
)
from helpers.video.optical_flow.light import (
    even_light,
    flicker,
    stack_changes,
)
from helpers.video.optical_flow.two_stream import (
    Streams,
    cnn_m_2048,
    cross_modality,
    fit_svm,
    frame_net_small,
    fuse_average,
    fuse_svm,
    stack_flow,
    stack_trajectories,
    subtract_mean,
    svm_features,
    temporal_network,
)

__all__ = [
    "KINDS",
    "Streams",
    "VideoFolder",
    "cnn_m_2048",
    "colour_wheel",
    "count_frames",
    "cross_modality",
    "endpoint_error",
    "even_light",
    "fit_svm",
    "flicker",
    "flow_to_rgb",
    "frame_net_small",
    "frame_places",
    "fuse_average",
    "fuse_svm",
    "horn_schunck",
    "lucas_kanade",
    "read_frames",
    "stack_changes",
    "stack_flow",
    "stack_trajectories",
    "subtract_mean",
    "svm_features",
    "temporal_network",
    "warp",
]

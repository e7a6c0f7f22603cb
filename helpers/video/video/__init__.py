"""Networks that tell actions from clips.

`flow` finds where pixels go; `two_stream` reads a frame and a stack of
flow; `inflate` and `i3d` let filters span time; `slowfast` sees what
slowly and motion fast; `timesformer` looks around in space and time;
`clips` has what they learn from, `cost` counts multiply-adds.
"""

from helpers.video.video.clips import (
    KINDS,
    VideoFolder,
    count_frames,
    frame_places,
    middle_frames,
    motion_clips,
    read_frames,
)
from helpers.video.video.cost import multiply_adds
from helpers.video.video.flow import (
    colour_wheel,
    endpoint_error,
    flow_to_rgb,
    horn_schunck,
    lucas_kanade,
    warp,
)
from helpers.video.video.i3d import (
    InceptionI3d,
    bootstrap,
    from_googlenet,
    i3d_small,
    inception_i3d,
    inception_i3d_flow,
)
from helpers.video.video.inflate import FramesFirst, inflate, inflate_weight
from helpers.video.video.laterals import Lateral, pathways
from helpers.video.video.plans import (
    PLANS,
    Step,
    comparisons,
    neighbourhood,
    reach,
)
from helpers.video.video.slowfast import (
    SlowFast,
    slowfast_r50,
    slowfast_r50_4x16,
    slowfast_r101,
    slowfast_small,
)
from helpers.video.video.timesformer import (
    TimeSformer,
    from_transformers,
    timesformer_b,
    timesformer_hr,
    timesformer_l,
    timesformer_small,
    token_maps,
)
from helpers.video.video.two_stream import (
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
    two_stream_small,
)

__all__ = [
    "KINDS",
    "PLANS",
    "FramesFirst",
    "InceptionI3d",
    "Lateral",
    "SlowFast",
    "Step",
    "Streams",
    "TimeSformer",
    "VideoFolder",
    "bootstrap",
    "cnn_m_2048",
    "colour_wheel",
    "comparisons",
    "count_frames",
    "cross_modality",
    "endpoint_error",
    "fit_svm",
    "flow_to_rgb",
    "frame_net_small",
    "frame_places",
    "from_googlenet",
    "from_transformers",
    "fuse_average",
    "fuse_svm",
    "horn_schunck",
    "i3d_small",
    "inception_i3d",
    "inception_i3d_flow",
    "inflate",
    "inflate_weight",
    "lucas_kanade",
    "middle_frames",
    "motion_clips",
    "multiply_adds",
    "neighbourhood",
    "pathways",
    "reach",
    "read_frames",
    "slowfast_r101",
    "slowfast_r50",
    "slowfast_r50_4x16",
    "slowfast_small",
    "stack_flow",
    "stack_trajectories",
    "subtract_mean",
    "svm_features",
    "temporal_network",
    "timesformer_b",
    "timesformer_hr",
    "timesformer_l",
    "timesformer_small",
    "token_maps",
    "two_stream_small",
    "warp",
]

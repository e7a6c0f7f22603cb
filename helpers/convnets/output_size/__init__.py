"""The arithmetic of convolutions: sizes, counts, receptive fields, matrices (Dumoulin & Visin 2016, arXiv:1603.07285).

`arithmetic` predicts sizes, parameters and multiply-adds without a tensor; `accounting` adds them up layer by layer;
`running` counts what a network does when it runs, and takes its time;
`fields` says which pixels an output sees; `by_hand` computes convolutions and pooling as their definitions read;
`pooling` has the pools whose windows follow the size of the image;
`layers` has two convolutions that torch has not.
"""

from helpers.convnets.output_size.accounting import (
    ALEXNET,
    VGG16,
    Conv,
    Linear,
    Pool,
    Row,
    as_module,
    layer_table,
    saved_bytes,
    volume_table,
)
from helpers.convnets.output_size.arithmetic import (
    conv_flops,
    conv_multiply_adds,
    conv_output_size,
    conv_parameters,
    conv_transpose_output_size,
    pool_output_size,
)
from helpers.convnets.output_size.by_hand import (
    average_pool_by_hand,
    average_pool_gradient,
    conv2d_by_hand,
    conv_transpose2d_by_hand,
    max_pool_by_hand,
    max_pool_gradient,
    overlap_counts,
    toeplitz_matrix,
)
from helpers.convnets.output_size.fields import Field, input_gradient, receptive_field, union
from helpers.convnets.output_size.layers import CoordConv, DepthwiseSeparable, coordinates
from helpers.convnets.output_size.pooling import (
    FractionalMaxPool,
    adaptive_average_pool,
    adaptive_windows,
    fractional_max_pool,
    fractional_starts,
    global_average_pool,
)
from helpers.convnets.output_size.running import counting, inputs_per_second, latency, multiply_adds

__all__ = [
    "ALEXNET",
    "VGG16",
    "Conv",
    "CoordConv",
    "DepthwiseSeparable",
    "Field",
    "FractionalMaxPool",
    "Linear",
    "Pool",
    "Row",
    "adaptive_average_pool",
    "adaptive_windows",
    "as_module",
    "average_pool_by_hand",
    "average_pool_gradient",
    "conv2d_by_hand",
    "conv_flops",
    "conv_multiply_adds",
    "conv_output_size",
    "conv_parameters",
    "conv_transpose2d_by_hand",
    "conv_transpose_output_size",
    "coordinates",
    "counting",
    "fractional_max_pool",
    "fractional_starts",
    "global_average_pool",
    "input_gradient",
    "inputs_per_second",
    "latency",
    "layer_table",
    "max_pool_by_hand",
    "max_pool_gradient",
    "multiply_adds",
    "overlap_counts",
    "pool_output_size",
    "receptive_field",
    "saved_bytes",
    "toeplitz_matrix",
    "union",
    "volume_table",
]

"""Segmentation: a class for every pixel.

| module | what it gives |
| --- | --- |
| `sliding` | a patch classifier asked about every pixel, and three cheaper ways to the same answers |
| `upsampling` | nearest, bilinear, transposed, sub-pixel; unpooling with remembered places |
| `fcn` | fully convolutional networks: FCN-32s, 16s, 8s on VGG-16; torchvision's on dilated ResNets |
| `segnet` | SegNet: the decoder is told where the maxima were |
| `unet` | U-Net: copies across |
| `deeplab` | atrous convolution, pyramids of rates, DeepLabv3 |
| `road`, `roads` | the road exercise: a listing in torch, painted roads, procedural data |
| `metrics` | confusions with void pixels, mean IoU, boundaries |
"""

from helpers.localization.segmentation.deeplab import (
    ASPP,
    DeepLabHead,
    SmallDeepLab,
    atrous,
    deeplabv3_resnet50,
    insert_zeros,
)
from helpers.localization.segmentation.fcn import (
    FCN,
    ConvolutionalVGG,
    DilatedSegmenter,
    FCNHead,
    as_convolution,
    fcn8s,
    fcn16s,
    fcn32s,
    fcn_resnet50,
    fcn_resnet101,
    fcn_small,
)
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
from helpers.localization.segmentation.road import (
    LISTING,
    RoadHead,
    RoadNet,
    ScoreFirstHead,
    paint_green,
    road_net,
    save_painted,
)
from helpers.localization.segmentation.roads import make_roads
from helpers.localization.segmentation.segnet import SegNet, segnet_small
from helpers.localization.segmentation.sliding import patchwise, shift_and_stitch, slide, with_holes
from helpers.localization.segmentation.unet import UNet
from helpers.localization.segmentation.upsampling import (
    ResizeConvolution,
    SubPixel,
    Transposed,
    bilinear,
    bilinear_kernel,
    nearest,
    pixel_shuffle,
    pool,
    unpool,
)

__all__ = [
    "ASPP",
    "FCN",
    "LISTING",
    "VOID",
    "ConvolutionalVGG",
    "DeepLabHead",
    "DilatedSegmenter",
    "FCNHead",
    "ResizeConvolution",
    "RoadHead",
    "RoadNet",
    "ScoreFirstHead",
    "SegNet",
    "SmallDeepLab",
    "SubPixel",
    "Transposed",
    "UNet",
    "as_convolution",
    "atrous",
    "bilinear",
    "bilinear_kernel",
    "boundary_f",
    "boundary_iou",
    "class_iou",
    "confusion_matrix",
    "deeplabv3_resnet50",
    "fcn16s",
    "fcn32s",
    "fcn8s",
    "fcn_resnet101",
    "fcn_resnet50",
    "fcn_small",
    "inner_boundary",
    "insert_zeros",
    "make_roads",
    "mean_boundary_iou",
    "mean_iou",
    "nearest",
    "paint_green",
    "patchwise",
    "pixel_accuracy",
    "pixel_shuffle",
    "pool",
    "road_net",
    "save_painted",
    "segnet_small",
    "shift_and_stitch",
    "slide",
    "unpool",
    "with_holes",
]

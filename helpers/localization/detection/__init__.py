"""Object detection, from one box to single-stage detectors: what is in an image, and where.

`boxes`, `anchors`, `matching`, `nms`, `roi`, `proposals`, `average_precision` and `errors` are the pieces. A file each has
`localization`, `sliding_window`, `rcnn`, `fast_rcnn`, `rpn` and `faster_rcnn`, `rfcn`, `yolo` and `ssd`, with a network, its
losses and its detections; `backbone` the trunk that they share in the lecture, `base_networks` four families in its place,
`regions` and `interface` what else they do.
"""

from helpers.localization.detection.anchors import (
    anchors_of_maps,
    cell_anchors,
    default_boxes,
    default_scales,
    grid_anchors,
)
from helpers.localization.detection.average_precision import (
    AREAS,
    COCO,
    Evaluation,
    average_precision,
    evaluate_detections,
    match_to_objects,
    precision_recall,
    precision_recall_curve,
)
from helpers.localization.detection.backbone import Classifier, FrozenBatchNorm2d, Trunk, freeze_norms, pretrain
from helpers.localization.detection.base_networks import FAMILIES, BaseNetwork
from helpers.localization.detection.boxes import (
    Detections,
    box_area,
    box_convert,
    box_iou,
    check_boxes,
    clip_boxes_to_image,
    decode_boxes,
    encode_boxes,
    generalized_box_iou,
)
from helpers.localization.detection.errors import KINDS, Errors, sort_errors
from helpers.localization.detection.fast_rcnn import FastRCNN, fast_rcnn_detect, fast_rcnn_losses, fast_rcnn_small
from helpers.localization.detection.faster_rcnn import (
    FasterRCNN,
    faster_rcnn_detect,
    faster_rcnn_losses,
    faster_rcnn_small,
    fasterrcnn_resnet50_fpn,
    proposer_small,
)
from helpers.localization.detection.fpn import FeaturePyramid
from helpers.localization.detection.interface import check_targets, keep_best
from helpers.localization.detection.localization import Localizer, localization_detect, localization_losses
from helpers.localization.detection.matching import hard_negatives, match, sample_balanced
from helpers.localization.detection.nms import batched_nms, nms, nms_steps, soft_nms
from helpers.localization.detection.proposals import (
    FAST,
    QUALITY,
    Strategy,
    random_windows,
    recall,
    selective_search,
    sliding_windows,
)
from helpers.localization.detection.rcnn import RCNN, rcnn_detect, rcnn_losses, warp
from helpers.localization.detection.regions import (
    RegionOutput,
    RegionRules,
    region_detections,
    region_losses,
    sample_regions,
)
from helpers.localization.detection.rfcn import RFCN, PositionSensitiveHead, rfcn_detect, rfcn_losses, rfcn_small
from helpers.localization.detection.roi import ps_roi_pool, roi_align, roi_pool
from helpers.localization.detection.rpn import RPN, RegionProposer, RPNRules, propose, rpn_losses, rpn_proposals
from helpers.localization.detection.sliding_window import (
    SlidingWindow,
    WindowClassifier,
    slide,
    sliding_window_detect,
    sliding_window_losses,
)
from helpers.localization.detection.ssd import SSD, ssd300_vgg16, ssd_detect, ssd_losses, ssd_small
from helpers.localization.detection.yolo import (
    Yolo,
    assign_cells,
    yolo_boxes,
    yolo_detect,
    yolo_losses,
    yolo_small,
    yolo_v1,
)

__all__ = [
    "AREAS",
    "COCO",
    "FAMILIES",
    "FAST",
    "KINDS",
    "QUALITY",
    "RCNN",
    "RFCN",
    "RPN",
    "SSD",
    "BaseNetwork",
    "Classifier",
    "Detections",
    "Errors",
    "Evaluation",
    "FastRCNN",
    "FasterRCNN",
    "FeaturePyramid",
    "FrozenBatchNorm2d",
    "Localizer",
    "PositionSensitiveHead",
    "RPNRules",
    "RegionOutput",
    "RegionProposer",
    "RegionRules",
    "SlidingWindow",
    "Strategy",
    "Trunk",
    "WindowClassifier",
    "Yolo",
    "anchors_of_maps",
    "assign_cells",
    "average_precision",
    "batched_nms",
    "box_area",
    "box_convert",
    "box_iou",
    "cell_anchors",
    "check_boxes",
    "check_targets",
    "clip_boxes_to_image",
    "decode_boxes",
    "default_boxes",
    "default_scales",
    "encode_boxes",
    "evaluate_detections",
    "fast_rcnn_detect",
    "fast_rcnn_losses",
    "fast_rcnn_small",
    "faster_rcnn_detect",
    "faster_rcnn_losses",
    "faster_rcnn_small",
    "fasterrcnn_resnet50_fpn",
    "freeze_norms",
    "generalized_box_iou",
    "grid_anchors",
    "hard_negatives",
    "keep_best",
    "localization_detect",
    "localization_losses",
    "match",
    "match_to_objects",
    "nms",
    "nms_steps",
    "precision_recall",
    "precision_recall_curve",
    "pretrain",
    "propose",
    "proposer_small",
    "ps_roi_pool",
    "random_windows",
    "rcnn_detect",
    "rcnn_losses",
    "recall",
    "region_detections",
    "region_losses",
    "rfcn_detect",
    "rfcn_losses",
    "rfcn_small",
    "roi_align",
    "roi_pool",
    "rpn_losses",
    "rpn_proposals",
    "sample_balanced",
    "sample_regions",
    "selective_search",
    "slide",
    "sliding_window_detect",
    "sliding_window_losses",
    "sliding_windows",
    "soft_nms",
    "sort_errors",
    "ssd300_vgg16",
    "ssd_detect",
    "ssd_losses",
    "ssd_small",
    "warp",
    "yolo_boxes",
    "yolo_detect",
    "yolo_losses",
    "yolo_small",
    "yolo_v1",
]

"""Convolutional networks and detectors at full size against torchvision and timm."""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any, NamedTuple

import timm
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import update_bn
from torchvision import models
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from benchmarks.harness import Pair
from helpers.convnets.architectures.densenet import densenet121
from helpers.convnets.architectures.mobilenet import mobilenet_v2
from helpers.convnets.architectures.resnet import resnet18, resnet50
from helpers.convnets.architectures.vgg import vgg16
from helpers.localization.detection.faster_rcnn import faster_rcnn_detect, faster_rcnn_losses, fasterrcnn_resnet50_fpn
from helpers.localization.detection.ssd import ssd300_vgg16, ssd_detect, ssd_losses

PAIRS = 5  # a call takes up to some seconds
NETWORKS = {resnet50: "resnet50", vgg16: "vgg16", densenet121: "densenet121", mobilenet_v2: "mobilenetv2_100"}
TINY = {resnet18: "resnet18", mobilenet_v2: "mobilenetv2_100"}  # ours, and timm's name
SAME = (
    "The same calls of torch on both sides: what differs from 1 is noise and where the weights lie in memory. timm's VGG writes "
    "its linear layers as convolutions, which are slow on one cell."
)
POOLING = (
    "The layers are torch's on both sides; ours then chooses, pools and suppresses boxes by operations on whole tensors, where "
    "torchvision has compiled loops."
)


class Side(NamedTuple):
    """A network, what it says in evaluation, and its loss in training."""

    network: nn.Module
    answer: Callable[[], Any]
    loss: Callable[[], torch.Tensor]


def pairs(device: torch.device, tiny: bool = False) -> Iterator[Pair]:
    """Forward in evaluation, forward and backward in training, with the same weights on both sides.

    On a CPU small images in single precision, on a GPU usual ones in bfloat16 and channels last; the first
    network compiled too, beside torchvision's: the compiler takes a minute for each.
    """
    large = device.type == "cuda" and not tiny
    batch, image = (64, 224) if large else (2, 64)
    for builder, timms in (TINY if tiny else NETWORKS).items():
        for name in (f"torchvision {builder.__name__}", f"timm {timms}"):
            first = large and name == "torchvision resnet50"
            for compiled in (False, True) if first else (False,):
                what = f"{builder.__name__}, {batch} x {image} x {image}" + ", compiled" * compiled
                sides = partial(classifiers, builder, name, (batch, 3, image, image), device, compiled)
                yield from both_ways(what, name, sides, device, SAME)
    batch, image = (4, 800) if large else (1, 64 if tiny else 128)
    for name in ("fasterrcnn_resnet50_fpn",) if tiny else ("fasterrcnn_resnet50_fpn", "ssd300_vgg16"):
        sides = partial(detectors, name, (batch, 3, image, image), device, (64, 64) if tiny else (512, 1000))
        yield from both_ways(f"{name}, {batch} x {image} x {image}", f"torchvision {name}", sides, device, POOLING)


def both_ways(
    what: str, against: str, sides: Callable[[], tuple[Side, Side]], device: torch.device, reason: str
) -> Iterator[Pair]:
    """Two pairs over networks that are built when the first of them is asked."""
    for how, run in (("forward", answer), ("both ways", gradient)):
        ours, other = (partial(run, sides, which, device) for which in (0, 1))
        yield Pair(f"{what}, {how}", against, ours, other, reason)


def answer(sides: Callable[[], tuple[Side, Side]], which: int, device: torch.device) -> Any:
    side = sides()[which]
    side.network.eval()
    with torch.no_grad(), half_precision(device):
        return side.answer()


def gradient(sides: Callable[[], tuple[Side, Side]], which: int, device: torch.device) -> torch.Tensor:
    """The gradient of the first weights that learn, which depends on all the rest."""
    side = sides()[which]
    side.network.train()
    for module in side.network.modules():
        if isinstance(module, nn.Dropout):
            module.eval()  # the sides would drop other units
    side.network.zero_grad()
    with half_precision(device):
        loss = side.loss()
    loss.backward()
    return next(p.grad for p in side.network.parameters() if p.requires_grad)


def half_precision(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


@lru_cache(maxsize=1)
def classifiers(builder: Callable, name: str, shape: tuple, device: torch.device, compiled: bool) -> tuple[Side, Side]:
    """Ours and the other, which is named as "torchvision resnet50"."""
    images = pictures(shape, device)
    labels = torch.arange(shape[0], device=device)
    source, name = name.split(" ")
    torch.manual_seed(0)
    ours = builder().to(device)
    update_bn([images], ours, device)  # else activations die out or explode in evaluation
    ours.cpu()
    if source == "timm":
        other = timm.create_model(name)
        for theirs, own in zip(other.state_dict().values(), ours.state_dict().values(), strict=True):
            theirs.copy_(own.view_as(theirs))  # the same, in the same order, under other names
    else:
        other = models.get_model(name, weights=None)
        other.load_state_dict(ours.state_dict())
    sides = []
    for network in (ours, other):
        placed(network, device)
        if compiled:
            network.compile()
        answer = partial(network, images)
        sides.append(Side(network, answer, lambda answer=answer: F.cross_entropy(answer(), labels)))
    return tuple(sides)


@lru_cache(maxsize=1)
def detectors(name: str, shape: tuple, device: torch.device, proposals: tuple[int, int]) -> tuple[Side, Side]:
    """Ours and torchvision's, which learn from all that they sample from: so chance has no part.

    Of `proposals`, Faster R-CNN reads the first number in training, the second in evaluation.
    """
    images = pictures(shape, device)
    where = shape[-1] * torch.tensor([[0.1, 0.1, 0.5, 0.6], [0.4, 0.3, 0.9, 0.9]], device=device)
    boxes, labels = [where] * shape[0], [torch.tensor([3, 7], device=device)] * shape[0]
    targets = [dict(boxes=where, labels=label + 1) for label in labels]
    torch.manual_seed(0)
    if name == "ssd300_vgg16":
        detect, losses = partial(ssd_detect, score=0.01, overlap=0.45, most=200), ssd_losses
        ours = ssd300_vgg16()
        other = models.get_model(name, weights=None, weights_backbone=None, num_classes=91)
    else:
        detect, losses, every = faster_rcnn_detect, faster_rcnn_losses, 10**6
        ours = fasterrcnn_resnet50_fpn(min_size=shape[-1])
        ours.rules = ours.rules._replace(count=every)
        ours.rpn.rules = ours.rpn.rules._replace(count=every, after=proposals)
        options = dict(rpn_batch_size_per_image=every, box_batch_size_per_image=every)
        options |= dict(zip(("rpn_post_nms_top_n_train", "rpn_post_nms_top_n_test"), proposals))
        backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, trainable_layers=3)  # frozen norms
        other = models.detection.FasterRCNN(backbone, 91, min_size=shape[-1], **options)
        ours.roi_heads.box_predictor.cls_score.weight.data *= 20  # else nothing is sure enough to be found
    other.load_state_dict(ours.state_dict())
    ours, other = placed(ours, device), placed(other, device)
    side = shape[-1]
    return (
        Side(
            ours,
            lambda: [(one.boxes / side, one.scores, one.labels) for one in detect(ours, images)],
            lambda: sum(losses(ours, images, boxes, labels).values()),
        ),
        Side(
            other,
            lambda: [(one["boxes"] / side, one["scores"], one["labels"] - 1) for one in other([*images])],
            lambda: sum(other([*images], targets).values()),
        ),
    )


def pictures(shape: tuple, device: torch.device) -> torch.Tensor:
    return placed(torch.rand(shape, generator=torch.Generator().manual_seed(0)), device)


def placed(x, device: torch.device):
    """A network or images on the device, on a GPU with channels last."""
    return x.to(device, memory_format=torch.channels_last) if device.type == "cuda" else x.to(device)

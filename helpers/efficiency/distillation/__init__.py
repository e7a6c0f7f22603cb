"""A small network that learns from a large one's answers (Hinton, Vinyals & Dean 2015, arXiv:1503.02531)."""

from helpers.efficiency.distillation.cost import microjoules, size, speed_up
from helpers.efficiency.distillation.crowd import Crowd, each
from helpers.efficiency.distillation.hints import Regressor, attention_loss, attention_map, hint_loss
from helpers.efficiency.distillation.losses import answers, distillation_loss, distilling, hard_loss, soft_loss
from helpers.efficiency.distillation.targets import (
    check_targets,
    ensemble,
    shift_for_share,
    shuffle_wrong,
    smoothed,
    soft_targets,
)

__all__ = [
    "Crowd",
    "Regressor",
    "answers",
    "attention_loss",
    "attention_map",
    "check_targets",
    "distillation_loss",
    "distilling",
    "each",
    "ensemble",
    "hard_loss",
    "hint_loss",
    "microjoules",
    "shift_for_share",
    "shuffle_wrong",
    "size",
    "smoothed",
    "soft_loss",
    "soft_targets",
    "speed_up",
]

"""Updates, the loop that repeats them, and what goes around them: schedules, clipping, checkpoints, more processes."""

from helpers.training.checkpoints import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
from helpers.training.distributed import distributed, gather, is_main, prepare, rank, unwrap, world_size
from helpers.training.history import History, Metrics, tally
from helpers.training.loop import Batch, Loss, Update, evaluate, evaluation_mode, fit, gradient_update
from helpers.training.recipe import train
from helpers.training.schedules import (
    Schedule,
    constant,
    cosine_decay,
    exponential_decay,
    inverse_time_decay,
    linear_decay,
    scheduled,
    step_decay,
    warmup,
)
from helpers.training.wrappers import (
    accumulated_update,
    autocast,
    average_of,
    averaged,
    clipped,
    float16_update,
    move_average,
)

__all__ = [
    "Batch",
    "Checkpoint",
    "CheckpointError",
    "History",
    "Loss",
    "Metrics",
    "Schedule",
    "Update",
    "accumulated_update",
    "autocast",
    "average_of",
    "averaged",
    "clipped",
    "constant",
    "cosine_decay",
    "distributed",
    "evaluate",
    "evaluation_mode",
    "exponential_decay",
    "fit",
    "float16_update",
    "gather",
    "gradient_update",
    "inverse_time_decay",
    "is_main",
    "linear_decay",
    "load_checkpoint",
    "move_average",
    "prepare",
    "rank",
    "save_checkpoint",
    "scheduled",
    "step_decay",
    "tally",
    "train",
    "unwrap",
    "warmup",
    "world_size",
]

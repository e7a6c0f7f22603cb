"""Classifiers: the loss that they are trained with and the share that they get right, for every chapter."""

import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from helpers.data.batches import once
from helpers.training.history import Metrics, tally
from helpers.training.loop import Batch, evaluate


def classification_loss(model: nn.Module, batch: Batch) -> tuple[Float[Tensor, ""], Metrics]:
    """The cross-entropy of the logits [b k] of a batch (inputs, labels), and how many are right, as "accuracy"."""
    inputs, labels = batch
    logits = model(inputs)
    return F.cross_entropy(logits, labels), {"accuracy": tally(logits.argmax(1) == labels)}


def accuracy(model: nn.Module, inputs: Float[Tensor, "n *shape"], labels: Int64[Tensor, " n"]) -> float:
    """The fraction that `model` classifies rightly in evaluation mode, 500 at a time."""
    return evaluate(model, classification_loss, once(inputs, labels, batch_size=500))["accuracy"]

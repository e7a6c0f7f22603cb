import pytest
import torch
from torch import nn

from helpers.training.classification import accuracy, classification_loss

LOGITS = torch.tensor([[2.0, 0.0, 1.0], [0.0, 1.0, 3.0], [1.0, 4.0, 0.0], [5.0, 0.0, 0.0]])
LABELS = torch.tensor([0, 1, 1, 0])


def test_loss_is_the_mean_and_right_answers_are_counted():
    value, metrics = classification_loss(nn.Identity(), (LOGITS, LABELS))
    by_hand = -(LOGITS.exp() / LOGITS.exp().sum(1, keepdim=True))[range(4), LABELS].log().mean()
    torch.testing.assert_close(value, by_hand)
    total, count = metrics["accuracy"]
    assert (int(total), count) == (3, 4)


def test_accuracy_is_that_of_evaluation_over_all_parts():
    inputs, labels = LOGITS.repeat(400, 1), LABELS.repeat(400)  # four parts of 500, the last of 100
    assert accuracy(nn.Identity(), inputs, labels) == pytest.approx(0.75)
    model = nn.Sequential(nn.Dropout(0.999), nn.Identity()).train()
    assert accuracy(model, inputs, labels) == pytest.approx(0.75) and model.training

"""A linear probe: a softmax classifier on features that stay as they are, solved to its minimum."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from helpers.foundations.linear_classifiers.losses import check_labels, softmax_loss


def linear_probe(
    features: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    *,
    l2: float | int = 1e-3,
    classes: int | None = None,
    iterations: int = 1000,
) -> nn.Linear:
    """The linear layer with the lowest softmax loss plus l2 / 2 · Σ W².

    That sum is convex, with one best W (and b up to a number that is added
    to all of it); L-BFGS finds it, in float64. It is scikit-learn's `LogisticRegression`
    with C = 1 / (n · l2). The layer comes back in the features' dtype, on
    their device. `classes` is by default one more than the largest label.
    Raises `ValueError` for features that are not finite, labels that fit
    neither them nor the classes, and an `l2` that is not above 0: without
    it, features that can be separated have no minimum.
    """
    check_features(features, labels)
    classes = int(labels.max()) + 1 if classes is None else classes
    check_labels(labels, classes)
    if classes < 2:
        raise ValueError(f"classes = {classes}: a probe tells 2 or more apart")
    if not 0 < l2 < float("inf"):
        raise ValueError(f"l2 = {l2}: it is above 0, often 1e-3")

    x = features.detach().double()
    W = x.new_zeros(classes, x.shape[1], requires_grad=True)
    b = x.new_zeros(classes, requires_grad=True)
    method = torch.optim.LBFGS(
        [W, b],
        max_iter=iterations,
        tolerance_grad=1e-8,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        method.zero_grad()
        loss = softmax_loss(x @ W.T + b, labels) + l2 / 2 * W.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        method.step(closure)
    layer = nn.Linear(*W.T.shape, dtype=features.dtype, device=features.device)
    with torch.no_grad():
        layer.weight.copy_(W)
        layer.bias.copy_(b)
    return layer.eval()


def check_features(features: Tensor, labels: Tensor) -> None:
    """Refuse features and labels that are not one row and one number each."""
    if features.ndim != 2 or labels.shape != features.shape[:1] or not len(labels):
        raise ValueError(
            f"features of shape {list(features.shape)}, labels of shape "
            f"{list(labels.shape)}: give [n d] and [n], with n at least 1"
        )
    if not features.isfinite().all():
        count = int((~features.isfinite()).sum())
        raise ValueError(f"{count} features are not finite: mend them first")

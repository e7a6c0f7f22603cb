"""One net, relu(x W1) W2 with a mean squared error, trained by gradient descent: the same steps said in six ways.

Each function returns the loss before every step and the weights after the last one. After the ladder of PyTorch examples
(NumPy, tensors, autograd, `nn.Module`) that courses on deep learning use, and TensorFlow 1's way between them.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from helpers.foundations.frameworks.differentiation import gradients
from helpers.foundations.frameworks.graph import (
    Graph,
    Session,
    assign,
    group,
    mean,
    placeholder,
    relu,
    square,
    variable,
)
from helpers.foundations.frameworks.wrapper import Dense, Sequential

Array = np.ndarray


def train_numpy(x, t, w1, w2, rate, steps):
    """Arrays, and gradients by hand."""
    losses = []
    for _ in range(steps):
        h = x @ w1
        a = np.maximum(h, 0)
        y = a @ w2
        losses.append(np.mean((y - t) ** 2))
        dy = 2 * (y - t) / y.size
        dw2 = a.T @ dy
        dh = (dy @ w2.T) * (h > 0)
        dw1 = x.T @ dh
        w1, w2 = w1 - rate * dw1, w2 - rate * dw2
    return losses, (w1, w2)


def train_tensors(x, t, w1, w2, rate, steps):
    """The same by torch's tensors: other names, and any device."""
    losses = []
    for _ in range(steps):
        h = x.mm(w1)
        a = h.clamp(min=0)
        y = a.mm(w2)
        losses.append(((y - t) ** 2).mean().item())
        dy = 2 * (y - t) / y.numel()
        dw2 = a.t().mm(dy)
        dh = dy.mm(w2.t()) * (h > 0)
        dw1 = x.t().mm(dh)
        w1, w2 = w1 - rate * dw1, w2 - rate * dw2
    return losses, (w1, w2)


def train_autograd(x, t, w1, w2, rate, steps):
    """The forward pass alone: torch records it and goes back."""
    w1, w2 = (w.clone().requires_grad_() for w in (w1, w2))
    losses = []
    for _ in range(steps):
        y = x.mm(w1).clamp(min=0).mm(w2)
        loss = ((y - t) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            for w in (w1, w2):
                w -= rate * w.grad
                w.grad = None
        losses.append(loss.item())
    return losses, (w1.detach(), w2.detach())


class TwoLayer(nn.Module):
    """relu(x W1) W2 as a module that owns its weights."""

    def __init__(self, w1: Float[Tensor, "d hidden"], w2: Float[Tensor, "hidden k"]) -> None:
        super().__init__()
        self.w1, self.w2 = nn.Parameter(w1.clone()), nn.Parameter(w2.clone())

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        return (x @ self.w1).relu() @ self.w2


def train_module(x, t, w1, w2, rate, steps):
    """Layers that own weights, and an optimizer that steps."""
    model = TwoLayer(w1, w2)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    losses = []
    for _ in range(steps):
        loss = nn.functional.mse_loss(model(x), t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, (model.w1.detach(), model.w2.detach())


def two_layer_graph(w1, w2, rate, batch=None):
    """Say the graph: forward pass, gradients, updates, none run."""
    with Graph() as graph:
        x = placeholder("x", (batch, len(w1)))
        t = placeholder("t", (batch, w2.shape[1]))
        W1, W2 = variable(w1, "W1"), variable(w2, "W2")
        y = relu(x @ W1, "a") @ W2
        loss = mean(square(y - t), "loss")
        g1, g2 = gradients(loss, [W1, W2])
        new1 = assign(W1, W1 - g1 * rate, "new_W1")
        new2 = assign(W2, W2 - g2 * rate, "new_W2")
        group(new1, new2, name="updates")
    return graph


def train_graph(x, t, w1, w2, rate, steps):
    """Define, then run."""
    session = Session(two_layer_graph(w1, w2, rate))
    losses = []
    for _ in range(steps):
        feed = {"x": x, "t": t}
        loss, _ = session.run(["loss", "updates"], feed)
        losses.append(loss)
    return losses, (session.variables["W1"], session.variables["W2"])


def train_wrapper(x, t, w1, w2, rate, steps):
    """Name the layers, the loss and the rate; no loop in sight."""
    model = Sequential([Dense(w1.shape[1], "relu", use_bias=False),
                        Dense(w2.shape[1], use_bias=False)])
    model.compile(optimizer="sgd", learning_rate=rate, loss="mse")
    model.build(x)
    model.set_weights([w1, w2])
    history = model.fit(x, t, batch_size=len(x), epochs=steps)
    return history["loss"], tuple(model.get_weights())

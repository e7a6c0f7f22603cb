"""Sequential, compile, fit: a high-level wrapper in the manner of Keras (Chollet 2015), over torch."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
LOSSES = {"mse": F.mse_loss, "crossentropy": F.cross_entropy}
ACTIVATIONS = {None: nn.Identity, "relu": nn.ReLU, "tanh": nn.Tanh}


class Dense(nn.Module):
    """activation(x W + b); the sizes of W come from the first input."""

    def __init__(self, units, activation=None, use_bias=True):
        super().__init__()
        lookup("activation", activation, ACTIVATIONS)
        self.linear = nn.LazyLinear(units, bias=use_bias)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        return self.activation(self.linear(x))


class Sequential(nn.Sequential):
    """Layers one after another, and the loop that trains them."""

    def __init__(self, layers):
        super().__init__(*layers)
        self.optimizer = None

    def build(self, x):
        """Give the layers their sizes."""
        self.to(x.device, x.dtype)
        with torch.no_grad():
            self(x[:1])

    def compile(self, optimizer="sgd", learning_rate=0.01, loss="mse"):
        """Choose how `fit` trains, by name."""
        self.method = lookup("optimizer", optimizer, OPTIMIZERS)
        self.loss = lookup("loss", loss, LOSSES)
        self.learning_rate = learning_rate

    def fit(self, x, y, batch_size=32, epochs=1):
        """Train in the order of the data; the mean loss by epoch."""
        if not hasattr(self, "method"):
            raise ValueError("fit before compile: call model.compile first")
        if len(x) != len(y):
            raise ValueError(f"{len(x)} inputs, {len(y)} targets: one each")
        if any(map(nn.parameter.is_lazy, self.parameters())):
            self.build(x)
        optimizer = self.optimizer or self.method(
            self.parameters(), lr=self.learning_rate)
        self.optimizer = optimizer
        history = {"loss": []}
        for _ in range(epochs):
            total = 0.0
            for xs, ys in zip(x.split(batch_size), y.split(batch_size)):
                loss = self.loss(self(xs), ys)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() * len(xs)
            history["loss"].append(total / len(x))
        return history

    def predict(self, x):
        with torch.no_grad():
            return self(x)

    def get_weights(self):
        """Weights as Keras has them: kernels [in out], then biases."""
        return [p.detach().t().clone() for p in self.parameters()]

    def set_weights(self, weights):
        with torch.no_grad():
            for p, w in zip(self.parameters(), weights, strict=True):
                p.copy_(w.t())


def lookup(what, name, known):
    """Find a setting by its name."""
    if name not in known:
        choices = ", ".join(map(repr, known))
        raise ValueError(f"{what} = {name!r}: choose one of {choices}")
    return known[name]

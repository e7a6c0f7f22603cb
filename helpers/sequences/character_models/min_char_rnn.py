"""A character model in plain NumPy with its gradients written out, after Karpathy's min-char-rnn (2015).

And the same network in torch, where autograd finds the same gradients.
"""


import numpy as np
import torch
from jaxtyping import Float64, Int
from torch import nn

from helpers.sequences.character_models.recurrent import CharacterRNN

Array = np.ndarray
Weights = dict[str, Array]
State = Float64[Array, " h"]


class MinCharRNN:
    """h[t] = tanh(W_xh x[t] + W_hh h[t-1] + b_h), logits W_hy h[t] + b_y.

    x[t] is one-hot, so W_xh x[t] is a column. Weights start at 0.01 times
    a normal draw: the logits are almost 0, and the loss almost ln V.
    """

    def __init__(self, vocab: int, hidden: int, *, seed: int = 0) -> None:
        if vocab < 1 or hidden < 1:
            raise ValueError(
                f"vocab = {vocab}, hidden = {hidden}: both at least 1"
            )
        draw = np.random.default_rng(seed).standard_normal
        self.weights: Weights = {
            "W_xh": 0.01 * draw((hidden, vocab)),
            "W_hh": 0.01 * draw((hidden, hidden)),
            "W_hy": 0.01 * draw((vocab, hidden)),
            "b_h": np.zeros(hidden),
            "b_y": np.zeros(vocab),
        }
        self.sums = {name: np.zeros_like(W) for name, W in self.weights.items()}

    def forward(
        self, x: Int[Array, " t"], h: State
    ) -> tuple[Float64[Array, "t h"], Float64[Array, "t k"]]:
        """States and probabilities of the next character, step by step."""
        W_xh, W_hh, W_hy, b_h, b_y = self.weights.values()
        states = []
        for character in x:
            h = np.tanh(W_xh[:, character] + W_hh @ h + b_h)
            states.append(h)
        H = np.array(states)
        logits = H @ W_hy.T + b_y
        p = np.exp(logits - logits.max(1, keepdims=True))
        return H, p / p.sum(1, keepdims=True)

    def gradients(
        self, x: Int[Array, " t"], y: Int[Array, " t"], h: State
    ) -> tuple[float, Weights, State]:
        """Loss in nats per character, its gradients, and the last state."""
        if not len(x) == len(y) > 0:
            raise ValueError(
                f"{len(x)} characters and {len(y)} next ones: as many, and some"
            )
        H, p = self.forward(x, h)
        W_hh, W_hy = self.weights["W_hh"], self.weights["W_hy"]
        steps = np.arange(len(x))
        loss = -np.log(p[steps, y]).mean()
        g = {name: np.zeros_like(W) for name, W in self.weights.items()}
        dlogits = p.copy()
        dlogits[steps, y] -= 1  # softmax minus one-hot
        dlogits /= len(x)
        g["W_hy"], g["b_y"] = dlogits.T @ H, dlogits.sum(0)
        dH = dlogits @ W_hy
        later = np.zeros_like(h)  # what arrives from step t + 1
        for t in reversed(steps):
            da = (dH[t] + later) * (1 - H[t] ** 2)  # through the tanh
            before = H[t - 1] if t else h
            g["W_xh"][:, x[t]] += da
            g["W_hh"] += np.outer(da, before)
            g["b_h"] += da
            later = W_hh.T @ da
        return loss, g, H[-1]

    def adagrad(self, gradients: Weights, lr: float = 0.1) -> None:
        """Clip every entry to ± 1, then AdaGrad (Duchi et al. 2011)."""
        for name, W in self.weights.items():
            g = gradients[name].clip(-1, 1)
            self.sums[name] += g**2
            W -= lr * g / np.sqrt(self.sums[name] + 1e-8)

    def train(
        self,
        codes: Int[Array, " n"],
        steps: int,
        *,
        length: int = 25,
        lr: float = 0.1,
        start: int = 0,
    ) -> Float64[Array, " steps"]:
        """Read `length` characters a step, the state carried along.

        `start` counts the steps that were made before. Returns the losses.
        """
        if not 1 <= length < len(codes):
            raise ValueError(
                f"length = {length}: 1 to {len(codes) - 1} for this text"
            )
        vocab = len(self.weights["b_y"])
        if not 0 <= codes.min() <= codes.max() < vocab:
            raise ValueError(
                f"codes from {codes.min()} to {codes.max()}: this network "
                f"has vocab = {vocab}"
            )
        per_pass, losses = (len(codes) - 1) // length, []
        h = getattr(self, "h", np.zeros(len(self.weights["b_h"])))
        for step in range(start, start + steps):
            at = step % per_pass * length
            h = h if at else np.zeros_like(h)  # the text begins again
            x = codes[at : at + length + 1]
            loss, g, h = self.gradients(x[:-1], x[1:], h)
            self.adagrad(g, lr)
            losses.append(loss)
        self.h = h
        return np.array(losses)


def as_torch(model: MinCharRNN) -> CharacterRNN:
    """The same network, in float64: one-hot embedding, `nn.RNN`, head."""
    hidden, vocab = model.weights["W_xh"].shape
    net = CharacterRNN(nn.RNN, vocab=vocab, dim=vocab, hidden=hidden).double()
    W_xh, W_hh, W_hy, b_h, b_y = map(torch.from_numpy, model.weights.values())
    targets = {
        net.embedding.weight: torch.eye(vocab),
        net.net.weight_ih_l0: W_xh,
        net.net.weight_hh_l0: W_hh,
        net.net.bias_ih_l0: b_h,
        net.net.bias_hh_l0: torch.zeros(hidden),
        net.head.weight: W_hy,
        net.head.bias: b_y,
    }
    with torch.no_grad():
        for parameter, value in targets.items():
            parameter.copy_(value)
    net.embedding.weight.requires_grad_(False)
    return net

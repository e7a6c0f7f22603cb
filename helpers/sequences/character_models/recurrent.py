"""A character language model over any recurrent net with torch's constructor words and return values."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Float, Int64
from torch import Tensor, nn


class CharacterRNN(nn.Module):
    """Embedding, recurrent net, linear head: logits of the next character.

    `net` makes the recurrent part, as in `net=LSTM` or
    `net=torch.nn.GRU`: it is called with `input_size`, `hidden_size`,
    `num_layers` and `batch_first=True`. The state that `forward` returns
    is all that the net remembers; None stands for zeros.
    """

    def __init__(
        self,
        net: Callable[..., nn.Module],
        *,
        vocab: int,
        dim: int,
        hidden: int,
        depth: int = 1,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, dim)
        self.net = net(
            input_size=dim,
            hidden_size=hidden,
            num_layers=depth,
            batch_first=True,
        )
        self.head = nn.Linear(hidden, vocab)

    def forward(
        self, x: Int64[Tensor, "b t"], state: Any = None
    ) -> tuple[Float[Tensor, "b t k"], Any]:
        h, state = self.net(self.embedding(x), state)  # [b t hidden]
        return self.head(h), state

    def activations(
        self, x: Int64[Tensor, "b t"]
    ) -> Float[Tensor, "b t hidden"]:
        """The output of the recurrent net at every character."""
        return self.net(self.embedding(x))[0]

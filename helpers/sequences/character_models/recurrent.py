"""A character language model over any recurrent net with torch's constructor words and return values."""

from collections.abc import Callable
from typing import Any

import torch
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


@torch.no_grad()
def cell_states(
    model: CharacterRNN, codes: Int64[Tensor, " t"], *, rows: int = 16
) -> Float[Tensor, "t_ hidden"]:
    """tanh c of an LSTM of one layer, at every character that it reads.

    The text is cut into `rows` of equal length, read side by side; what is
    left over at the end is left out. Raises `ValueError` for another net
    and for a text shorter than `rows`.
    """
    if getattr(model.net, "gates", None) != 4 or model.net.num_layers != 1:
        raise ValueError(
            f"the net is {model.net}: cells are those of "
            "helpers.sequences.rnn_lstm.LSTM with one layer"
        )
    if not 1 <= rows <= len(codes):
        raise ValueError(f"rows = {rows}: 1 to {len(codes)} for this text")
    x = model.embedding(codes[: len(codes) // rows * rows].view(rows, -1))
    h = c = x.new_zeros(rows, model.net.hidden_size)
    cells = []
    for t in range(x.shape[1]):
        h, c = model.net.step(x[:, t], (h, c))
        cells.append(c.tanh())
    return torch.stack(cells, 1).flatten(0, 1)

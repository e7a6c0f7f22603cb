"""An embedding: the first layer of a network that reads words (Bengio et al. 2003)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class Embedding(nn.Module):
    """A row of `dim` numbers for each of `vocab` words; a look-up.

    What a linear layer without bias makes of one-hot vectors, without the
    product. Takes the state dict of `torch.nn.Embedding`. Raises
    `ValueError` for numbers below 1 and for words that have no row (on a
    GPU torch itself stops at these).
    """

    def __init__(self, *, vocab: int, dim: int) -> None:
        super().__init__()
        for name, number in {"vocab": vocab, "dim": dim}.items():
            if number < 1:
                raise ValueError(f"{name} = {number}: it is at least 1")
        self.weight = nn.Parameter(torch.randn(vocab, dim))

    def forward(self, words: Int[Tensor, "..."]) -> Float[Tensor, "... d"]:
        check_words(words, len(self.weight))
        return self.weight[words.long()]


def check_words(words: Tensor, vocab: int) -> None:
    """Refuse words that are no row numbers; values are read on a CPU."""
    if words.is_floating_point() or words.dtype == torch.bool:
        raise ValueError(f"words of {words.dtype}: they are row numbers, as words.long()")
    if not words.numel() or not words.is_cpu or torch.compiler.is_compiling():
        return
    low, high = (int(end) for end in words.aminmax())
    if low < 0 or high >= vocab:
        raise ValueError(f"words from {low} to {high}: {vocab} rows are 0 to {vocab - 1}")

"""Counted language models: n-grams with Witten-Bell smoothing (Witten & Bell 1991), the baseline of every neural one."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor


class NGram:
    """Guess the next character from the `order - 1` before it, by counts.

    A context h that was followed n times, by T different characters, mixes
    its own counts with the guess of the context h' that is one shorter:
    p(c, given h) = (n(h c) + T(h) p(c, given h')) / (n(h) + T(h)), down to
    p = 1/V. New characters are likely after contexts that have
    been followed by many (Witten & Bell 1991). Raises `ValueError` for an
    order that is not 1 to 9 (a context is one integer of 64 bits), for
    codes outside 0 … V - 1, and for a question before `fit`.
    """

    def __init__(self, order: int, vocab: int) -> None:
        if not 1 <= order <= 9:
            raise ValueError(f"order = {order}: an n-gram has 1 to 9 characters")
        if not 1 <= vocab <= 128:
            raise ValueError(f"vocab = {vocab}: 1 to 128 characters fit")
        self.order, self.vocab = order, vocab
        self.grams: list | None = None

    def fit(self, codes: Int64[Tensor, " t"]) -> "NGram":
        """Count every gram of length 1 to `order`."""
        self.check(codes)
        if len(codes) < self.order:
            raise ValueError(
                f"a text of {len(codes)} characters has no "
                f"{self.order}-gram: give more text or lower the order"
            )
        self.grams, self.contexts = [], []
        for length in range(self.order):
            whole = self.numbers(codes, length + 1)
            grams, n = whole.unique(return_counts=True)
            contexts, types = (grams // self.vocab).unique(return_counts=True)
            owner = torch.searchsorted(contexts, grams // self.vocab)
            total = torch.zeros_like(contexts).index_add_(0, owner, n)
            self.grams.append((grams, n))
            self.contexts.append((contexts, total, types))
        return self

    def check(self, codes):
        """Refuse codes that would be counted as others."""
        if len(codes) and not 0 <= codes.min() <= codes.max() < self.vocab:
            raise ValueError(
                f"codes from {codes.min()} to {codes.max()}: with "
                f"vocab = {self.vocab} they are 0 … {self.vocab - 1}"
            )

    def check_question(self, codes):
        """The same, and refuse to guess before anything was counted."""
        if self.grams is None:
            raise ValueError("nothing was counted: call fit(codes) first")
        self.check(codes)

    def numbers(self, codes, length):
        """Each run of `length` characters as one integer in base V."""
        base = powers(self.vocab, length, codes.device)
        return (codes.unfold(0, length, 1) * base).sum(1)

    def mix(self, p, grams, length):
        """One line of the recursion: from contexts of length - 1."""
        n = look_up(grams, *self.grams[length])
        context = grams // self.vocab
        contexts, total, types = self.contexts[length]
        total = look_up(context, contexts, total)
        types = look_up(context, contexts, types)
        seen = total > 0
        return torch.where(
            seen, (n + types * p) / (total + types).clamp(min=1), p
        )

    def log2_probabilities(
        self, codes: Int64[Tensor, " t"]
    ) -> Float[Tensor, " t"]:
        """log2 p(c) of every character, given all those before it."""
        self.check_question(codes)
        p = torch.full_like(codes, 1 / self.vocab, dtype=torch.float64)
        for length in range(min(self.order, len(codes))):
            grams = self.numbers(codes, length + 1)
            p[length:] = self.mix(p[length:], grams, length)
        return p.log2()

    def bits_per_character(self, codes: Int64[Tensor, " t"]) -> float:
        """Mean of -log2 p(c) over a text, the first character included."""
        if not len(codes):
            raise ValueError("the text is empty: there is nothing to guess")
        return -self.log2_probabilities(codes).mean().item()

    def next_probabilities(
        self, context: Int64[Tensor, " t"]
    ) -> Float[Tensor, " k"]:
        """p of each of the V characters after `context`, which may be empty."""
        self.check_question(context)
        following = torch.arange(self.vocab, device=context.device)
        p = torch.full_like(following, 1 / self.vocab, dtype=torch.float64)
        for length in range(min(self.order, len(context) + 1)):
            past = context[len(context) - length :]
            rows = torch.cat(
                [past.expand(self.vocab, length), following[:, None]], 1
            )
            base = powers(self.vocab, length + 1, context.device)
            p = self.mix(p, (rows * base).sum(1), length)
        return p


def powers(base, count, device):
    """base^(count - 1), …, base, 1."""
    return base ** torch.arange(count, device=device).flip(0)


def look_up(keys, known, values):
    """`values` of the keys among the sorted `known`, 0 for the others."""
    place = torch.searchsorted(known, keys).clamp(max=len(known) - 1)
    return torch.where(known[place] == keys, values[place], 0)

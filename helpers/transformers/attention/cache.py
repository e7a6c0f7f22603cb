"""Keys and values that were computed before: what makes a decoder's step cost the same at every length."""

from jaxtyping import Float
from torch import Tensor


class Cache:
    """Keys and values of up to `context` positions of one attention.

    It takes its sizes, type and device from the first ones that it gets.
    Raises `ValueError` when more than `context` positions are added.
    """

    def __init__(self, context: int) -> None:
        if context < 1:
            raise ValueError(f"context = {context}: hold at least 1 position")
        self.context, self.length = context, 0
        self.keys = self.values = None

    def extend(
        self, k: Float[Tensor, "b kv t e"], v: Float[Tensor, "b kv t o"]
    ) -> tuple[Float[Tensor, "b kv s e"], Float[Tensor, "b kv s o"]]:
        """Add keys and values, and return all that there are."""
        end = self.length + k.shape[2]
        if end > self.context:
            raise ValueError(
                f"position {end}: this cache holds {self.context}; build the "
                "decoder's caches with a longer context"
            )
        if self.keys is None:
            self.keys, self.values = (
                x.new_empty(*x.shape[:2], self.context, x.shape[3])
                for x in (k, v)
            )
        self.keys[:, :, self.length : end] = k
        self.values[:, :, self.length : end] = v
        self.length = end
        return self.held()

    def held(
        self,
    ) -> tuple[Float[Tensor, "b kv s e"], Float[Tensor, "b kv s o"]]:
        """The keys and values so far, views of the buffers."""
        return (
            self.keys[:, :, : self.length],
            self.values[:, :, : self.length],
        )

    def numbers(self) -> int:
        """How many numbers it holds now, keys and values together."""
        return 0 if self.keys is None else sum(x.numel() for x in self.held())


"""Keys and values that were computed before: a decoder's step projects its new token alone, and still attends to all."""

from jaxtyping import Float
from torch import Tensor

from helpers.transformers.attention.positions import check_context


class Cache:
    """Keys and values of up to `context` positions of one attention.

    It takes its sizes, type and device from the first ones that it gets,
    and belongs to those sequences from then on. Raises `ValueError` for
    keys and values of other sizes, and for more than `context` positions;
    it then holds what it held before.
    """

    def __init__(self, context: int) -> None:
        check_context(context)
        self.context, self.length = context, 0
        self.keys = self.values = None

    def extend(
        self, k: Float[Tensor, "b kv t e"], v: Float[Tensor, "b kv t o"]
    ) -> tuple[Float[Tensor, "b kv s e"], Float[Tensor, "b kv s o"]]:
        """Add keys and values, and return all that there are."""
        self.check(k, v)
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

    def check(self, k, v):
        """Refuse keys and values that do not continue those held."""
        if k.shape[:3] != v.shape[:3]:
            raise ValueError(
                f"keys of shape {tuple(k.shape)}, values of shape "
                f"{tuple(v.shape)}: each key has a value"
            )
        if self.keys is None:
            return
        for name, held, new in zip(
            ("keys", "values"), (self.keys, self.values), (k, v)
        ):
            here, there = kind_of(held), kind_of(new)
            if here != there:
                raise ValueError(
                    f"{name} {there} in a cache that was filled with {here}: "
                    "begin with new caches for other sequences"
                )

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


def kind_of(x):
    """What stays the same from one call to the next, in words."""
    b, heads, _, width = x.shape
    return (
        f"of {b} sequences in {heads} heads of width {width} "
        f"({x.dtype}, {x.device})"
    )

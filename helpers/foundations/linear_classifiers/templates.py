"""A linear classifier as a set of templates, one or more for each class."""

from jaxtyping import Float
from torch import Tensor, nn


class Templates(nn.Module):
    """Scores of classes: how well an input matches each class's templates.

    With one template a class this is a linear classifier, f = W x + b; with
    `each` of them a class has the score of its best one. Templates begin
    at zero, or at random where a class has several: equal ones would stay
    equal. Raises `ValueError` for a number below 1.
    """

    def __init__(self, *, dim: int, classes: int, each: int = 1) -> None:
        super().__init__()
        sizes = {"dim": dim, "classes": classes, "each": each}
        for name, number in sizes.items():
            if number < 1:
                raise ValueError(f"{name} = {number}: it is at least 1")
        self.each = each
        self.linear = nn.Linear(dim, classes * each)
        nn.init.zeros_(self.linear.bias)
        if each == 1:
            nn.init.zeros_(self.linear.weight)

    def forward(self, x: Float[Tensor, "b *shape"]) -> Float[Tensor, "b k"]:
        matches = self.linear(x.flatten(1))  # [b k·each]
        return matches.unflatten(1, (-1, self.each)).amax(2)

    @property
    def weight(self) -> Float[Tensor, "k each d"]:
        """The templates of each class."""
        return self.linear.weight.detach().unflatten(0, (-1, self.each))

"""Networks of one form that learn side by side, each from its own data."""

from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap


class Crowd(nn.Module):
    """One network a seed, in one: the k-th parameter of all is a tensor.

    Batches have an axis of seeds behind the batch's, [b seeds c h w], and
    so have the logits, [b seeds k]; two axes that are taken together by
    `vmap`. Nothing passes from one to another, and optimizers that work
    entry by entry train each as if it were alone. Raises `ValueError` for
    no seed, and for networks that keep running statistics.
    """

    def __init__(self, make: Callable[[], nn.Module], seeds: Sequence[int]):
        super().__init__()
        if not seeds:
            raise ValueError("seeds is empty: a crowd has a network for each")
        networks = []
        for seed in seeds:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                networks.append(make())
        if any(True for net in networks for _ in net.buffers()):
            raise ValueError(
                "the networks hold buffers, as batch norm does: in a crowd "
                "only parameters differ; take networks without"
            )
        weights, _ = stack_module_state(networks)
        self.names, self.seeds = list(weights), len(networks)
        learned = dict(networks[0].named_parameters())
        self.weights = nn.ParameterList(
            nn.Parameter(w.detach(), learned[name].requires_grad)
            for name, w in weights.items()
        )
        self.form = [deepcopy(networks[0]).to("meta")]  # not a submodule

    def forward(
        self, images: Float[Tensor, "b seeds *any"]
    ) -> Float[Tensor, "b seeds *out"]:
        if images.ndim < 2 or images.shape[1] != self.seeds:
            raise ValueError(
                f"images of {tuple(images.shape)} for {self.seeds} networks: "
                "[images, networks, …], as each(images, seeds) makes them"
            )
        weights = dict(zip(self.names, self.weights))
        form = self.form[0].train(self.training)

        def one(own, images):
            return functional_call(form, own, (images,))

        return vmap(one, (0, 1), 1, randomness="different")(weights, images)

    def member(self, index: int) -> nn.Module:
        """One of the networks, as a network of its own.

        Raises `ValueError` for an index that is none.
        """
        if not -self.seeds <= index < self.seeds:
            raise ValueError(
                f"index = {index}: the {self.seeds} networks are 0 to "
                f"{self.seeds - 1}"
            )
        device = self.weights[0].device
        network = deepcopy(self.form[0]).to_empty(device=device)
        own = {n: w[index].detach() for n, w in zip(self.names, self.weights)}
        network.load_state_dict(own)
        return network.train(self.training)


def each(
    images: Shaped[Tensor, "b *any"], seeds: int
) -> Shaped[Tensor, "b seeds *any"]:
    """The same for every member: an axis of seeds that takes no memory.

    Raises `ValueError` for fewer than 1 seed.
    """
    if seeds < 1:
        raise ValueError(f"seeds = {seeds}: a crowd has at least 1")
    return images[:, None].expand(-1, seeds, *images.shape[1:])

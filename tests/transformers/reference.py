"""What the tests of transformers share: random numbers, networks full of them, and the comparison with a reference."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

close = partial(torch.testing.assert_close, rtol=0, atol=1e-10)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fill(network: nn.Module) -> nn.Module:
    """Random numbers everywhere: zero heads and biases would hide their place."""
    with torch.no_grad():
        for i, p in enumerate(network.parameters()):
            p.copy_(noise(*p.shape, seed=i) * (0.3 if p.ndim == 1 else p[0].numel() ** -0.5))
    return network


def made(kind: Callable[..., nn.Module], sizes: dict, **options) -> nn.Module:
    """A network of these sizes in float64, filled, in evaluation mode."""
    return fill(kind(**sizes | options).double()).eval()


def compare(
    out: torch.Tensor,
    expected: torch.Tensor,
    ours: nn.Module,
    reference: nn.Module,
    *,
    inputs: torch.Tensor | None = None,
    renamed: Callable[[dict], dict] = dict,
) -> None:
    """The same outputs, and the same gradients of the inputs and of all parameters of `reference`, `renamed` as ours."""
    close(out, expected)
    weights, found = noise(*out.shape, seed=9), []
    for result, network in ((out, ours), (expected, reference)):
        network.zero_grad()
        (result * weights).sum().backward()
        found.append({name: p.grad for name, p in network.named_parameters() if p.grad is not None})
        if inputs is not None:
            found[-1]["inputs"], inputs.grad = inputs.grad, None
    mine, theirs = found[0], renamed(found[1])
    assert len(theirs) >= len(list(reference.parameters())) / 3  # queries, keys and values may be three or one
    close({name: mine[name] for name in theirs}, theirs)

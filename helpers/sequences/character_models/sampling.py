"""Drawing text from a character model: temperature, and a state that makes each character cost the same."""

from math import inf

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.training import evaluation_mode


def sharpen(
    logits: Float[Tensor, "*b k"], temperature: float | int
) -> Float[Tensor, "*b k"]:
    """p = softmax(logits / temperature): p^(1/T) of each, normalised.

    1 leaves the model's guess as it is, less than 1 makes likely
    characters likelier, and 0 puts all on the likeliest (the first of
    equals). Raises `ValueError` for a temperature that is negative or not
    finite.
    """
    if not 0 <= temperature < inf:
        raise ValueError(
            f"temperature = {temperature}: a finite number, 0 or more; "
            "0 always takes the likeliest character, 1 samples the model"
        )
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits)
    wide = torch.finfo(torch.promote_types(logits.dtype, torch.float32))
    temperature = min(max(temperature, wide.tiny), wide.max)
    below = logits - logits.amax(-1, keepdim=True)  # ≤ 0: may not overflow
    return (below / temperature).softmax(-1)


@torch.no_grad()
def sample(
    model: nn.Module,
    prompt: Int64[Tensor, "b t"],
    length: int,
    *,
    temperature: float | int = 1.0,
    generator: torch.Generator | None = None,
    cache: bool = True,
) -> Int64[Tensor, "b length"]:
    """Draw `length` characters after each prompt.

    `model(x, state)` returns logits and a state. With `cache` it reads
    each character once and carries the state; without, it reads prompt and
    text again for every new character: the same draws, at a cost that
    grows. `generator` lies on the model's device. Dropout is off
    meanwhile. Raises `ValueError` for a prompt that is empty or has not
    the axes [b t], a length below 1 and a bad temperature.
    """
    if prompt.dim() != 2:
        raise ValueError(
            f"a prompt of shape {tuple(prompt.shape)}: [b, t], so for one "
            "prompt give prompt[None]"
        )
    if prompt.shape[1] == 0:
        raise ValueError(
            "the prompt is empty: begin with one character, such as a newline"
        )
    if length < 1:
        raise ValueError(f"length = {length}: draw at least 1 character")
    text, state, unread = prompt, None, prompt
    with evaluation_mode(model):
        for _ in range(length):
            logits, state = model(unread, state)
            p = sharpen(logits[:, -1], temperature)
            drawn = torch.multinomial(p, 1, generator=generator)  # [b 1]
            text = torch.cat([text, drawn], 1)
            unread, state = (drawn, state) if cache else (text, None)
    return text[:, prompt.shape[1] :]

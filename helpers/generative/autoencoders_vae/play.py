"""The decoder that the reader walks through on the page: trained, packed into bytes, and written as a script.

`python -m helpers.generative.autoencoders_vae.page` writes `book/_static/play/autoencoders_vae.weights.js` anew.
"""

import json
from base64 import b64encode
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn

from helpers.data import batches, digits
from helpers.foundations.optimizers import Adam
from helpers.generative.autoencoders_vae.bounds import gaussian, negative_elbo
from helpers.generative.autoencoders_vae.builders import mlp_vae
from helpers.generative.autoencoders_vae.networks import VAE
from helpers.training import cosine_decay, fit, gradient_update, scheduled

SCRIPT = Path(__file__).resolve().parents[3] / "book/_static/play/autoencoders_vae.weights.js"
SHOWN = 300  # digits whose codes the page draws
REACH = 3.5  # the codes drawn lie within this distance of 0 along each axis
HEADER = "/* Written by `python -m helpers.generative.autoencoders_vae.page`: a decoder from two numbers to a digit. */\n"


def train_plane(seed: int = 0, steps: int = 800) -> VAE:
    """The chapter's first network: two numbers a digit, a Gaussian of variance 0.05, all 1,797 digits."""
    torch.manual_seed(seed)
    model = mlp_vae(image=(1, 8, 8), dim=2)
    optimizer = Adam(model.parameters(), 2e-3)
    loss = partial(negative_elbo, likelihood=partial(gaussian, variance=0.05))
    update = scheduled(gradient_update(model, optimizer, loss), optimizer, cosine_decay(steps))
    stream = batches(digits().images, batch_size=100, generator=torch.Generator().manual_seed(seed))
    fit(update, stream, steps, progress=False)
    return model


def packed(x: Float[Tensor, "..."], limit: float | None = None) -> tuple[float, Int8[Tensor, "..."]]:
    """`x` as a scale and whole numbers from -127 to 127: x ≈ scale · number. `limit` is the largest value kept."""
    scale = (x.abs().max().item() if limit is None else limit) / 127
    return scale, (x / scale).round().clamp(-127, 127).to(torch.int8)


def script(model: VAE) -> str:
    """JavaScript that holds the decoder's layers, and the codes and classes of the first `SHOWN` digits.

    Raises `ValueError` unless the decoder is made of linear layers with ReLUs between them and reads two numbers.
    """
    *hidden, last = model.decoder
    linear = [layer for layer in hidden if isinstance(layer, nn.Linear)]
    if model.dim != 2 or len(hidden) != 2 * len(linear) - 1 or not isinstance(last, nn.Unflatten):
        raise ValueError(f"decoder {model.decoder}: the page walks through two numbers and layers of `mlp_decoder`")

    def entry(x: Tensor, limit: float | None = None) -> dict:
        scale, numbers = packed(x.detach(), limit)
        return {"scale": scale, "bytes": b64encode(numbers.numpy().tobytes()).decode()}

    data = digits()
    with torch.no_grad():
        codes = model.encode(data.images[:SHOWN])[0]
    content = {
        "layers": [{"weight": entry(layer.weight), "bias": entry(layer.bias)} for layer in linear],
        "codes": entry(codes, REACH),
        "labels": "".join(map(str, data.labels[:SHOWN].tolist())),
    }
    return f"{HEADER}window.DLE.autoencoders_vae = {json.dumps(content, indent=1)};\n"


def main() -> None:
    torch.set_num_threads(1)
    SCRIPT.write_text(script(train_plane()))
    print(f"{SCRIPT.name}: {SCRIPT.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

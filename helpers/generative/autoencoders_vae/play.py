"""The decoder that the reader walks through on the page: trained, packed into bytes, and written as a script.

`python -m helpers.generative.autoencoders_vae.play` writes `book/_static/play/autoencoders_vae.weights.js` anew.
"""

import json
from base64 import b64encode
from pathlib import Path

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn

from helpers.data import ImageSet, mnist
from helpers.generative.autoencoders_vae.experiments import train_plane
from helpers.generative.autoencoders_vae.networks import VAE

SCRIPT = Path(__file__).resolve().parents[3] / "book/_static/play/autoencoders_vae.weights.js"
SIZE = 16  # pixels a side
SHOWN = 250  # digits whose codes the page draws
REACH = 3.5  # the codes drawn lie within this distance of 0 along each axis
HEADER = "/* Written by `python -m helpers.generative.autoencoders_vae.play`: a decoder from two numbers to a digit. */\n"


def shown_digits() -> ImageSet:
    """The digits whose codes the page draws, 25 of each class."""
    every = mnist(SIZE)
    return every.subset(torch.arange(0, len(every), len(every) // SHOWN))


def packed(x: Float[Tensor, "..."], limit: float | None = None) -> tuple[float, Int8[Tensor, "..."]]:
    """`x` as a scale and whole numbers from -127 to 127: x ≈ scale · number. `limit` is the largest value kept."""
    scale = (x.abs().max().item() if limit is None else limit) / 127
    return scale, (x / scale).round().clamp(-127, 127).to(torch.int8)


def script(model: VAE) -> str:
    """JavaScript that holds the decoder's layers, and the codes and classes of `shown_digits`.

    Raises `ValueError` unless the decoder is made of linear layers with ReLUs between them and reads two numbers.
    """
    *hidden, last = model.decoder
    linear = [layer for layer in hidden if isinstance(layer, nn.Linear)]
    if model.dim != 2 or len(hidden) != 2 * len(linear) - 1 or not isinstance(last, nn.Unflatten):
        raise ValueError(f"decoder {model.decoder}: the page walks through two numbers and layers of `mlp_decoder`")

    def entry(x: Tensor, limit: float | None = None) -> dict:
        scale, numbers = packed(x.detach(), limit)
        return {"scale": scale, "bytes": b64encode(numbers.numpy().tobytes()).decode()}

    data = shown_digits()
    with torch.no_grad():
        codes = model.encode(data.images)[0]
    content = {
        "layers": [{"weight": entry(layer.weight), "bias": entry(layer.bias)} for layer in linear],
        "codes": entry(codes, REACH),
        "labels": "".join(map(str, data.labels.tolist())),
    }
    return f"{HEADER}window.DLE.autoencoders_vae = {json.dumps(content, indent=1)};\n"


def main() -> None:
    torch.set_num_threads(1)
    SCRIPT.write_text(script(train_plane()))
    print(f"{SCRIPT.name}: {SCRIPT.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

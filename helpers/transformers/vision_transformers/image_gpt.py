"""Image GPT: a language model whose words are pixels
(Chen et al. 2020, "Generative Pretraining from Pixels", ICML).

A colour is a token, an image the tokens in reading order. The network is
GPT-2 with norms that only scale; the published ones have 512 colours."""

from collections.abc import Iterator
from math import log

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.sequences.character_models import sharpen
from helpers.training import evaluation_mode
from helpers.transformers.attention import Cache, EncoderBlock, Stack
from helpers.transformers.attention.blocks import check_depth
from helpers.transformers.attention.masks import check_range

NAMES = {
    "transformer.wte.": "colour.",
    "transformer.wpe.": "position.",
    "transformer.h.": "decoder.layers.",
    ".ln_1.": ".norm1.",
    ".ln_2.": ".norm2.",
    ".attn.c_attn.": ".self_attn.in_proj_",
    ".attn.c_proj.": ".self_attn.out_proj.",
    ".mlp.c_fc.": ".linear1.",
    ".mlp.c_proj.": ".linear2.",
    "transformer.ln_f.": "decoder.norm.",
    "lm_head.": "head.",
}

NOTHING_HIDDEN = (
    "no pixel is hidden, so there is nothing to guess: hide some, the paper "
    "15 %"
)


class ImageGPT(nn.Module):
    """A guess of each pixel from those before it, or from all the others.

    Pixels are numbers below `colours`, `context` of them in an image. One
    more token, number `colours`, stands before the first pixel, and in
    place of hidden ones. The last layer starts at zero: all colours alike.
    """

    def __init__(
        self,
        *,
        colours: int,
        context: int,
        dim: int,
        depth: int,
        heads: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if colours < 2 or context < 1:
            raise ValueError(
                f"colours = {colours}, context = {context}: an image has "
                "2 colours to choose from, and 1 pixel, or more"
            )
        check_depth(depth)
        self.colours, self.context = colours, context
        self.colour = nn.Embedding(colours + 1, dim)
        self.position = nn.Embedding(context, dim)
        self.dropout = nn.Dropout(dropout)
        blocks = []
        for _ in range(depth):
            block = EncoderBlock(
                dim=dim,
                heads=heads,
                hidden=4 * dim,
                dropout=dropout,
                activation=quick_gelu,
            )
            block.norm1 = nn.RMSNorm(dim, eps=1e-5)
            block.norm2 = nn.RMSNorm(dim, eps=1e-5)
            blocks.append(block)
        self.decoder = Stack(blocks, nn.RMSNorm(dim, eps=1e-5))
        self.head = nn.Linear(dim, colours, bias=False)
        initialise(self, depth)

    def forward(
        self, pixels: Int[Tensor, "b t"]
    ) -> Float[Tensor, "b t k"]:
        """Logits of each pixel, of which those before it are known."""
        check_pixels(pixels, self)
        first = torch.full_like(pixels[:, :1], self.colours)
        return self.read(torch.cat([first, pixels[:, :-1]], 1))

    def read(
        self,
        tokens: Int[Tensor, "b t"],
        *,
        causal: bool = True,
        caches: list[Cache] | None = None,
    ) -> Float[Tensor, "b t k"]:
        """Logits at each token: causal ones are those of the next pixel.

        With `caches`, one a block, the tokens follow those read before.
        Raises `ValueError` for more tokens than there are positions.
        """
        x = self.embed(tokens, caches)
        return self.head(self.decoder(x, causal=causal, caches=caches))

    def embed(self, tokens, caches=None):
        """Colour and position, one vector a token: [b t d]."""
        first = caches[0].length if caches else 0
        if first + tokens.shape[1] > self.context:
            raise ValueError(
                f"{first + tokens.shape[1]} tokens in a network for "
                f"{self.context}: shrink the images, or build it with a "
                "larger context"
            )
        at = first + torch.arange(tokens.shape[1], device=tokens.device)
        return self.dropout(self.colour(tokens) + self.position(at))

    def fill_in(
        self, pixels: Int[Tensor, "b t"], hidden: Bool[Tensor, "b t"]
    ) -> Float[Tensor, "b t k"]:
        """Logits of each pixel, from all that are not `hidden`."""
        check_pixels(pixels, self)
        check_hidden(pixels, hidden)
        seen = pixels.masked_fill(hidden, self.colours)
        return self.read(seen, causal=False)

    def features(
        self, pixels: Int[Tensor, "b t"], *, causal: bool = True
    ) -> Iterator[Float[Tensor, "b d"]]:
        """What a linear probe reads at each block: the mean over the image.

        Of what goes into the attention, after its norm; last of what goes
        into the head (section 3.4). The pixels are read as they are, with
        no token before them.
        """
        check_pixels(pixels, self)
        if not pixels.shape[1]:
            raise ValueError("0 pixels: there is nothing to take a mean of")
        x = self.embed(pixels)
        for block in self.decoder.layers:
            yield block.norm1(x).mean(1)
            x = block(x, causal=causal)
        yield self.decoder.norm(x).mean(1)

    def caches(self) -> list[Cache]:
        """An empty cache for each block."""
        return [Cache(self.context) for _ in self.decoder.layers]


def bits_per_pixel(
    logits: Float[Tensor, "b t k"], pixels: Int[Tensor, "b t"]
) -> Float[Tensor, ""]:
    """-log2 of the probability of each pixel, on average (equation 1).

    What a lossless code of the images would need, in bits; times log 2 it
    is the loss of the autoregressive objective.
    """
    return F.cross_entropy(logits.transpose(1, 2), pixels) / log(2)


def masked_loss(
    logits: Float[Tensor, "b t k"],
    pixels: Int[Tensor, "b t"],
    hidden: Bool[Tensor, "b t"],
) -> Float[Tensor, ""]:
    """Cross-entropy, in nats, of the hidden pixels only (equation 2).

    The BERT objective, for the logits of `fill_in`. Raises `ValueError`
    where nothing is hidden; a GPU, for which nobody waits, and a compiled
    graph stop with the same words.
    """
    check_hidden(pixels, hidden)
    if hidden.is_cpu and not torch.compiler.is_compiling():
        guesses, answers = logits[hidden], pixels[hidden]
        if not len(answers):
            raise ValueError(NOTHING_HIDDEN)
    else:
        torch._assert_async(hidden.any(), NOTHING_HIDDEN)
        guesses = logits.flatten(0, 1)  # and -100 is not counted
        answers = pixels.masked_fill(~hidden, -100).flatten()
    return F.cross_entropy(guesses, answers)


@torch.no_grad()
def complete(
    network: ImageGPT,
    pixels: Int[Tensor, "b s"],
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    cache: bool = True,
) -> Int[Tensor, "b t"]:
    """Draw the rest of each image, pixel by pixel, after the given ones.

    `pixels` may be none ([b 0]): then the whole image is drawn. At
    `temperature` 0 each pixel is the likeliest. Without `cache` all is read
    again for each pixel: the same images, later.
    """
    check_pixels(pixels, network)
    first = pixels.new_full((len(pixels), 1), network.colours)
    tokens = torch.cat([first, pixels], 1)
    caches, unread = network.caches() if cache else None, tokens
    with evaluation_mode(network):
        while tokens.shape[1] <= network.context:
            logits = network.read(unread, caches=caches)[:, -1]
            p = sharpen(logits, temperature)
            new = torch.multinomial(p, 1, generator=generator)
            tokens = torch.cat([tokens, new], 1)
            unread = new if cache else tokens
    return tokens[:, 1:]


def from_transformers(
    state: dict[str, Tensor],
) -> dict[str, Tensor]:
    """Rename the state of transformers' `ImageGPTForCausalImageModeling`.

    Its linear layers keep their weights transposed, [inputs outputs].
    Files of older versions also hold their causal masks, which are left
    out.
    """
    renamed = {}
    for key, value in state.items():
        if key.endswith((".attn.bias", ".attn.masked_bias")):
            continue
        if key.endswith("weight") and ".c_" in key:
            value = value.T
        for old, new in NAMES.items():
            key = key.replace(old, new)
        renamed[key] = value
    return renamed


def quick_gelu(x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """x σ(1.702 x), near GELU."""
    return x * torch.sigmoid(1.702 * x)


def initialise(network, depth):
    """N(0, 0.02²), less in what adds to the residual path (GPT-2)."""
    for name, p in network.named_parameters():
        if name.endswith(("out_proj.weight", "linear2.weight")):
            nn.init.normal_(p, std=0.02 / (2 * depth) ** 0.5)
        elif p.ndim == 2:
            nn.init.normal_(p, std=0.02)
        elif name.endswith("bias"):
            nn.init.zeros_(p)
    nn.init.zeros_(network.head.weight)


def check_hidden(pixels, hidden):
    """Refuse what does not say of each pixel whether it is hidden."""
    if hidden.shape != pixels.shape or hidden.dtype != torch.bool:
        raise ValueError(
            f"hidden of shape {tuple(hidden.shape)} and {hidden.dtype} for "
            f"pixels of shape {tuple(pixels.shape)}: give a boolean for each"
        )


def check_pixels(pixels, network):
    """Refuse more pixels than positions, and colours that are none."""
    if pixels.ndim != 2:
        raise ValueError(
            f"pixels of shape {tuple(pixels.shape)}: give [b t], images in "
            "reading order; images.flatten(1) is that"
        )
    if pixels.shape[1] > network.context:
        raise ValueError(
            f"{pixels.shape[1]} pixels in a network for {network.context}: "
            "shrink the images, or build it with a larger context"
        )
    check_range(
        pixels,
        0,
        network.colours - 1,
        "pixel {value}: this network knows the colours 0 to {high}; reduce "
        "the images to those",
    )


def igpt_s(**options) -> ImageGPT:
    """76 million parameters, for 32x32 pixels."""
    preset = dict(colours=512, context=1024, dim=512, depth=24, heads=8)
    return ImageGPT(**preset | options)


def igpt_m(**options) -> ImageGPT:
    """455 million parameters."""
    preset = dict(colours=512, context=1024, dim=1024, depth=36, heads=8)
    return ImageGPT(**preset | options)


def igpt_l(**options) -> ImageGPT:
    """1.4 billion parameters."""
    preset = dict(colours=512, context=1024, dim=1536, depth=48, heads=16)
    return ImageGPT(**preset | options)


def igpt_small(**options) -> ImageGPT:
    """The book's own size, for 8x8 pixels in 17 shades."""
    preset = dict(colours=17, context=64, dim=64, depth=4, heads=4)
    return ImageGPT(**preset | options)

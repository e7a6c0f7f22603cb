"""CLIP: two encoders that agree (Radford et al. 2021, arXiv:2103.00020)."""

from math import inf, log

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.multimodal.clip.image import ModifiedResNet, VisionTransformer
from helpers.multimodal.clip.text import BagOfWords, TextTransformer

VOCAB, CONTEXT = 49_408, 77  # of the released models
COLDEST = 100.0  # the scale is not allowed above it


class CLIP(nn.Module):
    """An image encoder, a text encoder, and a learned temperature.

    Both encoders end in vectors of one width; their directions are the
    features. `logit_scale` is the logarithm of 1 / temperature.
    """

    def __init__(
        self, image: nn.Module, text: nn.Module, *, temperature: float = 0.07
    ) -> None:
        super().__init__()
        if not 0 < temperature < inf:
            raise ValueError(f"temperature = {temperature}: it is above 0")
        self.image, self.text = image, text
        self.logit_scale = nn.Parameter(torch.tensor(-log(temperature)))

    def embed_images(
        self, images: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, "b d"]:
        """Features of length 1."""
        return F.normalize(self.image(images), dim=1)

    def embed_texts(
        self, tokens: Int[Tensor, "b t"]
    ) -> Float[Tensor, "b d"]:
        """Features of length 1."""
        return F.normalize(self.text(tokens), dim=1)

    def forward(
        self,
        images: Float[Tensor, "b 3 h w"],
        tokens: Int[Tensor, "n t"],
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "n d"], Float[Tensor, ""]]:
        """Features of the images, of the texts, and the scale 1 / τ.

        `scale * images @ texts.T` are the logits, cosines over temperature.
        """
        scale = self.logit_scale.exp()
        return self.embed_images(images), self.embed_texts(tokens), scale


@torch.no_grad()
def clamp_logit_scale(model: CLIP) -> None:
    """Set a scale above 100 back to it, in place; call it before each step.

    Radford et al. 2021, section 2.5: without it training was unstable.
    """
    model.logit_scale.clamp_(max=log(COLDEST))


def clip_vit_b_32(**options) -> CLIP:
    """ViT-B/32: 151,277,313 parameters."""
    return vit(patch=32, dim=768, depth=12, text_dim=512, **options)


def clip_vit_b_16(**options) -> CLIP:
    """ViT-B/16: 149,620,737 parameters."""
    return vit(patch=16, dim=768, depth=12, text_dim=512, **options)


def clip_vit_l_14(**options) -> CLIP:
    """ViT-L/14: 427,616,513 parameters; `image=336` for the larger one."""
    return vit(patch=14, dim=1024, depth=24, text_dim=768, **options)


def clip_rn50(
    *, image: int = 224, vocab: int = VOCAB, context: int = CONTEXT
) -> CLIP:
    """RN50: the modified ResNet-50, 102,007,137 parameters."""
    vision = ModifiedResNet(
        (3, 4, 6, 3), width=64, heads=32, features=1024, image=image
    )
    text = transformer(512, 1024, vocab, context)
    return CLIP(vision, text)


def clip_vit_s_16(
    *, image: int = 224, vocab: int = VOCAB, context: int = CONTEXT
) -> CLIP:
    """The sizes of SLIP's ViT-S/16 (Mu et al. 2022, arXiv:2112.12750)."""
    vision = VisionTransformer(
        image=image, patch=16, dim=384, depth=12, heads=12, features=512
    )
    return CLIP(vision, transformer(512, 512, vocab, context))


def clip_small(
    *,
    vocab: int,
    context: int,
    image: int = 32,
    features: int = 64,
    vision: str = "resnet",
    text: str = "transformer",
    temperature: float = 0.07,
) -> CLIP:
    """The book's own size, for images of 32 pixels and short captions.

    `vision` is "resnet" or "vit", `text` "transformer" or "cbow".
    """
    eyes = {
        "resnet": lambda: ModifiedResNet(
            (1, 1), width=16, heads=4, features=features, image=image
        ),
        "vit": lambda: VisionTransformer(
            image=image, patch=4, dim=64, depth=4, heads=4, features=features
        ),
    }
    words = dict(vocab=vocab, context=context, dim=64, features=features)
    readers = {
        "transformer": lambda: TextTransformer(depth=1, heads=4, **words),
        "cbow": lambda: BagOfWords(**words),
    }
    for name, given, known in (
        ("vision", vision, eyes),
        ("text", text, readers),
    ):
        if given not in known:
            raise ValueError(f"{name} = {given!r}: one of {', '.join(known)}")
    return CLIP(eyes[vision](), readers[text](), temperature=temperature)


def vit(
    *,
    patch: int,
    dim: int,
    depth: int,
    text_dim: int,
    image: int = 224,
    vocab: int = VOCAB,
    context: int = CONTEXT,
) -> CLIP:
    """Heads of 64 features, and a shared space as wide as the text's."""
    vision = VisionTransformer(
        image=image,
        patch=patch,
        dim=dim,
        depth=depth,
        heads=dim // 64,
        features=text_dim,
    )
    return CLIP(vision, transformer(text_dim, text_dim, vocab, context))


def transformer(
    dim: int, features: int, vocab: int, context: int
) -> TextTransformer:
    """The text encoder of the released models: twelve blocks."""
    return TextTransformer(
        vocab=vocab,
        context=context,
        dim=dim,
        depth=12,
        heads=dim // 64,
        features=features,
    )

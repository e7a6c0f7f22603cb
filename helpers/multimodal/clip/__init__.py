"""CLIP: pictures and sentences in one space.

`image` and `text` are the encoders, `model` pairs them, `tokenizer` makes
tokens of texts; `loss` trains them, over several processes too; `weights`
takes the released ones; `zero_shot` classifies, retrieves and measures.
"""

from helpers.multimodal.clip.image import (
    AttentionPool,
    ModifiedResNet,
    PooledBottleneck,
    VisionTransformer,
)
from helpers.multimodal.clip.loss import (
    GatherFeatures,
    chunked_loss,
    clip_loss,
    contrastive_loss,
    gather_features,
    gathered_loss,
    pull_and_push,
    symmetric_loss,
)
from helpers.multimodal.clip.model import (
    CLIP,
    clamp_logit_scale,
    clip_rn50,
    clip_small,
    clip_vit_b_16,
    clip_vit_b_32,
    clip_vit_l_14,
    clip_vit_s_16,
)
from helpers.multimodal.clip.text import BagOfWords, TextTransformer
from helpers.multimodal.clip.tokenizer import (
    Tokenizer,
    published_tokenizer,
    read_merges,
    split_words,
    train_merges,
)
from helpers.multimodal.clip.weights import from_openai, from_transformers
from helpers.multimodal.clip.zero_shot import (
    alignment_and_uniformity,
    classifier,
    few_shots,
    linear_probe,
    modality_gap,
    recall,
    zero_shot,
)

__all__ = [
    "CLIP",
    "AttentionPool",
    "BagOfWords",
    "GatherFeatures",
    "ModifiedResNet",
    "PooledBottleneck",
    "TextTransformer",
    "Tokenizer",
    "VisionTransformer",
    "alignment_and_uniformity",
    "chunked_loss",
    "clamp_logit_scale",
    "classifier",
    "clip_loss",
    "clip_rn50",
    "clip_small",
    "clip_vit_b_16",
    "clip_vit_b_32",
    "clip_vit_l_14",
    "clip_vit_s_16",
    "contrastive_loss",
    "few_shots",
    "from_openai",
    "from_transformers",
    "gather_features",
    "gathered_loss",
    "linear_probe",
    "modality_gap",
    "published_tokenizer",
    "pull_and_push",
    "read_merges",
    "recall",
    "split_words",
    "symmetric_loss",
    "train_merges",
    "zero_shot",
]

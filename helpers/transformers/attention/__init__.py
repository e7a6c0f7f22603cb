"""Attention, and the transformer that is made of it.

`dot_product` is the equation and torch's kernel for it; `masks` say where a query may look; `multihead` has the heads,
and shares keys and values among them; `positions` tell where a token stands; `blocks` and `transformer` stack it all;
`cache` and `decoding` write token by token; `additive` is the score that came before; `tasks` have known answers.
"""

from helpers.transformers.attention.additive import AdditiveAttention, Searcher
from helpers.transformers.attention.blocks import DecoderBlock, EncoderBlock, Stack
from helpers.transformers.attention.cache import Cache
from helpers.transformers.attention.decoding import cross_weights, exact_match, greedy
from helpers.transformers.attention.dot_product import attend, attention_weights
from helpers.transformers.attention.masks import additive, causal_mask, padding_mask, window_mask
from helpers.transformers.attention.multihead import MultiHeadAttention, tied
from helpers.transformers.attention.positions import (
    LearnedPositions,
    RelativeBias,
    angles,
    relative_bucket,
    rotate,
    sinusoidal,
)
from helpers.transformers.attention.tasks import (
    BEGIN,
    DIGIT,
    END,
    PAD,
    TARGETS,
    TASKS,
    WORDS,
    Pairs,
    number_words,
    strings,
    words,
    written,
)
from helpers.transformers.attention.transformer import POSITIONS, Transformer, Translator, translation_loss

__all__ = [
    "BEGIN",
    "DIGIT",
    "END",
    "PAD",
    "POSITIONS",
    "TARGETS",
    "TASKS",
    "WORDS",
    "AdditiveAttention",
    "Cache",
    "DecoderBlock",
    "EncoderBlock",
    "LearnedPositions",
    "MultiHeadAttention",
    "Pairs",
    "RelativeBias",
    "Searcher",
    "Stack",
    "Transformer",
    "Translator",
    "additive",
    "angles",
    "attend",
    "attention_weights",
    "causal_mask",
    "cross_weights",
    "exact_match",
    "greedy",
    "number_words",
    "padding_mask",
    "relative_bucket",
    "rotate",
    "sinusoidal",
    "strings",
    "tied",
    "translation_loss",
    "window_mask",
    "words",
    "written",
]

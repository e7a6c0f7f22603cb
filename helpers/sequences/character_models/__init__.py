"""Language models over characters: counted, recurrent and convolutional; sampling; units that can be read.

`text` turns text into integers and measures bits per character; `ngrams` counts; `min_char_rnn` has its backward pass
written out; `recurrent` puts any recurrent net between an embedding and a head; `wavenet` is dilated causal
convolutions; `sampling` draws; `units` searches for detectors; `earthquakes` picks arrivals with the same parts.
"""

from helpers.sequences.character_models.earthquakes import (
    Attention,
    EQTransformer,
    Records,
    picking_loss,
    sta_lta,
    synthesise,
    targets,
)
from helpers.sequences.character_models.min_char_rnn import MinCharRNN, as_torch
from helpers.sequences.character_models.ngrams import NGram
from helpers.sequences.character_models.recurrent import CharacterRNN, cell_states
from helpers.sequences.character_models.sampling import sample, sharpen
from helpers.sequences.character_models.text import (
    COMPRESSORS,
    Vocabulary,
    bits_per_character,
    compressed_bits,
    next_character_loss,
    split_documents,
    windows,
)
from helpers.sequences.character_models.units import Detector, auc, distance_since, find_detector, inside, on_lines
from helpers.sequences.character_models.wavenet import CausalConv, GatedLayer, WaveNet

__all__ = [
    "COMPRESSORS",
    "Attention",
    "CausalConv",
    "CharacterRNN",
    "Detector",
    "EQTransformer",
    "GatedLayer",
    "MinCharRNN",
    "NGram",
    "Records",
    "Vocabulary",
    "WaveNet",
    "as_torch",
    "auc",
    "bits_per_character",
    "cell_states",
    "compressed_bits",
    "distance_since",
    "find_detector",
    "inside",
    "next_character_loss",
    "on_lines",
    "picking_loss",
    "sample",
    "sharpen",
    "split_documents",
    "sta_lta",
    "synthesise",
    "targets",
    "windows",
]

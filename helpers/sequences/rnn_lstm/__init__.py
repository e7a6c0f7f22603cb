"""Recurrent networks: cells, layers, gradients through time, toy tasks, and networks built on one recurrence.

`cells` reads as the equations do; `kernels` is what runs; `layers` puts them into modules with torch's words and names.
`through_time` measures, clips and truncates gradients; `networks` and `trees` are what is built; `tasks` what is solved.
"""

from helpers.sequences.rnn_lstm.cells import gru_cell, lstm_cell, lstm_gates, rnn_cell
from helpers.sequences.rnn_lstm.layers import GRU, LSTM, RNN, Recurrent
from helpers.sequences.rnn_lstm.networks import EncoderDecoder, Reader, Writer
from helpers.sequences.rnn_lstm.tasks import (
    DIRECTIONS,
    WORDS,
    adding_problem,
    bag_of_words_limit,
    entropy_rate,
    markov_chain,
    moving_dot,
    recall,
    reversal,
    reviews,
    stationary,
)
from helpers.sequences.rnn_lstm.through_time import (
    clip_by_norm,
    clip_by_value,
    detach,
    gate_activity,
    gradient_norms,
    resting_rate,
    set_memory_bias,
    set_spectral_radius,
    step_jacobians,
    truncated_backward,
)
from helpers.sequences.rnn_lstm.trees import TreeNet, expression, flat, height, spell, value

__all__ = [
    "DIRECTIONS",
    "GRU",
    "LSTM",
    "RNN",
    "WORDS",
    "EncoderDecoder",
    "Reader",
    "Recurrent",
    "TreeNet",
    "Writer",
    "adding_problem",
    "bag_of_words_limit",
    "clip_by_norm",
    "clip_by_value",
    "detach",
    "entropy_rate",
    "expression",
    "flat",
    "gate_activity",
    "gradient_norms",
    "gru_cell",
    "height",
    "lstm_cell",
    "lstm_gates",
    "markov_chain",
    "moving_dot",
    "recall",
    "resting_rate",
    "reversal",
    "reviews",
    "rnn_cell",
    "set_memory_bias",
    "set_spectral_radius",
    "spell",
    "stationary",
    "step_jacobians",
    "truncated_backward",
    "value",
]

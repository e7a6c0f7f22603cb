"""Recurrent networks: cells, layers, gradients through time, toy tasks, and networks built on one recurrence.

`cells` reads as the equations do; `sweeps` is what runs; `layers` puts them into modules with torch's words and names.
"""

from helpers.sequences.rnn_lstm.cells import gru_cell, lstm_cell, lstm_gates, rnn_cell
from helpers.sequences.rnn_lstm.layers import GRU, LSTM, RNN, Recurrent

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Recurrent",
    "gru_cell",
    "lstm_cell",
    "lstm_gates",
    "rnn_cell",
]

"""Transformers: sequences, and later images, read by attention."""

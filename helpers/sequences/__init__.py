"""Sequences: networks that read one step after another and remember."""

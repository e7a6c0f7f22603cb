"""Multimodal learning: pictures and words in one space."""

"""Generative models: what learns a distribution, and draws from it."""

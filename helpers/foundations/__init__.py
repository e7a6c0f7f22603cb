"""Foundations: how a network is trained, before any particular network."""

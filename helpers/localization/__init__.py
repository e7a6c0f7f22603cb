"""Localization: where things are in an image."""

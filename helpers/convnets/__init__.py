"""Convolutional networks: what a convolution computes, and what was built of it."""

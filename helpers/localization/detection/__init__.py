"""Object detection, from one box to single-stage detectors: what is in an image, and where."""

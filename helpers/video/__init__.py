"""Video: what happens, told from frames in a row."""

"""Our code against what a reader would use otherwise: `python -m benchmarks`, or `make bench`.

Each file beside `harness.py` is a subject: a docstring, whose first line is its title on the page, and a function
`pairs(device, tiny=False)` that yields `harness.Pair`s; where a call is slow, `PAIRS` says how many times both are timed.
A new chapter adds one such file and nothing else.
"""

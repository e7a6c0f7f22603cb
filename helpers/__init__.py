"""Deep Learning, Executed: the tested code that the notebooks of the book import.

The ground floor (`runtime`, `notebook`, `data`, `training`, `plotting`) knows no chapter. Each part of the book is a
package of the same name, and each of its chapters a module: `book/foundations/optimizers.ipynb` teaches what
`helpers/foundations/optimizers.py` holds and `tests/foundations/test_optimizers.py` proves.
"""

__version__ = "0.1.0"

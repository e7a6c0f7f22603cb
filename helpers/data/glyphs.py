"""Characters in many typefaces, distorted like handwriting: as many as one likes, and the causes of each are known.

The images have the form of MNIST. The outlines come from the fonts that matplotlib carries; each is stored as a signed
distance, so that a stroke of any thickness stays sharp under rotation and scaling. Elastic distortion after Simard et
al., *Best Practices for Convolutional Neural Networks* (ICDAR 2003), on a coarse grid.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from helpers.data.images import ImageSet


class Font(NamedTuple):
    """A typeface: its file in matplotlib's font folder, and whether its strokes are bold and its stems slanted."""

    file: str
    bold: bool
    slanted: bool


# Those of matplotlib's fonts in which every letter and digit of ASCII is plain to read.
FONTS = {
    "sans": Font("DejaVuSans", False, False),
    "sans bold": Font("DejaVuSans-Bold", True, False),
    "sans oblique": Font("DejaVuSans-Oblique", False, True),
    "sans bold oblique": Font("DejaVuSans-BoldOblique", True, True),
    "mono": Font("DejaVuSansMono", False, False),
    "mono bold": Font("DejaVuSansMono-Bold", True, False),
    "mono oblique": Font("DejaVuSansMono-Oblique", False, True),
    "mono bold oblique": Font("DejaVuSansMono-BoldOblique", True, True),
    "serif": Font("DejaVuSerif", False, False),
    "serif bold": Font("DejaVuSerif-Bold", True, False),
    "serif italic": Font("DejaVuSerif-Italic", False, True),
    "serif bold italic": Font("DejaVuSerif-BoldItalic", True, True),
    "times": Font("STIXGeneral", False, False),
    "times bold": Font("STIXGeneralBol", True, False),
    "times italic": Font("STIXGeneralItalic", False, True),
    "times bold italic": Font("STIXGeneralBolIta", True, True),
    "modern": Font("cmr10", False, False),
    "modern bold": Font("cmb10", True, False),
    "modern sans": Font("cmss10", False, False),
    "modern mono": Font("cmtt10", False, False),
}
# Half-widths of the uniform distributions at distortion 1, in the order in which they are drawn.
RANGES = {
    "rotation": math.radians(14),  # counter-clockwise
    "shear": 0.2,  # shift to the right per unit of height
    "stretch": 0.12,  # natural logarithm of width : height
    "scale": 0.12,  # natural logarithm of the size
    "right": 0.05,  # shift, in image sides
    "down": 0.05,
    "thickness": 0.012,  # growth of a stroke on each side, in image sides
}
ELASTIC = 0.035  # half-width of the displacement of each point of the coarse grid, in image sides
GRID = 5  # points of the coarse grid on a side
CAP_HEIGHT = 0.66  # of an upright capital, in image sides
WIDEST = 0.78  # of a character's longer side, in image sides; what is larger is shrunk
RASTER = 128  # pixels on a side at which outlines are drawn
FIELD = 64  # pixels on a side of a stored distance
CHUNK = 1024  # glyphs drawn at a time


def glyphs(
    n: int,
    *,
    seed: int,
    characters: str = "0123456789",
    size: int = 28,
    fonts: Sequence[str] | None = None,
    distortion: float = 1.0,
) -> ImageSet:
    """Draw `n` glyphs: white on black, one channel, `size` pixels square, character and font chosen at random.

    A label is the position in `characters`. `distortion` multiplies all ranges of `RANGES` and `ELASTIC`; with 0 every
    glyph is as its font has it, and centred. `attributes` holds per glyph "font" (position in `fonts`, by default in
    `FONTS`), "bold" and "slanted" (0 or 1), the affine parameters named in `RANGES`, and "elastic", the displacements
    to the right and down of a coarse grid's points, in image sides. The same seed gives the same glyphs, whatever `n`:
    a longer set begins with the shorter one. Raises `ValueError` for an unknown font, a character that is repeated or
    no letter or digit of ASCII, and for `n`, `size` or `distortion` too small.
    """
    fonts = tuple(FONTS) if fonts is None else tuple(fonts)
    _check(characters, fonts, size)
    if not n >= 1:
        raise ValueError(f"n = {n}: a set holds at least 1 glyph")
    if not 0 <= distortion < math.inf:
        raise ValueError(f"distortion = {distortion}: 0 leaves the glyphs as the font has them, 1 is the usual amount")
    generator = torch.Generator().manual_seed(seed)
    chance = torch.rand(n, 2 + len(RANGES) + 2 * GRID**2, generator=generator)  # row by row: a glyph each
    labels = (chance[:, 0] * len(characters)).long()
    font = (chance[:, 1] * len(fonts)).long()
    swing = (2 * chance[:, 2:] - 1) * distortion
    attributes = {
        "font": font,
        "bold": torch.tensor([int(FONTS[name].bold) for name in fonts])[font],
        "slanted": torch.tensor([int(FONTS[name].slanted) for name in fonts])[font],
        **{name: swing[:, i] * width for i, (name, width) in enumerate(RANGES.items())},
        "elastic": ELASTIC * swing[:, len(RANGES) :].reshape(n, 2, GRID, GRID),
    }
    images = draw_glyphs(labels, attributes, characters=characters, size=size, fonts=fonts)
    return ImageSet(images, labels, tuple(characters), attributes)


def draw_glyphs(
    labels: Int64[Tensor, " n"],
    attributes: Mapping[str, Tensor],
    *,
    characters: str = "0123456789",
    size: int = 28,
    fonts: Sequence[str] | None = None,
) -> Float[Tensor, "n 1 size size"]:
    """Draw the glyphs that `labels` and `attributes` describe, as in `glyphs`: change one and see what it does.

    All tensors lie on the CPU. An attribute of `RANGES`, or "elastic", that is missing is zero; "font" must be there.
    "bold" and "slanted" follow from the font and are not read. Values in 0 … 1, antialiased. Raises `ValueError` for
    labels and fonts that are no position in `characters` and `fonts`, for other attributes, and for values that are not
    finite or not one per glyph.
    """
    fonts = tuple(FONTS) if fonts is None else tuple(fonts)
    _check(characters, fonts, size)
    _check_attributes(labels, attributes, len(characters), len(fonts))
    fields = _fields(characters, fonts)
    chosen = labels * len(fonts) + attributes["font"]
    none = torch.zeros(len(labels))
    affine = torch.stack([attributes.get(name, none) for name in RANGES], 1)
    elastic = attributes.get("elastic", torch.zeros(len(labels), 2, GRID, GRID))
    parts = zip(chosen.split(CHUNK), affine.split(CHUNK), elastic.split(CHUNK), strict=True)
    return torch.cat([_draw(fields[c], a, e, size) for c, a, e in parts])


def _draw(
    fields: Float[Tensor, "n 1 field field"],
    affine: Float[Tensor, "n parameters"],
    elastic: Float[Tensor, "n 2 grid grid"],
    size: int,
) -> Float[Tensor, "n 1 size size"]:
    """Look up, for every pixel, the distance at the point of the upright glyph that is carried there."""
    rotation, shear, stretch, scale, right, down, thickness = affine[:, :, None, None].unbind(1)
    centres = (torch.arange(size) + 0.5) / size - 0.5  # in image sides, from the middle
    bend = F.interpolate(elastic, size=(size, size), mode="bicubic", align_corners=True)
    x = centres[None, None, :] - right - bend[:, 0]
    y = centres[None, :, None] - down - bend[:, 1]
    x, y = rotation.cos() * x - rotation.sin() * y, rotation.sin() * x + rotation.cos() * y
    x = x + shear * y
    x, y = x * torch.exp(-scale - stretch / 2), y * torch.exp(-scale + stretch / 2)
    points = torch.stack([x, y], -1) * 2  # grid_sample counts from -1 to 1
    distance = F.grid_sample(fields, points, padding_mode="border", align_corners=False)
    return (0.5 + size * (thickness[:, None] - distance * torch.exp(scale)[:, None])).clamp(0, 1)


@lru_cache(maxsize=8)
def _fields(characters: str, fonts: tuple[str, ...]) -> Float[Tensor, "k 1 field field"]:
    """Signed distances to the outline in image sides, negative inside, of each character in each font."""
    fields = np.stack([_field(character, FONTS[font].file) for character in characters for font in fonts])
    return torch.from_numpy(fields).unsqueeze(1)


@lru_cache(maxsize=4096)
def _field(character: str, file: str) -> Float[np.ndarray, "field field"]:
    """The signed distance of one glyph with capitals of `CAP_HEIGHT`, centred."""
    from scipy.ndimage import distance_transform_edt

    points = RASTER * CAP_HEIGHT * 100 / len(_ink("H", file, 100.0))
    ink = _ink(character, file, points)
    if max(ink.shape) > WIDEST * RASTER:
        ink = _ink(character, file, points * WIDEST * RASTER / max(ink.shape))
    height, width = ink.shape
    above, left = (RASTER - height) // 2, (RASTER - width) // 2
    inside = np.zeros((RASTER, RASTER), dtype=bool)
    inside[above : above + height, left : left + width] = ink
    distance = (distance_transform_edt(~inside) - distance_transform_edt(inside)) / RASTER
    block = RASTER // FIELD
    return distance.reshape(FIELD, block, FIELD, block).mean((1, 3)).astype(np.float32)


@lru_cache(maxsize=128)
def _ink(character: str, file: str, points: float) -> Bool[np.ndarray, "height width"]:
    """The pixels of a character at this size in points, cropped to them."""
    from matplotlib import get_data_path
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/{file}.ttf", points)
    image = Image.new("L", (int(3 * points), int(2.5 * points)))
    ImageDraw.Draw(image).text((points, points / 2), character, fill=255, font=font)
    image = image.point(lambda grey: 255 * (grey > 127))
    return np.asarray(image.crop(image.getbbox())) > 0


def _check(characters: str, fonts: tuple[str, ...], size: int) -> None:
    if not characters or len(set(characters)) < len(characters) or not (characters.isascii() and characters.isalnum()):
        raise ValueError(f"characters = {characters!r}: name one or more letters and digits of ASCII, each once")
    unknown = [font for font in fonts if font not in FONTS]
    if unknown or not fonts:
        raise ValueError(f"fonts {unknown or '()'} are not there: choose one or more of {', '.join(FONTS)}")
    if size < 8:
        raise ValueError(f"size = {size}: a glyph can be read from 8 pixels on")


def _check_attributes(labels: Tensor, attributes: Mapping[str, Tensor], characters: int, fonts: int) -> None:
    """Refuse what `draw_glyphs` would draw as something else, or leave out."""
    known = {"font", "bold", "slanted", "elastic", *RANGES}
    if "font" not in attributes or not attributes.keys() <= known:
        raise ValueError(f"attributes {', '.join(attributes)}: font must be there, and may {', '.join(sorted(known))}")
    for name, values, count in (("labels", labels, characters), ("font", attributes["font"], fonts)):
        if len(values) and not 0 <= int(values.min()) <= int(values.max()) < count:
            raise ValueError(
                f"{name} reach from {int(values.min())} to {int(values.max())}: there are 0 to {count - 1}"
            )
    for name, values in attributes.items():
        if len(values) != len(labels) or not bool(values.isfinite().all()):
            raise ValueError(
                f"attribute {name!r} of shape {list(values.shape)}: a finite value for each of {len(labels)}"
            )

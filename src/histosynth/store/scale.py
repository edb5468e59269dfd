"""Scaling by area averaging: an output pixel is the mean of the light that falls on its square.

Along one axis, a window of s pixels that begins anywhere in the image is shrunk to m pixels. Positions are measured in
units of 1/256 pixel, of which the window has S = round(256 s), and each unit is divided into m. Input pixel i then
covers [256 i·m, 256 (i + 1)·m), and output pixel j covers [start·m + j·S, start·m + (j + 1)·S). The weight of i in j is
the length that they share. It is an integer, and the weights of j add up to S. The average is therefore integer
arithmetic with one division at the end: exact at any ratio, and equal to the bit on every machine. (Pillow's BOX filter
gives every touched pixel the weight 0 or 1, which is an area average at integer ratios only.)
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import csr_array

SUBPIXELS = 256
"""Units per pixel in which a window is measured."""
_REDUCED = frozenset({2, 4, 8, 16})  # Pillow multiplies by a reciprocal, which is exact for these


@dataclass(frozen=True, kw_only=True)
class Window:
    """A square in an image, in units of 1/256 pixel: its upper left corner and its side."""

    x: int
    y: int
    side: int


def area_average(image: NDArray[np.uint8], *, side_px: int, window: Window | None = None) -> NDArray[np.uint8]:
    """Shrink a square of an (h, w, 3) image to (side_px, side_px, 3), rounding half up.

    Args:
        image: square, unless a `window` is given.
        side_px: side of the result, at most that of the square.
        window: the square, inside the image; None: the whole image.
    """
    # The square, inside the image and no smaller than the result
    height, width = image.shape[:2]
    square = window or Window(x=0, y=0, side=SUBPIXELS * height)
    if (window is None and width != height) or side_px * SUBPIXELS > square.side:
        raise ValueError(f"cannot area-average {width}x{height} px to {side_px}x{side_px} px")
    fits = square.x + square.side <= SUBPIXELS * width and square.y + square.side <= SUBPIXELS * height
    if not fits or min(square.x, square.y) < 0:
        raise ValueError(f"{square} lies outside {width}x{height} px")
    # Whole pixels at an integer ratio: a copy, or Pillow where it is exact
    if not (square.x % SUBPIXELS or square.y % SUBPIXELS or square.side % (SUBPIXELS * side_px)):
        ratio = square.side // (SUBPIXELS * side_px)
        left, top, side = square.x // SUBPIXELS, square.y // SUBPIXELS, square.side // SUBPIXELS
        inside = image[top : top + side, left : left + side]
        if ratio == 1:
            return inside.copy()
        if ratio in _REDUCED:
            return np.asarray(Image.fromarray(inside).reduce(ratio))
    # Any other ratio: exact sums over rows, then over columns, and one rounded division
    rows = _weights(height, side_px, square.y, square.side) @ image.reshape(height, -1).astype(np.int64)
    across = rows.reshape(side_px, width, 3).transpose(1, 0, 2).reshape(width, -1)
    total = _weights(width, side_px, square.x, square.side) @ across
    total = total.reshape(side_px, side_px, 3).transpose(1, 0, 2)
    average: NDArray[np.uint8] = ((2 * total + square.side**2) // (2 * square.side**2)).astype(np.uint8)
    return average


@lru_cache(maxsize=64)
def _weights(n: int, m: int, start: int, length: int) -> csr_array:
    """Return the (m, n) lengths that m output pixels share with n input pixels, in units of 1/(256 m) pixel."""
    begin, end = start * m, (start + length) * m
    inner = np.arange(n + 1, dtype=np.int64) * (SUBPIXELS * m)
    edges = np.union1d(inner[(inner > begin) & (inner < end)], begin + np.arange(m + 1, dtype=np.int64) * length)
    left = edges[:-1]
    return csr_array((np.diff(edges), ((left - begin) // length, left // (SUBPIXELS * m))), shape=(m, n))

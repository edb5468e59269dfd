"""From a region of a slide to a patch: which level is read, and how it is scaled.

`base` reads the full resolution and averages all of it: every photon counts once, and no second compression lies
between. `best_level` reads the coarsest level that is still finer than the patch, a fraction of the pixels. A corner or
a side that falls between two pixels of that level stays where it is, to 1/256 pixel: the pixels it cuts count in part.
"""

from dataclasses import dataclass
from math import ceil, floor
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from histosynth.slides.pyramid import nearest_finer
from histosynth.slides.types import Box, SlideReader
from histosynth.store.scale import UNIT, Window, area_average


@dataclass(frozen=True, kw_only=True)
class Region:
    """Pixels of one level that cover a square region, and where in them it lies."""

    pixels: NDArray[np.uint8]  # (H, W, 3)
    window: Window
    downsample: float
    """Of the level."""

    def scaled(self, side_px: int) -> NDArray[np.uint8]:
        """The region as a patch of (side_px, side_px, 3)."""
        return area_average(self.pixels, side_px=side_px, window=self.window)


def read_region(slide: SlideReader, box: Box, *, side_px: int, source: Literal["base", "best_level"]) -> Region:
    """A square region, in level-0 pixels, to become a patch of `side_px`, which is at most its side."""
    level = 0 if source == "base" else nearest_finer(slide.levels, box.width / side_px)
    downsample = slide.levels[level].downsample
    # The level that is a thousandth too coarse passes as fine enough, but a window holds a pixel a pixel at least.
    side = max(box.width / downsample, side_px)
    x, y = box.x / downsample, box.y / downsample
    left, top = floor(x), floor(y)
    window = Window(x=round((x - left) * UNIT), y=round((y - top) * UNIT), side=round(side * UNIT))
    cover = Box(
        x=left,
        y=top,
        width=ceil((window.x + window.side) / UNIT),
        height=ceil((window.y + window.side) / UNIT),
    )
    return Region(pixels=slide.read(cover, level=level), window=window, downsample=downsample)

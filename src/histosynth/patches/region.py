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

from histosynth.config import PatchSettings
from histosynth.errors import HistosynthError
from histosynth.slides.pyramid import nearest_finer_level
from histosynth.slides.types import Box, SlideReader
from histosynth.store.scale import SUBPIXELS, Window, area_average


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


def region_extent(settings: PatchSettings, *, mpp: float) -> int:
    """Side of a region in whole level-0 pixels of a slide of `mpp` microns per pixel.

    Raises:
        HistosynthError: the region has fewer pixels than the patch, so that scaling would invent detail.
    """
    extent = max(1, round(settings.region_px * settings.region_mpp / mpp))
    if extent < settings.patch_px:
        raise HistosynthError(
            f"at {mpp:g} microns per pixel a region of {settings.region_px * settings.region_mpp:g} microns has only "
            f"{extent} px a side, fewer than a patch of {settings.patch_px} px; lower patches.patch_px or raise "
            "patches.region_px"
        )
    return extent


def read_region(slide: SlideReader, box: Box, *, side_px: int, source: Literal["base", "best_level"]) -> Region:
    """A square region, in level-0 pixels, to become a patch of `side_px`, which is at most its side."""
    level = 0 if source == "base" else nearest_finer_level(slide.levels, box.width / side_px)
    downsample = slide.levels[level].downsample
    # The level that is a thousandth too coarse passes as fine enough, but a window holds a pixel a pixel at least.
    side = max(box.width / downsample, side_px)
    x, y = box.x / downsample, box.y / downsample
    left, top = floor(x), floor(y)
    window = Window(x=round((x - left) * SUBPIXELS), y=round((y - top) * SUBPIXELS), side=round(side * SUBPIXELS))
    cover = Box(
        x=left,
        y=top,
        width=ceil((window.x + window.side) / SUBPIXELS),
        height=ceil((window.y + window.side) / SUBPIXELS),
    )
    return Region(pixels=slide.read(cover, level=level), window=window, downsample=downsample)

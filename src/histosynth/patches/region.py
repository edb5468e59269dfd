"""From a region of a slide to a patch: size of the region, level that is read, and scaling.

A region has a fixed field of view. Its side in level-0 pixels is region_px · region_mpp / mpp, whatever the resolution
of the scanner.

`base` reads the full resolution and averages all pixels: every photon counts once, and no second compression
intervenes. `best_level` reads the coarsest level that is still finer than the patch, a fraction of the pixels. Corners
and sides that fall between two pixels of that level are kept to 1/256 pixel; pixels that they cross count in part.
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
    """Pixels of one level that cover a square region, and the position of the region in them."""

    pixels: NDArray[np.uint8]  # (H, W, 3)
    window: Window
    downsample: float
    """Downsample of the level that was read."""

    def scaled(self, side_px: int) -> NDArray[np.uint8]:
        """Scale the region to a patch (side_px, side_px, 3)."""
        return area_average(self.pixels, side_px=side_px, window=self.window)


def region_extent(settings: PatchSettings, *, mpp: float) -> int:
    """Return the side of a region in whole level-0 pixels of a slide of `mpp` microns per pixel.

    Raises:
        HistosynthError: the region has fewer pixels than the patch; scaling would invent detail.
    """
    extent = max(1, round(settings.region_px * settings.region_mpp / mpp))
    if extent < settings.patch_px:
        raise HistosynthError(
            f"at {mpp:g} microns per pixel a region of {settings.region_px * settings.region_mpp:g} microns has only "
            f"{extent} px per side, fewer than a patch of {settings.patch_px} px; lower patches.patch_px or raise "
            "patches.region_px"
        )
    return extent


def read_region(slide: SlideReader, box: Box, *, side_px: int, source: Literal["base", "best_level"]) -> Region:
    """Read a square region, in level-0 pixels, for a patch of `side_px`, which is at most the side of the region."""
    level = 0 if source == "base" else nearest_finer_level(slide.levels, box.width / side_px)
    downsample = slide.levels[level].downsample
    # A level that is 0.1 % too coarse counts as fine enough, but a window needs at least one pixel per patch pixel.
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

"""Deep Zoom tiles of a slide: the pyramid that browsers show, made from whatever levels the file has.

Level `max_level` is the full resolution and each level below has half of it, down to one pixel; a tile has 254 pixels
and an overlap of one with each neighbor. Coordinates begin at the corner of the whole slide, never of its scanned
bounds, so that outlines need no shift. A tile is averaged from the coarsest level of the file that is fine enough.
"""

from dataclasses import dataclass
from io import BytesIO
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histosynth.slides.pyramid import nearest_finer_level
from histosynth.slides.types import Box, SlideReader

TILE_PX, OVERLAP_PX = 254, 1
JPEG, WEBP = "jpg", "webp"
_QUALITY = {JPEG: 85, WEBP: 80}
_BLOCK_PIXELS = 1 << 24  # read at once, where a file lacks coarse levels


@dataclass(frozen=True, kw_only=True)
class DeepZoom:
    """The pyramid of a slide of so many level-0 pixels."""

    width_px: int
    height_px: int

    @property
    def max_level(self) -> int:
        """Number of the level of full resolution."""
        return (max(self.width_px, self.height_px, 1) - 1).bit_length()

    def tile_box(self, level: int, column: int, row: int) -> Box | None:
        """Return the pixels of a tile in its level, with its overlap; None if there is no such tile."""
        if not (0 <= level <= self.max_level and column >= 0 and row >= 0):
            return None
        scale = 1 << (self.max_level - level)
        width, height = ceil(self.width_px / scale), ceil(self.height_px / scale)
        if column * TILE_PX >= width or row * TILE_PX >= height:
            return None
        left, top = max(0, column * TILE_PX - OVERLAP_PX), max(0, row * TILE_PX - OVERLAP_PX)
        right, bottom = (min((i + 1) * TILE_PX + OVERLAP_PX, end) for i, end in ((column, width), (row, height)))
        return Box(x=left, y=top, width=right - left, height=bottom - top)


def read_tile(slide: SlideReader, box: Box, *, scale: int) -> NDArray[np.uint8]:
    """Return a tile, (h, w, 3).

    Args:
        slide: the opened slide.
        box: the tile, in pixels of its level.
        scale: level-0 pixels per pixel of that level.
    """
    number = nearest_finer_level(slide.levels, scale)
    ratio = scale / slide.levels[number].downsample
    rows = max(1, floor(_BLOCK_PIXELS / (box.width * ratio * ratio)))
    blocks = [
        _read_block(
            slide, Box(x=box.x, y=box.y + top, width=box.width, height=min(rows, box.height - top)), number, ratio
        )
        for top in range(0, box.height, rows)
    ]
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _read_block(slide: SlideReader, box: Box, number: int, ratio: float) -> NDArray[np.uint8]:
    """Read a box that is `ratio` times as large, per side, in level `number`."""
    left, top, right, bottom = (side * ratio for side in (box.x, box.y, box.x + box.width, box.y + box.height))
    cover = Box(x=floor(left), y=floor(top), width=ceil(right) - floor(left), height=ceil(bottom) - floor(top))
    pixels = slide.read(cover, level=number)
    if (cover.width, cover.height) == (box.width, box.height):
        return pixels
    window = (left - cover.x, top - cover.y, right - cover.x, bottom - cover.y)
    small = Image.fromarray(pixels).resize((box.width, box.height), Image.Resampling.BOX, window)
    return np.asarray(small)


def encode_image(pixels: NDArray[np.uint8], kind: str) -> bytes:
    """Return pixels (h, w, 3) as `JPEG` or `WEBP`."""
    buffer = BytesIO()
    image = Image.fromarray(pixels)
    if kind == WEBP:
        image.save(buffer, format="WEBP", quality=_QUALITY[WEBP], method=0)
    else:
        image.save(buffer, format="JPEG", quality=_QUALITY[JPEG])
    return buffer.getvalue()

"""Levels of a slide: the same image at several resolutions, of which level 0 is the full one.

Frame: pixel i of a level covers [i, i + 1) · downsample of level 0. Writers drop the last, incomplete pixel, so that
2221 px can represent 4443 at half the resolution: a downsample within one pixel of an integer is that integer.
"""

from collections.abc import Sequence
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histosynth.slides.types import Box, Level, SlideReader

_STRIP_PIXELS = 1 << 24
_SLACK = 1.001  # a level that is 0.1 % too coarse is as good, and saves decoding the next finer one


def make_levels(sizes: Sequence[tuple[int, int]]) -> tuple[Level, ...]:
    """Return the levels from their (width, height), level 0 first."""
    width, height = sizes[0]
    return tuple(
        Level(width_px=w, height_px=h, downsample=_downsample(width, height, w, h) if n else 1.0)
        for n, (w, h) in enumerate(sizes)
    )


def _downsample(width: int, height: int, level_width: int, level_height: int) -> float:
    ratio = (width / level_width + height / level_height) / 2
    whole = max(1, round(ratio))
    fits = abs(width / whole - level_width) < 1 and abs(height / whole - level_height) < 1
    return float(whole) if fits else ratio


def nearest_finer_level(levels: Sequence[Level], downsample: float) -> int:
    """Return the number of the coarsest level that is not coarser than `downsample`."""
    fine = [n for n, level in enumerate(levels) if level.downsample <= downsample * _SLACK]
    return max(fine, key=lambda n: levels[n].downsample, default=0)


def thumbnail(slide: SlideReader, max_px: int) -> NDArray[np.uint8]:
    """Return the whole slide, (h, w, 3), longest side at most `max_px`, read in strips: a slide may have no pyramid."""
    downsample = max(1.0, max(slide.width_px, slide.height_px) / max_px)
    width, height = max(1, round(slide.width_px / downsample)), max(1, round(slide.height_px / downsample))
    number = nearest_finer_level(slide.levels, downsample)
    level = slide.levels[number]
    step = level.height_px / height
    rows = max(1, int(_STRIP_PIXELS / (level.width_px * step)))
    strips = []
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first, last = floor(top * step), min(ceil(bottom * step), level.height_px)
        strip = slide.read(Box(x=0, y=first, width=level.width_px, height=last - first), level=number)
        window = (0, top * step - first, level.width_px, min(bottom * step, level.height_px) - first)
        small = Image.fromarray(strip).resize((width, bottom - top), Image.Resampling.BOX, window)
        strips.append(np.asarray(small))
    return np.concatenate(strips)

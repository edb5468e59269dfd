"""Slides through OpenSlide: SVS, NDPI, MRXS, SCN, BIF, pyramidal TIFF and what else it knows (openslide.org)."""

from math import ceil, floor
from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import Image

from histosynth.errors import HistosynthError
from histosynth.slides.reader import Box, SlideReader, on_white, plausible_mpp, slide_id_of

_STRIP_PIXELS = 1 << 24
_MAX_ASPECT = 1.05


def is_openslide(path: Path) -> bool:
    """Whether OpenSlide recognizes the file's format; its suffix does not count."""
    return openslide.OpenSlide.detect_format(path) is not None


class OpenSlideReader(SlideReader):
    """A slide opened by OpenSlide. Regions come from level 0; thumbnails from the level that is nearest but finer.

    Raises:
        HistosynthError: the file is no slide, is damaged (also when found out while reading), or has oblong pixels.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.slide_id = slide_id_of(path)
        try:
            self._slide = openslide.OpenSlide(path)
        except openslide.OpenSlideError as error:
            raise HistosynthError(_unreadable(path, error)) from error
        self.width_px, self.height_px = self._slide.dimensions
        self.properties = dict(self._slide.properties)
        self.mpp = self._stated_mpp()

    def read(self, box: Box) -> NDArray[np.uint8]:
        """The pixels of `box` at level 0, (height, width, 3), white where nothing was scanned."""
        return self._read(box.x, box.y, level=0, width=box.width, height=box.height)

    def thumbnail(self, max_px: int) -> NDArray[np.uint8]:
        """The whole slide, (h, w, 3), longest side at most `max_px`, read in strips: a slide may have no pyramid."""
        downsample = max(1.0, max(self.width_px, self.height_px) / max_px)
        width, height = max(1, round(self.width_px / downsample)), max(1, round(self.height_px / downsample))
        level = self._slide.get_best_level_for_downsample(downsample)
        level_width, level_height = self._slide.level_dimensions[level]
        step = level_height / height
        rows = max(1, int(_STRIP_PIXELS / (level_width * step)))
        strips = []
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            first, last = floor(top * step), min(ceil(bottom * step), level_height)
            first_l0 = round(first * self._slide.level_downsamples[level])
            strip = self._read(0, first_l0, level=level, width=level_width, height=last - first)
            window = (0, top * step - first, level_width, min(bottom * step, level_height) - first)
            small = Image.fromarray(strip).resize((width, bottom - top), Image.Resampling.BOX, window)
            strips.append(np.asarray(small))
        return np.concatenate(strips)

    def close(self) -> None:
        """Give the file back."""
        self._slide.close()

    def _read(self, x_l0: int, y_l0: int, *, level: int, width: int, height: int) -> NDArray[np.uint8]:
        """The corner is in level-0 pixels, the size in those of `level`."""
        try:
            return on_white(np.asarray(self._slide.read_region((x_l0, y_l0), level, (width, height))))
        except openslide.OpenSlideError as error:
            raise HistosynthError(_unreadable(self.path, error)) from error

    def _stated_mpp(self) -> float | None:
        """OpenSlide also derives mpp from the TIFF resolution tags, where 72 dpi means nothing."""
        try:
            x = float(self._slide.properties[openslide.PROPERTY_NAME_MPP_X])
            y = float(self._slide.properties[openslide.PROPERTY_NAME_MPP_Y])
        except (KeyError, ValueError):
            return None
        if plausible_mpp(x) is None or plausible_mpp(y) is None:
            return None
        if max(x, y) > _MAX_ASPECT * min(x, y):
            raise HistosynthError(
                f"slide {self.path} has oblong pixels ({x:g} x {y:g} microns); resample it to square ones"
            )
        return (x + y) / 2


def _unreadable(path: Path, error: Exception) -> str:
    reason = "the file is empty" if path.is_file() and path.stat().st_size == 0 else f"OpenSlide: {error}"
    return f"slide {path} cannot be read ({reason}); copy it anew or leave it out"

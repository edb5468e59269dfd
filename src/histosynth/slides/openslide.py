"""Reader based on OpenSlide: SVS, NDPI, MRXS, SCN, BIF, pyramidal TIFF and its other formats (openslide.org)."""

from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray

from histosynth.errors import HistosynthError
from histosynth.slides.compositing import composite_on_white
from histosynth.slides.files import slide_id_of
from histosynth.slides.mpp import square_mpp
from histosynth.slides.pyramid import make_levels, thumbnail
from histosynth.slides.types import Box, Level, SlideReader


def is_openslide(path: Path) -> bool:
    """Return True if OpenSlide recognizes the content of the file; the suffix is ignored."""
    return openslide.OpenSlide.detect_format(path) is not None


class OpenSlideReader(SlideReader):
    """A slide opened by OpenSlide.

    Raises:
        HistosynthError: the file is not a slide, is damaged (which may be detected only while reading), or has
            non-square pixels.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.slide_id = slide_id_of(path)
        try:
            self._slide = openslide.OpenSlide(path)
            self.width_px, self.height_px = self._slide.dimensions
            self.properties = dict(self._slide.properties)
        except (openslide.OpenSlideError, KeyError) as error:  # KeyError: a property that is listed but not there
            raise HistosynthError(_unreadable(path, error)) from error
        self._levels = make_levels(self._slide.level_dimensions)
        self.mpp = self._stated_mpp()

    @property
    def levels(self) -> tuple[Level, ...]:
        """All resolutions, the full one first."""
        return self._levels

    def read(self, box: Box, *, level: int = 0) -> NDArray[np.uint8]:
        """Return the pixels of `box`, in pixels of `level`: (height, width, 3), white where nothing was scanned.

        OpenSlide takes the corner in whole level-0 pixels, so that at coarser levels it may be off by half of one.
        """
        downsample = self._slide.level_downsamples[level]
        corner = round(box.x * downsample), round(box.y * downsample)
        try:
            return composite_on_white(np.asarray(self._slide.read_region(corner, level, (box.width, box.height))))
        except openslide.OpenSlideError as error:
            raise HistosynthError(_unreadable(self.path, error)) from error

    def thumbnail(self, max_px: int) -> NDArray[np.uint8]:
        """Return the whole slide, (h, w, 3), longest side at most `max_px`, from the nearest finer level."""
        return thumbnail(self, max_px)

    def close(self) -> None:
        """Close the file."""
        self._slide.close()

    def _stated_mpp(self) -> float | None:
        """Return the plausible mpp; OpenSlide also derives it from TIFF resolution tags, where 72 dpi means nothing."""
        try:
            x = float(self._slide.properties[openslide.PROPERTY_NAME_MPP_X])
            y = float(self._slide.properties[openslide.PROPERTY_NAME_MPP_Y])
        except (KeyError, ValueError):
            return None
        return square_mpp(self.path, x, y)


def _unreadable(path: Path, error: Exception) -> str:
    reason = "the file is empty" if path.is_file() and path.stat().st_size == 0 else f"OpenSlide: {error}"
    return f"slide {path} cannot be read ({reason}); copy it again or leave it out"

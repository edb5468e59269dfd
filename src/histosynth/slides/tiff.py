"""Reader of tiled TIFF: SVS, plain pyramids and OME-TIFF, without OpenSlide.

tifffile locates the tiles, `tiff_levels` decodes them, and the most recent tiles are cached. The pixels are those of
OpenSlide, and the file may be remote (`remote`). Threads may read concurrently: only access to the file is locked.
"""

import logging
import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from histosynth.errors import HistosynthError
from histosynth.remote import file_name, open_binary
from histosynth.slides.files import slide_id_of
from histosynth.slides.mpp import square_mpp
from histosynth.slides.pyramid import make_levels, thumbnail
from histosynth.slides.tiff_directories import has_circle
from histosynth.slides.tiff_levels import Pyramid, TiledPage, UnsupportedTiffError, find_pyramid
from histosynth.slides.types import Box, Level, SlideReader

_CACHE_BYTES = 64 << 20
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# tifffile logs irregularities of a file; those that matter are raised here, in one line.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


class TiffReader(SlideReader):
    """A tiled TIFF.

    Raises:
        UnsupportedTiffError: the file is not a TIFF, or its pixels would differ from OpenSlide's.
        HistosynthError: the file is truncated, has non-square pixels, is not an RGB image, or cannot be accessed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.slide_id = slide_id_of(path)
        self._lock = threading.Lock()
        self._tiles: OrderedDict[tuple[int, int], NDArray[np.uint8]] = OrderedDict()
        self._file = open_binary(path)
        try:
            pyramid = self._find_pyramid()
            self._pages = pyramid.pages
            self.mpp = square_mpp(path, *pyramid.stated_mpp) if pyramid.stated_mpp else None
        except BaseException:
            self._file.close()
            raise
        self._levels = make_levels([(page.width_px, page.height_px) for page in self._pages])
        self.width_px, self.height_px = self._pages[0].width_px, self._pages[0].height_px
        self._max_tiles = max(4, _CACHE_BYTES // max(3 * page.tile_width * page.tile_height for page in self._pages))

    @property
    def levels(self) -> tuple[Level, ...]:
        """All resolutions, the full one first."""
        return self._levels

    def _find_pyramid(self) -> Pyramid:
        if self._file.read(4) not in _MAGIC:
            raise UnsupportedTiffError(f"slide {self.path} is not a TIFF; omit the name of the reader")
        if has_circle(self._file):
            raise HistosynthError(
                f"slide {self.path} cannot be read (its directories form a circle); copy it again or leave it out"
            )
        self._file.seek(0)
        try:
            with tifffile.TiffFile(self._file, name=file_name(self.path)) as tiff:
                pyramid = find_pyramid(tiff, path=self.path)
            end = max(o + n for page in pyramid.pages for o, n in zip(page.offsets, page.lengths, strict=True))
        except HistosynthError:
            raise
        except Exception as error:  # an invalid structure may raise anything; another reader judges the file
            raise UnsupportedTiffError(
                f"slide {self.path} cannot be read (invalid TIFF: {error}); copy it again or leave it out"
            ) from error
        size = self._file.seek(0, 2)
        if end > size:
            raise HistosynthError(
                f"slide {self.path} cannot be read (it is truncated: {size} bytes of at least {end}); "
                "copy it again or leave it out"
            )
        return pyramid

    def read(self, box: Box, *, level: int = 0) -> NDArray[np.uint8]:
        """Return the pixels of `box`, in pixels of `level`: (height, width, 3), white where nothing was scanned."""
        page = self._pages[level]
        out = np.full((box.height, box.width, 3), 255, np.uint8)
        left, right = max(box.x, 0), min(box.x + box.width, page.width_px)
        top, bottom = max(box.y, 0), min(box.y + box.height, page.height_px)
        if left >= right or top >= bottom:
            return out
        for row in range(top // page.tile_height, -(-bottom // page.tile_height)):
            for column in range(left // page.tile_width, -(-right // page.tile_width)):
                tile = self._tile(level, row * page.columns + column)
                if tile is None:
                    continue
                x, y = column * page.tile_width, row * page.tile_height
                x0, x1 = max(left, x), min(right, x + page.tile_width)
                y0, y1 = max(top, y), min(bottom, y + page.tile_height)
                out[y0 - box.y : y1 - box.y, x0 - box.x : x1 - box.x] = tile[y0 - y : y1 - y, x0 - x : x1 - x]
        return out

    def thumbnail(self, max_px: int) -> NDArray[np.uint8]:
        """Return the whole slide, (h, w, 3), with its longest side at most `max_px`."""
        return thumbnail(self, max_px)

    def close(self) -> None:
        """Close the file and free the cached tiles."""
        self._file.close()
        self._tiles.clear()

    def _tile(self, level: int, number: int) -> NDArray[np.uint8] | None:
        """Return a decoded tile, (tile_height, tile_width, 3), or None if nothing was scanned there."""
        with self._lock:
            if (tile := self._tiles.get((level, number))) is not None:
                self._tiles.move_to_end((level, number))
                return tile
        page = self._pages[level]
        planes = [self._decode(page, number + plane * page.tiles) for plane in range(page.planes)]
        present = [plane for plane in planes if plane is not None]
        if len(present) < len(planes):
            return None
        tile = present[0] if len(present) == 1 else np.concatenate(present, axis=2)
        with self._lock:
            self._tiles[level, number] = tile
            while len(self._tiles) > self._max_tiles:
                self._tiles.popitem(last=False)
        return tile

    def _decode(self, page: TiledPage, index: int) -> NDArray[np.uint8] | None:
        if not page.lengths[index]:
            return None
        try:
            with self._lock:
                self._file.seek(page.offsets[index])
                data = self._file.read(page.lengths[index])
            if len(data) < page.lengths[index]:
                raise ValueError("it is truncated")
            return page.decode(data)
        except Exception as error:  # each codec, and each protocol of fsspec, raises different errors
            raise HistosynthError(
                f"slide {self.path} cannot be read (tile {index} of {page.width_px} x {page.height_px} px: "
                f"{' '.join(str(error).split())}); copy it again or leave it out"
            ) from error

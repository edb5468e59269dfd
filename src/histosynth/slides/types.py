"""Common interface of all slide formats: read a box of pixels at full resolution, or a thumbnail of the whole slide.

Frame: unless another level is named, coordinates are pixels of level 0, the full resolution, counted from the upper
left corner of the whole slide (not of its scanned bounds). Unscanned areas and the outside of the slide are white. The
scale is microns per pixel (mpp) of level 0, never a magnification.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Box:
    """A region in pixels of one level: its upper left corner and its size. It may extend beyond the slide."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Level:
    """One resolution of a slide. `downsample` is level-0 pixels per pixel of this level, at least 1."""

    width_px: int
    height_px: int
    downsample: float


class SlideReader(Protocol):
    """An opened slide. Use it in a `with` statement; it belongs to one process and cannot be pickled."""

    path: Path
    slide_id: str
    width_px: int
    height_px: int
    mpp: float | None
    properties: Mapping[str, str] = MappingProxyType({})
    """Other properties of the file, by OpenSlide's names: `openslide.bounds-x`, `hamamatsu.XOffsetFromSlideCentre` …"""

    @property
    def levels(self) -> tuple[Level, ...]:
        """All resolutions, the full one first. By default, a reader has the full one only."""
        return (Level(width_px=self.width_px, height_px=self.height_px, downsample=1.0),)

    def read(self, box: Box, *, level: int = 0) -> NDArray[np.uint8]:
        """Return the pixels of `box`, in pixels of `level`: (height, width, 3), white where nothing was scanned."""
        ...

    def thumbnail(self, max_px: int) -> NDArray[np.uint8]:
        """Return the whole slide, (h, w, 3), with its longest side at most `max_px`; never enlarged."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

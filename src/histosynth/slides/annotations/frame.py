"""From the coordinates of a file to level-0 pixels of the whole slide, using properties of the slide.

NDPA counts nanometers from the center of the glass slide. The scanner states the offset o of the image center from
there and the pixel size m (microns): x_px = (x_nm - o) / (1000 m) + width / 2. OpenSlide provides both
(openslide.org/formats/hamamatsu).

Tools that crop a slide to its scanned bounds (OpenSlide's `bounds-x` and `bounds-y`: MRXS, some SCN and BIF) count from
the corner of the bounds: x_px = x + bounds_x. QuPath does so by default (github.com/qupath/qupath/issues/820), ASAP
does not.
"""

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Self

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon

from histosynth.errors import HistosynthError
from histosynth.slides.annotations.areas import ParsedAnnotations
from histosynth.slides.mpp import plausible_mpp
from histosynth.slides.types import Box, SlideReader

_MIN_DIFFERENCE = 0.1  # of the share of the tumor on the scanned part, between the two origins


@dataclass(frozen=True, kw_only=True)
class SlideFrame:
    """Coordinate frame of a slide; None for properties that the slide does not state.

    Attributes:
        mpp_x: microns per level-0 pixel along x; `mpp_y` along y.
        center_x_nm: offset of the image center from the center of the glass slide along x; `center_y_nm` along y.
        bounds: the scanned part, if it is not the whole.
    """

    slide_id: str
    width_px: int
    height_px: int
    mpp_x: float | None = None
    mpp_y: float | None = None
    center_x_nm: float | None = None
    center_y_nm: float | None = None
    bounds: Box | None = None

    @classmethod
    def of(cls, slide: SlideReader) -> Self:
        """Return the frame of an opened slide, from its properties under OpenSlide's names."""

        def stated(name: str) -> float | None:
            try:
                value = float(getattr(slide, "properties", {})[name])
            except (KeyError, ValueError):
                return None
            return value if isfinite(value) else None

        sides = [stated(f"openslide.bounds-{side}") for side in ("x", "y", "width", "height")]
        x, y, width, height = (round(side) if side is not None else None for side in sides)
        bounds = None
        if x is not None and y is not None and width is not None and height is not None:
            bounds = Box(x=x, y=y, width=width, height=height)
        return cls(
            slide_id=slide.slide_id,
            width_px=slide.width_px,
            height_px=slide.height_px,
            mpp_x=plausible_mpp(stated("openslide.mpp-x") or 0) or slide.mpp,
            mpp_y=plausible_mpp(stated("openslide.mpp-y") or 0) or slide.mpp,
            center_x_nm=stated("hamamatsu.XOffsetFromSlideCentre"),
            center_y_nm=stated("hamamatsu.YOffsetFromSlideCentre"),
            bounds=bounds,
        )


def to_level0(
    areas: MultiPolygon, parsed: ParsedAnnotations, *, frame: SlideFrame | None, origin: str, path: Path
) -> MultiPolygon:
    """Convert areas to level-0 pixels of the whole slide.

    Args:
        areas: in the coordinates of the file; not empty, and each polygon valid, though they may overlap.
        parsed: the annotations of the file.
        frame: of the slide; without it, pixels are assumed to count from the corner of the whole slide.
        origin: `slide`, `bounds`, or `auto` for the default of the tool.
        path: the file, for error messages.

    Raises:
        HistosynthError: the slide does not state a required property, or with `auto` the areas lie off the scanned
            part and with the other origin they would not.
    """
    # NDPA states its origin; without scanned bounds there is only one.
    if parsed.nanometers:
        return _from_nanometers(areas, frame, path)
    if frame is None or frame.bounds is None or (frame.bounds.x, frame.bounds.y) == (0, 0):
        return areas
    bounds = frame.bounds
    by_origin = {"slide": areas, "bounds": _affine(areas, np.ones(2), np.array([bounds.x, bounds.y], float))}
    if origin != "auto":
        return by_origin[origin]
    # Use the default of the tool; reject it if the areas fit the scanned part clearly better with the other origin.
    scanned = shapely.box(bounds.x, bounds.y, bounds.x + bounds.width, bounds.y + bounds.height)
    parts = {name: shapely.get_parts(area) for name, area in by_origin.items()}
    share = {
        name: float(shapely.area(shapely.intersection(each, scanned)).sum() / shapely.area(each).sum())
        for name, each in parts.items()
    }
    usual, other = ("bounds", "slide") if parsed.cropped else ("slide", "bounds")
    if share[other] > share[usual] + _MIN_DIFFERENCE:
        raise HistosynthError(
            f"outlines {path}: with coordinates from the corner of the {usual}, the default of {parsed.format}, "
            f"{share[usual]:.0%} of the area lies on the scanned part of slide {frame.slide_id}; from the corner of "
            f"the {other}, {share[other]:.0%}; choose with --outline-origin {other} or --outline-origin {usual}"
        )
    return by_origin[usual]


def _from_nanometers(areas: MultiPolygon, frame: SlideFrame | None, path: Path) -> MultiPolygon:
    if frame is None:
        raise HistosynthError(
            f"outlines {path} count from the center of the glass slide (NDPA); read them together with their slide"
        )
    required = {
        "hamamatsu.XOffsetFromSlideCentre": frame.center_x_nm,
        "hamamatsu.YOffsetFromSlideCentre": frame.center_y_nm,
        "microns per pixel": frame.mpp_x and frame.mpp_y,
    }
    if missing := [name for name, value in required.items() if value is None]:
        raise HistosynthError(
            f"outlines {path} count nanometers from the center of the glass slide (NDPA), but slide {frame.slide_id} "
            f"states no {', no '.join(missing)}; use the NDPI file itself, or outlines in pixels (QuPath GeoJSON)"
        )
    nm_per_px = 1000 * np.array([frame.mpp_x, frame.mpp_y], float)
    center_nm = np.array([frame.center_x_nm, frame.center_y_nm], float)
    center_px = np.array([frame.width_px, frame.height_px]) / 2
    return _affine(areas, 1 / nm_per_px, center_px - center_nm / nm_per_px)


def _affine(area: MultiPolygon, scale: NDArray[np.float64], shift: NDArray[np.float64]) -> MultiPolygon:
    moved = shapely.transform(area, lambda points: points * scale + shift)
    assert isinstance(moved, MultiPolygon)
    return moved

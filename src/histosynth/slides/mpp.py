"""Microns per pixel: which values a scan can have, one value for both axes, and the error where there is none."""

from pathlib import Path

from histosynth.errors import HistosynthError
from histosynth.slides.types import SlideReader

MPP_RANGE = (0.05, 10.0)
"""Smallest and largest microns per pixel that are taken for those of a scan."""
_MAX_ASPECT = 1.05


def require_mpp(slide: SlideReader) -> float:
    """Microns per pixel of level 0.

    Raises:
        HistosynthError: the slide states none, and none was given.
    """
    if slide.mpp is None:
        raise HistosynthError(
            f"slide {slide.slide_id} states no microns per pixel; pass --mpp (microns per pixel of its full "
            "resolution), or name it in --mpp-table"
        )
    return slide.mpp


def plausible_mpp(value: float) -> float | None:
    """`value` if a scan can have so many microns per pixel, else None: 72 dpi is that of a screen, not of a slide."""
    low, high = MPP_RANGE
    return value if low <= value <= high else None


def square_mpp(path: Path, x: float, y: float) -> float | None:
    """One figure for the microns per pixel stated along x and y, None where they can be no scan's.

    Raises:
        HistosynthError: they differ by more than a twentieth.
    """
    if plausible_mpp(x) is None or plausible_mpp(y) is None:
        return None
    if max(x, y) > _MAX_ASPECT * min(x, y):
        raise HistosynthError(f"slide {path} has oblong pixels ({x:g} x {y:g} microns); resample it to square ones")
    return (x + y) / 2

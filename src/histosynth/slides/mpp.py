"""Microns per pixel: the plausible range, one value for both axes, and the error for slides without a value."""

from pathlib import Path

from histosynth.errors import HistosynthError
from histosynth.slides.types import SlideReader

MPP_RANGE = (0.05, 10.0)
"""Smallest and largest plausible microns per pixel of a scan."""
_MAX_ASPECT = 1.05


def require_mpp(slide: SlideReader) -> float:
    """Return the microns per pixel of level 0.

    Raises:
        HistosynthError: the slide states no value, and none was given.
    """
    if slide.mpp is None:
        raise HistosynthError(
            f"slide {slide.slide_id} states no microns per pixel; pass --mpp (microns per pixel of its full "
            "resolution), or add it to --mpp-table"
        )
    return slide.mpp


def plausible_mpp(value: float) -> float | None:
    """Return `value` if it is plausible for a scan, else None: 72 dpi, for example, is the resolution of a screen."""
    low, high = MPP_RANGE
    return value if low <= value <= high else None


def square_mpp(path: Path, x: float, y: float) -> float | None:
    """Return one value for the microns per pixel stated along x and y, or None if they are not plausible.

    Raises:
        HistosynthError: they differ by more than 5 %.
    """
    if plausible_mpp(x) is None or plausible_mpp(y) is None:
        return None
    if max(x, y) > _MAX_ASPECT * min(x, y):
        raise HistosynthError(f"slide {path} has non-square pixels ({x:g} x {y:g} microns); resample it to square ones")
    return (x + y) / 2

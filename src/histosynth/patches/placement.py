"""Square regions on a slide that lie inside the outline far enough and keep their distance from each other.

`grid_placement` and `random_placement` propose regions; both filter them here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

_FEW_SQUARES, _FEW_POINTS = 8, 1000  # below these, splitting the outline gains nothing
_ROUNDING = 1e-9  # tolerance of a share: areas are floats, and a region exactly inside must count as inside


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Regions placed on one slide, by their upper left corners."""

    corners: NDArray[np.int64]  # (N, 2): x, y in level-0 pixels, in scan order (by y, then x)
    candidate_count: int
    """Number of regions proposed, rejected ones included."""
    rejected_corners: Mapping[str, NDArray[np.int64]]
    """Corners (N, 2) of the rejected regions, by reason."""

    @property
    def rejected(self) -> dict[str, int]:
        """Number of rejected regions, by reason."""
        return {reason: len(corners) for reason, corners in self.rejected_corners.items()}


def filter_candidates(
    corners: NDArray[np.int64],
    area: shapely.MultiPolygon,
    *,
    bounds: shapely.Polygon,
    extent: int,
    min_share: float,
    thin: Callable[[NDArray[np.bool_]], NDArray[np.bool_]],
) -> Placement:
    """Keep the regions that lie on the slide and, by the share `min_share`, inside `area`; then apply `thin` to them.

    `thin` receives a mask (N,) of these regions and returns, for each of them, whether to keep it.
    """
    on_slide = shapely.covers(bounds, squares_at(corners, extent))
    inside = on_slide.copy()
    inside[on_slide] = inside_share(area, corners[on_slide], extent=extent) >= min_share - _ROUNDING
    kept = inside.copy()
    kept[inside] = thin(inside)
    rejected_corners = {
        "outside_slide": corners[~on_slide],
        "outside_tumor": corners[on_slide & ~inside],
        "too_close": corners[inside & ~kept],
    }
    chosen = corners[kept]
    return Placement(
        corners=chosen[np.lexsort(chosen.T)], candidate_count=len(corners), rejected_corners=rejected_corners
    )


def inside_share(area: shapely.MultiPolygon, corners: NDArray[np.int64], *, extent: int) -> NDArray[np.float64]:
    """Return the share (N,) of each region inside `area`, in [0, 1]; exact, and costly only at the border."""
    squares = squares_at(corners, extent)
    shapely.prepare(area)
    share = shapely.covers(area, squares).astype(np.float64)
    border = shapely.intersects(area, squares) & (share == 0)
    share[border] = _areas_inside(area, squares[border]) / extent**2
    return share


def _areas_inside(area: shapely.Geometry, squares: NDArray[np.object_]) -> NDArray[np.float64]:
    """Return the area of each square inside `area`.

    An outline of many points is first clipped to the surroundings of its squares, which are halved recursively.
    """
    if len(squares) < _FEW_SQUARES or shapely.get_num_coordinates(area) < _FEW_POINTS:
        inside: NDArray[np.float64] = shapely.area(shapely.intersection(area, squares))
        return inside
    bounds = shapely.bounds(squares)
    longer = int(np.ptp(bounds[:, 1]) > np.ptp(bounds[:, 0]))
    first, second = np.array_split(np.argsort(bounds[:, longer], kind="stable"), 2)
    inside = np.empty(len(squares))
    for half in (first, second):
        around = shapely.box(*shapely.total_bounds(squares[half]))
        inside[half] = _areas_inside(shapely.intersection(area, around), squares[half])
    return inside


def squares_at(corners: NDArray[np.int64], extent: int) -> NDArray[np.object_]:
    """Return the squares (N,) of `extent` pixels whose upper left corners are `corners` (N, 2)."""
    x, y = corners.T
    squares: NDArray[np.object_] = shapely.box(x, y, x + extent, y + extent)
    return squares

"""Regions on a grid over each outline, optionally jittered.

Every polygon of the tumor outline has its own grid, anchored at the upper left corner of the polygon's bounds, so that
an outline hardly larger than a region still yields one. Grids of neighboring polygons may overlap. The larger outline
is then filled first, and a region closer than one step (in x and in y) to a region of another grid is rejected, so that
the spacing holds over the whole slide.
"""

import numpy as np
import shapely
from numpy.typing import NDArray

from histosynth.patches.placement import Placement, filter_candidates, squares_at


def place_on_grid(
    area: shapely.MultiPolygon,
    *,
    bounds: shapely.Polygon,
    extent: int,
    step: int,
    min_share: float,
    jitter: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Placement:
    """Place regions on grids, each with at least the share `min_share` inside `area`, no two closer than `step`.

    Two regions are closer than `step` if their distance is smaller both in x and in y.

    Args:
        area: the outline, in level-0 pixels; valid, with disjoint polygons.
        bounds: the slide, in level-0 pixels; regions that extend beyond it are rejected.
        extent: side of a region, in level-0 pixels.
        step: spacing of each grid, in level-0 pixels.
        min_share: in [0, 1].
        jitter: in [0, 1): each region is shifted by up to half of this share of a step, in x and in y. Two regions of a
            grid may then be as close as `step * (1 - jitter)`, and the same limit applies between grids.
        rng: the source of randomness; required for jitter.
    """
    corners, owner = grid_corners(area, step=step)
    min_distance, reach = step, int(jitter * step / 2)
    if rng is not None and reach:
        moved = corners + rng.integers(-reach, reach + 1, size=corners.shape)
        # A region that lay on the slide stays on it.
        low, high = np.array(bounds.bounds).reshape(2, 2).astype(np.int64) - [[0], [extent]]
        corners = np.clip(moved, np.minimum(corners, low), np.maximum(corners, high))
        min_distance = step - 2 * reach
    return filter_candidates(
        corners,
        area,
        bounds=bounds,
        extent=extent,
        min_share=min_share,
        thin=lambda inside: _clear_of_other_grids(corners[inside], owner[inside], min_distance=min_distance),
    )


def grid_corners(area: shapely.MultiPolygon, *, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the corners (N, 2) of the grids of all polygons, the largest polygon first, and the grid of each (N,)."""
    polygons = sorted(area.geoms, key=lambda polygon: (-polygon.area, polygon.bounds))
    grids = [_grid(polygon, step=step) for polygon in polygons]
    corners = np.concatenate(grids) if grids else np.empty((0, 2), dtype=np.int64)
    return corners, np.repeat(np.arange(len(grids)), [len(grid) for grid in grids])


def _grid(polygon: shapely.Polygon, *, step: int) -> NDArray[np.int64]:
    """Return corners (N, 2) that cover the bounds of a polygon."""
    left, top, right, bottom = polygon.bounds
    x, y = np.meshgrid(np.arange(np.floor(left), right, step), np.arange(np.floor(top), bottom, step))
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.int64)


def _clear_of_other_grids(
    corners: NDArray[np.int64], owner: NDArray[np.int64], *, min_distance: int
) -> NDArray[np.bool_]:
    """Return which regions are at least `min_distance`, in x or in y, from all regions kept of earlier grids."""
    kept = np.zeros(len(corners), dtype=bool)
    for grid in np.unique(owner):
        rows = np.flatnonzero(owner == grid)
        if kept.any():
            # Integer corners are closer than `min_distance` where closed squares of `min_distance - 1` meet.
            earlier = squares_at(corners[kept], min_distance - 1)
            crowded, _ = shapely.STRtree(earlier).query(squares_at(corners[rows], min_distance - 1))
            rows = np.delete(rows, crowded)
        kept[rows] = True
    return kept

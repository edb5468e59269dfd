"""Which regions of a slide may become patches: a grid over each outline, perhaps jittered, and thinned.

A field of view is a length: its side in level-0 pixels is region_px · region_mpp / mpp, whatever the scanner's
resolution. Every polygon of the tumor outline has a grid of its own, anchored at the upper left corner of its
bounds, so that an outline hardly larger than a region still yields one. Grids of neighboring polygons may cross; the
larger outline goes first, and a region nearer than one step (in x and in y) to a region of another grid is left out,
so the spacing holds over the whole slide.
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
    """All regions whose share inside `area` is at least `min_share`, no two nearer than `step` in both x and y.

    Args:
        area: the outline, in level-0 pixels; valid, its polygons disjoint.
        bounds: the slide, in level-0 pixels; regions that reach beyond it are rejected.
        extent: side of a region, in level-0 pixels.
        step: step of each grid, in level-0 pixels.
        min_share: in [0, 1].
        jitter: in [0, 1): each place is moved by up to half of this share of a step, in x and in y; two regions of a
            grid may then be as near as `step * (1 - jitter)`, and regions of different grids are held to the same.
        rng: the source of chance; needed where there is jitter.
    """
    corners, owner = grid_corners(area, step=step)
    apart, reach = step, int(jitter * step / 2)
    if rng is not None and reach:
        moved = corners + rng.integers(-reach, reach + 1, size=corners.shape)
        # Not off the slide, where the place itself was on it.
        low, high = np.array(bounds.bounds).reshape(2, 2).astype(np.int64) - [[0], [extent]]
        corners = np.clip(moved, np.minimum(corners, low), np.maximum(corners, high))
        apart = step - 2 * reach
    return filter_candidates(
        corners,
        area,
        bounds=bounds,
        extent=extent,
        min_share=min_share,
        thin=lambda inside: _spaced_from_other_grids(corners[inside], owner[inside], step=apart),
    )


def grid_corners(area: shapely.MultiPolygon, *, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The corners (N, 2) of each polygon's grid, that of the largest first, and the number of the grid of each (N,)."""
    polygons = sorted(area.geoms, key=lambda polygon: (-polygon.area, polygon.bounds))
    grids = [_grid(polygon, step=step) for polygon in polygons]
    corners = np.concatenate(grids) if grids else np.empty((0, 2), dtype=np.int64)
    return corners, np.repeat(np.arange(len(grids)), [len(grid) for grid in grids])


def _grid(polygon: shapely.Polygon, *, step: int) -> NDArray[np.int64]:
    """(N, 2) corners over the polygon's bounds."""
    left, top, right, bottom = polygon.bounds
    x, y = np.meshgrid(np.arange(np.floor(left), right, step), np.arange(np.floor(top), bottom, step))
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.int64)


def _spaced_from_other_grids(corners: NDArray[np.int64], owner: NDArray[np.int64], *, step: int) -> NDArray[np.bool_]:
    """Which regions are at least `step`, in x or in y, from all of the earlier grids."""
    stands = np.zeros(len(corners), dtype=bool)
    for grid in np.unique(owner):
        mine = np.flatnonzero(owner == grid)
        if stands.any():
            # Whole-number corners are nearer than a step where closed squares of step - 1 meet.
            before = squares_at(corners[stands], step - 1)
            crowded, _ = shapely.STRtree(before).query(squares_at(corners[mine], step - 1))
            mine = np.delete(mine, crowded)
        stands[mine] = True
    return stands

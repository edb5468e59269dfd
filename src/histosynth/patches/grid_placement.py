"""Which regions of a slide may become patches: a grid over each outline, perhaps jittered, and thinned.

A field of view is a length: its side in level-0 pixels is region_px · region_mpp / mpp, whatever the scanner's
resolution. Every polygon of the tumor outline has a grid of its own, anchored at the upper left corner of its
bounds, so that an outline hardly larger than a region still yields one. Grids of neighboring polygons may cross; the
larger outline goes first, and a region nearer than one step (in x and in y) to a region of another grid is left out,
so the spacing holds over the whole slide.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from histosynth.config import PatchSettings
from histosynth.errors import HistosynthError

_FEW_SQUARES, _FEW_POINTS = 8, 1000  # no gain in cutting below these
_ROUNDING = 1e-9  # of a share: areas are floats, and a region that is inside exactly must count as inside


@dataclass(frozen=True, kw_only=True)
class Regions:
    """Square regions of one slide, by their upper left corners."""

    corners: NDArray[np.int64]  # (N, 2): x, y in level-0 pixels, in scan order (by y, then x)
    candidates: int
    """Places tried, of which those in `left_out` fell away."""
    left_out: Mapping[str, NDArray[np.int64]]
    """Corners (N, 2) of the other places, by reason."""

    @property
    def rejected(self) -> dict[str, int]:
        """How many places fell away, by reason."""
        return {reason: len(corners) for reason, corners in self.left_out.items()}


def region_extent(settings: PatchSettings, *, mpp: float) -> int:
    """Side of a region in whole level-0 pixels of a slide of `mpp` microns per pixel.

    Raises:
        HistosynthError: the region has fewer pixels than the patch, so that scaling would invent detail.
    """
    extent = max(1, round(settings.region_px * settings.region_mpp / mpp))
    if extent < settings.patch_px:
        raise HistosynthError(
            f"at {mpp:g} microns per pixel a region of {settings.region_px * settings.region_mpp:g} microns has only "
            f"{extent} px a side, fewer than a patch of {settings.patch_px} px; lower patches.patch_px or raise "
            "patches.region_px"
        )
    return extent


def grid_regions(
    area: shapely.MultiPolygon,
    *,
    bounds: shapely.Polygon,
    extent: int,
    step: int,
    min_share: float,
    jitter: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Regions:
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
    corners, owner = grid_places(area, step=step)
    apart, reach = step, int(jitter * step / 2)
    if rng is not None and reach:
        moved = corners + rng.integers(-reach, reach + 1, size=corners.shape)
        # Not off the slide, where the place itself was on it.
        low, high = np.array(bounds.bounds).reshape(2, 2).astype(np.int64) - [[0], [extent]]
        corners = np.clip(moved, np.minimum(corners, low), np.maximum(corners, high))
        apart = step - 2 * reach
    return sift(
        corners,
        area,
        bounds=bounds,
        extent=extent,
        min_share=min_share,
        thin=lambda inside: _apart(corners[inside], owner[inside], step=apart),
    )


def sift(
    corners: NDArray[np.int64],
    area: shapely.MultiPolygon,
    *,
    bounds: shapely.Polygon,
    extent: int,
    min_share: float,
    thin: Callable[[NDArray[np.bool_]], NDArray[np.bool_]],
) -> Regions:
    """Keep the places on the slide with enough of them inside `area`, then those of them that `thin` lets stand."""
    on_slide = shapely.covers(bounds, _squares(corners, extent))
    inside = on_slide.copy()
    inside[on_slide] = inside_share(area, corners[on_slide], extent=extent) >= min_share - _ROUNDING
    kept = inside.copy()
    kept[inside] = thin(inside)
    left_out = {
        "outside_slide": corners[~on_slide],
        "outside_tumor": corners[on_slide & ~inside],
        "too_close": corners[inside & ~kept],
    }
    chosen = corners[kept]
    return Regions(corners=chosen[np.lexsort(chosen.T)], candidates=len(corners), left_out=left_out)


def grid_places(area: shapely.MultiPolygon, *, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The corners (N, 2) of each polygon's grid, that of the largest first, and the number of the grid of each (N,)."""
    polygons = sorted(area.geoms, key=lambda polygon: (-polygon.area, polygon.bounds))
    grids = [_grid(polygon, step=step) for polygon in polygons]
    corners = np.concatenate(grids) if grids else np.empty((0, 2), dtype=np.int64)
    return corners, np.repeat(np.arange(len(grids)), [len(grid) for grid in grids])


def inside_share(area: shapely.MultiPolygon, corners: NDArray[np.int64], *, extent: int) -> NDArray[np.float64]:
    """Share of each region's area inside `area`, (N,) in [0, 1]; exact, and costly only on the border."""
    squares = _squares(corners, extent)
    shapely.prepare(area)
    share = shapely.covers(area, squares).astype(np.float64)
    border = shapely.intersects(area, squares) & (share == 0)
    share[border] = _areas_inside(area, squares[border]) / extent**2
    return share


def _areas_inside(area: shapely.Geometry, squares: NDArray[np.object_]) -> NDArray[np.float64]:
    """Area of each square inside `area`. An outline of many points is first cut to where its squares lie, by halves."""
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


def _grid(polygon: shapely.Polygon, *, step: int) -> NDArray[np.int64]:
    """(N, 2) corners over the polygon's bounds."""
    left, top, right, bottom = polygon.bounds
    x, y = np.meshgrid(np.arange(np.floor(left), right, step), np.arange(np.floor(top), bottom, step))
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.int64)


def _apart(corners: NDArray[np.int64], owner: NDArray[np.int64], *, step: int) -> NDArray[np.bool_]:
    """Which regions are at least `step`, in x or in y, from all of the earlier grids."""
    stands = np.zeros(len(corners), dtype=bool)
    for grid in np.unique(owner):
        mine = np.flatnonzero(owner == grid)
        if stands.any():
            # Whole-number corners are nearer than a step where closed squares of step - 1 meet.
            before = _squares(corners[stands], step - 1)
            crowded, _ = shapely.STRtree(before).query(_squares(corners[mine], step - 1))
            mine = np.delete(mine, crowded)
        stands[mine] = True
    return stands


def _squares(corners: NDArray[np.int64], extent: int) -> NDArray[np.object_]:
    x, y = corners.T
    squares: NDArray[np.object_] = shapely.box(x, y, x + extent, y + extent)
    return squares

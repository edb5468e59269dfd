"""Which regions of a slide become patches: a grid over each outline, thinned, and a seeded draw of what passed.

A field of view is a length: its side in level-0 pixels is region_px · region_mpp / mpp, whatever the scanner's
resolution. Every polygon of the tumor outline has a grid of its own, anchored at the upper left corner of its
bounds, so that an outline hardly larger than a region still yields one. Grids of neighboring polygons may cross; the
larger outline goes first, and a region nearer than one step (in x and in y) to a region of another grid is left out,
so the spacing holds over the whole slide.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from histosynth.config import PatchSettings
from histosynth.errors import HistosynthError

_ROUNDING = 1e-9  # of a share: areas are floats, and a region that is inside exactly must count as inside


@dataclass(frozen=True, kw_only=True)
class Regions:
    """Square regions of one slide, by their upper left corners."""

    corners: NDArray[np.int64]  # (N, 2): x, y in level-0 pixels, in scan order (by y, then x)
    candidates: int
    """Places of the grid, of which those in `rejected` fell away."""
    rejected: Mapping[str, int]


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


def lay_regions(
    area: shapely.MultiPolygon, *, bounds: shapely.Polygon, extent: int, step: int, min_share: float
) -> Regions:
    """All regions whose share inside `area` is at least `min_share`, no two nearer than `step` in both x and y.

    Args:
        area: the outline, in level-0 pixels; valid, its polygons disjoint.
        bounds: the slide, in level-0 pixels; regions that reach beyond it are rejected.
        extent: side of a region, in level-0 pixels.
        step: step of each grid, in level-0 pixels.
        min_share: in [0, 1].
    """
    polygons = sorted(area.geoms, key=lambda polygon: (-polygon.area, polygon.bounds))
    grids = [_grid(polygon, step=step) for polygon in polygons]
    corners = np.concatenate(grids) if grids else np.empty((0, 2), dtype=np.int64)
    owner = np.repeat(np.arange(len(grids)), [len(grid) for grid in grids])

    on_slide = shapely.covers(bounds, _squares(corners, extent))
    inside = on_slide.copy()
    inside[on_slide] = inside_share(area, corners[on_slide], extent=extent) >= min_share - _ROUNDING
    kept = _thin(corners[inside], owner[inside], step=step)
    rejected = Counter(
        outside_slide=int(np.sum(~on_slide)),
        outside_tumor=int(np.sum(on_slide & ~inside)),
        too_close=int(np.sum(inside)) - len(kept),
    )
    return Regions(corners=kept[np.lexsort(kept.T)], candidates=len(corners), rejected=dict(rejected))


def inside_share(area: shapely.MultiPolygon, corners: NDArray[np.int64], *, extent: int) -> NDArray[np.float64]:
    """Share of each region's area inside `area`, (N,) in [0, 1]; exact, and costly only on the border."""
    squares = _squares(corners, extent)
    shapely.prepare(area)
    share = shapely.covers(area, squares).astype(np.float64)
    border = shapely.intersects(area, squares) & (share == 0)
    share[border] = shapely.area(shapely.intersection(area, squares[border])) / extent**2
    return share


def draw(count: int, *, cap: int, seed: int, slide_id: str) -> NDArray[np.int64]:
    """Which `cap` of `count` regions to take, in order. Each slide has its own seed: none changes another's draw."""
    digest = hashlib.sha256(f"{seed}\0{slide_id}".encode()).digest()
    rng = np.random.default_rng(np.random.SeedSequence(int.from_bytes(digest)))
    return np.sort(rng.permutation(count)[:cap])


def _grid(polygon: shapely.Polygon, *, step: int) -> NDArray[np.int64]:
    """(N, 2) corners over the polygon's bounds."""
    left, top, right, bottom = polygon.bounds
    x, y = np.meshgrid(np.arange(np.floor(left), right, step), np.arange(np.floor(top), bottom, step))
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.int64)


def _thin(corners: NDArray[np.int64], owner: NDArray[np.int64], *, step: int) -> NDArray[np.int64]:
    """Leave out regions nearer than `step`, in both x and y, to one of an earlier grid."""
    kept = np.empty((0, 2), dtype=np.int64)
    for grid in np.unique(owner):
        mine = corners[owner == grid]
        if len(kept):
            # Whole-number corners are nearer than a step where closed squares of step - 1 meet.
            crowded, _ = shapely.STRtree(_squares(kept, step - 1)).query(_squares(mine, step - 1))
            mine = np.delete(mine, crowded, axis=0)
        kept = np.concatenate([kept, mine])
    return kept


def _squares(corners: NDArray[np.int64], extent: int) -> NDArray[np.object_]:
    x, y = corners.T
    squares: NDArray[np.object_] = shapely.box(x, y, x + extent, y + extent)
    return squares

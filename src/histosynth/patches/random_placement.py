"""Random places that do not overlap: darts thrown at each outline, of which each sticks that touches none before it.

This is random sequential adsorption of squares; thrown without end it covers 0.562 of a large area (Feder 1980), where
a grid covers all. The tries are bounded: 40 darts for each region that the bounds of a polygon would hold, 100,000 a
slide. Last come the places of the grid, so that an outline hardly larger than a region, which chance would miss, still
yields what a grid would.
"""

import numpy as np
import shapely
from numpy.typing import NDArray

from histosynth.patches.grid_placement import grid_corners
from histosynth.patches.placement import Placement, filter_candidates

_DARTS_A_REGION = 40
_MOST_DARTS = 100_000


def place_randomly(
    area: shapely.MultiPolygon,
    *,
    bounds: shapely.Polygon,
    extent: int,
    step: int,
    min_share: float,
    rng: np.random.Generator,
) -> Placement:
    """Random regions whose share inside `area` is at least `min_share`, none overlapping.

    Args:
        area: the outline, in level-0 pixels; valid, its polygons disjoint.
        bounds: the slide, in level-0 pixels.
        extent: side of a region, in level-0 pixels.
        step: least distance of two regions in x or in y, in level-0 pixels; never less than `extent`.
        min_share: in [0, 1].
        rng: the source of chance.
    """
    polygons, step = list(area.geoms), max(step, extent)
    # A region may stick out of a polygon by the share that need not be inside.
    low = np.floor([(p.bounds[0] - (1 - min_share) * extent, p.bounds[1] - (1 - min_share) * extent) for p in polygons])
    high = np.ceil([(p.bounds[2] - min_share * extent, p.bounds[3] - min_share * extent) for p in polygons])
    high = np.maximum(high, low) + 1
    wanted = _DARTS_A_REGION * (1 + (high - low).prod(axis=1) / extent**2)
    counts = np.ceil(wanted * min(1, _MOST_DARTS / wanted.sum())).astype(int)
    darts = [rng.integers(a, b, size=(n, 2)) for a, b, n in zip(low.astype(int), high.astype(int), counts, strict=True)]
    # Shuffled, so that neighboring polygons are filled alike where their regions could meet.
    thrown = rng.permutation(np.concatenate(darts))
    places, _ = grid_corners(area, step=step)
    corners = np.concatenate([thrown, places])
    return filter_candidates(
        corners,
        area,
        bounds=bounds,
        extent=extent,
        min_share=min_share,
        thin=lambda inside: _non_overlapping(corners[inside], apart=step),
    )


def _non_overlapping(corners: NDArray[np.int64], *, apart: int) -> NDArray[np.bool_]:
    """Which places, in their order, are at least `apart` in x or in y from all that stuck before."""
    stuck = np.zeros(len(corners), dtype=bool)
    cells: dict[tuple[int, int], tuple[int, int]] = {}  # a cell of side `apart` holds one place at most
    for i, (x, y) in enumerate(corners.tolist()):
        column, row = x // apart, y // apart
        near = (cells.get((column + dx, row + dy)) for dx in (-1, 0, 1) for dy in (-1, 0, 1))
        if all(other is None or max(abs(other[0] - x), abs(other[1] - y)) >= apart for other in near):
            cells[column, row] = (x, y)
            stuck[i] = True
    return stuck

"""Random, non-overlapping regions inside the outlines: random sequential adsorption of squares.

Random positions are tried one after the other; a position is kept if its square touches none of those kept before.
Without a limit on the attempts, this covers 0.562 of a large area (Feder 1980), where a grid covers all of it. The
attempts are limited to 40 per region that the bounds of a polygon could hold, and to 100,000 per slide. The corners of
the grid are tried last, so that an outline hardly larger than a region, which random attempts would miss, still yields
what a grid would.
"""

import numpy as np
import shapely
from numpy.typing import NDArray

from histosynth.patches.grid_placement import grid_corners
from histosynth.patches.placement import Placement, filter_candidates

_ATTEMPTS_PER_REGION = 40
_MAX_ATTEMPTS = 100_000


def place_randomly(
    area: shapely.MultiPolygon,
    *,
    bounds: shapely.Polygon,
    extent: int,
    step: int,
    min_share: float,
    rng: np.random.Generator,
) -> Placement:
    """Place non-overlapping regions at random, each with at least the share `min_share` inside `area`.

    Args:
        area: the outline, in level-0 pixels; valid, with disjoint polygons.
        bounds: the slide, in level-0 pixels.
        extent: side of a region, in level-0 pixels.
        step: minimum distance between two regions in x or in y, in level-0 pixels; raised to `extent` if smaller.
        min_share: in [0, 1].
        rng: the source of randomness.
    """
    polygons, step = list(area.geoms), max(step, extent)
    # A region may extend beyond a polygon by the share that need not lie inside.
    low = np.floor([(p.bounds[0] - (1 - min_share) * extent, p.bounds[1] - (1 - min_share) * extent) for p in polygons])
    high = np.ceil([(p.bounds[2] - min_share * extent, p.bounds[3] - min_share * extent) for p in polygons])
    high = np.maximum(high, low) + 1
    # Draw the attempts of each polygon.
    wanted = _ATTEMPTS_PER_REGION * (1 + (high - low).prod(axis=1) / extent**2)
    counts = np.ceil(wanted * min(1, _MAX_ATTEMPTS / wanted.sum())).astype(int)
    limits = zip(low.astype(int), high.astype(int), counts, strict=True)
    attempts = np.concatenate([rng.integers(a, b, size=(n, 2)) for a, b, n in limits])
    # Shuffle them, so that neighboring polygons fill equally where their regions could meet; then add the grid.
    fallback, _ = grid_corners(area, step=step)
    corners = np.concatenate([rng.permutation(attempts), fallback])
    return filter_candidates(
        corners,
        area,
        bounds=bounds,
        extent=extent,
        min_share=min_share,
        thin=lambda inside: _non_overlapping(corners[inside], min_distance=step),
    )


def _non_overlapping(corners: NDArray[np.int64], *, min_distance: int) -> NDArray[np.bool_]:
    """Return which regions, in their order, are at least `min_distance` in x or in y from all those kept before."""
    kept = np.zeros(len(corners), dtype=bool)
    cells: dict[tuple[int, int], tuple[int, int]] = {}  # a cell of side `min_distance` holds at most one corner
    for i, (x, y) in enumerate(corners.tolist()):
        column, row = x // min_distance, y // min_distance
        near = (cells.get((column + dx, row + dy)) for dx in (-1, 0, 1) for dy in (-1, 0, 1))
        if all(other is None or max(abs(other[0] - x), abs(other[1] - y)) >= min_distance for other in near):
            cells[column, row] = (x, y)
            kept[i] = True
    return kept

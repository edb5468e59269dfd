"""Agreement of two outlines of the same tumor: overlap, distance of boundaries, and kappa on the patch grid.

    Dice = 2 |A ∩ B| / (|A| + |B|),    IoU = |A ∩ B| / |A ∪ B|

Boundaries are sampled at equal distances. Each point of one boundary has a distance to the nearest point of the other:
`boundary_mean_um` is the mean over the points of both, and `boundary_95_um` the larger of the two 95th percentiles, one
per direction (Taha & Hanbury 2015, BMC Medical Imaging 15:29). Cohen's kappa (1960) is that of the squares of the patch
grid with enough tissue, which each annotator's outline makes tumor or not.

Several slides are pooled by adding up areas, squares and points, so that a slide counts by its size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

_SPACING_UM = 5.0
_MAX_POINTS = 20_000
_PERCENTILE = 95


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What two outlines of one slide have in common.

    Attributes:
        areas_um2: of both outlines together (intersection), of A alone and of B alone.
        squares: (2, 2), numbers of squares by the decision of A and B: no tumor, tumor.
        distances_um: from the points of A's boundary to that of B, and from B's to A's.
    """

    areas_um2: tuple[float, float, float]
    squares: NDArray[np.int64]
    distances_um: tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Agreement on one slide or several.

    Attributes:
        dice: in [0, 1].
        iou: in [0, 1].
        boundary_mean_um: mean distance of the boundaries.
        boundary_95_um: larger of the two 95th percentiles of the distance.
        kappa: in [-1, 1]; None if both annotators put all squares into one and the same class.
        squares: number of squares with enough tissue.
        area_a_mm2: area that A outlined; `area_b_mm2` that of B.
    """

    dice: float
    iou: float
    boundary_mean_um: float
    boundary_95_um: float
    kappa: float | None
    squares: int
    area_a_mm2: float
    area_b_mm2: float


def compare_outlines(
    a: shapely.MultiPolygon, b: shapely.MultiPolygon, *, mpp: float, decisions: NDArray[np.bool_]
) -> Comparison:
    """Compare two outlines.

    Args:
        a: outline of the first annotator, valid and not empty, in pixels.
        b: outline of the second.
        mpp: microns per pixel.
        decisions: (2, N), whether each square is tumor by A and by B.
    """
    both, square = shapely.intersection(a, b).area, mpp**2
    table = np.zeros((2, 2), np.int64)
    np.add.at(table, (decisions[0].astype(int), decisions[1].astype(int)), 1)
    return Comparison(
        areas_um2=(both * square, (a.area - both) * square, (b.area - both) * square),
        squares=table,
        distances_um=(_distances(a, b, mpp=mpp), _distances(b, a, mpp=mpp)),
    )


def agreement(comparisons: Sequence[Comparison]) -> Agreement:
    """Return the agreement on one slide, or on several together."""
    both, only_a, only_b = np.sum([each.areas_um2 for each in comparisons], axis=0)
    squares: NDArray[np.int64] = np.sum([each.squares for each in comparisons], axis=0)
    one, other = (np.concatenate([each.distances_um[side] for each in comparisons]) for side in (0, 1))
    return Agreement(
        dice=float(2 * both / (2 * both + only_a + only_b)),
        iou=float(both / (both + only_a + only_b)),
        boundary_mean_um=float(np.concatenate([one, other]).mean()),
        boundary_95_um=float(max(np.percentile(one, _PERCENTILE), np.percentile(other, _PERCENTILE))),
        kappa=_kappa(squares),
        squares=int(squares.sum()),
        area_a_mm2=float((both + only_a) / 1e6),
        area_b_mm2=float((both + only_b) / 1e6),
    )


def _kappa(table: NDArray[np.int64]) -> float | None:
    total = table.sum()
    if total == 0:
        return None
    observed = np.trace(table) / total
    expected = float(table.sum(axis=0) @ table.sum(axis=1)) / total**2
    return None if expected == 1 else float((observed - expected) / (1 - expected))


def _distances(a: shapely.MultiPolygon, b: shapely.MultiPolygon, *, mpp: float) -> NDArray[np.float64]:
    """Return the distance in microns of points on the boundary of `a` to the boundary of `b`."""
    rings = shapely.get_rings(shapely.get_parts(a))
    length = shapely.length(rings).sum()
    spacing = max(_SPACING_UM / mpp, length / _MAX_POINTS)
    points = np.concatenate(
        [shapely.line_interpolate_point(ring, np.arange(0, ring.length, spacing)) for ring in rings]
    )
    corners = [shapely.get_coordinates(ring) for ring in shapely.get_rings(shapely.get_parts(b))]
    ends = np.concatenate([np.stack([ring[:-1], ring[1:]], axis=1) for ring in corners])
    segments = np.asarray(shapely.linestrings(ends))
    _, distances = shapely.STRtree(segments).query_nearest(points, return_distance=True, all_matches=False)
    return np.asarray(distances * mpp)

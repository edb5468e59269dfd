"""Intervals of precision, recall, density and coverage: delete-one jackknife over both sides (`uncertainty`).

A patient or a synthetic image enters these measures twice: as a point, and as a ball of the manifold. Resampling only
the points, with the manifold held fixed, gives intervals that are far too narrow. Here each unit is left out with both,
and the radii of the remaining balls grow where the unit held one of their neighbors.

All leave-outs are computed in one pass over the distances. Row g of an array is the result without unit g, and the last
row is that of all units, equal to `manifold.membership`. Each side has at most 20 units; more are joined at random,
patients as a whole (delete-a-group jackknife).
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from histosynth.metrics.features import FeaturesLike, features_of_both_sides
from histosynth.metrics.manifold import ROUNDING, Rows, blocks, centered, squared_distances
from histosynth.metrics.uncertainty import LEVEL, Interval, Units, image_units, jackknife_interval, merged

_MOST_UNITS = 20

Table = NDArray[np.float32]  # (G + 1, N): row g without unit g, the last row with all units


def manifold_intervals(
    real: FeaturesLike,
    fake: FeaturesLike,
    *,
    neighbors: int = 3,
    density_neighbors: int = 5,
    real_units: Units | None = None,
    fake_units: Units | None = None,
    level: float = LEVEL,
) -> Mapping[str, Interval]:
    """Return precision, recall, density and coverage of `manifold.membership`, each with its interval.

    Units are single images by default. Where a unit leaves no more images than `neighbors`, the balls reach to the
    farthest of the remaining ones.

    Raises:
        HistosynthError: a set has no more points than neighbors; features are not finite or differ in number; units do
            not match the images.
    """
    most = max(neighbors, density_neighbors)
    a, b = features_of_both_sides(real, fake, minimum=max(3, most + 1), purpose=f"a manifold of {most} neighbors")
    x, y = centered(a, b)
    of_x = merged(real_units or image_units(len(x)), most=_MOST_UNITS)
    of_y = merged(fake_units or image_units(len(y)), most=_MOST_UNITS)

    # Radii without each unit; a ball that is left out holds nothing.
    nearest_x, nearest_y = _nearest_by_unit(x, of_x, most), _nearest_by_unit(y, of_y, neighbors)
    radii, density_radii = (_radii(nearest_x, of_x, k) for k in (neighbors, density_neighbors))
    fake_radii = _radii(nearest_y, of_y, neighbors)

    # Compare every distance between the sides with them, block by block.
    fake_inside = np.zeros((of_x.count + 1, len(y)), bool)
    balls = np.zeros((of_x.count + 1, len(y)), np.int64)
    real_inside = np.zeros((of_y.count + 1, len(x)), bool)
    nearest_fake = np.full((of_y.count, len(x)), np.inf, np.float32)  # of each unit
    for rows in blocks(x):
        for columns in blocks(y):
            squared = squared_distances(x[rows], y[columns], norms=1 - ROUNDING)
            for g in range(of_x.count + 1):
                fake_inside[g, columns] |= (squared <= radii[g, rows, None]).any(axis=0)
                balls[g, columns] += np.count_nonzero(squared <= density_radii[g, rows, None], axis=0)
            for h in range(of_y.count + 1):
                real_inside[h, rows] |= (squared <= fake_radii[h, columns]).any(axis=1)
            for h in range(of_y.count):
                members = squared[:, of_y.index[columns] == h]
                np.minimum(nearest_fake[h, rows], members.min(axis=1, initial=np.inf), out=nearest_fake[h, rows])

    # Means over the points that are left, without each real and each synthetic unit.
    nearest = np.stack(
        [*(np.delete(nearest_fake, h, axis=0).min(axis=0) for h in range(of_y.count)), nearest_fake.min(axis=0)]
    )
    covered_x, covered_y = nearest[-1] <= density_radii, nearest <= density_radii[-1]
    density = balls / density_neighbors
    means = {
        "precision": (fake_inside.mean(axis=1)[:-1], _without(fake_inside[-1], of_y)),
        "recall": (_without(real_inside[-1], of_x), real_inside.mean(axis=1)[:-1]),
        "density": (density.mean(axis=1)[:-1], _without(density[-1], of_y)),
        "coverage": (_kept_means(covered_x, of_x), covered_y.mean(axis=1)[:-1]),
    }
    values = {
        "precision": fake_inside[-1].mean(),
        "recall": real_inside[-1].mean(),
        "density": density[-1].mean(),
        "coverage": covered_y[-1].mean(),
    }
    note = of_x.note or of_y.note
    return {
        name: _within_range(
            jackknife_interval(float(values[name]), left_out, level=level, note=note),
            highest=np.inf if name == "density" else 1.0,
        )
        for name, left_out in means.items()
    }


def _nearest_by_unit(x: Rows, units: Units, neighbors: int) -> NDArray[np.float32]:
    """Return the squared distances (N, G, neighbors) from each point to its nearest others in each unit."""
    best = np.full((len(x), units.count, neighbors), np.inf, np.float32)
    for rows in blocks(x):
        for columns in blocks(x):
            squared = squared_distances(x[rows], x[columns])
            if columns == rows:
                np.fill_diagonal(squared, np.inf)
            for g in range(units.count):
                members = squared[:, units.index[columns] == g]
                candidates = np.concatenate([best[rows, g], members], axis=1)
                candidates.partition(neighbors - 1, axis=1)
                best[rows, g] = candidates[:, :neighbors]
    return best.clip(min=0)


def _radii(nearest: NDArray[np.float32], units: Units, neighbors: int) -> Table:
    """Return the squared radius of each ball without each unit, and with all; -inf for a ball that is left out."""
    radii = np.empty((units.count + 1, len(nearest)), np.float32)
    for g in range(units.count + 1):
        left = int(np.count_nonzero(units.index != g))
        others = (np.delete(nearest, g, axis=1) if g < units.count else nearest).reshape(len(nearest), -1)
        rank = min(neighbors, left - 1) - 1
        radii[g] = np.where(units.index == g, -np.inf, np.partition(others, rank, axis=1)[:, rank])
    return radii


def _without(values: NDArray[np.bool_] | NDArray[np.float64], units: Units) -> NDArray[np.float64]:
    """Return the mean of values (N,) without each unit, (G,)."""
    return np.array([values[units.index != g].mean() for g in range(units.count)])


def _kept_means(values: NDArray[np.bool_], units: Units) -> NDArray[np.float64]:
    """Return the means of row g of values (G + 1, N) over the points outside unit g, (G,)."""
    return np.array([values[g, units.index != g].mean() for g in range(units.count)])


def _within_range(interval: Interval, *, highest: float) -> Interval:
    return replace(interval, low=max(0.0, interval.low), high=min(highest, interval.high))

"""Intervals: the range of a measure over other patients and other synthetic images, at the same numbers of both.

Patches of one patient resemble each other, so the real side is resampled by patient, with all patches of each
(cluster bootstrap; Davison & Hinkley 1997, 3.8). A mean over patches is then a ratio of sums over patients:

    m* = Σ cₚ sₚ / Σ cₚ nₚ,      c = how often each patient was drawn,  s = the sum over its n patches

Percentiles of few units are too narrow by √((P-1)/P) and because they use the normal quantile instead of Student's;
both are corrected by widening (Hesterberg 2015, section 4.3).

The intervals of distances are in the modules of the distances: `kid.kid_interval` and `frechet.frechet_interval`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from histosynth.errors import HistosynthError

LEVEL = 0.95
REPLICATES = 1000
MIN_PATIENTS = 5  # percentiles over fewer patients mean little


@dataclass(frozen=True, kw_only=True)
class Units:
    """Resampling units of a side: whole patients, or single images."""

    index: NDArray[np.int64]  # (N,) unit of each image, 0 ... count - 1
    count: int
    kind: Literal["patients", "images"]
    note: str | None = None  # why units are images where patients were asked for


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A measure and its interval; `note` states what the interval ignores."""

    value: float
    low: float
    high: float
    level: float
    note: str | None = None


def image_units(images: int, *, note: str | None = None) -> Units:
    """Return units of single images, as is right for synthetic ones, each of its own seed."""
    return Units(index=np.arange(images), count=images, kind="images", note=note)


def patient_units(patients: Sequence[str | None]) -> Units:
    """Return units of patients; single images, with a note, if a patient is unknown or there are fewer than five."""
    if None in patients:
        return image_units(len(patients), note="resampled by image, because patients are not named: too narrow")
    names, index = np.unique(np.array(patients, dtype=str), return_inverse=True)
    if len(names) < MIN_PATIENTS:
        few = "is only 1 patient" if len(names) == 1 else f"are only {len(names)} patients"
        return image_units(len(patients), note=f"resampled by image, because there {few}: too narrow")
    return Units(index=index.astype(np.int64), count=len(names), kind="patients")


def mean_interval(
    values: ArrayLike, *, units: Units, rng: np.random.Generator, level: float = LEVEL, replicates: int = REPLICATES
) -> Interval:
    """Return the interval of the mean of values (N,), one per image, such as a share of `Membership`.

    The manifolds of such a share are held fixed. If all values are equal, the interval has no width, which is too
    narrow for few images.
    """
    x = np.asarray(values, dtype=np.float64)
    shifts = resampled_shifts(x, units, level=level, replicates=replicates, rng=rng)
    low, high = x.mean() + shift_quantiles(shifts, level)
    return Interval(
        value=float(x.mean()),
        low=float(max(low, x.min())),  # a mean cannot lie beyond the values
        high=float(min(high, x.max())),
        level=level,
        note=units.note,
    )


def unit_sums(values: NDArray[np.float64], units: Units) -> NDArray[np.float64]:
    """Return sums (count,) or (count, C) of values (N,) or (N, C) over each unit.

    Raises:
        HistosynthError: the units belong to a different number of images.
    """
    if len(values) != len(units.index):
        raise HistosynthError(f"units of {len(units.index)} images do not match values of {len(values)}")
    total = np.zeros((units.count, *values.shape[1:]))
    np.add.at(total, units.index, values)
    return total


def draw_units(units: Units, *, replicates: int, rng: np.random.Generator) -> "list[NDArray[np.int64]]":
    """Draw as many units as there are, with replacement, for each replicate; return their indices."""
    return [rng.integers(units.count, size=units.count) for _ in range(replicates)]


def widening_factor(units: int, *, level: float) -> float:
    """Return the factor by which percentiles over this number of units must be widened (Hesterberg 2015)."""
    if units < 2:
        raise HistosynthError(f"an interval needs two or more units to resample, found {units}; add images")
    tail = (1 + level) / 2
    return float(stats.t.ppf(tail, units - 1) / stats.norm.ppf(tail) * np.sqrt(units / (units - 1)))


def resampled_shifts(
    values: NDArray[np.float64], units: Units, *, level: float, replicates: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the resampled means minus the mean (replicates,), widened for the number of units."""
    totals = unit_sums(np.stack([values, np.ones(len(values))], axis=1), units)
    resampled = np.array([totals[draw].sum(axis=0) for draw in draw_units(units, replicates=replicates, rng=rng)])
    return np.asarray(widening_factor(units.count, level=level) * (resampled[:, 0] / resampled[:, 1] - values.mean()))


def shift_quantiles(shifts: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """Return the lower and the upper quantile that bound `level` of the shifts."""
    return np.asarray(np.quantile(shifts, [(1 - level) / 2, (1 + level) / 2]), dtype=np.float64)

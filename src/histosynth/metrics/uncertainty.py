"""Intervals: the range of a measure over other patients and other synthetic images, at the same numbers of both.

Patches of one patient resemble each other, so the unit of the real side is the patient, with all patches of each
(Davison & Hinkley 1997, 3.8). There are two methods.

The delete-one jackknife, for measures of pairs of images, such as `kid` and `manifold_interval`: leave out each unit of
either side, and add the variances of the two sides:

    v = Σ_sides (G-1)/G Σ_g (m₋g - mean m₋)²,      m ± t · √v,      G = units of the side (Efron & Stein 1981)

Student's t has the degrees of freedom of a sum of variances (Welch & Satterthwaite).

The cluster bootstrap, for means over images, such as the linear expansion of `frechet`: a ratio of sums over patients,

    m* = Σ cₚ sₚ / Σ cₚ nₚ,      c = how often each patient was drawn,  s = the sum over its n patches

Percentiles of few units are too narrow by √((P-1)/P) and because they use the normal quantile instead of Student's;
both are corrected by widening (Hesterberg 2015, section 4.3).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
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


def merged(units: Units, *, most: int) -> Units:
    """Return at most `most` units, by joining whole units."""
    return replace(units, index=units.index % most, count=min(units.count, most))


def jackknife_interval(
    value: float, left_out: Sequence[NDArray[np.float64]], *, level: float = LEVEL, note: str | None = None
) -> Interval:
    """Return Student's interval of a measure from its values without each unit, one array per side.

    If no unit changes the measure, the interval has no width, which is too narrow for few images.

    Raises:
        HistosynthError: a side has a single unit.
    """
    if (fewest := min(map(len, left_out))) < 2:
        raise HistosynthError(f"an interval needs two or more units to leave out, found {fewest}; add images")
    smallest = np.finfo(np.float64).tiny
    variances = [max((len(values) - 1) * float(np.var(values)), smallest) for values in left_out]
    variance = sum(variances)
    inverse = sum((v / variance) ** 2 / (len(x) - 1) for v, x in zip(variances, left_out, strict=True))
    half_width = float(stats.t.ppf((1 + level) / 2, 1 / inverse) * np.sqrt(variance))
    return Interval(value=value, low=value - half_width, high=value + half_width, level=level, note=note)


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

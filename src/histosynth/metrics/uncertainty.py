"""Intervals: what a measure would be with other patients and other synthetic images, at the same numbers of both.

Patches of one patient resemble each other, so the real side is resampled by patient, with all patches of each
(cluster bootstrap; Davison & Hinkley 1997, 3.8). A mean over patches is then a ratio of sums over patients:

    m* = Σ cₚ sₚ / Σ cₚ nₚ,      c = how often each patient was drawn,  s = the sum over its n patches

Percentiles of few draws are too narrow by √((P-1)/P) and by the normal quantile in place of Student's; both are mended
by widening (Hesterberg 2015, section 4.3).

A Fréchet distance cannot be resampled so: a resampled set repeats images, which adds distance of its own, often more
than the interval is wide. Its first-order expansion can (the infinitesimal jackknife; Efron 1982): with the influence h
of each image, d²* = d² + mean* h(real) + mean* h(fake). It adds no bias, costs one decomposition for all replicates,
and holds for fewer images than features. It is an interval of the distance AT THESE NUMBERS of patients and images,
whose expectation lies above that of infinitely many.
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
MIN_PATIENTS = 5  # below, percentiles over patients mean little


@dataclass(frozen=True, kw_only=True)
class Units:
    """What is drawn when a side is resampled: whole patients, or single images."""

    index: NDArray[np.int64]  # (N,) unit of each image, 0 ... count - 1
    count: int
    kind: Literal["patients", "images"]
    note: str | None = None  # why images were taken where patients were asked for


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A measure and its interval; `note` says what the interval leaves out."""

    value: float
    low: float
    high: float
    level: float
    note: str | None = None


def image_units(images: int, *, note: str | None = None) -> Units:
    """Each image for itself: right for synthetic ones, each of its own seed."""
    return Units(index=np.arange(images), count=images, kind="images", note=note)


def patient_units(patients: Sequence[str | None]) -> Units:
    """Patients of the images (N,); single images, with a note, where a patient is not named or there are under five."""
    if None in patients:
        return image_units(len(patients), note="resampled by image, for want of patients' names: too narrow")
    names, index = np.unique(np.array(patients, dtype=str), return_inverse=True)
    if len(names) < MIN_PATIENTS:
        found = "is only 1 patient" if len(names) == 1 else f"are only {len(names)} patients"
        few = f"resampled by image, as there {found}: too narrow"
        return image_units(len(patients), note=few)
    return Units(index=index.astype(np.int64), count=len(names), kind="patients")


def mean_interval(
    values: ArrayLike, *, units: Units, rng: np.random.Generator, level: float = LEVEL, replicates: int = REPLICATES
) -> Interval:
    """Interval of the mean of values (N,), one an image: a share of `Membership` (its manifolds held fixed), say.

    The interval of values that are all alike has no width, which for few images is too little.
    """
    x = np.asarray(values, dtype=np.float64)
    shifts = resampled_shifts(x, units, level=level, replicates=replicates, rng=rng)
    low, high = x.mean() + shift_quantiles(shifts, level)
    return Interval(
        value=float(x.mean()),
        low=float(max(low, x.min())),  # no mean lies beyond them
        high=float(min(high, x.max())),
        level=level,
        note=units.note,
    )


def unit_sums(values: NDArray[np.float64], units: Units) -> NDArray[np.float64]:
    """Sums (count,) or (count, C) of values (N,) or (N, C) over each unit.

    Raises:
        HistosynthError: the units are of another number of images.
    """
    if len(values) != len(units.index):
        raise HistosynthError(f"units of {len(units.index)} images do not fit values of {len(values)}")
    total = np.zeros((units.count, *values.shape[1:]))
    np.add.at(total, units.index, values)
    return total


def draw_units(units: Units, *, replicates: int, rng: np.random.Generator) -> "list[NDArray[np.int64]]":
    """For each replicate the numbers of the units drawn, with replacement."""
    return [rng.integers(units.count, size=units.count) for _ in range(replicates)]


def widening_factor(units: int, *, level: float) -> float:
    """How much wider than its percentiles a bootstrap interval of so few units must be (Hesterberg 2015)."""
    if units < 2:
        raise HistosynthError(f"an interval needs two or more units to resample, found {units}; add images")
    tail = (1 + level) / 2
    return float(stats.t.ppf(tail, units - 1) / stats.norm.ppf(tail) * np.sqrt(units / (units - 1)))


def resampled_shifts(
    values: NDArray[np.float64], units: Units, *, level: float, replicates: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the resampled means minus the mean (replicates,), widened for the number of units."""
    totals = unit_sums(np.stack([values, np.ones(len(values))], axis=1), units)
    picked = np.array([totals[draw].sum(axis=0) for draw in draw_units(units, replicates=replicates, rng=rng)])
    return np.asarray(widening_factor(units.count, level=level) * (picked[:, 0] / picked[:, 1] - values.mean()))


def shift_quantiles(shifts: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """Return the lower and the upper quantile that bound `level` of the shifts."""
    return np.asarray(np.quantile(shifts, [(1 - level) / 2, (1 + level) / 2]), dtype=np.float64)

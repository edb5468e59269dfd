"""Nuclei of synthetic tissue compared with those of real tissue, per label and overall.

The patches are those of the main results, up to `MAX_PATCHES` (and `MAX_MM2` of tissue) per side and label, because
finding nuclei takes long. Real training against real held-out patients is the floor: patients differ in nuclei too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from histosynth.metrics.morphology import (
    ASSUMED_MPP,
    Difference,
    Morphology,
    compare_morphology,
    concatenate,
    measure_store,
)
from histosynth.report.activations import Activations
from histosynth.report.comparison import PAIRS
from histosynth.report.sides import SIDES, Plan, SideName
from histosynth.stain import StainFit
from histosynth.store.pair import median_mpp

MAX_PATCHES = 150
MAX_MM2 = 2.5
"""150 patches of 128 um; of larger patches, fewer are measured."""
MIN_NUCLEI = 100
"""Nuclei that a side needs for a result."""
CLEAR_DIFFERENCE = 2.0
"""A difference is reported above this multiple of the floor."""
VISIBLE_SD = 0.2
"""Smaller differences are never reported, however low the floor."""
OVERALL = "Overall"


Differences = Mapping[str, Difference]  # by feature


@dataclass(frozen=True, kw_only=True)
class SideCount:
    """How much was measured of a side."""

    patches: int
    nuclei: int  # whole ones only, since cut ones are not measured
    assumed_mpp: int  # patches without microns per pixel, for which a value is assumed


@dataclass(frozen=True, kw_only=True)
class NucleiRow:
    """One label, or all labels. The keys of `pairs` are those of `PAIRS`; None where a side has too few nuclei."""

    sides: dict[SideName, SideCount]
    pairs: dict[str, Differences | None]


@dataclass(frozen=True, kw_only=True)
class NucleiResults:
    """The morphology results of a report."""

    mpp: float | None  # of the synthetic patches
    max_patches: int  # measured per side and label
    min_nuclei: int
    stains: StainFit  # of the real patches; standard vectors where its `pixels` is 0
    overall: NucleiRow
    labels: dict[str, NucleiRow]

    @property
    def rows(self) -> dict[str, NucleiRow]:
        """The rows of a table: the overall results, then each label where there are several."""
        return {OVERALL: self.overall, **(self.labels if len(self.labels) > 1 else {})}

    @property
    def reference(self) -> SideName:
        """The real side that the synthetic side is compared with."""
        return "held_out" if any("held_out" in row.sides for row in self.labels.values()) else "train"


Measured = Mapping[SideName, Mapping[str, Morphology]]  # side -> label -> its nuclei


def max_patches(plan: Plan) -> int:
    """Return the largest number of patches to measure per side and label."""
    fake = plan.sides["fake"].store
    side_mm = fake.patch_px * (median_mpp(fake) or ASSUMED_MPP) / 1000
    return max(1, min(MAX_PATCHES, int(MAX_MM2 / side_mm**2)))


def measured_rows(activations: Activations, side: SideName) -> dict[str, NDArray[np.int64]]:
    """Return the rows of a side's store to measure, by label: the first of those that enter the main results."""
    plan = activations.plan
    limit = max_patches(plan)
    usable = [label for label in plan.labels if plan.n[label] and plan.usable(side, label)]
    return {label: activations.rows(side, label)[:limit] for label in usable}


def measure_morphology(activations: Activations, *, fit: StainFit, progress: "tqdm[Any] | None" = None) -> Measured:
    """Measure the nuclei of each usable side and label; all of a side at once, to keep all cores busy."""
    measured: dict[SideName, dict[str, Morphology]] = {}
    for name in SIDES:
        if rows := measured_rows(activations, name):
            store = activations.plan.sides[name].store
            whole = measure_store(store, np.concatenate([*rows.values()]), fit=fit, progress=progress)
            scales = store.column("mpp")
            stops = np.cumsum([len(part) for part in rows.values()]).tolist()
            measured[name] = {
                label: _select_patches(whole, stop - len(part), stop, sum(scales[row] is None for row in part))
                for (label, part), stop in zip(rows.items(), stops, strict=True)
            }
    return measured


def _select_patches(whole: Morphology, start: int, stop: int, assumed: int) -> Morphology:
    inside = (whole.patch >= start) & (whole.patch < stop)
    return Morphology(
        nuclei=whole.nuclei[inside],
        patch=whole.patch[inside] - start,
        density_per_mm2=whole.density_per_mm2[start:stop],
        assumed_mpp=assumed,
    )


def pooled(measured: Measured, labels: Sequence[str]) -> dict[SideName, Morphology]:
    """Return these labels pooled, for each side that has them all."""
    return {
        name: concatenate([by_label[label] for label in labels])
        for name, by_label in measured.items()
        if labels and all(label in by_label for label in labels)
    }


def summarize(measured: Measured, *, plan: Plan, fit: StainFit) -> NucleiResults:
    """Return the differences between the sides, over all labels and for each label."""
    return NucleiResults(
        mpp=median_mpp(plan.sides["fake"].store),
        max_patches=max_patches(plan),
        min_nuclei=MIN_NUCLEI,
        stains=fit,
        overall=_row(pooled(measured, plan.pooled)),
        labels={label: _row(pooled(measured, [label])) for label in plan.labels},
    )


def _row(sides: Mapping[SideName, Morphology]) -> NucleiRow:
    def compare(a: SideName, b: SideName) -> Differences | None:
        if not all(name in sides and len(sides[name].nuclei) >= MIN_NUCLEI for name in (a, b)):
            return None
        return compare_morphology(sides[a], sides[b])

    return NucleiRow(
        sides={
            name: SideCount(patches=len(m.density_per_mm2), nuclei=len(m.nuclei), assumed_mpp=m.assumed_mpp)
            for name, m in sides.items()
        },
        pairs={key: compare(a, b) for key, (a, b) in PAIRS.items()},
    )


def clear_differences(row: NucleiRow) -> list[str]:
    """Return the features that differ clearly more from held-out patients than training patients do, clearest first.

    With P patches, a distance of up to 2 / √P standard deviations may be due to chance; it is not reported.
    """
    synthetic, floor = row.pairs["fake_vs_held_out"], row.pairs["train_vs_held_out"]
    if not synthetic or not floor:
        return []
    chance = 2 / np.sqrt(min(side.patches for side in row.sides.values()))
    ratios = {}
    for feature, difference in synthetic.items():
        distance, real = difference.distance_sd, floor[feature].distance_sd
        if distance is not None and real is not None and distance > max(CLEAR_DIFFERENCE * real, VISIBLE_SD, chance):
            ratios[feature] = distance / max(real, VISIBLE_SD / CLEAR_DIFFERENCE)
    return sorted(ratios, key=lambda feature: -ratios[feature])

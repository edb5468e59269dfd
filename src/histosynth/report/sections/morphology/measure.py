"""Nuclei of synthetic beside those of real tissue, per label and overall, and in words what differs.

The same patches enter as in the other results, up to `MAX_PATCHES` (and `MAX_MM2` of tissue) a side and label, for
finding nuclei takes long. Real training against real held-out patients is the floor: patients differ in nuclei, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from histosynth.metrics.morphology import (
    ASSUMED_MPP,
    MORPHOLOGY_FEATURES,
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
"""150 patches of 128 um: where patches are larger, fewer are measured."""
MIN_NUCLEI = 100
"""Fewer on a side than this give no figure."""
CLEAR_DIFFERENCE = 2.0
"""Times the floor from which a difference is spoken of."""
VISIBLE_SD = 0.2
"""Less is never spoken of, however low the floor."""
MAX_NAMED = 3
"""Features that a sentence names at most."""
OVERALL = "Overall"

_MORE_AND_LESS: Mapping[str, tuple[str, str]] = {
    "area_um2": ("larger", "smaller"),
    "eccentricity": ("more elongated", "rounder"),
    "solidity": ("smoother in outline", "more irregular in outline"),
    "hematoxylin": ("darker", "paler"),
    "nearest_um": ("farther apart", "closer together"),
    "halo": ("in clearer halos", "in fainter halos"),
    "density_per_mm2": ("more crowded", "sparser"),
}
_UNITS: Mapping[str, str] = {"area_um2": " um²", "nearest_um": " um", "density_per_mm2": " a mm²"}

Differences = Mapping[str, Difference]  # feature -> what differs


@dataclass(frozen=True, kw_only=True)
class SideCount:
    """What was measured of a side."""

    patches: int
    nuclei: int  # whole ones, as only they are measured
    assumed_mpp: int  # patches that state no microns per pixel


@dataclass(frozen=True, kw_only=True)
class NucleiRow:
    """A label, or all together. The keys of `pairs` are those of `PAIRS`; None where a side has too few nuclei."""

    sides: dict[SideName, SideCount]
    pairs: dict[str, Differences | None]


@dataclass(frozen=True, kw_only=True)
class NucleiResults:
    """All morphology results of a report."""

    mpp: float | None  # of the synthetic patches
    max_patches: int  # of a side and label that were measured at most
    min_nuclei: int
    stains: StainFit  # of the real patches; the usual ones where its `pixels` is 0
    overall: NucleiRow
    labels: dict[str, NucleiRow]

    @property
    def rows(self) -> dict[str, NucleiRow]:
        """What a table shows: the overall results, then each label where there are several."""
        return {OVERALL: self.overall, **(self.labels if len(self.labels) > 1 else {})}

    @property
    def reference(self) -> SideName:
        """The real side that the synthetic one is read against."""
        return "held_out" if any("held_out" in row.sides for row in self.labels.values()) else "train"


Measured = Mapping[SideName, Mapping[str, Morphology]]  # side -> label -> its nuclei


def max_patches(plan: Plan) -> int:
    """How many patches of a side and label are measured at most."""
    fake = plan.sides["fake"].store
    side_mm = fake.patch_px * (median_mpp(fake) or ASSUMED_MPP) / 1000
    return max(1, min(MAX_PATCHES, int(MAX_MM2 / side_mm**2)))


def measured_rows(activations: Activations, side: SideName) -> dict[str, NDArray[np.int64]]:
    """The rows of a side's store that are measured, by label: the first of those that enter the other results."""
    plan = activations.plan
    most = max_patches(plan)
    usable = [label for label in plan.labels if plan.n[label] and plan.usable(side, label)]
    return {label: activations.rows(side, label)[:most] for label in usable}


def measure(activations: Activations, *, fit: StainFit, progress: "tqdm[Any] | None" = None) -> Measured:
    """The nuclei of each side and label that has patches enough; all of a side in one go, so that cores are busy."""
    found: dict[SideName, dict[str, Morphology]] = {}
    for name in SIDES:
        if rows := measured_rows(activations, name):
            store = activations.plan.sides[name].store
            whole = measure_store(store, np.concatenate([*rows.values()]), fit=fit, progress=progress)
            scales = store.column("mpp")
            ends = np.cumsum([len(chosen) for chosen in rows.values()])
            found[name] = {
                label: _part(whole, int(end) - len(chosen), int(end), sum(scales[row] is None for row in chosen))
                for (label, chosen), end in zip(rows.items(), ends, strict=True)
            }
    return found


def _part(whole: Morphology, start: int, stop: int, assumed: int) -> Morphology:
    inside = (whole.patch >= start) & (whole.patch < stop)
    return Morphology(
        nuclei=whole.nuclei[inside],
        patch=whole.patch[inside] - start,
        density_per_mm2=whole.density_per_mm2[start:stop],
        assumed_mpp=assumed,
    )


def pooled(measured: Measured, labels: Sequence[str]) -> dict[SideName, Morphology]:
    """These labels together, of each side that has them all."""
    return {
        name: concatenate([of[label] for label in labels])
        for name, of in measured.items()
        if labels and all(label in of for label in labels)
    }


def summarize(measured: Measured, *, plan: Plan, fit: StainFit) -> NucleiResults:
    """What differs between the sides, over all labels and in each."""
    return NucleiResults(
        mpp=median_mpp(plan.sides["fake"].store),
        max_patches=max_patches(plan),
        min_nuclei=MIN_NUCLEI,
        stains=fit,
        overall=_row(pooled(measured, plan.pooled)),
        labels={label: _row(pooled(measured, [label])) for label in plan.labels},
    )


def _row(sides: Mapping[SideName, Morphology]) -> NucleiRow:
    def compared(a: SideName, b: SideName) -> Differences | None:
        if not all(name in sides and len(sides[name].nuclei) >= MIN_NUCLEI for name in (a, b)):
            return None
        return compare_morphology(sides[a], sides[b])

    return NucleiRow(
        sides={
            name: SideCount(patches=len(m.density_per_mm2), nuclei=len(m.nuclei), assumed_mpp=m.assumed_mpp)
            for name, m in sides.items()
        },
        pairs={key: compared(a, b) for key, (a, b) in PAIRS.items()},
    )


def clear_differences(row: NucleiRow) -> list[str]:
    """The features that differ clearly more from held-out patients than training patients do, the clearest first.

    A distance of as few as P patches is above 0 by chance, and below 2 / √P standard deviations: that is not told.
    """
    found, floor = row.pairs["fake_vs_held_out"], row.pairs["train_vs_held_out"]
    if not found or not floor:
        return []
    chance = 2 / np.sqrt(min(side.patches for side in row.sides.values()))
    times = {}
    for feature, difference in found.items():
        apart, real = difference.distance_sd, floor[feature].distance_sd
        if apart is not None and real is not None and apart > max(CLEAR_DIFFERENCE * real, VISIBLE_SD, chance):
            times[feature] = apart / max(real, VISIBLE_SD / CLEAR_DIFFERENCE)
    return sorted(times, key=lambda feature: -times[feature])


def difference_sentences(results: NucleiResults) -> list[str]:
    """A sentence where synthetic nuclei differ clearly: of all patches, or, where those hide it, of each label."""
    if said := _finding(results.overall, of=""):
        return [said]
    return [said for label, row in results.labels.items() if (said := _finding(row, of=f" of {label}"))]


def _finding(row: NucleiRow, *, of: str) -> str | None:
    features, found, floor = clear_differences(row), row.pairs["fake_vs_held_out"], row.pairs["train_vs_held_out"]
    if not features or not found or not floor:
        return None
    scaled = not any(side.assumed_mpp for side in row.sides.values())
    told = [_describe_difference(feature, found[feature], scaled=scaled) for feature in features[:MAX_NAMED]]
    more = len(features) - len(told)
    first = features[0]
    return (
        f"Nuclei in the synthetic patches{of} differ from those of held-out patients: they are {_join_words(told)}"
        f"{f', and differ in {more} more' if more else ''}. The first differs by {found[first].distance_sd:.2f} "
        f"standard deviations, real patients among themselves by {floor[first].distance_sd:.2f}."
    )


def _describe_difference(feature: str, difference: Difference, *, scaled: bool) -> str:
    a, b = difference.medians
    if a is None or b is None or difference.distance is None:
        return f"unlike in {MORPHOLOGY_FEATURES[feature][0]}"
    more, less = _MORE_AND_LESS[feature]
    unit = _UNITS.get(feature, "") if scaled else ""
    medians = f"median {format_median(feature, a)} against {format_median(feature, b)}{unit}"
    if abs(a - b) < difference.distance / 4:  # as large in the middle: it is the spread that differs
        return f"spread otherwise in {MORPHOLOGY_FEATURES[feature][0]} ({medians})"
    return f"{more if a > b else less} ({medians})"


def _join_words(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def format_median(feature: str, found: float | None) -> str:
    """A median with a sensible number of digits."""
    if found is None:
        return "none"
    if feature == "density_per_mm2":
        return f"{found:,.0f}"
    text = f"{found:.1f}" if feature in ("area_um2", "nearest_um") else f"{found:.2f}"
    return "0.00" if text == "-0.00" else text.replace("-", "−")

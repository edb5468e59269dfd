"""The section on morphology: do synthetic patches have the nuclei of real tissue?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, zip_longest

import numpy as np
from tqdm import tqdm

from histosynth.caution import Caution
from histosynth.metrics.morphology import ASSUMED_MPP, MORPHOLOGY_FEATURES, Difference, find_nuclei, fit_pooled_stains
from histosynth.report.activations import Activations
from histosynth.report.sections.morphology.chart import draw_nuclei, morphology_chart
from histosynth.report.sections.morphology.measure import (
    MIN_NUCLEI,
    OVERALL,
    NucleiResults,
    NucleiRow,
    clear_differences,
    measure_morphology,
    measured_rows,
    pooled,
    summarize,
)
from histosynth.report.sections.section import Section, SectionInputs
from histosynth.report.sides import SIDE_TITLES, SIDES, SideName
from histosynth.stain import StainFit

MAX_SHOWN = 4
"""Patches per side and label that are shown with their nuclei."""
_SHOWN_PX = 256  # of larger patches, the upper left corner is shown
MAX_NAMED = 3
"""Features that one sentence names."""
COARSE_MPP = 2.0
"""At a coarser scale many nuclei are missed (docs/how-to/morphology.md)."""

_MORE_AND_LESS: Mapping[str, tuple[str, str]] = {
    "area_um2": ("larger", "smaller"),
    "eccentricity": ("more elongated", "rounder"),
    "solidity": ("smoother in outline", "more irregular in outline"),
    "hematoxylin": ("darker", "paler"),
    "nearest_um": ("farther apart", "closer together"),
    "halo": ("in clearer halos", "in fainter halos"),
    "density_per_mm2": ("more crowded", "sparser"),
}
_UNITS: Mapping[str, str] = {"area_um2": " um²", "nearest_um": " um", "density_per_mm2": " per mm²"}


@dataclass(frozen=True, kw_only=True)
class OutlinedPatches:
    """Patches of one side and label with their nuclei outlined, as PNG."""

    title: str
    synthetic: bool
    images: list[bytes]
    names: list[str]


def morphology_section(inputs: SectionInputs) -> Section:
    """Return the section, measured on the patches of the main results."""
    # Measure all sides with one stain fit.
    plan, activations = inputs.plan, inputs.activations
    fit = _stains(activations)
    total = sum(len(rows) for side in SIDES for rows in measured_rows(activations, side).values())
    with tqdm(total=total, desc="nuclei", unit="img", disable=not inputs.progress) as bar:
        measured = measure_morphology(activations, fit=fit, progress=bar)
    results = summarize(measured, plan=plan, fit=fit)

    # Draw the sides with enough nuclei, overall and per label.
    drawn = {}
    for title in results.rows:
        sides = pooled(measured, plan.pooled if title == OVERALL else [title])
        drawn[title] = {name: side for name, side in sides.items() if len(side.nuclei) >= MIN_NUCLEI}
    charts = {"morphology.png": morphology_chart(drawn)} if any(drawn.values()) else {}
    sentences = difference_sentences(results)
    return Section(
        key="morphology",
        facts=asdict(results),
        context={
            "results": results,
            "clear_differences": clear_differences,
            "format_median": format_median,
            "features": MORPHOLOGY_FEATURES,
            "chart": charts.get("morphology.png"),
            "outlined": {label: _outlined(activations, label, results.reference, fit) for label in plan.labels},
            "sentences": sentences,
        },
        sentences=sentences,
        cautions=list(_cautions(results)),
        charts=charts,
    )


def _stains(activations: Activations) -> StainFit:
    """Fit the stains for all sides, on the real patches of all labels in alternation."""
    rows = {name: measured_rows(activations, name) for name in SIDES}
    side: SideName = "train" if rows["train"] else "held_out"
    alternating = chain.from_iterable(zip_longest(*rows[side].values()))
    store = activations.plan.sides[side].store
    return fit_pooled_stains(store.images([row]) for row in alternating if row is not None)


def _outlined(activations: Activations, label: str, reference: SideName, fit: StainFit) -> list[OutlinedPatches]:
    """Outline the nuclei of the first patches of the real side and of the synthetic side."""
    panels = []
    for name in (reference, "fake"):
        store = activations.plan.sides[name].store
        rows = measured_rows(activations, name).get(label, np.empty(0, np.int64))[:MAX_SHOWN]
        scales, names = store.column("mpp"), store.column("patch_id")
        images = []
        for row in rows:
            image = store.images([row])[0, :_SHOWN_PX, :_SHOWN_PX]
            nuclei = find_nuclei(image, mpp=scales[row] or ASSUMED_MPP, fit=fit)
            images.append(draw_nuclei(image, nuclei, texts=store.mark))
        panels.append(
            OutlinedPatches(
                title=SIDE_TITLES[name],
                synthetic=bool(store.mark),
                images=images,
                names=[names[row] for row in rows],
            )
        )
    return panels


def difference_sentences(results: NucleiResults) -> list[str]:
    """Return a sentence if synthetic nuclei differ clearly over all patches; if not, one per label in which they do."""
    if sentence := _difference_sentence(results.overall, of=""):
        return [sentence]
    sentences = (_difference_sentence(row, of=f" of {label}") for label, row in results.labels.items())
    return [sentence for sentence in sentences if sentence]


def _difference_sentence(row: NucleiRow, *, of: str) -> str | None:
    features, synthetic, floor = clear_differences(row), row.pairs["fake_vs_held_out"], row.pairs["train_vs_held_out"]
    if not features or not synthetic or not floor:
        return None
    scaled = not any(side.assumed_mpp for side in row.sides.values())
    described = [_describe_difference(feature, synthetic[feature], scaled=scaled) for feature in features[:MAX_NAMED]]
    more = len(features) - len(described)
    others = f", and differ in {more} more {'feature' if more == 1 else 'features'}" if more else ""
    first = features[0]
    return (
        f"Nuclei in the synthetic patches{of} differ from those of held-out patients: they are "
        f"{_join_words(described)}{others}. The first difference is "
        f"{synthetic[first].distance_sd:.2f} standard deviations; between real training and held-out patients it is "
        f"{floor[first].distance_sd:.2f}."
    )


def _describe_difference(feature: str, difference: Difference, *, scaled: bool) -> str:
    a, b = difference.medians
    if a is None or b is None or difference.distance is None:
        return f"different in {MORPHOLOGY_FEATURES[feature][0]}"
    more, less = _MORE_AND_LESS[feature]
    unit = _UNITS.get(feature, "") if scaled else ""
    medians = f"median {format_median(feature, a)} instead of {format_median(feature, b)}{unit}"
    if abs(a - b) < difference.distance / 4:  # medians agree: the spread differs
        return f"of different spread in {MORPHOLOGY_FEATURES[feature][0]} ({medians})"
    return f"{more if a > b else less} ({medians})"


def _join_words(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def format_median(feature: str, median: float | None) -> str:
    """Return a median with a sensible number of digits."""
    if median is None:
        return "none"
    if feature == "density_per_mm2":
        return f"{median:,.0f}"
    text = f"{median:.1f}" if feature in ("area_um2", "nearest_um") else f"{median:.2f}"
    return "0.00" if text == "-0.00" else text.replace("-", "−")


def _cautions(results: NucleiResults) -> Iterator[Caution]:
    """Yield what limits the results on nuclei."""
    unscaled = {name for row in results.labels.values() for name, side in row.sides.items() if side.assumed_mpp}
    scaled = {name for row in results.labels.values() for name in row.sides} - unscaled
    if unscaled and scaled:
        which = ", ".join(SIDE_TITLES[name] for name in SIDES if name in unscaled)
        yield Caution(
            "alarm",
            f"Some patches state no microns per pixel ({which}): {ASSUMED_MPP} is assumed for them, and nuclei may "
            "differ in size for this reason alone.",
        )
    elif unscaled:
        yield Caution(
            "note",
            f"No patch states microns per pixel: nuclei are measured at an assumed {ASSUMED_MPP} microns per pixel. "
            "Their sizes can only be compared with each other, and only if all sides have the same scale.",
        )
    if results.mpp and results.mpp > COARSE_MPP:
        yield Caution(
            "note",
            f"At {results.mpp:.3g} microns per pixel many nuclei are missed or truncated "
            f"(detection is reliable up to {COARSE_MPP:g}): interpret the results on nuclei with caution.",
        )

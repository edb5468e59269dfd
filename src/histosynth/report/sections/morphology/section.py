"""The section on morphology: do synthetic patches have the nuclei of real tissue?"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain, zip_longest

import numpy as np
from tqdm import tqdm

from histosynth.caution import Caution
from histosynth.metrics.morphology import ASSUMED_MPP, MORPHOLOGY_FEATURES, find_nuclei, fit_pooled_stains
from histosynth.report.activations import Activations
from histosynth.report.sections.morphology.chart import draw_nuclei, morphology_chart
from histosynth.report.sections.morphology.measure import (
    MIN_NUCLEI,
    OVERALL,
    NucleiResults,
    clear_differences,
    difference_sentences,
    format_median,
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
COARSE_MPP = 2.0
"""At a coarser scale many nuclei are missed (docs/how-to/morphology.md)."""


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

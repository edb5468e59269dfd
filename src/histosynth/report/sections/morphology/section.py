"""The section on morphology: do synthetic patches have the nuclei of real tissue?"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain, zip_longest

import numpy as np
from tqdm import tqdm

from histosynth.caution import Caution
from histosynth.metrics.morphology import ASSUMED_MPP, MORPHOLOGY_FEATURES, find_nuclei, fit_pooled_stains
from histosynth.report.activations import Activations
from histosynth.report.sections.morphology import measure as nuclei
from histosynth.report.sections.morphology.chart import draw_nuclei, morphology_chart
from histosynth.report.sections.morphology.measure import (
    MIN_NUCLEI,
    NucleiResults,
    difference_sentences,
    measure,
    measured_rows,
    summarize,
)
from histosynth.report.sections.section import Section, SectionInputs
from histosynth.report.sides import SIDE_TITLES, SIDES, SideName
from histosynth.stain import StainFit

SHOWN = 4
"""Patches of a side and label that are shown with their nuclei."""
_SHOWN_PX = 256  # of larger patches a corner is shown
COARSE_MPP = 2.0
"""Beyond it, many nuclei are missed (docs/how-to/morphology.md)."""


@dataclass(frozen=True, kw_only=True)
class Outlined:
    """Some patches of one side and label with their nuclei outlined, as PNG."""

    title: str
    synthetic: bool
    images: list[bytes]
    names: list[str]


def morphology_section(inputs: SectionInputs) -> Section:
    """Nuclei of the same patches as in the main results."""
    plan, activations = inputs.plan, inputs.activations
    fit = _stains(activations)
    total = sum(len(rows) for side in SIDES for rows in measured_rows(activations, side).values())
    with tqdm(total=total, desc="nuclei", unit="img", disable=not inputs.progress) as bar:
        measured = measure(activations, fit=fit, progress=bar)
    results = summarize(measured, plan=plan, fit=fit)
    drawn = {
        title: {name: side for name, side in nuclei.pooled(measured, labels).items() if len(side.nuclei) >= MIN_NUCLEI}
        for title, labels in _labels_of(results, plan.pooled).items()
    }
    charts = {"morphology.png": morphology_chart(drawn)} if any(drawn.values()) else {}
    return Section(
        key="morphology",
        facts=asdict(results),
        context={
            "results": results,
            "words": nuclei,
            "features": MORPHOLOGY_FEATURES,
            "chart": charts.get("morphology.png"),
            "outlined": {label: _outlined(activations, label, results.reference, fit) for label in plan.labels},
            "said": (said := difference_sentences(results)),
        },
        sentences=said,
        cautions=list(_cautions(results)),
        charts=charts,
    )


def _stains(activations: Activations) -> StainFit:
    """One fit for all sides, from the real patches of all labels by turns."""
    rows = {name: measured_rows(activations, name) for name in SIDES}
    side: SideName = "train" if rows["train"] else "held_out"
    turns = chain.from_iterable(zip_longest(*rows[side].values()))
    store = activations.plan.sides[side].store
    return fit_pooled_stains(store.images([row]) for row in turns if row is not None)


def _labels_of(results: NucleiResults, pooled: list[str]) -> dict[str, list[str]]:
    return {title: pooled if title == nuclei.OVERALL else [title] for title in results.rows}


def _outlined(activations: Activations, label: str, reference: SideName, fit: StainFit) -> list[Outlined]:
    """The first patches of the real side and of the synthetic one."""
    found = []
    for name in (reference, "fake"):
        side, rows = (
            activations.plan.sides[name],
            measured_rows(activations, name).get(label, np.empty(0, np.int64))[:SHOWN],
        )
        scales, names, mark = side.store.column("mpp"), side.store.column("patch_id"), side.store.mark
        images = []
        for row in rows:
            image = side.store.images([row])[0, :_SHOWN_PX, :_SHOWN_PX]
            seen = find_nuclei(image, mpp=scales[row] or ASSUMED_MPP, fit=fit)
            images.append(draw_nuclei(image, seen, texts=mark))
        found.append(
            Outlined(
                title=SIDE_TITLES[name],
                synthetic=bool(mark),
                images=images,
                names=[names[row] for row in rows],
            )
        )
    return found


def _cautions(results: NucleiResults) -> Iterator[Caution]:
    """What limits the results of nuclei."""
    unscaled = {name for row in results.labels.values() for name, side in row.sides.items() if side.assumed_mpp}
    scaled = {name for row in results.labels.values() for name in row.sides} - unscaled
    if unscaled and scaled:
        which = ", ".join(SIDE_TITLES[name] for name in SIDES if name in unscaled)
        yield Caution(
            "alarm",
            f"Some patches state no microns per pixel ({which}): {ASSUMED_MPP} is taken for them, and nuclei may "
            "differ in size for that reason alone.",
        )
    elif unscaled:
        yield Caution(
            "note",
            f"No patch states microns per pixel: nuclei are measured as if a pixel had {ASSUMED_MPP} microns, so their "
            "sizes compare with each other only, and only if all sides have the same scale.",
        )
    if results.mpp and results.mpp > COARSE_MPP:
        yield Caution(
            "note",
            f"At {results.mpp:.3g} microns per pixel many nuclei are missed or cut short "
            f"(finding them is reliable up to {COARSE_MPP:g}): read the results of nuclei with doubt.",
        )

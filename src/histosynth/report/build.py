"""Build a report from two stores: check, measure, draw, and put the directory in place once it is complete.

`OUT/report.html` (for people, self-contained), `OUT/report.json` (the same results for machines, with their provenance)
and `OUT/figures/` (charts as PNG and SVG, patches as PNG).
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from histosynth.config import EvaluateSettings
from histosynth.metrics.cache import cache_directory, cached_outputs
from histosynth.metrics.extractors import FEATURES, FeatureExtractor, build_extractor, output_widths
from histosynth.metrics.features import Features
from histosynth.report.activations import Activations, Outputs
from histosynth.report.charts import write_charts
from histosynth.report.comparison import compare_sides
from histosynth.report.directory import check_output, replace_directory
from histosynth.report.page import render
from histosynth.report.record import provenance_tables, record
from histosynth.report.schema import FACTS, KIND
from histosynth.report.sections.build import build_sections
from histosynth.report.sections.section import ExtractFeatures, SectionInputs
from histosynth.report.sides import Plan, SideName, plan
from histosynth.report.wording import cautions, verdict
from histosynth.rundir import write_json, write_text
from histosynth.store.pair import check_pair
from histosynth.store.store import Store

PAGE = "report.html"


def evaluate(
    *,
    real: Store,
    fake: Store,
    out: Path,
    settings: EvaluateSettings,
    extractor: FeatureExtractor | None = None,
    device: str | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Compare synthetic with real patches and write the report to the directory `out`; an older report is replaced.

    Args:
        real: a patch store; its split by patient defines the held-out side.
        fake: a sample store.
        out: the report's directory: absent, empty, or an older report.
        settings: the extractor, its weights and cache, the neighbors k, the sections, and the sizes of batch and grid.
        extractor: an instance to use instead of the one that the settings name.
        device: where the extractor runs (None: a GPU if there is one, else the CPU).
        progress: show a bar with images per second on standard error.

    Returns:
        The content of `report.json`.

    Raises:
        HistosynthError: the stores cannot be compared, or `out` holds something else.
    """
    # Check everything that can fail before the long work.
    check_pair(real, fake)
    check_output(out, facts=FACTS, kind=KIND)
    planned = plan(real=real, fake=fake, neighbors=settings.neighbors, reference=settings.reference)
    weights = Path(settings.weights) if settings.weights else None
    extractor = extractor or build_extractor(settings.extractor, device=device, weights=weights)
    settings = settings.model_copy(update={"extractor": extractor.name})  # the one that `auto` selected
    with replace_directory(out.resolve()) as directory:  # opened now, so that a read-only place fails early, too
        # Measure.
        activations = _activations(planned, extractor, settings=settings, progress=progress)
        results = compare_sides(activations, neighbors=settings.neighbors)
        inputs = SectionInputs(
            plan=planned,
            activations=activations,
            extract=_extract(extractor, settings=settings, progress=progress),
            settings=settings,
            progress=progress,
        )
        sections = build_sections(inputs, names=settings.sections)
        real_hash = real.content_hash()
        content = record(
            plan=planned,
            results=results,
            sections=sections,
            verdict=verdict(results, sections, extractor=extractor),
            cautions=cautions(planned, results, sections, real_hash=real_hash, dimension=extractor.dimension),
            extractor=extractor,
            settings=settings,
            real_hash=real_hash,
        )

        # Write charts, page and record.
        write_charts(directory / "figures", planned, results, shown=settings.grid)
        for section in sections:
            for name, chart in section.charts.items():
                (directory / "figures" / name).write_bytes(chart)
        page = render(
            content,
            plan=planned,
            results=results,
            sections=sections,
            extractor_title=extractor.title,
            provenance=provenance_tables(content),
        )
        write_text(directory / PAGE, page)
        write_json(directory / FACTS, content)
    return content


def _activations(
    planned: Plan, extractor: FeatureExtractor, *, settings: EvaluateSettings, progress: bool
) -> Activations:
    """Return the outputs of the extractor for exactly the patches that enter a comparison, each computed once."""
    cache = cache_directory(settings.cache)
    rows_needed = {
        (name, label): side.rows[label][: planned.n[label]]
        for name, side in planned.sides.items()
        for label in planned.labels
        if planned.usable(name, label)
    }
    outputs: dict[SideName, dict[str, Outputs]] = {name: {} for name in planned.sides}
    total = sum(map(len, rows_needed.values()))
    with tqdm(total=total, desc=f"{extractor.name} features", unit="img", disable=not progress) as bar:
        for (name, label), rows in rows_needed.items():
            outputs[name][label] = cached_outputs(
                planned.sides[name].store,
                rows,
                extractor=extractor,
                batch=settings.batch,
                progress=bar,
                cache=cache,
                outputs=list(output_widths(extractor)),
            )
    return Activations(plan=planned, outputs=outputs)


def _extract(extractor: FeatureExtractor, *, settings: EvaluateSettings, progress: bool) -> ExtractFeatures:
    """Return the function by which a section extracts the features of more patches."""
    cache = cache_directory(settings.cache)

    def extract(store: Store, rows: NDArray[np.int64]) -> Features:
        with tqdm(total=len(rows), desc=f"{extractor.name} features", unit="img", disable=not progress) as bar:
            return cached_outputs(store, rows, extractor=extractor, batch=settings.batch, progress=bar, cache=cache)[
                FEATURES
            ]

    return extract

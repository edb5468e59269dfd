"""From two stores to a report: check, measure, draw, and put the directory in place once it is whole.

`OUT/report.html` (for people, self-contained), `OUT/report.json` (the same results for machines, with their provenance)
and `OUT/figures/` (charts as PNG and SVG, patches as PNG).
"""

from pathlib import Path
from typing import Any

from tqdm import tqdm

from histosynth.config import EvaluateSettings
from histosynth.metrics.cache import cache_directory, cached_outputs
from histosynth.metrics.extractors import FeatureExtractor, build_extractor, output_widths
from histosynth.report.activations import Activations, Outputs
from histosynth.report.charts import write_charts
from histosynth.report.comparison import compare_sides
from histosynth.report.directory import check_output, replace_directory
from histosynth.report.page import render
from histosynth.report.record import provenance_tables, record
from histosynth.report.schema import KIND
from histosynth.report.sections.build import build_sections
from histosynth.report.sections.section import SectionInputs
from histosynth.report.sides import Plan, SideName, plan
from histosynth.report.wording import cautions, verdict
from histosynth.rundir import write_json, write_text
from histosynth.store.pair import check_pair
from histosynth.store.store import Store

FACTS = "report.json"
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
    """Compare synthetic with real patches and write the report to the directory `out`, over an older report if need be.

    Args:
        real: a patch store; its split by patient decides what is held out.
        fake: a sample store.
        out: the report's directory: absent, empty, or an older report.
        settings: the extractor, its weights and cache, k, and the sizes of batch and grid.
        extractor: an instance to use in place of the one that the settings name.
        device: where the extractor runs (`None`: a GPU where there is one, else the CPU).
        progress: show a bar with images a second on standard error.

    Returns:
        The content of `report.json`.

    Raises:
        HistosynthError: the stores cannot be compared, or `out` holds something else.
    """
    check_pair(real, fake)
    check_output(out, facts=FACTS, kind=KIND)
    planned = plan(real=real, fake=fake, neighbors=settings.neighbors)
    weights = Path(settings.weights) if settings.weights else None
    extractor = extractor or build_extractor(settings.extractor, device=device, weights=weights)
    settings = settings.model_copy(update={"extractor": extractor.name})  # what `auto` stood for
    with replace_directory(
        out.resolve()
    ) as directory:  # now, so that a place that cannot be written fails before the long work
        activations = _activations(planned, extractor, settings=settings, progress=progress)
        results = compare_sides(activations, neighbors=settings.neighbors)
        inputs = SectionInputs(plan=planned, activations=activations, settings=settings, progress=progress)
        sections = build_sections(inputs, names=settings.sections)
        real_hash = real.content_hash()
        found = record(
            plan=planned,
            results=results,
            sections=sections,
            verdict=verdict(results, sections, extractor=extractor),
            cautions=cautions(planned, results, sections, real_hash=real_hash, dimension=extractor.dimension),
            extractor=extractor,
            settings=settings,
            real_hash=real_hash,
        )
        write_charts(directory / "figures", planned, results, shown=settings.grid)
        for section in sections:
            for name, content in section.charts.items():
                (directory / "figures" / name).write_bytes(content)
        page = render(
            found,
            plan=planned,
            results=results,
            sections=sections,
            extractor_title=extractor.title,
            provenance=provenance_tables(found),
        )
        write_text(directory / PAGE, page)
        write_json(directory / FACTS, found)
    return found


def _activations(
    planned: Plan, extractor: FeatureExtractor, *, settings: EvaluateSettings, progress: bool
) -> Activations:
    """What the extractor gives for exactly the patches that enter a comparison, each computed once."""
    cache = cache_directory(settings.cache)
    wanted = {
        (name, label): side.rows[label][: planned.n[label]]
        for name, side in planned.sides.items()
        for label in planned.labels
        if planned.usable(name, label)
    }
    outputs: dict[SideName, dict[str, Outputs]] = {name: {} for name in planned.sides}
    with tqdm(
        total=sum(map(len, wanted.values())), desc=f"{extractor.name} features", unit="img", disable=not progress
    ) as bar:
        for (name, label), rows in wanted.items():
            store = planned.sides[name].store
            outputs[name][label] = cached_outputs(
                store,
                rows,
                extractor=extractor,
                batch=settings.batch,
                progress=bar,
                cache=cache,
                outputs=list(output_widths(extractor)),
            )
    return Activations(plan=planned, outputs=outputs)

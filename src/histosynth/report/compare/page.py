"""The page of a comparison: style and macros of the report's page, without network or scripts."""

from collections.abc import Sequence

from histosynth.pages import environment
from histosynth.report.compare.charts import CHART_MEASURES, ShownSide, models_with_results
from histosynth.report.compare.schema import ComparisonFacts
from histosynth.report.compare.tables import SIGN, legend, tables
from histosynth.report.compare.wording import SIDES, measure_name
from histosynth.report.page import FILTERS, axis_ticks, panel
from histosynth.report.record import human_readable
from histosynth.report.sides import SIDE_TITLES
from histosynth.store.contact_sheet import shown_px


def render(comparison: ComparisonFacts, *, shown: Sequence[ShownSide], count: int) -> str:
    """Return the whole page, with `count` patches per label of each side in `shown`."""
    # Rows of the chart of intervals: models with results, and the floor.
    rows = {name: (models_with_results(row, comparison), row.floor) for name, row in comparison.rows.items()}
    rows = {name: pair for name, pair in rows.items() if pair[0]}
    charted = [c for models, floor in rows.values() for c in (*models.values(), *([floor] if floor else []))]
    largest_distance = max((c.measures["frechet_distance"].high for c in charted), default=0.0)
    return (
        environment(FILTERS)
        .get_template("report/compare/templates/compare.html.j2")
        .render(
            comparison=comparison,
            made_with={
                name: human_readable(model.samples.manifest.get("made_with") or {})
                for name, model in comparison.models.items()
            },
            title=", ".join(comparison.models),
            verdict=comparison.verdict,
            cautions=comparison.cautions,
            tables=tables(comparison),
            legend=legend(comparison, place="Below a result"),
            sign=SIGN,
            rows=rows,
            axes={m: axis_ticks(largest_distance) if m == "frechet_distance" else [0, 0.5, 1] for m in CHART_MEASURES},
            names={m: measure_name(m, extractor=comparison.extractor.name) for m in CHART_MEASURES},
            side=SIDES[comparison.reference],
            real=SIDE_TITLES[comparison.reference],
            panels={k: [panel(s.side, k, shown=count, title=s.title) for s in shown] for k in comparison.labels},
            shown_px=min(shown_px(comparison.real.patch_px), 160),
        )
    )

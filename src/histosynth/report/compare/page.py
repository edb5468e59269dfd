"""The page of a comparison: the look and the macros of the report's, and nothing that needs a network or a script."""

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


def render(found: ComparisonFacts, *, shown: Sequence[ShownSide], count: int) -> str:
    """The whole page as text; `count` patches of each side that is shown, and label."""
    rows = {name: (models_with_results(row, found), row.floor) for name, row in found.rows.items()}
    rows = {name: pair for name, pair in rows.items() if pair[0]}
    every = [c for models, floor in rows.values() for c in (*models.values(), *([floor] if floor else []))]
    furthest = max((c.measures["frechet_distance"].high for c in every), default=0.0)
    return (
        environment(FILTERS)
        .get_template("report/compare/templates/compare.html.j2")
        .render(
            found=found,
            made_with={k: human_readable(m.samples.manifest.get("made_with") or {}) for k, m in found.models.items()},
            title=", ".join(found.models),
            verdict=found.verdict,
            cautions=found.cautions,
            tables=tables(found),
            legend=legend(found, place="Below a figure"),
            sign=SIGN,
            rows=rows,
            axes={m: axis_ticks(furthest) if m == "frechet_distance" else [0, 0.5, 1] for m in CHART_MEASURES},
            names={m: measure_name(m, extractor=found.extractor.name) for m in CHART_MEASURES},
            side=SIDES[found.reference],
            real=SIDE_TITLES[found.reference],
            panels={k: [panel(s.side, k, shown=count, title=s.title) for s in shown] for k in found.labels},
            shown_px=min(shown_px(found.real.patch_px), 160),
        )
    )

"""The page: one HTML file that needs neither network nor scripts, for screen, phone and paper."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from histosynth.pages import environment
from histosynth.report.comparison import DISTANCES, MEASURES, PAIR_TITLES, PAIRS, Results
from histosynth.report.sections.section import Section
from histosynth.report.sides import SIDE_TITLES, Plan, Side
from histosynth.report.wording import format_distance, format_interval, format_result, format_score
from histosynth.store.contact_sheet import shown_px
from histosynth.store.png import encode_png


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Patches of one side and label as PNG, with their names."""

    title: str
    synthetic: bool
    count: int  # patches in the store
    patients: int
    images: Sequence[bytes]
    names: Sequence[str]


def render(
    content: Mapping[str, Any],
    *,
    plan: Plan,
    results: Results,
    sections: Sequence[Section],
    extractor_title: str,
    provenance: Mapping[str, Any],
) -> str:
    """Return the whole page, from the content of `report.json`, the results and the patches themselves."""
    rows, grid = results.rows, content["settings"]["grid"]
    upper_bounds = [c.measures["frechet_distance"].high for row in rows.values() for c in row.values() if c.n]
    distances = [v for m in results.matrices.values() for row in m.frechet_distance for v in row if v is not None]
    return (
        environment(FILTERS)
        .get_template("report/templates/report.html.j2")
        .render(
            title=", ".join(content["stores"]["fake"]["sources"]),
            verdict=content["verdict"],
            cautions=content["cautions"],
            results=results,
            rows=rows,
            reference="held_out" if any(row["fake_vs_held_out"].n for row in rows.values()) else "train",
            ticks=axis_ticks(max(upper_bounds)),
            heat=(min(distances), max(distances)) if distances else (0.0, 1.0),
            sections=sections,
            panels={k: [panel(side, k, shown=grid) for side in plan.sides.values()] for k in plan.labels},
            extractor=extractor_title,
            neighbors=content["settings"]["neighbors"],
            shown_px=min(shown_px(content["stores"]["fake"]["patch_px"]), 160),
            pairs=PAIRS,
            pair_titles=PAIR_TITLES,
            measures=MEASURES,
            distances=DISTANCES,
            sides=SIDE_TITLES,
            provenance=provenance,
        )
    )


def panel(side: Side, label: str, *, shown: int, title: str | None = None) -> Panel:
    """Return the first few patches of a side and label, in the order in which they enter the results."""
    rows, mark = side.rows[label][:shown], side.store.mark
    names = side.store.column("patch_id")
    return Panel(
        title=title or SIDE_TITLES[side.name].capitalize(),
        synthetic=bool(mark),
        count=len(side.rows[label]),
        patients=side.patients(label),
        images=[encode_png(image, mark) for image in side.store.images(rows)],
        names=[names[row] for row in rows],
    )


FILTERS: Mapping[str, Callable[..., str]] = {
    "format_distance": format_distance,
    "format_interval": format_interval,
    "format_result": format_result,
    "format_score": format_score,
}
"""Template filters of reports and comparisons."""


def axis_ticks(largest: float) -> list[float]:
    """Return four to six round ticks from 0 to the first one at or above `largest`."""
    if largest <= 0:
        return [0.0, 1.0]
    target = largest / 5
    power = 10.0 ** math.floor(math.log10(target))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= target)
    return [i * step for i in range(math.ceil(largest / step - 1e-9) + 1)]

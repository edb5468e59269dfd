"""The page: one HTML file that needs neither a network nor a script, for a screen, a phone or paper."""

import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from histosynth.report.comparison import PAIRS, Figures
from histosynth.report.figures import shown_px
from histosynth.report.sides import SIDE_TITLES
from histosynth.report.words import Caution, number


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Some patches of one side and label, as PNG, with what each is called."""

    side: str
    synthetic: bool
    count: int
    patients: int
    images: Sequence[bytes]
    names: Sequence[str]


def render(
    *,
    title: str,
    verdict: Sequence[str],
    cautions: Sequence[Caution],
    figures: Figures,
    panels: Mapping[str, Sequence[Panel]],
    extractor_title: str,
    neighbors: int,
    patch_px: int,
    provenance: Mapping[str, Mapping[str, Any]],
) -> str:
    """The whole page as text."""
    environment = Environment(
        loader=PackageLoader("histosynth.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )  # fmt: skip
    environment.filters["distance"] = number
    environment.filters["data_uri"] = lambda png: f"data:image/png;base64,{b64encode(png).decode()}"
    rows = {"Overall": figures.overall, **(figures.labels if len(figures.labels) > 1 else {})}
    known = [c.frechet_distance for row in rows.values() for c in row.values() if c.frechet_distance is not None]
    cells = [v for m in figures.matrices.values() for row in m.frechet_distance for v in row if v is not None]
    return environment.get_template("report.html.j2").render(
        title=title,
        verdict=verdict,
        cautions=cautions,
        figures=figures,
        rows=rows,
        reference="held_out" if any(row["fake_vs_held_out"].n for row in rows.values()) else "train",
        ticks=axis_ticks(max(known)),
        heat=(min(cells), max(cells)) if cells else (0.0, 1.0),
        panels=panels,
        extractor=extractor_title,
        neighbors=neighbors,
        shown_px=min(shown_px(patch_px), 160),
        pairs=PAIRS,
        sides=SIDE_TITLES,
        provenance=provenance,
    )


def axis_ticks(largest: float) -> list[float]:
    """Four to six round ticks from 0 to the first at or above `largest`."""
    if largest <= 0:
        return [0.0, 1.0]
    rough = largest / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough)
    return [i * step for i in range(math.ceil(largest / step - 1e-9) + 1)]

"""From a study, or a CSV of readings, to `OUT/study_report.html` (for people, one file) and `OUT/study_report.json`."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from histosynth import __version__
from histosynth.pages import data_uri, environment
from histosynth.rundir import exclusive_lock, write_json, write_text
from histosynth.store.png import encode_png, synthetic_mark
from histosynth.study.analysis.analysis import analysis
from histosynth.study.analysis.readings import load_pictures
from histosynth.study.analysis.schema import PatchFacts, StudyReport, as_json
from histosynth.study.analysis.table import Table
from histosynth.study.analysis.unblind import unblind
from histosynth.study.analysis.wording import comparison_sentence, p_value, signed
from histosynth.study.report.charts import charts

PAGE = "study_report.html"
FACTS = "study_report.json"
_MAX_PICTURE_PX = 512


def analyze(
    place: Path,
    *,
    out: Path,
    interim: bool = False,
    margin: float | None = None,
    alpha: float | None = None,
    seed: int = 0,
    database: str | None = None,
    progress: bool = True,
) -> StudyReport:
    """Analyze a study and write its report to the directory `out`, over an older report there.

    Args:
        place: the directory of a study, or a CSV of readings.
        out: where the page and the record go; made if absent.
        interim: analyze although readers are still reading, which unblinds the study.
        margin: for a CSV: the equivalence margin that was declared.
        alpha: likewise.
        seed: of all that is resampled.
        database: the URL of the study's database, if it is not the file in its directory.
        progress: show a bar on standard error.

    Raises:
        HistosynthError: no study, no readings, not finished, no margin.
    """
    found = unblind(place, interim=interim, database=database)
    provenance = _provenance(place, seed=seed, found=repr(found.readings))
    report = analysis(found, margin=margin, alpha=alpha, seed=seed, provenance=provenance, progress=progress)
    shown = {patch.case for patch in _patches(report)}
    pictures = {} if place.is_file() else load_pictures(place, shown, database=database)
    page = render(report, table=Table.of(found.readings), pictures=pictures)
    with exclusive_lock(out):
        write_json(out / FACTS, as_json(report))
        write_text(out / PAGE, page)
    return report


def render(report: StudyReport, *, table: Table, pictures: Mapping[str, bytes]) -> str:
    """The page as text.

    Args:
        report: what `analysis` found.
        table: the readings behind it, for the charts.
        pictures: PNG by case; cases without one are named only.
    """
    marks = {patch.case: _mark(patch) for patch in _patches(report)}
    filters: dict[str, Callable[..., str]] = {
        "p": p_value,
        "signed": signed,
        "percent": lambda value: "–" if value is None else f"{100 * value:.1f}",
        "span": lambda low_high: "{:.1f} to {:.1f}".format(*(100 * v for v in low_high)),
    }
    return (
        environment(filters)
        .get_template("study/report/templates/report.html.j2")
        .render(
            r=report,
            compared=lambda comparison: comparison_sentence(comparison, alpha=report.alpha),
            charts={name: Markup(svg) for name, svg in charts(report, table).items()},  # ours; its texts are escaped
            pictures={case: _data_uri(png, texts=marks[case]) for case, png in pictures.items()},
        )
    )


def _patches(report: StudyReport) -> list[PatchFacts]:
    found = report.patches
    return [*found.most_convincing, *found.least_convincing, *found.mistaken]


def _mark(patch: PatchFacts) -> dict[str, str]:
    return synthetic_mark(patch.source) if patch.truth == "synthetic" else {}


def _data_uri(png: bytes, *, texts: Mapping[str, str]) -> str:
    with Image.open(BytesIO(png)) as image:
        image.thumbnail((_MAX_PICTURE_PX, _MAX_PICTURE_PX))
        return data_uri(encode_png(np.asarray(image.convert("RGB")), texts))


def _provenance(place: Path, *, seed: int, found: str) -> dict[str, Any]:
    return {
        "histosynth": __version__,
        "analyzed_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "readings": place.name,
        "readings_sha256": sha256(found.encode()).hexdigest(),
        "seed": seed,
    }

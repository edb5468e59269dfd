"""Build `study_report.html` (one self-contained file) and `study_report.json` from a study or a CSV of readings."""

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
from histosynth.study.analysis.declared import declaration
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
    source: Path,
    *,
    out: Path,
    interim: bool = False,
    margin: float | None = None,
    area_margin: float | None = None,
    alpha: float | None = None,
    seed: int = 0,
    database: str | None = None,
    progress: bool = True,
) -> StudyReport:
    """Analyze a study and write its report to the directory `out`, replacing an existing report.

    Args:
        source: the directory of a study, or a CSV of readings.
        out: the directory of the report; created if it does not exist.
        interim: analyze while readers are still reading, which unblinds the study.
        margin: for a CSV: the equivalence margin of the accuracy that was declared.
        area_margin: for a CSV: that of the area under the ROC curve.
        alpha: for a CSV: the alpha that was declared.
        seed: for all resampling.
        database: the URL of the study's database, if it is not the file in its directory.
        progress: show a progress bar on standard error.

    Raises:
        HistosynthError: `source` is not a study, has no readings, is not finished, or has no margins.
    """
    readings = unblind(source, interim=interim, database=database)
    provenance = _provenance(source, seed=seed, readings=repr(readings.readings))
    declared = declaration(readings.declared, margin=margin, area_margin=area_margin, alpha=alpha)
    report = analysis(readings, declared=declared, seed=seed, provenance=provenance, progress=progress)
    cases = {patch.case for patch in _patches(report)}
    pictures = {} if source.is_file() else load_pictures(source, cases, database=database)
    page = render(report, table=Table.of(readings.readings), pictures=pictures)
    with exclusive_lock(out):
        write_json(out / FACTS, as_json(report))
        write_text(out / PAGE, page)
    return report


def render(report: StudyReport, *, table: Table, pictures: Mapping[str, bytes]) -> str:
    """Render the report as HTML.

    Args:
        report: the results of `analysis`.
        table: the readings, for the charts.
        pictures: PNG by case; cases without a picture are only named.
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
            compare=lambda comparison: comparison_sentence(comparison, alpha=report.declared.alpha),
            charts={
                name: Markup(svg) for name, svg in charts(report, table).items()
            },  # our own SVG; its texts are escaped
            pictures={case: _data_uri(png, texts=marks[case]) for case, png in pictures.items()},
        )
    )


def _patches(report: StudyReport) -> list[PatchFacts]:
    patches = report.patches
    return [*patches.most_convincing, *patches.least_convincing, *patches.mistaken]


def _mark(patch: PatchFacts) -> dict[str, str]:
    return synthetic_mark(patch.source) if patch.truth == "synthetic" else {}


def _data_uri(png: bytes, *, texts: Mapping[str, str]) -> str:
    with Image.open(BytesIO(png)) as image:
        image.thumbnail((_MAX_PICTURE_PX, _MAX_PICTURE_PX))
        return data_uri(encode_png(np.asarray(image.convert("RGB")), texts))


def _provenance(source: Path, *, seed: int, readings: str) -> dict[str, Any]:
    return {
        "histosynth": __version__,
        "analyzed_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "readings": source.name,
        "readings_sha256": sha256(readings.encode()).hexdigest(),
        "seed": seed,
    }

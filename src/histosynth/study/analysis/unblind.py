"""Unblinding: joining answers with their truth, once all readers have finished, or earlier on explicit request.

Unblinding before the end is rejected unless `interim` is set. The audit log of the study records each unblinding, so
that anyone can check whether an interim look took place.
"""

from pathlib import Path

from histosynth.errors import HistosynthError
from histosynth.study.analysis.readings import Readings, load_readings
from histosynth.study.analysis.readings_csv import read_csv


def unblind(source: Path, *, interim: bool, database: str | None = None) -> Readings:
    """Return the readings of a study, or of a CSV, with their truth.

    Args:
        source: the directory of a study, or a CSV of readings.
        interim: allow it while readers are still reading.
        database: the URL of the study's database, if it is not the file in its directory.

    Raises:
        HistosynthError: `source` is neither, has no readings, or is not finished.
    """
    if source.is_file():
        readings = read_csv(source)
    elif source.exists() or database is not None:
        readings = load_readings(source, database=database)
    else:
        raise HistosynthError(f"{source} does not exist; pass the directory of a study, or a CSV of readings")
    if not readings.readings:
        raise HistosynthError(f"{source} contains no readings yet; there is nothing to analyze")
    missing = ", ".join(f"{name}: {number}" for name, number in readings.missing.items())
    if missing and not interim:
        raise HistosynthError(
            f"the study is not finished: readings are missing ({missing}); wait, revoke the links of readers who "
            "will not continue, or add --interim, which unblinds the study"
        )
    if not source.is_file():
        _log(source, detail=f"interim, missing {missing}" if missing else "finished", database=database)
    return readings


def _log(study: Path, *, detail: str, database: str | None) -> None:
    from histosynth.study.records.answers import ORGANIZER, Answers
    from histosynth.study.records.database import open_study

    with open_study(study, database=database) as study_db:
        Answers(study_db).audit(ORGANIZER, "unblinded", detail=detail)

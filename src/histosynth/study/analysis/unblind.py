"""The moment at which truth and answers come together: once readers have finished, or with open eyes before.

A look before the end is refused unless it is asked for by name. Each time that a study's readings are taken out stands
in its audit log, so that nobody has to take a look on trust, or its absence.
"""

from pathlib import Path

from histosynth.errors import HistosynthError
from histosynth.study.analysis.readings import Readings, load_readings
from histosynth.study.analysis.readings_csv import read_csv


def unblind(place: Path, *, interim: bool, database: str | None = None) -> Readings:
    """The readings of a study, or of a CSV.

    Args:
        place: the directory of a study, or a CSV of readings.
        interim: although readers are still reading.
        database: the URL of the study's database, if it is not the file in its directory.

    Raises:
        HistosynthError: it is neither, has no readings, or is not finished.
    """
    if place.is_file():
        found = read_csv(place)
    elif place.exists() or database is not None:
        found = load_readings(place, database=database)
    else:
        raise HistosynthError(f"{place} is not there; give the directory of a study, or a CSV of readings")
    if not found.readings:
        raise HistosynthError(f"{place} holds no readings yet; there is nothing to analyze")
    lack = ", ".join(f"{name}: {number}" for name, number in found.missing.items())
    if lack and not interim:
        raise HistosynthError(
            f"the study is not finished: readings are missing ({lack}); wait, revoke the links of those who will not "
            "read on, or add --interim, which unblinds the study"
        )
    if not place.is_file():
        _log(place, detail=f"interim, missing {lack}" if lack else "finished", database=database)
    return found


def _log(study: Path, *, detail: str, database: str | None) -> None:
    from histosynth.study.records.answers import ORGANIZER, Answers
    from histosynth.study.records.database import open_study

    opened = open_study(study, database=database)
    try:
        Answers(opened).audit(ORGANIZER, "readings taken out with their truth", detail=detail)
    finally:
        opened.close()

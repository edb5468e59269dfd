"""Readings as a CSV and back.

A CSV needs the columns `reader, case, truth, said, confidence`, so that a study run elsewhere can be analyzed too; the
others are filled where they are absent (`position` by the order of rows). Texts that a spreadsheet would take for a
formula get an apostrophe in front, as spreadsheets themselves have it, and lose it when read.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from histosynth.errors import HistosynthError, did_you_mean
from histosynth.rundir import write_text
from histosynth.study.analysis.readings import COLUMNS, Reading, Readings

REQUIRED = ("reader", "case", "truth", "said", "confidence")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
_READING = TypeAdapter(Reading)


def write_csv(path: Path, readings: Sequence[Reading]) -> None:
    """All columns, whole or not at all."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in asdict(reading).items()} for reading in readings)
    write_text(path, text.getvalue())


def read_csv(path: Path) -> Readings:
    """The readings of a CSV; its title is the file's name.

    Raises:
        HistosynthError: a column is missing, a value is none, or readings contradict each other; with its line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            header = reader.fieldnames or []
            if missing := [name for name in REQUIRED if name not in header]:
                raise HistosynthError(
                    f"{path} lacks the column '{missing[0]}'{did_you_mean(missing[0], header)}; "
                    f"a CSV of readings has {', '.join(REQUIRED)}, and may have more (see the how-to)"
                )
            lines = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise HistosynthError(f"{path} is no CSV of readings ({error}); give one in UTF-8, or a study") from None
    readings: list[Reading] = []
    seen: dict[tuple[str, str, bool], int] = {}
    cases: dict[str, tuple[str, str, str | None]] = {}
    for order, (line, row) in enumerate(lines):
        reading = _of_line(row, order=order, where=f"{path}, line {line}")
        key, facts = (reading.reader, reading.case, reading.is_repeat), (reading.truth, reading.source, reading.label)
        if key in seen:
            again = "; mark second showings in the column is_repeat" if not reading.is_repeat else ""
            raise HistosynthError(
                f"{path}, line {line}: {reading.reader} read {reading.case} in line {seen[key]} already{again}"
            )
        if cases.setdefault(reading.case, facts) != facts:
            raise HistosynthError(f"{path}, line {line}: case {reading.case} was {cases[reading.case]} above; mend one")
        seen[key] = line
        readings.append(reading)
    return Readings(title=path.stem, margin=None, alpha=None, readings=readings)


def _of_line(row: Mapping[str | None, str | None], *, order: int, where: str) -> Reading:
    given = {key: _text(value) for key, value in row.items() if key in COLUMNS and value}
    absent: dict[str, object] = {
        "label": None,
        "source": given.get("truth"),
        "is_repeat": False,
        "position": order,
        "seconds": None,
        "answered_at": "",
        "comment": "",
        "patch_id": given.get("case"),
        "patient_id": None,
    }
    try:
        reading = _READING.validate_python(absent | given)
    except ValidationError as error:
        first = error.errors()[0]
        column = first["loc"][0]
        said = "is missing" if first["type"] == "missing" else f"'{first['input']}': {first['msg']}"
        raise HistosynthError(f"{where}: {column} {said}") from None
    if (reading.source == "real") != (reading.truth == "real"):
        raise HistosynthError(f"{where}: truth is '{reading.truth}', but source is '{reading.source}'; mend one")
    return reading


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _text(value: str) -> str:
    return value[1:] if value.startswith("'") else value

"""Write readings to a CSV, and read them back.

A CSV needs the columns `reader, case, truth, said, confidence`, so that a study run elsewhere can be analyzed too.
Other columns are filled if they are absent (`position` by the order of rows). No text is a formula (`histosynth.text`).
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from histosynth.errors import HistosynthError, did_you_mean
from histosynth.rundir import write_text
from histosynth.study.analysis.readings import COLUMNS, Reading, Readings
from histosynth.text import csv_line, unescape_formula

REQUIRED = ("reader", "case", "truth", "said", "confidence")
_READING = TypeAdapter(Reading)


def write_csv(path: Path, readings: Sequence[Reading]) -> None:
    """Write all columns, atomically."""
    rows = [COLUMNS, *([asdict(reading)[name] for name in COLUMNS] for reading in readings)]
    write_text(path, "".join(map(csv_line, rows)))


def read_csv(path: Path) -> Readings:
    """Read a CSV; the title is the file's name.

    Raises:
        HistosynthError: a column is missing, a value is invalid, or readings contradict each other; names the line.
    """
    # Parse the file.
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            header = reader.fieldnames or []
            if missing := [name for name in REQUIRED if name not in header]:
                raise HistosynthError(
                    f"{path} lacks the column '{missing[0]}'{did_you_mean(missing[0], header)}; "
                    f"a CSV of readings needs {', '.join(REQUIRED)} (see docs/how-to/reader-study-analysis.md)"
                )
            lines = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise HistosynthError(
            f"{path} is not a CSV of readings ({error}); pass a CSV in UTF-8, or the directory of a study"
        ) from None
    # Check each line against the previous ones.
    readings: list[Reading] = []
    seen: dict[tuple[str, str, bool], int] = {}
    cases: dict[str, tuple[str, str, str | None]] = {}
    for order, (line, row) in enumerate(lines):
        reading = _of_line(row, order=order, where=f"{path}, line {line}")
        key, facts = (reading.reader, reading.case, reading.is_repeat), (reading.truth, reading.source, reading.label)
        if key in seen:
            hint = "; mark repeats in the column is_repeat" if not reading.is_repeat else ""
            raise HistosynthError(
                f"{path}, line {line}: {_brief(reading.reader)} already read {_brief(reading.case)} in line "
                f"{seen[key]}{hint}"
            )
        if cases.setdefault(reading.case, facts) != facts:
            raise HistosynthError(
                f"{path}, line {line}: case {_brief(reading.case)} was {_brief(str(cases[reading.case]))} in an "
                "earlier line; correct one of them"
            )
        seen[key] = line
        readings.append(reading)
    return Readings(title=path.stem, declared=None, readings=readings)


def _of_line(row: Mapping[str | None, str | None], *, order: int, where: str) -> Reading:
    values = {key: unescape_formula(value) for key, value in row.items() if key in COLUMNS and value}
    defaults: dict[str, object] = {
        "label": None,
        "source": values.get("truth"),
        "is_repeat": False,
        "position": order,
        "seconds": None,
        "answered_at": "",
        "comment": "",
        "patch_id": values.get("case"),
        "patient_id": None,
    }
    try:
        reading = _READING.validate_python(defaults | values)
    except ValidationError as error:
        first = error.errors()[0]
        column = first["loc"][0]
        problem = "is missing" if first["type"] == "missing" else f"'{_brief(first['input'])}': {first['msg']}"
        raise HistosynthError(f"{where}: {column} {problem}") from None
    if (reading.source == "real") != (reading.truth == "real"):
        raise HistosynthError(
            f"{where}: truth is '{reading.truth}', but source is '{_brief(reading.source)}'; correct one of them"
        )
    return reading


def _brief(text: str) -> str:
    """Return text for a message of one line: without line breaks and control characters, at most 60 characters."""
    return "".join(character if character.isprintable() else " " for character in text[:60])

"""The readings of a study, in one plain table: from its database, from a CSV, and back to one.

A CSV needs the columns `reader, case, truth, said, confidence`, so that a study run elsewhere can be analyzed too; the
others are filled where they are absent (`position` by the order of rows). Texts that a spreadsheet would take for a
formula get an apostrophe in front, as spreadsheets themselves have it, and lose it when read.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from histosynth.errors import HistosynthError, nearest
from histosynth.rundir import write_text
from histosynth.study.exchange import Truth

REQUIRED = ("reader", "case", "truth", "said", "confidence")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One answer of one reader to one case. Practice is left out."""

    reader: str
    case: str
    label: str | None
    truth: Truth
    source: str
    """`real`, or the generator."""
    is_repeat: bool
    """Whether this reader had read the case before."""
    position: Annotated[int, Field(ge=0)]
    said: Truth
    confidence: Annotated[int, Field(ge=1, le=5)]
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
    """From shown to answered; None where not known."""
    answered_at: str
    comment: str
    patch_id: str
    patient_id: str | None

    @property
    def correct(self) -> bool:
        """Whether what was said is true."""
        return self.said == self.truth

    @property
    def score(self) -> int:
        """Signed confidence: above 0 where synthetic was said."""
        return self.confidence if self.said == "synthetic" else -self.confidence


COLUMNS = tuple(column.name for column in fields(Reading))
_READING = TypeAdapter(Reading)


@dataclass(frozen=True, kw_only=True)
class Readings:
    """All readings of a study, and what was declared when it was created."""

    title: str
    margin: float | None
    """Equivalence margin; None of a CSV, which declares none."""
    alpha: float | None
    readings: Sequence[Reading]
    planned: Mapping[str, int] = field(default_factory=dict)
    """How many readings each reader is to give, repeats included; empty of a CSV."""
    left: Mapping[str, int] = field(default_factory=dict)
    """Readers who are not to read on, for their link was revoked, with how many of their readings are missing."""

    @property
    def missing(self) -> dict[str, int]:
        """Readers who are to read on, with how many readings they still have to give."""
        given = Counter(reading.reader for reading in self.readings)
        lacks = {name: planned - given[name] for name, planned in self.planned.items()}
        return {name: lack for name, lack in lacks.items() if lack and name not in self.left}


def read(place: Path, *, database: str | None = None) -> Readings:
    """From the directory of a study, or from a CSV.

    Raises:
        HistosynthError: it is neither, or has no readings.
    """
    found = read_csv(place) if place.is_file() else load_readings(place, database=database)
    if not found.readings:
        raise HistosynthError(f"{place} holds no readings yet; there is nothing to analyze")
    return found


def require_finished(found: Readings, *, interim: bool) -> None:
    """Raise where readers are still reading, unless that is what is wanted.

    Raises:
        HistosynthError: who still has how much to read.
    """
    if found.missing and not interim:
        who = ", ".join(f"{name}: {lack}" for name, lack in found.missing.items())
        raise HistosynthError(
            f"the study is not finished: readings are missing ({who}); wait, revoke the links of those who will not "
            "read on, or add --interim, which unblinds the study"
        )


def load_readings(study: Path, *, database: str | None = None) -> Readings:
    """The readings in a study's database, in order of reader and position.

    Raises:
        HistosynthError: there is no study.
    """
    from histosynth.study import require

    require("sqlalchemy")
    from sqlalchemy import func, select

    from histosynth.study import database as db

    opened = db.open_study(study, database=database)
    try:
        with opened.looking() as session:
            facts = session.get_one(db.Study, 1)
            rows = session.execute(
                select(db.Reader.name, db.Case, db.Presentation, db.Reading)
                .join(db.Presentation, db.Presentation.reader_id == db.Reader.reader_id)
                .join(db.Case, db.Case.case_id == db.Presentation.case_id)
                .join(db.Reading, db.Reading.presentation_id == db.Presentation.presentation_id)
                .where(db.Presentation.part == "main")
                .order_by(db.Reader.reader_id, db.Presentation.position)
            ).all()
            planned = session.execute(
                select(db.Reader.name, db.Reader.revoked_at, func.count(), func.count(db.Reading.presentation_id))
                .join(db.Presentation, db.Presentation.reader_id == db.Reader.reader_id)
                .outerjoin(db.Reading, db.Reading.presentation_id == db.Presentation.presentation_id)
                .where(db.Presentation.part == "main")
                .group_by(db.Reader.reader_id)
                .order_by(db.Reader.reader_id)
            ).all()
            return Readings(
                title=facts.title,
                margin=facts.margin,
                alpha=facts.alpha,
                readings=[
                    Reading(
                        reader=name,
                        case=case.case_id,
                        label=case.label,
                        truth=_truth(case.truth),
                        source=case.source,
                        is_repeat=shown.is_repeat,
                        position=shown.position,
                        said=_truth(given.said),
                        confidence=given.confidence,
                        seconds=given.seconds,
                        answered_at=given.answered_at,
                        comment=given.comment,
                        patch_id=case.patch_id,
                        patient_id=case.patient_id,
                    )
                    for name, case, shown, given in rows
                ],
                planned={name: total for name, _, total, _ in planned},
                left={name: total - given for name, revoked, total, given in planned if revoked and given < total},
            )
    finally:
        opened.close()


def load_pictures(study: Path, cases: Iterable[str], *, database: str | None = None) -> dict[str, bytes]:
    """The PNG of these cases, as readers saw them."""
    from sqlalchemy import select

    from histosynth.study.database import Picture, open_study

    opened = open_study(study, database=database)
    try:
        with opened.looking() as session:
            wanted = select(Picture.case_id, Picture.png).where(Picture.case_id.in_(list(cases)))
            return {row.case_id: row.png for row in session.execute(wanted)}
    finally:
        opened.close()


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
                    f"{path} lacks the column '{missing[0]}'{nearest(missing[0], header)}; "
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


def _truth(text: str) -> Truth:
    return "real" if text == "real" else "synthetic"


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _text(value: str) -> str:
    return value[1:] if value.startswith("'") else value

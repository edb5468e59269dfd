"""The readings of a study as plain records, and loading them from its database."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from histosynth.errors import HistosynthError
from histosynth.metrics.uncertainty import Interval
from histosynth.study.analysis.declared import Declared
from histosynth.study.records.exchange import Truth


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One reader's answer to one case. Practice is not included."""

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
    """From shown to answered; None if unknown."""
    answered_at: str
    comment: str
    patch_id: str
    patient_id: str | None

    @property
    def correct(self) -> bool:
        """Whether the answer is the truth."""
        return self.said == self.truth

    @property
    def score(self) -> int:
        """Signed confidence: positive if the reader said synthetic."""
        return self.confidence if self.said == "synthetic" else -self.confidence


COLUMNS = tuple(column.name for column in fields(Reading))


@dataclass(frozen=True, kw_only=True)
class Readings:
    """All readings of a study, with what was declared when it was created."""

    title: str
    declared: Declared | None
    """None for a CSV, which does not contain it."""
    readings: Sequence[Reading]
    planned: Mapping[str, int] = field(default_factory=dict)
    """Planned readings by reader, repeats included; empty for a CSV."""
    withdrawn: Mapping[str, int] = field(default_factory=dict)
    """Missing readings by reader, of readers who do not continue because their link was revoked."""
    pixel_auc: Interval | None = None
    """How well a program distinguished the pictures by their pixels at creation; None if not measured."""

    @property
    def missing(self) -> dict[str, int]:
        """Missing readings by reader, of readers who are still reading."""
        given = Counter(reading.reader for reading in self.readings)
        missing = {name: planned - given[name] for name, planned in self.planned.items()}
        return {name: number for name, number in missing.items() if number and name not in self.withdrawn}


_READINGS = TypeAdapter(Readings)


def load_readings(study: Path, *, database: str | None = None) -> Readings:
    """Load the readings from a study's database, ordered by reader and position.

    Raises:
        HistosynthError: there is no study, or its database is damaged.
    """
    from histosynth.study import require

    require("sqlalchemy")
    from sqlalchemy import func, select

    from histosynth.study.records import tables
    from histosynth.study.records.database import open_study

    with open_study(study, database=database) as study_db, study_db.read_session() as session:
        columns = (
            tables.Study.title, tables.Study.margin, tables.Study.area_margin, tables.Study.alpha,
            tables.Study.settings,
        )  # fmt: skip
        facts = session.execute(select(*columns).where(tables.Study.id == 1)).one()
        title, margin, area_margin, alpha, settings = facts
        # Readings with their readers, cases and presentations.
        rows = session.execute(
            select(tables.Reader.name, tables.Case, tables.Presentation, tables.Reading)
            .join(tables.Presentation, tables.Presentation.reader_id == tables.Reader.reader_id)
            .join(tables.Case, tables.Case.case_id == tables.Presentation.case_id)
            .join(tables.Reading, tables.Reading.presentation_id == tables.Presentation.presentation_id)
            .where(tables.Presentation.part == "main")
            .order_by(tables.Reader.reader_id, tables.Presentation.position)
        ).all()
        # Planned and given readings per reader.
        planned = session.execute(
            select(
                tables.Reader.name, tables.Reader.revoked_at, func.count(), func.count(tables.Reading.presentation_id)
            )
            .join(tables.Presentation, tables.Presentation.reader_id == tables.Reader.reader_id)
            .outerjoin(tables.Reading, tables.Reading.presentation_id == tables.Presentation.presentation_id)
            .where(tables.Presentation.part == "main")
            .group_by(tables.Reader.reader_id)
            .order_by(tables.Reader.reader_id)
        ).all()
        try:
            return _READINGS.validate_python(
                {
                    "title": title,
                    "declared": {"margin": margin, "area_margin": area_margin, "alpha": alpha},
                    "readings": [
                        {
                            "reader": name,
                            "case": case.case_id,
                            "label": case.label,
                            "truth": case.truth,
                            "source": case.source,
                            "is_repeat": presentation.is_repeat,
                            "position": presentation.position,
                            "said": reading.said,
                            "confidence": reading.confidence,
                            "seconds": reading.seconds,
                            "answered_at": reading.answered_at,
                            "comment": reading.comment,
                            "patch_id": case.patch_id,
                            "patient_id": case.patient_id,
                        }
                        for name, case, presentation, reading in rows
                    ],
                    "pixel_auc": settings.get("pixel_auc"),
                    "planned": {name: total for name, _, total, _ in planned},
                    "withdrawn": {
                        name: total - given for name, revoked, total, given in planned if revoked and given < total
                    },
                }
            )
        except ValidationError as error:
            first = error.errors()[0]
            place = ", ".join(map(str, first["loc"]))
            raise HistosynthError(
                f"the database {study_db.display_url} is damaged: {place}, {first['input']!r:.60}: {first['msg']}; "
                "restore a backup"
            ) from None


def load_pictures(study: Path, cases: Iterable[str], *, database: str | None = None) -> dict[str, bytes]:
    """Load the PNGs of these cases, as readers saw them."""
    from sqlalchemy import select

    from histosynth.study.records.database import open_study
    from histosynth.study.records.tables import Picture

    with open_study(study, database=database) as study_db, study_db.read_session() as session:
        query = select(Picture.case_id, Picture.png).where(Picture.case_id.in_(list(cases)))
        return {row.case_id: row.png for row in session.execute(query)}

"""The readings of a study, in one plain table, and where they come from: its database, or a CSV."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated

from pydantic import Field

from histosynth.study.records.exchange import Truth


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


def load_readings(study: Path, *, database: str | None = None) -> Readings:
    """The readings in a study's database, in order of reader and position.

    Raises:
        HistosynthError: there is no study.
    """
    from histosynth.study import require

    require("sqlalchemy")
    from sqlalchemy import func, select

    from histosynth.study.records import database as db

    opened = db.open_study(study, database=database)
    try:
        with opened.read_session() as session:
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

    from histosynth.study.records.database import Picture, open_study

    opened = open_study(study, database=database)
    try:
        with opened.read_session() as session:
            wanted = select(Picture.case_id, Picture.png).where(Picture.case_id.in_(list(cases)))
            return {row.case_id: row.png for row in session.execute(wanted)}
    finally:
        opened.close()


def _truth(text: str) -> Truth:
    return "real" if text == "real" else "synthetic"

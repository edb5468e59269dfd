"""The tables of a study: cases with their pictures, readers, presentations, readings, and an audit log.

All times are UTC, in ISO 8601 with milliseconds: they have equal length, so they sort as text.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Dialect, ForeignKey, Text, TypeDecorator, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from histosynth.errors import HistosynthError

SCHEMA_VERSION = 1
"""Version of these tables. A database of another version is refused."""


def now(*, days: float = 0) -> str:
    """Return the current time plus `days`."""
    return (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="milliseconds")


class JsonObject(TypeDecorator[dict[str, Any]]):
    """A JSON object, checked when it is read."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: dict[str, Any] | None, dialect: Dialect) -> str:
        """Return the text that is stored."""
        return json.dumps(value, allow_nan=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> dict[str, Any]:
        """Return the object.

        Raises:
            HistosynthError: the text is no JSON object.
        """
        try:
            content = json.loads(value or "")
        except (ValueError, TypeError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise HistosynthError("the settings in the study's database are damaged; restore a backup")
        return content


class Base(DeclarativeBase):
    """The base class of all tables."""

    type_annotation_map = {dict[str, Any]: JsonObject}  # noqa: RUF012 - SQLAlchemy reads it from the class


class SchemaVersion(Base):
    """The version of the tables: one row."""

    __tablename__ = "schema_version"
    version: Mapped[int] = mapped_column(primary_key=True)


class Study(Base):
    """The study itself: one row, id 1."""

    __tablename__ = "study"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    created_at: Mapped[str]
    seed: Mapped[int]
    margin: Mapped[float]
    """Equivalence margin around 50 % accuracy, declared before anyone reads."""
    area_margin: Mapped[float]
    """Equivalence margin around an area under the ROC curve of 0.5."""
    alpha: Mapped[float]
    settings: Mapped[dict[str, Any]]
    organizer_hash: Mapped[str | None]
    """SHA-256 of the organizer's token; None until `study serve` has created one."""


class Case(Base):
    """A patch that readers judge. `case_id` is random: it reveals nothing about the patch."""

    __tablename__ = "case"
    case_id: Mapped[str] = mapped_column(primary_key=True)
    part: Mapped[str]
    """`main` or `practice`."""
    label: Mapped[str | None]
    truth: Mapped[str]
    """`real` or `synthetic`."""
    source: Mapped[str]
    """`real`, or the generator: the `source` of its samples."""
    patch_id: Mapped[str]
    patient_id: Mapped[str | None]


class Picture(Base):
    """The picture of a case, as readers see it."""

    __tablename__ = "picture"
    case_id: Mapped[str] = mapped_column(ForeignKey("case.case_id"), primary_key=True)
    png: Mapped[bytes]


class Reader(Base):
    """A person who reads. The token of the link is stored as its hash."""

    __tablename__ = "reader"
    reader_id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    expires_at: Mapped[str]
    revoked_at: Mapped[str | None]
    consented_at: Mapped[str | None]
    finished_at: Mapped[str | None]


class Presentation(Base):
    """A case shown to a reader. `presentation_id` is random, and different for each reader and each repeat."""

    __tablename__ = "presentation"
    __table_args__ = (UniqueConstraint("reader_id", "position"),)
    presentation_id: Mapped[str] = mapped_column(primary_key=True)
    reader_id: Mapped[int] = mapped_column(ForeignKey("reader.reader_id"))
    position: Mapped[int]
    """From 0; practice comes before main."""
    case_id: Mapped[str] = mapped_column(ForeignKey("case.case_id"))
    part: Mapped[str]
    is_repeat: Mapped[bool]
    """Whether this reader was shown the case before."""
    shown_at: Mapped[str | None]
    """Time at which the page first showed it, or showed it again after more than seven days."""


class Reading(Base):
    """A final answer. The primary key makes a second answer to the same presentation impossible."""

    __tablename__ = "reading"
    presentation_id: Mapped[str] = mapped_column(ForeignKey("presentation.presentation_id"), primary_key=True)
    said: Mapped[str]
    """`real` or `synthetic`."""
    confidence: Mapped[int]
    """1 (a guess) to 5 (certain)."""
    comment: Mapped[str]
    seconds: Mapped[float]
    """From shown to answered."""
    changes: Mapped[int]
    """Number of changes before the answer was final."""
    answered_at: Mapped[str]


class Visit(Base):
    """A browser that opened a link. The visit lasts as long as the link: a new or revoked link ends it."""

    __tablename__ = "visit"
    cookie_hash: Mapped[str] = mapped_column(primary_key=True)
    reader_id: Mapped[int | None] = mapped_column(ForeignKey("reader.reader_id"))
    """None for the organizer."""
    token_hash: Mapped[str]
    """Hash of the token of the link that was opened."""
    opened_at: Mapped[str]


class Audit(Base):
    """An event, rejections included."""

    __tablename__ = "audit"
    audit_id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[str]
    actor: Mapped[str]
    """`reader 3`, `organizer` or `anonymous`."""
    event: Mapped[str]
    detail: Mapped[str]
    address: Mapped[str]

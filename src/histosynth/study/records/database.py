"""The database of a study: cases with their pictures, readers, presentations, readings, and an audit log.

The default is SQLite (`STUDY/study.db`) in WAL mode, in which read transactions do not wait for write transactions.
`synchronous=FULL` puts each commit on disk before it returns, so an acknowledged answer survives `kill -9` and a power
failure. Write transactions begin with `BEGIN IMMEDIATE`: they wait for the lock instead of failing halfway. Those of
one process queue first, because SQLite itself waits by sleeping and polling. Any other SQLAlchemy URL works too. There,
rows are locked with `SELECT … FOR UPDATE`, which SQLite does not need and omits, and read transactions run at
REPEATABLE READ.

All times are UTC, in ISO 8601 with milliseconds: they have equal length, so they sort as text.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import JSON, Connection, ForeignKey, UniqueConstraint, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from histosynth.errors import HistosynthError

FILE = "study.db"
_BUSY_MS = 30_000  # how long a write transaction waits for the previous one
_WRITES = "histosynth_writes"


def now(*, days: float = 0) -> str:
    """Return the current time plus `days`."""
    return (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="milliseconds")


class Base(DeclarativeBase):
    """The base class of all tables."""

    type_annotation_map = {dict[str, Any]: JSON}  # noqa: RUF012 - SQLAlchemy reads it from the class


class Study(Base):
    """The study itself: one row, id 1."""

    __tablename__ = "study"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    created_at: Mapped[str]
    seed: Mapped[int]
    margin: Mapped[float]
    """Equivalence margin around 50 % accuracy, declared before anyone reads."""
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
    """Time at which the page first showed it."""


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


class Database:
    """A study's database, with sessions for reading and sessions for writing.

    Args:
        url: any SQLAlchemy URL.

    Raises:
        HistosynthError: the URL is invalid, or its driver is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            self.url = make_url(url)
            self._engine = create_engine(self.url, pool_pre_ping=self.url.get_backend_name() != "sqlite")
        except (ArgumentError, NoSuchModuleError) as error:
            raise HistosynthError(
                f"--database is not a database URL ({error}); see docs/how-to/reader-study.md"
            ) from None
        except ModuleNotFoundError as error:
            raise HistosynthError(
                f"the database {self.display_url} needs a driver ({error}); install it, or use another driver: "
                "postgresql+psycopg://… needs the package psycopg"
            ) from None
        self._queue: AbstractContextManager[object] = nullcontext()
        if self.url.get_backend_name() == "sqlite":
            self._queue = Lock()
            event.listen(self._engine, "connect", _set_up_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
            self._read_engine = self._engine
        else:
            self._read_engine = self._engine.execution_options(isolation_level="REPEATABLE READ")
        self._write_engine = self._engine.execution_options(**{_WRITES: True})

    @property
    def display_url(self) -> str:
        """The URL without its password."""
        return self.url.render_as_string(hide_password=True)

    @contextmanager
    def read_session(self) -> Iterator[Session]:
        """Open a session that only reads, with one consistent view."""
        with Session(self._read_engine) as session:
            yield session

    @contextmanager
    def write_session(self) -> Iterator[Session]:
        """Open a session that is committed, and on disk, when it ends without an exception; else it is rolled back."""
        with self._queue, Session(self._write_engine) as session, session.begin():
            yield session

    def create_tables(self) -> None:
        """Create the tables.

        Raises:
            HistosynthError: the database cannot be reached, or already contains a study.
        """
        with self._readable_errors():
            Base.metadata.create_all(self._write_engine)
        if self._has_study():
            raise HistosynthError(f"the database {self.display_url} already contains a study; use another database")

    def require_study(self) -> "Database":
        """Return itself.

        Raises:
            HistosynthError: it contains no study, or cannot be reached.
        """
        if not self._has_study():
            raise HistosynthError(
                f"the database {self.display_url} contains no study; create one with `histosynth study create`"
            )
        return self

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _has_study(self) -> bool:
        with self._readable_errors(), self.read_session() as session:
            return session.get(Study, 1) is not None

    @contextmanager
    def _readable_errors(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            raise HistosynthError(
                f"the database {self.display_url} cannot be reached, or is not that of a study: {cause}"
            ) from error


def sqlite_url(study: Path) -> str:
    """Return the URL of the SQLite file in a study's directory."""
    return f"sqlite:///{study / FILE}"


def open_study(study: Path, *, database: str | None = None) -> Database:
    """Open the database of a study: the file in its directory, or the one at `database`.

    Raises:
        HistosynthError: there is none.
    """
    if database is None and not (study / FILE).is_file():
        raise HistosynthError(
            f"{study} is not a study: it has no {FILE}; create one with `histosynth study create`, or pass --database"
        )
    return Database(database or sqlite_url(study)).require_study()


def _set_up_sqlite(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # otherwise the driver decides when a transaction begins
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={_BUSY_MS}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

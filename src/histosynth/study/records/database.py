"""The connections to the database of a study: sessions for reading, sessions for writing, and backups.

The default is SQLite (`STUDY/study.db`) in WAL mode, in which read transactions do not wait for write transactions.
`synchronous=FULL` puts each commit on disk before it returns, so an acknowledged answer survives `kill -9` and a power
failure. The newest answers are then in `study.db-wal`; `close` moves them to `study.db`. Write transactions begin with
`BEGIN IMMEDIATE`: they wait for the lock instead of failing halfway. Those of one process queue first, because SQLite
itself waits by sleeping and polling. Any other SQLAlchemy URL works too. There, rows are locked with `SELECT … FOR
UPDATE`, which SQLite does not need and omits, and read transactions run at REPEATABLE READ.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from pathlib import Path
from threading import Lock
from types import TracebackType

from sqlalchemy import URL, Connection, create_engine, event, func, inspect, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session

from histosynth.errors import HistosynthError
from histosynth.study.records.tables import SCHEMA_VERSION, Base, SchemaVersion, Study

FILE = "study.db"
FAILURES = (SQLAlchemyError, sqlite3.Error, UnicodeError)
"""What a database that cannot be reached, or is damaged, raises; its texts and messages may be no UTF-8."""
_BUSY_MS = 30_000  # how long a write transaction waits for the previous one
_WRITES = "histosynth_writes"


class Database:
    """A study's database, with sessions for reading and sessions for writing.

    As a context manager, it closes itself, and turns a failure of the database into a `HistosynthError`.

    Args:
        url: any SQLAlchemy URL.

    Raises:
        HistosynthError: the URL is invalid, or its driver is not installed.
    """

    def __init__(self, url: str | URL) -> None:
        try:
            self.url = make_url(url)
            self._engine = create_engine(self.url, pool_pre_ping=not self.is_sqlite)
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
        if self.is_sqlite:
            self._queue = Lock()
            event.listen(self._engine, "connect", _set_up_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
            self._read_engine = self._engine
        else:
            self._read_engine = self._engine.execution_options(isolation_level="REPEATABLE READ")
        self._write_engine = self._engine.execution_options(**{_WRITES: True})

    def __enter__(self) -> "Database":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if isinstance(error, FAILURES):
            raise self._readable(error) from error

    @property
    def is_sqlite(self) -> bool:
        """Whether this is a file of SQLite."""
        return self.url.get_backend_name() == "sqlite"

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
        try:
            if self._has_study():
                raise HistosynthError(f"the database {self.display_url} already contains a study; use another database")
            Base.metadata.create_all(self._write_engine)
            with self.write_session() as session:
                session.merge(SchemaVersion(version=SCHEMA_VERSION))
        except FAILURES as error:
            raise self._readable(error) from error

    def require_study(self) -> "Database":
        """Return itself.

        Raises:
            HistosynthError: it contains no study, or one of another version, or cannot be reached.
        """
        try:
            if not self._has_study():
                raise HistosynthError(
                    f"the database {self.display_url} contains no study; create one with `histosynth study create`"
                )
            self._require_version()
        except FAILURES as error:
            raise self._readable(error) from error
        return self

    def backup(self, path: Path) -> None:
        """Write a complete copy of the database to the file `path`, also while a server writes to the database.

        Raises:
            HistosynthError: the database is damaged, or the disk is full.
        """
        try:
            with closing(sqlite3.connect(path)) as copy, closing(self._engine.raw_connection()) as connection:
                assert isinstance(connection.dbapi_connection, sqlite3.Connection)
                connection.dbapi_connection.backup(copy)
        except FAILURES as error:
            raise HistosynthError(f"the database {self.display_url} cannot be copied to {path}: {error}") from error

    def close(self) -> None:
        """Move what is in the write-ahead log to the database's file, and close all connections."""
        if self.is_sqlite:
            # What cannot be moved (a full disk, a damaged file) stays in the log, which SQLite reads at the next start.
            with suppress(*FAILURES), closing(self._engine.raw_connection()) as connection:
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._engine.dispose()

    def _has_study(self) -> bool:
        if not inspect(self._engine).has_table(Study.__tablename__):
            return False
        with self.read_session() as session:
            return bool(session.scalar(select(func.count()).select_from(Study)))

    def _require_version(self) -> None:
        versions: list[int] = []
        if inspect(self._engine).has_table(SchemaVersion.__tablename__):
            with self.read_session() as session:
                versions = list(session.scalars(select(SchemaVersion.version)))
        if versions != [SCHEMA_VERSION]:
            theirs = ", ".join(map(str, versions)) or "none"
            raise HistosynthError(
                f"the study in {self.display_url} has tables of version {theirs:.40}, and this histosynth reads "
                f"version {SCHEMA_VERSION}; use the version of histosynth in the study's manifest.json"
            )

    def _readable(self, error: BaseException) -> HistosynthError:
        cause = error.orig if isinstance(error, DBAPIError) else error
        return HistosynthError(f"the database {self.display_url} cannot be reached, or is not that of a study: {cause}")


def sqlite_url(study: Path) -> URL:
    """Return the URL of the SQLite file in a study's directory, whatever characters its path contains."""
    return URL.create("sqlite", database=str(study / FILE))


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

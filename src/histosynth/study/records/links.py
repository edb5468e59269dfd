"""Create, revoke and extend the links of readers and of the organizer. Each is shown once; only its hash is stored."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from histosynth.errors import HistosynthError
from histosynth.study.records.answers import ORGANIZER, log
from histosynth.study.records.database import Database
from histosynth.study.records.tables import Reader, Study, now
from histosynth.study.records.tokens import hash_token, new_token


def reader_link(base_url: str, token: str) -> str:
    """Return the link that invites a reader."""
    return f"{base_url.rstrip('/')}/r/{token}"


def organizer_link(base_url: str, token: str) -> str:
    """Return the link to the progress of all readers."""
    return f"{base_url.rstrip('/')}/organizer/{token}"


def new_link(database: Database, reader: str, *, days: int) -> str:
    """Create a link for a reader, valid for `days`. The older link ends; all answers are kept.

    Raises:
        HistosynthError: there is no such reader.
    """
    with database.write_session() as session:
        row = _reader(session, reader)
        token = new_token()
        row.token_hash, row.revoked_at, row.expires_at = hash_token(token), None, now(days=days)
        log(session, ORGANIZER, "link created", detail=f"{row.name}, until {row.expires_at}")
        return reader_link(_base_url(session), token)


def revoke_link(database: Database, reader: str) -> None:
    """Revoke a reader's link at once; all answers are kept.

    Raises:
        HistosynthError: there is no such reader.
    """
    with database.write_session() as session:
        row = _reader(session, reader)
        row.revoked_at = row.revoked_at or now()
        log(session, ORGANIZER, "link revoked", detail=row.name)


def extend_link(database: Database, reader: str, *, days: int) -> str:
    """Let a reader's link expire `days` from now, and return that time.

    Raises:
        HistosynthError: there is no such reader, or the link is revoked.
    """
    with database.write_session() as session:
        row = _reader(session, reader)
        if row.revoked_at is not None:
            raise HistosynthError(f"the link of {row.name} is revoked; create a new one with `study links new`")
        row.expires_at = now(days=days)
        log(session, ORGANIZER, "link extended", detail=f"{row.name}, until {row.expires_at}")
        return row.expires_at


def create_organizer_link(database: Database, *, replace: bool = False) -> str | None:
    """Create the organizer's link; return None if it exists already and `replace` is false."""
    with database.write_session() as session:
        study = session.get_one(Study, 1, with_for_update=True)
        if study.organizer_hash is not None and not replace:
            return None
        token = new_token()
        study.organizer_hash = hash_token(token)
        log(session, ORGANIZER, "organizer link created")
        return organizer_link(_base_url(session), token)


def _reader(session: Session, name_or_number: str) -> Reader:
    """Return the reader with this name or number."""
    readers = session.scalars(select(Reader).order_by(Reader.reader_id).with_for_update()).all()
    for reader in readers:
        if name_or_number in (reader.name, str(reader.reader_id)):
            return reader
    names = ", ".join(reader.name for reader in readers[:5]) + (", …" if len(readers) > 5 else "")
    raise HistosynthError(f"no reader '{name_or_number}'; the readers are: {names}")


def _base_url(session: Session) -> str:
    url = session.get_one(Study, 1).settings.get("base_url")
    if not isinstance(url, str):
        raise HistosynthError("the settings in the study's database lack base_url; restore a backup")
    return url

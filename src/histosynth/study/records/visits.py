"""From a link to a cookie: a browser sends the token of a link once and is recognized by another secret afterwards.

The cookie holds 128 random bits and is stored as its hash, so that neither a stolen database nor a browser's history
gives access. A visit lasts as long as its link: it is over when the reader's token is renewed, revoked or expired.
"""

from sqlalchemy import delete, select

from histosynth.study.records.answers import ReaderState
from histosynth.study.records.database import Database
from histosynth.study.records.tables import Reader, Study, Visit, now
from histosynth.study.records.tokens import hash_token, new_token


class Visits:
    """The browsers that opened a link."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, reader: ReaderState | None, *, token: str) -> str:
        """Start a visit with a valid link and return its cookie; the reader is None for the organizer."""
        cookie = new_token()
        with self._database.write_session() as session:
            session.add(
                Visit(
                    cookie_hash=hash_token(cookie),
                    reader_id=reader and reader.reader_id,
                    token_hash=hash_token(token),
                    opened_at=now(),
                )
            )
        return cookie

    def reader(self, cookie: str) -> ReaderState | None:
        """Return the reader of a visit; None if there is no such visit, or its link is no longer valid."""
        with self._database.read_session() as session:
            reader = session.scalar(
                select(Reader)
                .join(Visit, (Visit.reader_id == Reader.reader_id) & (Visit.token_hash == Reader.token_hash))
                .where(Visit.cookie_hash == hash_token(cookie), Reader.revoked_at.is_(None), Reader.expires_at > now())
            )
            if reader is None:
                return None
            return ReaderState(
                reader_id=reader.reader_id,
                name=reader.name,
                consented=reader.consented_at is not None,
                finished=reader.finished_at is not None,
            )

    def is_organizer(self, cookie: str) -> bool:
        """Return whether this visit was started with the organizer's current link."""
        with self._database.read_session() as session:
            visit = session.scalar(
                select(Visit)
                .join(Study, Visit.token_hash == Study.organizer_hash)
                .where(Visit.cookie_hash == hash_token(cookie), Visit.reader_id.is_(None))
            )
            return visit is not None

    def end(self, cookie: str) -> None:
        """End a visit: this browser needs the link again."""
        with self._database.write_session() as session:
            session.execute(delete(Visit).where(Visit.cookie_hash == hash_token(cookie)))

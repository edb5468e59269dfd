"""From a link to a cookie: a browser tells an invitation's token once, and is known by another secret from then on.

The cookie holds 128 random bits, kept as their hash, so that neither a stolen database nor a browser's history opens a
reading. A visit holds as long as its link: where the reader's token was renewed or revoked, or has expired, it is over.
"""

from sqlalchemy import delete, select

from histosynth.study.records.answers import ReaderState
from histosynth.study.records.database import Database, Reader, Study, Visit, now
from histosynth.study.records.tokens import hash_token, new_token


class Visits:
    """The browsers that came by a link."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, reader: ReaderState | None, *, token: str) -> str:
        """The cookie of a new visit by a good link; None for the organizer."""
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
        """Whose visit this is; None where there is none, or its link holds no more."""
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
        """Whether this visit came by the organizer's present link."""
        with self._database.read_session() as session:
            found = session.scalar(
                select(Visit)
                .join(Study, Visit.token_hash == Study.organizer_hash)
                .where(Visit.cookie_hash == hash_token(cookie), Visit.reader_id.is_(None))
            )
            return found is not None

    def close(self, cookie: str) -> None:
        """Forget a visit: this browser needs the link again."""
        with self._database.write_session() as session:
            session.execute(delete(Visit).where(Visit.cookie_hash == hash_token(cookie)))

"""The rules of reading, without HTTP: what a reader may see and answer, and that no answer is lost or stored twice.

Each reader goes through the presentations in order of position, practice first. Only the first unanswered presentation
can be answered, and a stored answer is final. Sending the same answer to the same presentation again is not an error
(a lost connection, a double click, a second tab): the stored answer stands. The truth leaves this module only for
practice cases, and only after they are answered.

Every rejection is written to the audit log with its true reason. From outside, another reader's presentation and one
that does not exist look the same, and so do an unknown, a revoked and an expired link.
"""

from collections.abc import Mapping

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from histosynth.study.records.database import Database
from histosynth.study.records.exchange import (
    ANONYMOUS,
    MAX_COMMENT_LENGTH,
    ORGANIZER,
    Answer,
    NotAllowed,
    Progress,
    ReaderState,
    Step,
    Stored,
    StudyInfo,
    Truth,
)
from histosynth.study.records.tables import Audit, Case, Picture, Presentation, Reader, Reading, Study, now
from histosynth.study.records.tokens import hash_token, hashes_equal, is_id

__all__ = [
    "ANONYMOUS",
    "MAX_COMMENT_LENGTH",
    "ORGANIZER",
    "Answer",
    "Answers",
    "NotAllowed",
    "Progress",
    "ReaderState",
    "Step",
    "Stored",
    "StudyInfo",
    "Truth",
    "log",
]  # fmt: skip
_MAX_DETAIL_LENGTH = 500


class Answers:
    """The rules, applied to a database. Safe to use from several threads and processes at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def info(self) -> StudyInfo:
        """Return the study's title and settings."""
        with self._database.read_session() as session:
            study = session.get_one(Study, 1)
            return StudyInfo(title=study.title, created_at=study.created_at, settings=dict(study.settings))

    def reader_by_token(self, token: str, *, address: str) -> ReaderState | None:
        """Return the reader whose link has this token; None if it is unknown, revoked or expired."""
        digest = hash_token(token)
        with self._database.read_session() as session:
            reader = session.scalar(select(Reader).where(Reader.token_hash == digest))
            if reader is None or not hashes_equal(reader.token_hash, digest):
                actor, reason = ANONYMOUS, "unknown"
            elif reader.revoked_at is not None:
                actor, reason = f"reader {reader.reader_id}", "revoked"
            elif reader.expires_at <= now():
                actor, reason = f"reader {reader.reader_id}", "expired"
            else:
                return ReaderState(
                    reader_id=reader.reader_id,
                    name=reader.name,
                    consented=reader.consented_at is not None,
                    finished=reader.finished_at is not None,
                )
        self.audit(actor, "link rejected", detail=reason, address=address)
        return None

    def is_organizer(self, token: str, *, address: str) -> bool:
        """Return whether this is the organizer's token."""
        with self._database.read_session() as session:
            stored_hash = session.get_one(Study, 1).organizer_hash
        if stored_hash is not None and hashes_equal(stored_hash, hash_token(token)):
            return True
        self.audit(ANONYMOUS, "organizer link rejected", detail="unknown", address=address)
        return False

    def consent(self, reader: ReaderState, *, address: str) -> None:
        """Record the reader's consent; only the first time counts."""
        with self._database.write_session() as session:
            row = session.get_one(Reader, reader.reader_id, with_for_update=True)
            if row.consented_at is None:
                row.consented_at = now()
                log(session, reader.actor, "consented", address=address)

    def next_step(self, reader: ReaderState) -> Step | None:
        """Return the presentation to be answered now; None if all are answered."""
        with self._database.read_session() as session:
            return _next_step(session, reader.reader_id)

    def picture(self, reader: ReaderState, presentation_id: str, *, address: str) -> bytes:
        """Return the PNG of the current presentation, the next one, or an answered practice case.

        Raises:
            NotAllowed: it is another reader's, or none of these.
        """
        try:
            with self._database.read_session() as session:
                presentation = _own_presentation(session, reader, presentation_id)
                step = _next_step(session, reader.reader_id)
                allowed = {step.presentation_id, step.following} if step else set()
                answered = presentation.part == "practice" and session.get(Reading, presentation_id) is not None
                if presentation_id not in allowed and not answered:
                    raise NotAllowed("out-of-order")
                return session.get_one(Picture, presentation.case_id).png
        except NotAllowed as error:
            self._log_rejection(reader, "picture", presentation_id, error, address)
            raise

    def feedback(self, reader: ReaderState, presentation_id: str, *, address: str) -> Truth:
        """Return the truth of a practice case that the reader has answered.

        Raises:
            NotAllowed: it is not a practice case of this reader, or not answered yet.
        """
        try:
            with self._database.read_session() as session:
                presentation = _own_presentation(session, reader, presentation_id)
                if session.get(Reading, presentation_id) is None:
                    raise NotAllowed("out-of-order")
                truth = _feedback(session, presentation)
                if truth is None:
                    raise NotAllowed("unknown")
                return truth
        except NotAllowed as error:
            self._log_rejection(reader, "feedback", presentation_id, error, address)
            raise

    def store(self, reader: ReaderState, presentation_id: str, answer: Answer, *, address: str) -> Stored:
        """Store an answer. It is on disk when this returns.

        The same answer (said, confidence and comment) sent again counts as a duplicate; the first time stands.

        Raises:
            NotAllowed: another reader's presentation, not the current one, or already answered differently.
        """
        try:
            with self._database.write_session() as session:
                # Lock the reader's row: one answer per reader at a time.
                row = session.get_one(Reader, reader.reader_id, with_for_update=True)
                presentation = _own_presentation(session, reader, presentation_id)
                if row.consented_at is None:
                    raise NotAllowed("no-consent")
                # A duplicate is confirmed, a different answer rejected.
                stored = session.get(Reading, presentation_id)
                if stored is not None:
                    if (stored.said, stored.confidence, stored.comment) != (
                        answer.said,
                        answer.confidence,
                        answer.comment,
                    ):
                        raise NotAllowed("final")
                    finished = row.finished_at is not None
                    return Stored(duplicate=True, feedback=_feedback(session, presentation), finished=finished)
                # A new answer must be to the current presentation.
                step = _next_step(session, reader.reader_id)
                if step is None or step.presentation_id != presentation_id:
                    raise NotAllowed("out-of-order")
                at = now()
                session.add(Reading(presentation_id=presentation_id, answered_at=at, **answer.model_dump()))
                if step.following is None:
                    row.finished_at = at
                    log(session, reader.actor, "finished", address=address)
                feedback = _feedback(session, presentation)
                return Stored(duplicate=False, feedback=feedback, finished=step.following is None)
        except NotAllowed as error:
            self._log_rejection(reader, "answer", presentation_id, error, address)
            raise

    def progress(self) -> list[Progress]:
        """Return the progress of each reader."""
        with self._database.read_session() as session:
            counts = {
                (reader_id, part): (answered, total, shown, last)
                for reader_id, part, answered, total, shown, last in session.execute(
                    select(
                        Presentation.reader_id,
                        Presentation.part,
                        func.count(Reading.presentation_id),
                        func.count(),
                        func.max(Presentation.shown_at),
                        func.max(Reading.answered_at),
                    )
                    .outerjoin(Reading, Reading.presentation_id == Presentation.presentation_id)
                    .group_by(Presentation.reader_id, Presentation.part)
                )
            }
            return [
                _progress(reader, counts) for reader in session.scalars(select(Reader).order_by(Reader.reader_id)).all()
            ]

    def audit(self, actor: str, event: str, *, detail: str = "", address: str = "") -> None:
        """Write an entry to the audit log."""
        with self._database.write_session() as session:
            log(session, actor, event, detail=detail, address=address)

    def audit_log(self, *, last: int = 100) -> list[tuple[str, str, str, str, str]]:
        """Return the latest entries, newest first: time, actor, event, detail, address."""
        with self._database.read_session() as session:
            rows = session.scalars(select(Audit).order_by(Audit.audit_id.desc()).limit(last)).all()
            return [(row.at, row.actor, row.event, row.detail, row.address) for row in rows]

    def _log_rejection(
        self, reader: ReaderState, request: str, presentation_id: str, error: NotAllowed, address: str
    ) -> None:
        detail = f"{error.reason}: {presentation_id[:64]}"
        self.audit(reader.actor, f"{request} rejected", detail=detail, address=address)


def _own_presentation(session: Session, reader: ReaderState, presentation_id: str) -> Presentation:
    presentation = session.get(Presentation, presentation_id) if is_id(presentation_id) else None
    if presentation is None or presentation.reader_id != reader.reader_id:
        raise NotAllowed("unknown")
    return presentation


def _feedback(session: Session, presentation: Presentation) -> Truth | None:
    if presentation.part != "practice":
        return None
    return "real" if session.get_one(Case, presentation.case_id).truth == "real" else "synthetic"


def _next_step(session: Session, reader_id: int) -> Step | None:
    unanswered = session.execute(
        select(Presentation.presentation_id, Presentation.part)
        .outerjoin(Reading, Reading.presentation_id == Presentation.presentation_id)
        .where(Presentation.reader_id == reader_id, Reading.presentation_id.is_(None))
        .order_by(Presentation.position)
        .limit(2)
    ).all()
    if not unanswered:
        return None
    (current, part), following = unanswered[0], unanswered[1][0] if len(unanswered) > 1 else None
    total, answered = session.execute(
        select(func.count(), func.count(Reading.presentation_id))
        .select_from(Presentation)
        .outerjoin(Reading, Reading.presentation_id == Presentation.presentation_id)
        .where(Presentation.reader_id == reader_id, Presentation.part == part)
    ).one()
    return Step(
        presentation_id=current,
        part="practice" if part == "practice" else "main",
        number=answered + 1,
        total=total,
        following=following,
    )


def _progress(reader: Reader, counts: Mapping[tuple[int, str], tuple[int, int, str | None, str | None]]) -> Progress:
    none = (0, 0, None, None)
    practice, practice_total, practice_shown, practice_answered = counts.get((reader.reader_id, "practice"), none)
    main, main_total, main_shown, main_answered = counts.get((reader.reader_id, "main"), none)
    return Progress(
        reader_id=reader.reader_id,
        name=reader.name,
        practice=practice,
        practice_total=practice_total,
        main=main,
        main_total=main_total,
        consented_at=reader.consented_at,
        last_shown_at=main_shown or practice_shown,
        last_answer_at=main_answered or practice_answered,
        finished_at=reader.finished_at,
        expires_at=reader.expires_at,
        revoked_at=reader.revoked_at,
    )


def log(session: Session, actor: str, event: str, *, detail: str = "", address: str = "") -> None:
    """Write an entry to the audit log within the transaction of the session."""
    entry = Audit(at=now(), actor=actor, event=event, detail=_one_line(detail), address=_one_line(address))
    session.add(entry)


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:_MAX_DETAIL_LENGTH])

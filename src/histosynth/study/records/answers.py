"""What a reader may see and say, and that nothing said is lost or doubled: the rules behind the page, without HTTP.

Each reader goes through the presentations in order of position, practice first. Only the first unanswered one can be
answered; once stored, an answer is final. Sending the same answer to the same presentation again is no error (a lost
network, a double click, a second tab): the one that is stored stands. Truth leaves this module for practice cases
alone, and only once they are answered.

Every refusal is written to the audit log with its true reason. Towards the outside, another reader's presentation and
one that does not exist are the same, and so are an unknown, a revoked and an expired link.
"""

from collections.abc import Mapping

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from histosynth.study.records.database import Audit, Case, Database, Picture, Presentation, Reader, Reading, Study, now
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
    """The rules, on a database. Safe to use from several threads and processes at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def info(self) -> StudyInfo:
        """The study's title and settings."""
        with self._database.read_session() as session:
            study = session.get_one(Study, 1)
            return StudyInfo(title=study.title, created_at=study.created_at, settings=dict(study.settings))

    def reader_by_token(self, token: str, *, address: str) -> ReaderState | None:
        """The reader whose link holds the token; None if there is none, or the link is revoked or has expired."""
        digest = hash_token(token)
        with self._database.read_session() as session:
            reader = session.scalar(select(Reader).where(Reader.token_hash == digest))
            if reader is None or not hashes_equal(reader.token_hash, digest):
                actor, why = ANONYMOUS, "unknown"
            elif reader.revoked_at is not None:
                actor, why = f"reader {reader.reader_id}", "revoked"
            elif reader.expires_at <= now():
                actor, why = f"reader {reader.reader_id}", "expired"
            else:
                return ReaderState(
                    reader_id=reader.reader_id,
                    name=reader.name,
                    consented=reader.consented_at is not None,
                    finished=reader.finished_at is not None,
                )
        self.audit(actor, "link refused", detail=why, address=address)
        return None

    def is_organizer(self, token: str, *, address: str) -> bool:
        """Whether this is the organizer's token."""
        with self._database.read_session() as session:
            kept = session.get_one(Study, 1).organizer_hash
        if kept is not None and hashes_equal(kept, hash_token(token)):
            return True
        self.audit(ANONYMOUS, "organizer link refused", detail="unknown", address=address)
        return False

    def consent(self, reader: ReaderState, *, address: str) -> None:
        """Note that the reader consents; the first time counts."""
        with self._database.write_session() as session:
            row = session.get_one(Reader, reader.reader_id, with_for_update=True)
            if row.consented_at is None:
                row.consented_at = now()
                log(session, reader.actor, "consented", address=address)

    def next_step(self, reader: ReaderState) -> Step | None:
        """What the reader is to answer now; None once all is answered."""
        with self._database.read_session() as session:
            return _next_step(session, reader.reader_id)

    def picture(self, reader: ReaderState, presentation_id: str, *, address: str) -> bytes:
        """The PNG of a presentation: of the one to be answered, of the one after it, and of answered practice cases.

        Raises:
            NotAllowed: it is another reader's, or none of these.
        """
        try:
            with self._database.read_session() as session:
                shown = _own(session, reader, presentation_id)
                step = _next_step(session, reader.reader_id)
                allowed = {step.presentation_id, step.following} if step else set()
                answered = shown.part == "practice" and session.get(Reading, presentation_id) is not None
                if presentation_id not in allowed and not answered:
                    raise NotAllowed("out-of-order")
                return session.get_one(Picture, shown.case_id).png
        except NotAllowed as refusal:
            self._log_refusal(reader, "picture", presentation_id, refusal, address)
            raise

    def feedback(self, reader: ReaderState, presentation_id: str, *, address: str) -> Truth:
        """The truth of a practice case that the reader has answered.

        Raises:
            NotAllowed: it is no practice case of this reader, or not answered yet.
        """
        try:
            with self._database.read_session() as session:
                shown = _own(session, reader, presentation_id)
                if session.get(Reading, presentation_id) is None:
                    raise NotAllowed("out-of-order")
                truth = _feedback(session, shown)
                if truth is None:
                    raise NotAllowed("unknown")
                return truth
        except NotAllowed as refusal:
            self._log_refusal(reader, "feedback", presentation_id, refusal, address)
            raise

    def store(self, reader: ReaderState, presentation_id: str, answer: Answer, *, address: str) -> Stored:
        """Keep an answer. It is on disk when this returns.

        The same answer again (said, confidence and comment) is taken as sent twice; its first time stands.

        Raises:
            NotAllowed: another reader's presentation, not the one to be answered now, or answered otherwise before.
        """
        try:
            with self._database.write_session() as session:
                row = session.get_one(
                    Reader, reader.reader_id, with_for_update=True
                )  # one answer of a reader at a time
                shown = _own(session, reader, presentation_id)
                if row.consented_at is None:
                    raise NotAllowed("no-consent")
                kept = session.get(Reading, presentation_id)
                if kept is not None:
                    if (kept.said, kept.confidence, kept.comment) != (answer.said, answer.confidence, answer.comment):
                        raise NotAllowed("final")
                    finished = row.finished_at is not None
                    return Stored(duplicate=True, feedback=_feedback(session, shown), finished=finished)
                step = _next_step(session, reader.reader_id)
                if step is None or step.presentation_id != presentation_id:
                    raise NotAllowed("out-of-order")
                at = now()
                session.add(Reading(presentation_id=presentation_id, answered_at=at, **answer.model_dump()))
                if step.following is None:
                    row.finished_at = at
                    log(session, reader.actor, "finished", address=address)
                return Stored(duplicate=False, feedback=_feedback(session, shown), finished=step.following is None)
        except NotAllowed as refusal:
            self._log_refusal(reader, "answer", presentation_id, refusal, address)
            raise

    def progress(self) -> list[Progress]:
        """How far each reader is."""
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
        """Write to the audit log."""
        with self._database.write_session() as session:
            log(session, actor, event, detail=detail, address=address)

    def audit_log(self, *, last: int = 100) -> list[tuple[str, str, str, str, str]]:
        """The latest entries, newest first: when, who, what, more of it, from where."""
        with self._database.read_session() as session:
            rows = session.scalars(select(Audit).order_by(Audit.audit_id.desc()).limit(last)).all()
            return [(row.at, row.actor, row.event, row.detail, row.address) for row in rows]

    def _log_refusal(
        self, reader: ReaderState, asked: str, presentation_id: str, refusal: NotAllowed, address: str
    ) -> None:
        self.audit(
            reader.actor, f"{asked} refused", detail=f"{refusal.reason}: {presentation_id[:64]}", address=address
        )


def _own(session: Session, reader: ReaderState, presentation_id: str) -> Presentation:
    shown = session.get(Presentation, presentation_id) if is_id(presentation_id) else None
    if shown is None or shown.reader_id != reader.reader_id:
        raise NotAllowed("unknown")
    return shown


def _feedback(session: Session, shown: Presentation) -> Truth | None:
    if shown.part != "practice":
        return None
    return "real" if session.get_one(Case, shown.case_id).truth == "real" else "synthetic"


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
    nothing = (0, 0, None, None)
    practice, practice_total, tried, before = counts.get((reader.reader_id, "practice"), nothing)
    main, main_total, shown, last = counts.get((reader.reader_id, "main"), nothing)
    return Progress(
        reader_id=reader.reader_id,
        name=reader.name,
        practice=practice,
        practice_total=practice_total,
        main=main,
        main_total=main_total,
        consented_at=reader.consented_at,
        last_shown_at=shown or tried,
        last_answer_at=last or before,
        finished_at=reader.finished_at,
        expires_at=reader.expires_at,
        revoked_at=reader.revoked_at,
    )


def log(session: Session, actor: str, event: str, *, detail: str = "", address: str = "") -> None:
    """Write to the audit log, as part of what the session does."""
    entry = Audit(at=now(), actor=actor, event=event, detail=_short(detail), address=_short(address))
    session.add(entry)


def _short(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:_MAX_DETAIL_LENGTH])

"""When a case was first shown, how long it was read, and the answer to a practice case.

Time is measured twice. The server knows when it first showed a case and when the answer arrived. The page knows how
long it was visible, which excludes pauses, other windows and a closed lid. The shorter time counts: a page cannot claim
more time than has passed, and if its scripts do not run, the server's time is used. A case that is shown again after
more than seven days counts as shown for the first time, and no time is longer than seven days.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import or_, update

from histosynth.study.records.answers import Truth
from histosynth.study.records.database import Database
from histosynth.study.records.exchange import MAX_SECONDS
from histosynth.study.records.tables import Presentation, Reading, now
from histosynth.study.records.tokens import is_id


@dataclass(frozen=True, kw_only=True)
class PracticeAnswer:
    """A reader's answer to one practice presentation."""

    number: int
    """From 1, in this reader's order."""
    said: Truth
    confidence: int


def record_shown(database: Database, presentation_id: str) -> None:
    """Record that the page shows a presentation; only the first time in seven days counts."""
    too_old = now(days=-MAX_SECONDS / 86_400)
    with database.read_session() as session:
        shown_at = session.get_one(Presentation, presentation_id).shown_at
        if shown_at is not None and shown_at >= too_old:
            return
    with database.write_session() as session:
        session.execute(
            update(Presentation)
            .where(
                Presentation.presentation_id == presentation_id,
                or_(Presentation.shown_at.is_(None), Presentation.shown_at < too_old),
            )
            .values(shown_at=now())
        )


def reading_seconds(database: Database, presentation_id: str, *, visible_ms: int) -> float:
    """Return the seconds from shown until now: visible time, at most elapsed time; 0 if it was never shown."""
    with database.read_session() as session:
        presentation = session.get(Presentation, presentation_id) if is_id(presentation_id) else None
        if presentation is None or presentation.shown_at is None:
            return 0.0
        elapsed = (datetime.now(UTC) - datetime.fromisoformat(presentation.shown_at)).total_seconds()
    return min(max(0.0, min(visible_ms / 1000, elapsed) if visible_ms else elapsed), MAX_SECONDS)


def practice_answer(database: Database, presentation_id: str) -> PracticeAnswer:
    """Return the answer to a practice presentation that is known to be answered."""
    with database.read_session() as session:
        presentation = session.get_one(Presentation, presentation_id)
        reading = session.get_one(Reading, presentation_id)
        said: Truth = "real" if reading.said == "real" else "synthetic"
        return PracticeAnswer(number=presentation.position + 1, said=said, confidence=reading.confidence)

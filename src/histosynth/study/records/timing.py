"""When a case was shown and for how long, and what was said of one of practice: what the page notes and recalls.

Time is measured twice. The server knows when it first showed a case and when its answer came; the page knows for how
long it was visible, which leaves out pauses, other windows and a closed lid. The shorter counts: a page cannot claim
more time than passed, and where its scripts do not run, the server's stands.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import update

from histosynth.study.records.answers import Truth
from histosynth.study.records.database import Database, Presentation, Reading, now
from histosynth.study.records.tokens import is_id


@dataclass(frozen=True, kw_only=True)
class PracticeAnswer:
    """What a reader answered to one presentation."""

    number: int
    """From 1, in the order of this reader."""
    said: Truth
    confidence: int


def record_shown(database: Database, presentation_id: str) -> None:
    """Note that the page shows a presentation; the first time counts."""
    with database.read_session() as session:
        if session.get_one(Presentation, presentation_id).shown_at is not None:
            return
    with database.write_session() as session:
        session.execute(
            update(Presentation)
            .where(Presentation.presentation_id == presentation_id, Presentation.shown_at.is_(None))
            .values(shown_at=now())
        )


def reading_seconds(database: Database, presentation_id: str, *, visible_ms: int) -> float:
    """Seconds from shown to now: as the page saw it, and never more than passed here; 0 where it was never shown."""
    with database.read_session() as session:
        shown = session.get(Presentation, presentation_id) if is_id(presentation_id) else None
        if shown is None or shown.shown_at is None:
            return 0.0
        passed = (datetime.now(UTC) - datetime.fromisoformat(shown.shown_at)).total_seconds()
    return max(0.0, min(visible_ms / 1000, passed) if visible_ms else passed)


def practice_answer(database: Database, presentation_id: str) -> PracticeAnswer:
    """What was said of a presentation that is known to be answered."""
    with database.read_session() as session:
        shown = session.get_one(Presentation, presentation_id)
        kept = session.get_one(Reading, presentation_id)
        said: Truth = "real" if kept.said == "real" else "synthetic"
        return PracticeAnswer(number=shown.position + 1, said=said, confidence=kept.confidence)

"""The types that the rules of a study and its page exchange: answers, the current case, a reader's progress."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Truth = Literal["real", "synthetic"]
Reason = Literal["unknown", "no-consent", "out-of-order", "final"]
REASONS: dict[Reason, str] = {
    "unknown": "there is no such case",
    "no-consent": "the reader has not consented yet",
    "out-of-order": "this is not the current case",
    "final": "this case is already answered, and answers are final",
}
ORGANIZER, ANONYMOUS = "organizer", "anonymous"
MAX_COMMENT_LENGTH = 2000
MAX_SECONDS = 7 * 86_400.0
"""The longest time of a reading; longer ones are cut."""


class NotAllowed(Exception):  # noqa: N818 - a regular outcome, not a failure
    """The rules do not allow a request; the audit log records it."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(REASONS[reason])
        self.reason = reason


class Answer(BaseModel):
    """A reader's answer to one presentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    said: Truth
    confidence: int = Field(ge=1, le=5, strict=True)
    comment: str = Field("", max_length=MAX_COMMENT_LENGTH)
    seconds: float = Field(ge=0, le=MAX_SECONDS)
    """From shown to answered, without the pauses of the page."""
    changes: int = Field(0, ge=0, le=1_000_000)
    """Number of changes before the answer was final."""

    @field_validator("comment")
    @classmethod
    def _reject_nul(cls, comment: str) -> str:
        if "\0" in comment:  # PostgreSQL does not accept it
            raise ValueError("a comment must not contain NUL characters")
        return comment


@dataclass(frozen=True, kw_only=True)
class ReaderState:
    """A reader whose link is valid."""

    reader_id: int
    name: str
    consented: bool
    finished: bool

    @property
    def actor(self) -> str:
        """The reader's name in the audit log."""
        return f"reader {self.reader_id}"


@dataclass(frozen=True, kw_only=True)
class Step:
    """The presentation to be answered now."""

    presentation_id: str
    part: Literal["practice", "main"]
    number: int
    """From 1, within the part."""
    total: int
    """Presentations in the part."""
    following: str | None
    """The next presentation, whose picture may be prefetched."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """An answer that is on disk."""

    duplicate: bool
    """Whether it was stored before: the same answer was sent twice."""
    feedback: Truth | None
    """The truth, for practice cases only."""
    finished: bool
    """Whether this reader has answered all presentations."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A reader's progress, as the organizer sees it. It reveals nothing about accuracy."""

    reader_id: int
    name: str
    practice: int
    practice_total: int
    main: int
    main_total: int
    consented_at: str | None
    last_shown_at: str | None
    last_answer_at: str | None
    finished_at: str | None
    expires_at: str
    revoked_at: str | None


@dataclass(frozen=True, kw_only=True)
class StudyInfo:
    """The facts about a study that the page may show."""

    title: str
    created_at: str
    settings: dict[str, Any]

"""What passes between the rules of a study and its page: an answer, what is to be answered, how far somebody is."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Truth = Literal["real", "synthetic"]
Reason = Literal["unknown", "no-consent", "out-of-order", "final"]
REASONS: dict[Reason, str] = {
    "unknown": "there is no such case",
    "no-consent": "consent comes first",
    "out-of-order": "this is not the case to be answered now",
    "final": "this case has been answered, and answers are final",
}
ORGANIZER, ANONYMOUS = "organizer", "anonymous"
MAX_COMMENT_LENGTH = 2000
_MAX_SECONDS = 7 * 86_400.0


class NotAllowed(Exception):  # noqa: N818 - it is an answer, not a failure
    """What was asked for is not allowed; the audit log has it."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(REASONS[reason])
        self.reason = reason


class Answer(BaseModel):
    """What a reader says of one presentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    said: Truth
    confidence: int = Field(ge=1, le=5, strict=True)
    comment: str = Field("", max_length=MAX_COMMENT_LENGTH)
    seconds: float = Field(ge=0, le=_MAX_SECONDS)
    """From shown to answered, pauses of the page left out."""
    changes: int = Field(0, ge=0, le=1_000_000)
    """How often the answer was changed before it was final."""

    @field_validator("comment")
    @classmethod
    def _can_be_stored(cls, comment: str) -> str:
        if "\0" in comment:  # which PostgreSQL does not take
            raise ValueError("a comment has no NUL characters")
        return comment


@dataclass(frozen=True, kw_only=True)
class ReaderState:
    """A reader whose link is good."""

    reader_id: int
    name: str
    consented: bool
    finished: bool

    @property
    def actor(self) -> str:
        """As the audit log calls the reader."""
        return f"reader {self.reader_id}"


@dataclass(frozen=True, kw_only=True)
class Step:
    """What is to be answered now."""

    presentation_id: str
    part: Literal["practice", "main"]
    number: int
    """From 1, within the part."""
    total: int
    """Presentations of the part."""
    following: str | None
    """The presentation after this one, whose picture may be fetched ahead."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """An answer that is on disk."""

    duplicate: bool
    """Whether it had been stored before: the same answer was sent twice."""
    feedback: Truth | None
    """The truth, for practice cases alone."""
    finished: bool
    """Whether this reader has answered everything."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a reader is: what the organizer sees. It says nothing of how well."""

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
    """What the page may say of the study."""

    title: str
    created_at: str
    settings: dict[str, Any]

"""Cautions in the reports of an evaluation and of a reader study: reasons to interpret a result with care."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Caution:
    """A caution; `alarm`: the results are not what they appear to be, `note`: they hold within limits."""

    level: Literal["alarm", "note"]
    text: str

"""Cautions: reasons to read a result with care, as the reports of an evaluation and of a reader study show them."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Caution:
    """`alarm`: the results do not mean what they seem to. `note`: they mean it within limits."""

    level: Literal["alarm", "note"]
    text: str

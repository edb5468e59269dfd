"""The readings as matrices: a row a reader, a column a case, first showings only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from histosynth.study.analysis.readings import Reading

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Table:
    """First showings, crossed."""

    readings: Sequence[Reading]

    @classmethod
    def of(cls, readings: Sequence[Reading]) -> "Table":
        """Without the repeats."""
        return cls(readings=[reading for reading in readings if not reading.is_repeat])

    @cached_property
    def readers(self) -> list[str]:
        """In order of appearance."""
        return list(dict.fromkeys(reading.reader for reading in self.readings))

    @cached_property
    def cases(self) -> list[Reading]:
        """One reading of each case, for what the case is; in an order that no reader saw."""
        return [facts for _, facts in sorted({reading.case: reading for reading in self.readings}.items())]

    def matrix(self, value: Callable[[Reading], float]) -> Array:
        """A value of each reading, (R, C); NaN where that reader did not read that case."""
        row = {reader: i for i, reader in enumerate(self.readers)}
        column = {facts.case: i for i, facts in enumerate(self.cases)}
        found = np.full((len(row), len(column)), np.nan)
        for reading in self.readings:
            found[row[reading.reader], column[reading.case]] = value(reading)
        return found

    @cached_property
    def correct(self) -> Array:
        """1 where correct."""
        return self.matrix(lambda reading: reading.correct)

    @cached_property
    def said_synthetic(self) -> Array:
        """1 where synthetic was said."""
        return self.matrix(lambda reading: reading.said == "synthetic")

    @cached_property
    def score(self) -> Array:
        """Signed confidence."""
        return self.matrix(lambda reading: reading.score)

    @cached_property
    def confidence(self) -> Array:
        """1 to 5."""
        return self.matrix(lambda reading: reading.confidence)

    @cached_property
    def synthetic(self) -> Mask:
        """Which cases are synthetic, (C,)."""
        return self.where(lambda facts: facts.truth == "synthetic")

    def where(self, holds: Callable[[Reading], bool]) -> Mask:
        """Which cases are so, (C,)."""
        return np.array([holds(facts) for facts in self.cases], dtype=bool)

    @cached_property
    def generators(self) -> list[str]:
        """Whose synthetic cases there are."""
        return sorted({facts.source for facts in self.cases if facts.truth == "synthetic"})

    def of_reader(self, reader: str) -> list[Reading]:
        """In the order read."""
        own = [reading for reading in self.readings if reading.reader == reader]
        return sorted(own, key=lambda reading: reading.position)

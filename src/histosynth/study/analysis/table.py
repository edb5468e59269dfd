"""Readings as matrices with one row per reader and one column per case; first presentations only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from histosynth.study.analysis.readings import Reading
from histosynth.study.statistics.clusters import patient_clusters

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Table:
    """First presentations, with readers crossed with cases."""

    readings: Sequence[Reading]

    @classmethod
    def of(cls, readings: Sequence[Reading]) -> "Table":
        """Make the table of these readings without repeats."""
        return cls(readings=[reading for reading in readings if not reading.is_repeat])

    def only(self, reader: str) -> "Table":
        """Return the table of one reader."""
        return Table(readings=[reading for reading in self.readings if reading.reader == reader])

    @cached_property
    def readers(self) -> list[str]:
        """The readers in order of appearance."""
        return list(dict.fromkeys(reading.reader for reading in self.readings))

    @cached_property
    def cases(self) -> list[Reading]:
        """One reading of each case, for the facts about the case; ordered by case id."""
        return [facts for _, facts in sorted({reading.case: reading for reading in self.readings}.items())]

    def matrix(self, value: Callable[[Reading], float]) -> Array:
        """Return a value of each reading, (R, C); NaN where that reader did not read that case."""
        row = {reader: i for i, reader in enumerate(self.readers)}
        column = {facts.case: i for i, facts in enumerate(self.cases)}
        values = np.full((len(row), len(column)), np.nan)
        for reading in self.readings:
            values[row[reading.reader], column[reading.case]] = value(reading)
        return values

    @cached_property
    def correct(self) -> Array:
        """1 if correct."""
        return self.matrix(lambda reading: reading.correct)

    @cached_property
    def said_synthetic(self) -> Array:
        """1 if the reader said synthetic."""
        return self.matrix(lambda reading: reading.said == "synthetic")

    @cached_property
    def score(self) -> Array:
        """Signed confidence."""
        return self.matrix(lambda reading: reading.score)

    @cached_property
    def confidence(self) -> Array:
        """Confidence, 1 to 5."""
        return self.matrix(lambda reading: reading.confidence)

    @cached_property
    def synthetic(self) -> Mask:
        """Which cases are synthetic, (C,)."""
        return self.where(lambda facts: facts.truth == "synthetic")

    @cached_property
    def patients(self) -> NDArray[np.int64]:
        """The patient of each case, (C,); a synthetic case, or one of an unknown patient, is by itself."""
        return patient_clusters([facts.patient_id for facts in self.cases], self.synthetic)

    def where(self, holds: Callable[[Reading], bool]) -> Mask:
        """Return for which cases a condition holds, (C,)."""
        return np.array([holds(facts) for facts in self.cases], dtype=bool)

    @cached_property
    def generators(self) -> list[str]:
        """The generators of the synthetic cases."""
        return sorted({facts.source for facts in self.cases if facts.truth == "synthetic"})

    def of_reader(self, reader: str) -> list[Reading]:
        """Return a reader's readings in the order read."""
        own = [reading for reading in self.readings if reading.reader == reader]
        return sorted(own, key=lambda reading: reading.position)

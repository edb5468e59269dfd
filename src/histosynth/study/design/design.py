"""Which cases a study has and in which order each reader sees them. Numbers and generators only: no files, no images.

Main cases: N = 2 L G m of L genotypes and G generators. Each genotype has N / 2L real cases and N / 2LG of each
generator, so that neither genotype nor generator tells real from synthetic by its share.

Orders: each reader sees a random permutation, drawn for them alone. Of R cases shown twice, the first showing stands in
the first third of the session and the second in the last, so at least a third of it lies between.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from histosynth.errors import HistosynthError

T = TypeVar("T")
REAL, SYNTHETIC = "real", "synthetic"
Cell = tuple[str | None, str]
"""A genotype, and a source: `real`, or a generator."""


def all_cells(labels: Sequence[str | None], generators: Sequence[str]) -> list[Cell]:
    """All cells of a study."""
    return [(label, source) for label in labels for source in (REAL, *generators)]


def main_quota(cases: int, *, labels: Sequence[str | None], generators: Sequence[str]) -> dict[Cell, int]:
    """Main cases of each cell.

    Raises:
        HistosynthError: so many cannot be balanced; it says which number can.
    """
    unit = 2 * len(labels) * len(generators)
    if cases % unit:
        near = [n for n in (cases // unit * unit, (cases // unit + 1) * unit) if n]
        raise HistosynthError(
            f"{cases} cases cannot be half real and equal for {_count(len(labels), 'genotype')} and "
            f"{_count(len(generators), 'generator')}: give --cases a multiple of {unit}, such as "
            f"{' or '.join(map(str, near))}"
        )
    each = cases // unit
    return {(label, s): each * len(generators) if s == REAL else each for label, s in all_cells(labels, generators)}


def practice_quota(
    cases: int, *, labels: Sequence[str | None], generators: Sequence[str], rng: np.random.Generator
) -> dict[Cell, int]:
    """Practice cases of each cell: half real, and as equal beyond that as their number allows (at most one apart)."""
    quota = dict.fromkeys(all_cells(labels, generators), 0)
    for real in (True, False):
        side = [cell for cell in quota if (cell[1] == REAL) == real]
        order = rng.permutation(len(side))
        for number in range(cases // 2):
            quota[side[order[number % len(side)]]] += 1
    return quota


def max_balanced_cases(
    available: Mapping[Cell, int],
    *,
    practice: Mapping[Cell, int],
    labels: Sequence[str | None],
    generators: Sequence[str],
) -> int:
    """The largest balanced number of main cases that the patches allow."""
    unit = 2 * len(labels) * len(generators)
    units = [
        max(available[cell] - practice[cell], 0) // (len(generators) if cell[1] == REAL else 1) for cell in available
    ]
    return min(units) * unit


def interleave_groups(groups: Sequence[str], *, rng: np.random.Generator) -> list[int]:
    """An order of items such that any first n of it take about equally many of each group (patient), else at random.

    Each round takes one of every group that has any left, so counts among the first n differ by one at most, unless a
    group is used up.
    """
    shuffled = rng.permutation(len(groups))
    turn: dict[str, int] = {}
    rounds = np.empty(len(groups), int)
    for item in shuffled:
        rounds[item] = turn[groups[item]] = turn.get(groups[item], -1) + 1
    rank = dict(zip(turn, rng.permutation(len(turn)).tolist(), strict=True))
    return sorted(range(len(groups)), key=lambda item: (rounds[item], rank[groups[item]]))


def draw_repeats(cells: Mapping[T, Cell], *, repeats: int, rng: np.random.Generator) -> list[T]:
    """The cases that a reader is shown twice: half real, and as equal over cells as their number allows."""
    chosen: list[T] = []
    for real in (True, False):
        side = [case for case, cell in cells.items() if (cell[1] == REAL) == real]
        order = interleave_groups([repr(cells[case]) for case in side], rng=rng)
        chosen += [side[item] for item in order[: repeats // 2]]
    return chosen


def reading_order(cases: Sequence[T], *, twice: Sequence[T], rng: np.random.Generator) -> list[tuple[T, bool]]:
    """The order in which a reader sees the main cases, and whether it is the second showing.

    Raises:
        HistosynthError: too many are to be shown twice.
    """
    length = len(cases) + len(twice)
    third = length // 3
    if len(twice) > third:
        raise HistosynthError(
            f"{len(twice)} repeats of {len(cases)} cases leave no third of the session between two showings; give "
            f"--repeats at most {len(cases) // 4 * 2}"
        )
    slots: list[tuple[T, bool] | None] = [None] * length
    firsts = rng.choice(third, size=len(twice), replace=False)
    seconds = length - 1 - rng.choice(third, size=len(twice), replace=False)
    for case, first, second in zip(twice, firsts, seconds, strict=True):
        slots[first], slots[second] = (case, False), (case, True)
    once = [case for case in cases if case not in set(twice)]
    rest = iter(rng.permutation(len(once)).tolist())
    return [slot if slot is not None else (once[next(rest)], False) for slot in slots]


def derive_rng(seed: int, *names: object) -> np.random.Generator:
    """The generator of one draw: each has its own, so that one more generator or reader changes no other draw."""
    return np.random.default_rng([seed, *(zlib.crc32(repr(name).encode()) for name in names)])


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"

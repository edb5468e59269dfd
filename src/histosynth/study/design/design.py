"""Number of cases and reading orders of a study. Only numbers and random generators: no files, no images.

Main cases: N = 2 L G m for L genotypes and G generators. Each genotype has N / 2L real cases and N / 2LG cases of each
generator, so that no share of a genotype or a generator tells real from synthetic.

Orders: each reader sees a different random permutation. Of R cases shown twice, the first presentation lies in the
first third of the session and the second in the last third, so at least a third of the session lies between them.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from histosynth.errors import HistosynthError

T = TypeVar("T")
REAL, SYNTHETIC = "real", "synthetic"
Cell = tuple[str | None, str]
"""A genotype and a source: `real`, or a generator."""


def all_cells(labels: Sequence[str | None], generators: Sequence[str]) -> list[Cell]:
    """Return all cells of a study."""
    return [(label, source) for label in labels for source in (REAL, *generators)]


def main_quota(cases: int, *, labels: Sequence[str | None], generators: Sequence[str]) -> dict[Cell, int]:
    """Return the number of main cases of each cell.

    Raises:
        HistosynthError: the number cannot be balanced; the message names numbers that can.
    """
    unit = 2 * len(labels) * len(generators)
    if cases % unit:
        nearest = [n for n in (cases // unit * unit, (cases // unit + 1) * unit) if n]
        raise HistosynthError(
            f"{cases} cases cannot be half real and equally many for {_count(len(labels), 'genotype')} and "
            f"{_count(len(generators), 'generator')}; pass a multiple of {unit} as --cases, such as "
            f"{' or '.join(map(str, nearest))}"
        )
    per_cell = cases // unit
    return {
        (label, source): per_cell * len(generators) if source == REAL else per_cell
        for label, source in all_cells(labels, generators)
    }


def practice_quota(
    cases: int, *, labels: Sequence[str | None], generators: Sequence[str], rng: np.random.Generator
) -> dict[Cell, int]:
    """Return the number of practice cases of each cell: half real, and otherwise equal up to one."""
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
    """Return the largest balanced number of main cases that the patches allow."""
    unit = 2 * len(labels) * len(generators)
    units = [
        max(available[cell] - practice[cell], 0) // (len(generators) if cell[1] == REAL else 1) for cell in available
    ]
    return min(units) * unit


def interleave_groups(groups: Sequence[str], *, rng: np.random.Generator) -> list[int]:
    """Return a random order of items in which the first n come about equally from each group (patient), for any n.

    Each round takes one item of every group that has any left, so counts among the first n differ by at most one,
    unless a group is exhausted.
    """
    shuffled = rng.permutation(len(groups))
    latest_round: dict[str, int] = {}
    rounds = np.empty(len(groups), int)
    for item in shuffled:
        rounds[item] = latest_round[groups[item]] = latest_round.get(groups[item], -1) + 1
    rank = dict(zip(latest_round, rng.permutation(len(latest_round)).tolist(), strict=True))
    return sorted(range(len(groups)), key=lambda item: (rounds[item], rank[groups[item]]))


def draw_repeats(cells: Mapping[T, Cell], *, repeats: int, rng: np.random.Generator) -> list[T]:
    """Return the cases that a reader is shown twice: half real, and as equal over cells as their number allows."""
    repeats_drawn: list[T] = []
    for real in (True, False):
        side = [case for case, cell in cells.items() if (cell[1] == REAL) == real]
        order = interleave_groups([repr(cells[case]) for case in side], rng=rng)
        repeats_drawn += [side[item] for item in order[: repeats // 2]]
    return repeats_drawn


def reading_order(cases: Sequence[T], *, twice: Sequence[T], rng: np.random.Generator) -> list[tuple[T, bool]]:
    """Return the order in which a reader sees the main cases, each with whether it is a repeat.

    Raises:
        HistosynthError: too many cases are to be shown twice.
    """
    length = len(cases) + len(twice)
    third = length // 3
    if len(twice) > third:
        raise HistosynthError(
            f"{len(twice)} repeats of {len(cases)} cases leave less than a third of the session between the two "
            f"presentations; pass --repeats of at most {len(cases) // 4 * 2}"
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
    """Return the random generator of one draw, so that an additional model or reader changes no other draw."""
    return np.random.default_rng([seed, *(zlib.crc32(repr(name).encode()) for name in names)])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"

"""How many readers and cases does it take to show that readers only guess?

**One reader** whose accuracy is π in every case: the power of the exact test is a sum over the counts that it accepts,

    power(n) = Σ_k  [TOST p(k, n) ≤ α]  binom(k; n, π)

It goes up and down with n, so the n given is the least from which on the power stays.

**Several readers** of the same cases, by simulation of the very test that the analysis makes (`crossed.pooled`):
reading r of case c is correct with

    logit P = logit π + u_r + v_c,     u_r ~ N(0, σ_reader²),  v_c ~ N(0, σ_case²)

and the power is the share of simulated studies that show equivalence: for *these readers*, and for *readers at large*.
The second is the stronger claim and needs readers, not cases. The analysis concludes for readers at large from
`FEWEST_READERS` on.

Repeats are second showings: they measure whether readers agree with themselves, enter no accuracy, and give no power.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import binom
from tqdm import tqdm

from histosynth.errors import HistosynthError
from histosynth.study.statistics import FEWEST_READERS
from histosynth.study.statistics.crossed import Scope, effective_number, variation
from histosynth.study.statistics.equivalence import tost
from histosynth.study.statistics.proportion import proportion

STEP = 2
"""Cases come in pairs, one real and one synthetic."""
_AT_ONCE = 2_000_000  # readings simulated at a time


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What a plan rests on."""

    margin: float
    power: float
    alpha: float
    accuracy: float
    """Of the average reader: 0.5 where readers truly guess."""
    reader_sd: float
    """σ_reader, on the logit: 0.2 is 5 points of accuracy about one half."""
    case_sd: float
    """σ_case, on the logit."""
    simulations: int
    seed: int
    max_cases: int

    def __post_init__(self) -> None:
        if not 0 < self.margin < 0.5:
            raise HistosynthError(f"--margin {self.margin} is not between 0 and 0.5; 0.10 is 10 points about 50%")
        if not 0 < self.alpha < 0.5:
            raise HistosynthError(f"--alpha {self.alpha} is not between 0 and 0.5")
        if not self.alpha < self.power < 1:
            raise HistosynthError(f"--power {self.power} is not between alpha ({self.alpha}) and 1")
        if not abs(self.accuracy - 0.5) < self.margin:
            raise HistosynthError(
                f"--accuracy {self.accuracy} lies outside 0.5 ± {self.margin}: equivalence is false there, and no "
                "study should show it"
            )


@dataclass(frozen=True, kw_only=True)
class Need:
    """The cases that so many readers need, for one claim."""

    readers: int
    claim: Scope
    concludes: bool
    """Whether this is the claim that the analysis concludes by."""
    cases: int | None
    """Real and synthetic together; None where `max_cases` are not enough."""
    power: float
    """At that many cases, or at `max_cases`."""
    simulated: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a study needs."""

    assumptions: Assumptions
    needs: list[Need]
    repeats: int
    repeat_interval: tuple[float, float] | None
    """Exact interval of a reader's agreement with themselves, if 80% of the repeats agree."""


def plan(assumptions: Assumptions, *, readers: Sequence[int], repeats: int = 0, progress: bool = True) -> Plan:
    """The cases needed for each number of readers.

    Args:
        assumptions: the margin, power and variation.
        readers: numbers of readers to plan for.
        repeats: second showings for each reader.
        progress: show a bar on standard error.
    """
    if not readers or min(readers) < 1:
        raise HistosynthError("--readers takes numbers of 1 or more")
    needs: list[Need] = []
    with tqdm(total=len(set(readers)), desc="plan", unit="design", disable=not progress) as bar:
        for count in sorted(set(readers)):
            needs += [_exact(assumptions)] if count == 1 else _simulated(assumptions, count)
            bar.update()
    found = proportion(round(0.8 * repeats), repeats) if repeats else None
    return Plan(
        assumptions=assumptions,
        needs=needs,
        repeats=repeats,
        repeat_interval=(found.low, found.high) if found else None,
    )


def exact_power(n: int, *, accuracy: float, margin: float, alpha: float) -> float:
    """The power of one reader's exact test with n readings."""
    k = np.arange(n + 1)
    return float(binom.pmf(k, n, accuracy)[tost(k, n, margin=margin) <= alpha].sum())


def simulated_power(assumptions: Assumptions, *, readers: int, cases: int) -> tuple[float, float]:
    """The power for these readers, and for readers at large; two or more readers."""
    rng = np.random.default_rng([assumptions.seed, readers, cases])
    strata, shown = np.arange(cases) % 2, np.zeros(2)
    for some in _portions(assumptions.simulations, readers * cases):
        correct = simulate(
            some,
            readers=readers,
            cases=cases,
            accuracy=assumptions.accuracy,
            reader_sd=assumptions.reader_sd,
            case_sd=assumptions.case_sd,
            rng=rng,
        )
        shown += [np.count_nonzero(p <= assumptions.alpha) for p in tost_of(correct, strata, assumptions)]
    these, at_large = shown / assumptions.simulations
    return float(these), float(at_large)


def simulate(
    studies: int,
    *,
    readers: int,
    cases: int,
    accuracy: float,
    reader_sd: float,
    case_sd: float,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Correct readings (studies, R, C) under the model above."""
    reader = rng.normal(0, reader_sd, (studies, readers, 1))
    case = rng.normal(0, case_sd, (studies, 1, cases))
    return np.asarray(rng.random((studies, readers, cases)) < expit(logit(accuracy) + reader + case))


def tost_of(
    correct: NDArray[np.bool_], strata: NDArray[np.int64], assumptions: Assumptions
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """p of equivalence of each study (S, R, C): for these readers, and for readers at large."""
    found = variation(correct, strata=strata)
    n = correct.shape[1] * correct.shape[2]
    both = []
    for variance, df in ((found.same_readers, found.same_readers_df), (found.all, found.all_df)):
        worth = effective_number(found.estimate, variance, df, n=n, level=1 - 2 * assumptions.alpha)
        both.append(tost(found.estimate * worth, worth, margin=assumptions.margin))
    return both[0], both[1]


def _exact(a: Assumptions) -> Need:
    sizes = range(STEP, a.max_cases + 1, STEP)
    powers = {n: exact_power(n, accuracy=a.accuracy, margin=a.margin, alpha=a.alpha) for n in sizes}
    below = [n for n, power in powers.items() if power < a.power]
    least = (below[-1] if below else 0) + STEP
    cases = least if least <= a.max_cases else None
    return Need(
        readers=1,
        claim="one reader",
        concludes=True,
        cases=cases,
        power=powers[cases or max(sizes)],
        simulated=False,
    )


def _simulated(a: Assumptions, readers: int) -> list[Need]:
    known: dict[int, tuple[float, float]] = {}

    def powers(cases: int) -> tuple[float, float]:
        if cases not in known:
            known[cases] = simulated_power(a, readers=readers, cases=cases)
        return known[cases]

    needs = []
    claims: tuple[Scope, Scope] = ("these readers", "readers at large")
    for number, claim in enumerate(claims):
        cases = _least(a, [lambda n: powers(n)[0], lambda n: powers(n)[1]][number])
        needs.append(
            Need(
                readers=readers,
                claim=claim,
                concludes=(claim == "readers at large") == (readers >= FEWEST_READERS),
                cases=cases,
                power=powers(cases or _largest(a))[number],
                simulated=True,
            )
        )
    return needs


def _least(a: Assumptions, power: Callable[[int], float]) -> int | None:
    """By bisection: simulated power rises with cases, but for its own noise."""
    low, high = 0, _largest(a)
    if power(high) < a.power:
        return None
    while high - low > STEP:
        middle = (low + high) // (2 * STEP) * STEP
        low, high = (low, middle) if power(middle) >= a.power else (middle, high)
    return high


def _largest(a: Assumptions) -> int:
    return a.max_cases // STEP * STEP


def _portions(simulations: int, size: int) -> Iterator[int]:
    """How many studies to simulate at a time, so that they fit in memory."""
    each = max(1, _AT_ONCE // size)
    for start in range(0, simulations, each):
        yield min(each, simulations - start)


def as_text(found: Plan) -> str:
    """The plan as a table, with what it means."""
    a = found.assumptions
    lines = ["readers   cases each   readings   power   claim"]
    for need in found.needs:
        enough = need.cases is not None
        cases = f"{need.cases}" if enough else f"> {a.max_cases}"
        readings = f"{need.readers * (need.cases + found.repeats)}" if need.cases is not None else "–"
        claim = f"{need.claim}{' *' if need.concludes else ''}"
        lines.append(f"{need.readers:>7}   {cases:>10}   {readings:>8}   {need.power:>5.1%}   {claim}")
    lines += [
        "",
        f"equivalence to 50% within ±{100 * a.margin:g} points at alpha {a.alpha:g}, power {a.power:.0%} or more; "
        f"readers at {a.accuracy:.1%} on average, standard deviations {a.reader_sd:g} (readers) and {a.case_sd:g} "
        f"(cases) on the logit",
        "* the claim that `histosynth study analyze` concludes by",
    ]
    if any(need.simulated for need in found.needs):
        error = 100 * (a.power * (1 - a.power) / a.simulations) ** 0.5
        lines.append(f"one reader: exact; more: {a.simulations} simulated studies, power ± {error:.1f} points")
    if found.repeat_interval:
        low, high = found.repeat_interval
        lines.append(
            f"{found.repeats} repeats each: if 80% of them agree, a reader's agreement with themselves is known to lie "
            f"within {low:.0%} to {high:.0%}"
        )
    return "\n".join(lines)

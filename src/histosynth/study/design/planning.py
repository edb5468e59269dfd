"""How many readers and cases does it take to show that readers only guess?

The least number of cases from which on the power (`power.py`) stays: that of one reader's exact test goes up and down
with n. Of several readers, the claim for readers at large is the stronger one and needs readers, not cases; the
analysis concludes by it from `MIN_READERS_AT_LARGE` on.

Repeats are second showings: they measure whether readers agree with themselves, enter no accuracy, and give no power.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tqdm import tqdm

from histosynth.errors import HistosynthError
from histosynth.study.design.power import Assumptions, exact_power, simulated_power
from histosynth.study.statistics import MIN_READERS_AT_LARGE
from histosynth.study.statistics.crossed import Scope
from histosynth.study.statistics.proportion import proportion

STEP = 2
"""Cases come in pairs, one real and one synthetic."""


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
                concludes=(claim == "readers at large") == (readers >= MIN_READERS_AT_LARGE),
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

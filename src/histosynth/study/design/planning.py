"""Sample size: how many readers and cases a study needs to show that readers only guess.

The answer is the least number of cases from which on the power (`power.py`) suffices, because the power of one reader's
exact test rises and falls with n. With several readers, the claim about readers at large is the stronger one, and needs
readers, not cases; the analysis concludes by it from `MIN_READERS_AT_LARGE` readers on.

Repeats are second presentations: they measure whether readers agree with themselves, do not count in any accuracy, and
add no power.
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
    """The cases that a number of readers needs, for one claim."""

    readers: int
    claim: Scope
    concludes: bool
    """Whether the analysis concludes by this claim."""
    cases: int | None
    """Real and synthetic together; None if `max_cases` are not enough."""
    power: float
    """With that many cases, or with `max_cases`."""
    simulated: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The size that a study needs."""

    assumptions: Assumptions
    needs: list[Need]
    repeats: int
    repeat_interval: tuple[float, float] | None
    """Exact interval of a reader's agreement with themselves, if 80% of the repeats agree."""


def plan(assumptions: Assumptions, *, readers: Sequence[int], repeats: int = 0, progress: bool = True) -> Plan:
    """Return the cases needed for each number of readers.

    Args:
        assumptions: the margin, power and variation.
        readers: numbers of readers to plan for.
        repeats: second presentations per reader.
        progress: show a progress bar on standard error.
    """
    if not readers or min(readers) < 1:
        raise HistosynthError("--readers takes numbers of 1 or more")
    needs: list[Need] = []
    with tqdm(total=len(set(readers)), desc="plan", unit="design", disable=not progress) as bar:
        for count in sorted(set(readers)):
            needs += [_exact(assumptions)] if count == 1 else _simulated(assumptions, count)
            bar.update()
    agreement = proportion(round(0.8 * repeats), repeats) if repeats else None
    return Plan(
        assumptions=assumptions,
        needs=needs,
        repeats=repeats,
        repeat_interval=(agreement.low, agreement.high) if agreement else None,
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
    """Bisect: simulated power rises with the number of cases, apart from its noise."""
    low, high = 0, _largest(a)
    if power(high) < a.power:
        return None
    while high - low > STEP:
        middle = (low + high) // (2 * STEP) * STEP
        low, high = (low, middle) if power(middle) >= a.power else (middle, high)
    return high


def _largest(a: Assumptions) -> int:
    return a.max_cases // STEP * STEP


def as_text(plan: Plan) -> str:
    """Return the plan as a table with its explanation."""
    a = plan.assumptions
    lines = ["readers   cases each   readings   power   claim"]
    for need in plan.needs:
        cases = f"> {a.max_cases}" if need.cases is None else f"{need.cases}"
        readings = f"{need.readers * (need.cases + plan.repeats)}" if need.cases is not None else "–"
        claim = f"{need.claim}{' *' if need.concludes else ''}"
        lines.append(f"{need.readers:>7}   {cases:>10}   {readings:>8}   {need.power:>5.1%}   {claim}")
    lines += [
        "",
        f"for equivalence to 50% within ±{100 * a.margin:g} points at alpha {a.alpha:g} with power {a.power:.0%} or "
        f"more; assumed: average accuracy {a.accuracy:.1%}, standard deviations {a.reader_sd:g} (readers) and "
        f"{a.case_sd:g} (cases) on the logit scale",
        "* `histosynth study analyze` concludes by this claim",
    ]
    if any(need.simulated for need in plan.needs):
        error = 100 * (a.power * (1 - a.power) / a.simulations) ** 0.5
        lines.append(f"one reader: exact; more readers: {a.simulations} simulated studies, power ± {error:.1f} points")
    if plan.repeat_interval:
        low, high = plan.repeat_interval
        lines.append(
            f"{plan.repeats} repeats per reader: if 80% of them agree, the interval of a reader's agreement with "
            f"themselves is {low:.0%} to {high:.0%}"
        )
    return "\n".join(lines)

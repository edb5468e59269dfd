"""Sample size: how many readers and cases a study needs to show that readers only guess.

The answer is the least number of cases with which the simulated power (`power.py`) suffices. With several readers, the
claim about readers at large is the stronger one, and needs readers, not cases; the analysis concludes by it from
`MIN_READERS_AT_LARGE` readers on.

Repeats are second presentations: they measure whether readers agree with themselves, do not count in any accuracy, and
add no power.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tqdm import tqdm

from histosynth.errors import HistosynthError
from histosynth.study.design.power import Assumptions, simulated_power
from histosynth.study.statistics.crossed import Scope, scopes
from histosynth.study.statistics.proportion import proportion

STEP = 2
"""Cases come in pairs, one real and one synthetic."""
_FIRST = 32
_CLAIMS: list[Scope] = ["one reader", "these readers", "readers at large"]


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
            needs += _needs(assumptions, count)
            bar.update()
    agreement = proportion(round(0.8 * repeats), repeats) if repeats else None
    return Plan(
        assumptions=assumptions,
        needs=needs,
        repeats=repeats,
        repeat_interval=(agreement.low, agreement.high) if agreement else None,
    )


def _needs(a: Assumptions, readers: int) -> list[Need]:
    known: dict[int, dict[Scope, float]] = {}

    def power(cases: int, claim: Scope) -> float:
        if cases not in known:
            known[cases] = simulated_power(a, readers=readers, cases=cases)
        return known[cases][claim]

    concludes, *others = scopes(readers)
    needs = []
    for claim in sorted([concludes, *others], key=_CLAIMS.index):
        cases = _least(a, lambda n, claim=claim: power(n, claim))  # type: ignore[misc]
        needs.append(
            Need(
                readers=readers,
                claim=claim,
                concludes=claim == concludes,
                cases=cases,
                power=power(cases or _largest(a), claim),
            )
        )
    return needs


def _least(a: Assumptions, power: Callable[[int], float]) -> int | None:
    """Double, then bisect: simulated power rises with the number of cases, apart from its noise."""
    low, high = 0, min(_FIRST, _largest(a))
    while power(high) < a.power:
        if high == _largest(a):
            return None
        low, high = high, min(2 * high, _largest(a))
    while high - low > STEP:
        middle = (low + high) // (2 * STEP) * STEP
        low, high = (low, middle) if power(middle) >= a.power else (middle, high)
    return high


def _largest(a: Assumptions) -> int:
    return a.max_cases // STEP * STEP


def as_text(plan: Plan) -> str:
    """Return the plan as a table with its explanation."""
    a = plan.assumptions
    error = 100 * (a.power * (1 - a.power) / a.simulations) ** 0.5
    patients = f"real cases of {a.patients} patients" if a.patients else "one real case per patient"
    lines = ["readers   cases each   readings   power   claim"]
    for need in plan.needs:
        cases = f"> {a.max_cases}" if need.cases is None else f"{need.cases}"
        readings = f"{need.readers * (need.cases + plan.repeats)}" if need.cases is not None else "–"
        claim = f"{need.claim}{' *' if need.concludes else ''}"
        lines.append(f"{need.readers:>7}   {cases:>10}   {readings:>8}   {need.power:>5.1%}   {claim}")
    lines += [
        "",
        f"for equivalence to guessing within ±{100 * a.margin:g} points of accuracy and ±{a.area_margin:g} of the area "
        f"under the ROC curve, at alpha {a.alpha:g} with power {a.power:.0%} or more",
        f"assumed: average accuracy {a.accuracy:.1%}; {patients}; standard deviations {a.reader_sd:g} (readers), "
        f"{a.case_sd:g} (cases) and {a.patient_sd:g} (patients) on the logit scale",
        f"{a.simulations} simulated studies per design, power ± {error:.1f} points",
        "* `histosynth study analyze` concludes by this claim",
    ]
    if plan.repeat_interval:
        low, high = plan.repeat_interval
        lines.append(
            f"{plan.repeats} repeats per reader: if 80% of them agree, the interval of a reader's agreement with "
            f"themselves is {low:.0%} to {high:.0%}"
        )
    return "\n".join(lines)

"""The sentences of a reader study's report: the verdict on guessing first, then each finding."""

from collections.abc import Iterator

from histosynth.metrics.uncertainty import Interval
from histosynth.study.analysis.declared import Declared
from histosynth.study.analysis.schema import Comparison, StudyReport
from histosynth.study.statistics import MIN_READERS_AT_LARGE
from histosynth.study.statistics.crossed import Pooled, Scope

_WHO: dict[Scope, str] = {
    "one reader": "This reader was",
    "these readers": "These readers were",
    "readers at large": "Readers at large are",
}


def percent(value: float) -> str:
    """Return a share as text: 52.4%."""
    return f"{100 * value:.1f}%"


def with_interval(share: Pooled | Interval) -> str:
    """Return a share with its interval: 52.4% (95% interval 47.1 to 57.6%)."""
    return f"{percent(share.value)} ({share.level:.0%} interval {100 * share.low:.1f} to {percent(share.high)})"


def signed(value: float, digits: int = 2) -> str:
    """Return a number with a true minus sign, and zero without one: −0.21, 0.00."""
    text = f"{value:.{digits}f}"
    return "0" + text[2:] if float(text) == 0 and text.startswith("-") else text.replace("-", "−")


def p_value(p: float) -> str:
    """Return `p = 0.064`, or `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.0995 else f"p = {p:.2f}"


def points(margin: float) -> str:
    """Return a margin as text: ±10 points."""
    return f"±{100 * margin:g} points"


def margins(declared: Declared) -> str:
    """Return both margins as text."""
    return f"{points(declared.margin)} around 50% correct and ±{declared.area_margin:g} around an area of 0.5"


def sentences(report: StudyReport) -> list[str]:
    """Return the findings, the verdict on guessing first."""
    first, *others = report.pooled
    return [
        _headline(report, first),
        *(_other_scope(report, pooled) for pooled in others),
        *_preference(report),
        *_confidence(report),
        *_generators(report),
        *_learning_and_agreement(report),
    ]


def _subject(pooled: Pooled, readers: int) -> str:
    subjects = {"one reader": "This reader", "these readers": f"These {readers} readers"}
    return subjects.get(pooled.scope, "Readers at large")


def _figures(report: StudyReport, pooled: Pooled) -> str:
    """Return accuracy and area of one scope."""
    areas = [area for area in report.area if area.scope == pooled.scope]
    of_area = "".join(
        f"; area under the ROC curve {area.value:.3f} ({area.low:.3f} to {area.high:.3f}; 0.5 is guessing)"
        for area in areas
    )
    return f"{with_interval(pooled)} correct{of_area}"


def _headline(report: StudyReport, pooled: Pooled) -> str:
    result, one, readers = report.verdicts[pooled.scope], pooled.scope == "one reader", report.counts.readers
    figures, within = _figures(report, pooled), f"the declared margins ({margins(report.declared)})"
    estimated = f" (estimated from {readers} readers)" if pooled.scope == "readers at large" else ""
    subject = _subject(pooled, readers) + estimated
    if result.area is None or result.p is None or result.p_guessing is None:
        return (
            f"The study cannot show whether {subject[0].lower()}{subject[1:]} can tell real from synthetic patches: "
            f"{figures}, but without readings of both real and synthetic patches there is no area under the ROC curve."
        )
    tests = (result.accuracy.p_guessing, pooled.value), (result.area.p_guessing, _area_value(report, pooled.scope))
    better = min(tests)[1] > 0.5
    if result.conclusion == "equivalent" and result.p_guessing > report.declared.alpha:
        return (
            f"{subject} {'tells' if one else 'tell'} real from synthetic patches no better than by guessing, within "
            f"{within}: {figures}. Equivalence {p_value(result.p)}."
        )
    if result.conclusion == "equivalent":
        compared = "better" if better else "worse"
        return (
            f"{subject} {'tells' if one else 'tell'} real from synthetic patches {compared} than by guessing "
            f"({p_value(result.p_guessing)}), but by less than {within}: {figures}. Equivalence "
            f"{p_value(result.p)}."
        )
    if result.conclusion == "different":
        confuse = f"systematically {'mistakes' if one else 'mistake'} real for synthetic patches and vice versa"
        return (
            f"{subject} {'can tell real from synthetic patches' if better else confuse}: {figures}. Guessing is ruled "
            f"out ({p_value(result.p_guessing)}), and equivalence to guessing within {within} is not shown "
            f"({p_value(result.p)})."
        )
    return (
        f"The study shows neither that {subject[0].lower()}{subject[1:]} only {'guesses' if one else 'guess'} nor that "
        f"they do not: {figures}. Equivalence to guessing within {within} {p_value(result.p)}, difference from "
        f"guessing {p_value(result.p_guessing)}."
    )


def _area_value(report: StudyReport, scope: Scope) -> float:
    return next(area.value for area in report.area if area.scope == scope)


def _other_scope(report: StudyReport, pooled: Pooled) -> str:
    result, readers = report.verdicts[pooled.scope], report.counts.readers
    if result.p is None or result.p_guessing is None:
        finding = "neither equivalence to guessing nor a difference can be tested"
    else:
        finding = {
            "equivalent": f"equivalent to guessing within the margins ({p_value(result.p)})",
            "not shown": (
                f"neither equivalence to guessing ({p_value(result.p)}) nor a difference "
                f"({p_value(result.p_guessing)}) is shown"
            ),
            "different": f"guessing is ruled out ({p_value(result.p_guessing)})",
        }[result.conclusion]
    few = (
        f". {readers} readers are too few for conclusions about other readers"
        if pooled.scope == "readers at large" and readers < MIN_READERS_AT_LARGE
        else ""
    )
    return f"{_subject(pooled, readers)}: {_figures(report, pooled)}; {finding}{few}."


def _preference(report: StudyReport) -> Iterator[str]:
    """Name a preference for one answer: it lowers accuracy, and neither d' nor the area."""
    if not (report.signal and report.sensitivity and report.specificity):
        return
    criterion, d_prime = report.signal[0].criterion, report.signal[0].d_prime
    shown = criterion.low > 0 or criterion.high < 0
    preferred = "“real”" if criterion.value > 0 else "“synthetic”"
    bias = f"Readers preferred the answer {preferred}" if shown else "No preference for one answer is shown"
    effect = ", which lowers the accuracy but neither d′ nor the area" if shown else ""
    yield (
        f"{bias}{effect}: criterion {signed(criterion.value)} ({signed(criterion.low)} to {signed(criterion.high)}; "
        f"0 is none). They called {percent(report.sensitivity[0].value)} of the synthetic and "
        f"{percent(1 - report.specificity[0].value)} of the real patches synthetic; d′ {signed(d_prime.value)} "
        f"({signed(d_prime.low)} to {signed(d_prime.high)})."
    )


def _confidence(report: StudyReport) -> Iterator[str]:
    result = report.confidence
    if result.synthetic_above_real is None or result.mean_real is None or result.mean_synthetic is None:
        return
    above = result.synthetic_above_real
    who = _WHO[above.scope]
    if above.high < 0.5:
        finding = f"{who} less confident on synthetic patches"
    elif above.low > 0.5:
        finding = f"{who} more confident on synthetic patches"
    else:
        finding = "No difference in confidence between real and synthetic patches is shown"
    odds = ""
    if result.odds_ratio and result.p is not None:
        ratio = result.odds_ratio
        span = f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f}), {p_value(result.p)}"
        odds = f"; odds ratio of higher confidence on synthetic patches {span}"
    yield (
        f"{finding}: mean {result.mean_synthetic:.2f} on synthetic and {result.mean_real:.2f} on real patches, of 5. "
        f"Confidence was higher on the synthetic patch in {100 * above.value:.0f}% of pairs ({100 * above.low:.0f} to "
        f"{100 * above.high:.0f}%; 50% is no difference){odds}."
    )


def _generators(report: StudyReport) -> Iterator[str]:
    for comparison in report.comparisons:
        yield comparison_sentence(comparison, alpha=report.declared.alpha)


def comparison_sentence(comparison: Comparison, *, alpha: float) -> str:
    """Return the comparison of two generators as a sentence."""
    first, second, difference = comparison.first, comparison.second, comparison.difference.difference
    value, low, high = (signed(100 * v, 1) for v in (difference.value, difference.low, difference.high))
    span = f"{value} points, {low} to {high}"
    if comparison.p_holm <= alpha:
        more, less = (first, second) if difference.value > 0 else (second, first)
        return (
            f"Patches of {more} were recognized as synthetic more often than those of {less} "
            f"({first} minus {second}: {span}; {p_value(comparison.p_holm)})."
        )
    return (
        f"No difference between {first} and {second} in how often patches were recognized is shown "
        f"({span}; {p_value(comparison.p_holm)}). This does not prove that there is none."
    )


def _learning_and_agreement(report: StudyReport) -> Iterator[str]:
    slope = report.learning
    if slope and (slope.low > 0 or slope.high < 0):
        yield (
            f"Readers got {'better' if slope.value > 0 else 'worse'} during the session: the log odds of a correct "
            f"reading changed by {signed(slope.value)} from the first case to the last ({signed(slope.low)} to "
            f"{signed(slope.high)})."
        )
    kappa = report.agreement.krippendorff
    if kappa:
        above_chance = kappa.low > 0
        yield (
            f"Agreement between readers on real or synthetic: Krippendorff’s alpha {signed(kappa.value)} "
            f"({signed(kappa.low)} to {signed(kappa.high)}){'' if above_chance else ', not shown to exceed chance'}."
        )

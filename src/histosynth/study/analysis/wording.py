"""The sentences of a reader study's report: the verdict first, then each finding, and all cautions."""

from collections.abc import Iterator

from histosynth.caution import Caution
from histosynth.metrics.uncertainty import Interval
from histosynth.study.analysis.schema import Comparison, StudyReport
from histosynth.study.statistics import MIN_READERS_AT_LARGE
from histosynth.study.statistics.crossed import Pooled
from histosynth.study.statistics.equivalence import Equivalence, tost

MIN_CASES = 20
"""Real cases, or synthetic cases; with fewer, intervals over cases are unreliable."""
MIN_PATIENTS = 5


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


def verdict(report: StudyReport) -> list[str]:
    """Return the findings, the most important first."""
    first, *others = report.pooled
    sentences = [_headline(first, report.counts.readers)]
    sentences += [_other_scope(pooled, report.counts.readers) for pooled in others]
    sentences += [
        *_discrimination(report),
        *_confidence(report),
        *_generators(report),
        *_learning_and_agreement(report),
    ]
    return sentences


def _subject(pooled: Pooled, readers: int) -> str:
    subjects = {"one reader": "This reader", "these readers": f"These {readers} readers"}
    return subjects.get(pooled.scope, "Readers at large")


def _headline(pooled: Pooled, readers: int) -> str:
    test, one = _equivalence(pooled), pooled.scope == "one reader"
    subject = _subject(pooled, readers) + (
        f" (estimated from {readers} readers)" if pooled.scope == "readers at large" else ""
    )
    if test.conclusion == "equivalent":
        though = f"; accuracy is not exactly 50%, however ({p_value(test.p_guessing)})"
        return (
            f"{subject} {'tells' if one else 'tell'} real from synthetic patches no better than by guessing, within "
            f"the declared margin of {points(test.margin)} around 50%: {with_interval(pooled)} correct, equivalence "
            f"{p_value(test.p)}{though if test.p_guessing <= test.alpha else ''}."
        )
    if test.conclusion == "different":
        confuse = f"systematically {'mistakes' if one else 'mistake'} real for synthetic patches and vice versa"
        finding = "can tell real from synthetic patches" if pooled.value > 0.5 else confuse
        return (
            f"{subject} {finding}: {with_interval(pooled)} correct. Guessing is ruled out "
            f"({p_value(test.p_guessing)}), and equivalence to guessing within {points(test.margin)} is not shown "
            f"({p_value(test.p)})."
        )
    return (
        f"The study shows neither that {subject[0].lower()}{subject[1:]} only {'guesses' if one else 'guess'} nor that "
        f"they do not: {with_interval(pooled)} correct; equivalence to 50% within the declared {points(test.margin)} "
        f"{p_value(test.p)}, difference from guessing {p_value(test.p_guessing)}."
    )


def _other_scope(pooled: Pooled, readers: int) -> str:
    test = _equivalence(pooled)
    findings = {
        "equivalent": f"equivalent to guessing within {points(test.margin)} ({p_value(test.p)})",
        "not shown": (
            f"neither equivalence to guessing ({p_value(test.p)}) nor a difference ({p_value(test.p_guessing)}) "
            "is shown"
        ),
        "different": f"guessing is ruled out ({p_value(test.p_guessing)})",
    }
    few = (
        f". {readers} readers are too few for conclusions about other readers"
        if pooled.scope == "readers at large" and readers < MIN_READERS_AT_LARGE
        else ""
    )
    return f"{_subject(pooled, readers)}: {with_interval(pooled)} correct; {findings[test.conclusion]}{few}."


def _equivalence(pooled: Pooled) -> Equivalence:
    assert pooled.equivalence is not None, "the accuracy over all readers is always tested"
    return pooled.equivalence


def _discrimination(report: StudyReport) -> Iterator[str]:
    if report.sensitivity and report.specificity:
        yield (
            f"Readers called {percent(report.sensitivity[0].value)} of the synthetic patches and "
            f"{percent(1 - report.specificity[0].value)} of the real patches synthetic."
        )
    if report.area:
        at_large = report.area.at_large if report.pooled[0].scope == "readers at large" else None
        area = at_large or report.area.delong
        yield (
            f"The mean area under the ROC curve of signed confidence is {area.value:.3f} ({area.level:.0%} interval "
            f"{area.low:.3f} to {area.high:.3f}); 0.5 is guessing."
        )


def _confidence(report: StudyReport) -> Iterator[str]:
    result = report.confidence
    if result.synthetic_above_real is None or result.mean_real is None or result.mean_synthetic is None:
        return
    above = result.synthetic_above_real
    if above.high < 0.5:
        finding = "Readers were less confident on synthetic patches"
    elif above.low > 0.5:
        finding = "Readers were more confident on synthetic patches"
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
        yield comparison_sentence(comparison, alpha=report.alpha)


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


def cautions(report: StudyReport) -> list[Caution]:
    """Return everything that limits the results, the most serious first."""
    alarms = [Caution(level="alarm", text=text) for text in _alarms(report)]
    return [*alarms, *(Caution(level="note", text=text) for text in _notes(report))]


def _alarms(report: StudyReport) -> Iterator[str]:
    counts = report.counts
    if report.interim:
        missing = ", ".join(f"{name}: {number}" for name, number in counts.missing.items())
        yield (
            f"Interim: readings are missing ({missing}). Anyone who has seen this page is no longer blinded, and "
            "stopping or continuing because of it invalidates the declared test."
        )
    if not counts.real_cases or not counts.synthetic_cases:
        kind = "synthetic" if counts.synthetic_cases else "real"
        yield f"All cases are {kind}: accuracy only shows how often readers said so, not whether they can tell."
    elif counts.real_cases != counts.synthetic_cases:
        real, synthetic = counts.real_cases, counts.synthetic_cases
        yield (
            f"There are {real} real and {synthetic} synthetic cases. Always giving the more frequent answer would be "
            f"correct in {percent(max(real, synthetic) / (real + synthetic))}, so 50% is not the accuracy of guessing. "
            "Use d′ and the area under the curve instead."
        )
    least = _least_readings(report.margin, report.alpha)
    effective = report.pooled[0].effective
    if effective < least:
        yield (
            f"Too few readings: they are equivalent to {effective:.0f} independent readings, and even with exactly 50% "
            f"correct, {least} are needed to show equivalence within {points(report.margin)}. Here, “not shown” says "
            "nothing about the readers."
        )


def _least_readings(margin: float, alpha: float) -> int:
    """Return the fewest independent readings that can show equivalence, with half of them correct."""
    n = 2
    while float(tost(n / 2, n, margin=margin)) > alpha:
        n += 2
    return n


def _notes(report: StudyReport) -> Iterator[str]:
    counts = report.counts
    if counts.readers < MIN_READERS_AT_LARGE:
        subject = "this reader" if counts.readers == 1 else f"these {counts.readers} readers"
        yield (
            f"The conclusion holds for {subject} only. Conclusions about readers at large need at least "
            f"{MIN_READERS_AT_LARGE} readers."
        )
    for kind, number in (("real", counts.real_cases), ("synthetic", counts.synthetic_cases)):
        if 0 < number < MIN_CASES:
            yield f"Only {number} {kind} cases: intervals over cases are approximate."
    if 0 < counts.patients < MIN_PATIENTS:
        yield (
            f"The real cases come from {counts.patients} patient{'s' if counts.patients > 1 else ''}. Cases of one "
            "patient resemble each other, but the intervals treat cases as independent."
        )
    for name, number in counts.withdrawn.items():
        yield f"{name} did not finish: {number} readings are missing. The existing readings are used."
    if not counts.repeats and not report.interim:
        yield "No case was read twice, so the agreement of readers with themselves is unknown."
    if len(report.readers) > 1:
        yield "Results of single readers, labels and confidence levels are not adjusted for multiple comparisons."

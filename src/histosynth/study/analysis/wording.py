"""What a reader study's report says in sentences: the verdict first, then each finding, and every reason for care."""

from collections.abc import Iterator

from histosynth.caution import Caution
from histosynth.metrics.uncertainty import Interval
from histosynth.study.analysis.schema import Comparison, StudyReport
from histosynth.study.statistics import MIN_READERS_AT_LARGE
from histosynth.study.statistics.crossed import Pooled
from histosynth.study.statistics.equivalence import Equivalence, tost

MIN_CASES = 20
"""Of a kind; below, intervals over cases mean little."""
MIN_PATIENTS = 5


def percent(value: float) -> str:
    """A share: 52.4%."""
    return f"{100 * value:.1f}%"


def with_interval(found: Pooled | Interval) -> str:
    """A share with its interval: 52.4% (95% interval 47.1 to 57.6%)."""
    return f"{percent(found.value)} ({found.level:.0%} interval {100 * found.low:.1f} to {percent(found.high)})"


def signed(value: float, digits: int = 2) -> str:
    """A number with a true minus, and zero without one: −0.21, 0.00."""
    text = f"{value:.{digits}f}"
    return "0" + text[2:] if float(text) == 0 and text.startswith("-") else text.replace("-", "−")


def p_value(p: float) -> str:
    """`p = 0.064`, or `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.0995 else f"p = {p:.2f}"


def points(margin: float) -> str:
    """±10 points."""
    return f"±{100 * margin:g} points"


def verdict(report: StudyReport) -> list[str]:
    """The findings in the order of their weight."""
    first, *others = report.pooled
    said = [_headline(first, report.counts.readers)]
    said += [_other_scope(pooled, report.counts.readers) for pooled in others]
    said += [*_telling_apart(report), *_confidence(report), *_generators(report), *_course(report)]
    return said


def _who(pooled: Pooled, readers: int) -> str:
    one = {"one reader": "This reader", "these readers": f"These {readers} readers"}
    return one.get(pooled.scope, "Readers at large")


def _headline(pooled: Pooled, readers: int) -> str:
    found, one = _verdict_of(pooled), pooled.scope == "one reader"
    who = _who(pooled, readers) + (f" ({readers} read)" if pooled.scope == "readers at large" else "")
    if found.conclusion == "equivalent":
        tail = f"; though not at exactly 50% ({p_value(found.p_guessing)})" if found.p_guessing <= found.alpha else ""
        return (
            f"{who} {'tells' if one else 'tell'} real from synthetic patches no better than by guessing, within the "
            f"{points(found.margin)} about 50% declared beforehand: {with_interval(pooled)} correct, equivalence "
            f"{p_value(found.p)}{tail}."
        )
    if found.conclusion == "different":
        wrong = f"{'takes' if one else 'take'} real and synthetic patches for each other"
        what = "can tell real from synthetic patches" if pooled.value > 0.5 else wrong
        return (
            f"{who} {what}: {with_interval(pooled)} correct, guessing is ruled out ({p_value(found.p_guessing)}), and "
            f"equivalence to it within {points(found.margin)} is not shown ({p_value(found.p)})."
        )
    return (
        f"It is not shown that {who[0].lower()}{who[1:]} only {'guesses' if one else 'guess'}, nor that they do not: "
        f"{with_interval(pooled)} correct; equivalence to 50% within the declared {points(found.margin)} "
        f"{p_value(found.p)}, guessing {p_value(found.p_guessing)}."
    )


def _other_scope(pooled: Pooled, readers: int) -> str:
    found = _verdict_of(pooled)
    said = {
        "equivalent": f"equivalent to guessing within {points(found.margin)} ({p_value(found.p)})",
        "not shown": (
            f"neither equivalence to guessing ({p_value(found.p)}) nor a difference ({p_value(found.p_guessing)}) shown"
        ),
        "different": f"guessing ruled out ({p_value(found.p_guessing)})",
    }
    few = (
        f". {readers} readers say little about others"
        if pooled.scope == "readers at large" and readers < MIN_READERS_AT_LARGE
        else ""
    )
    return f"{_who(pooled, readers)}: {with_interval(pooled)} correct, {said[found.conclusion]}{few}."


def _verdict_of(pooled: Pooled) -> Equivalence:
    assert pooled.equivalence is not None, "the accuracy over all readers has its verdict"
    return pooled.equivalence


def _telling_apart(report: StudyReport) -> Iterator[str]:
    if report.sensitivity and report.specificity:
        yield (
            f"Of synthetic patches {percent(report.sensitivity[0].value)} were called synthetic, of real ones "
            f"{percent(1 - report.specificity[0].value)}."
        )
    if report.area:
        at_large = report.area.at_large if report.pooled[0].scope == "readers at large" else None
        area = at_large or report.area.delong
        yield (
            f"From signed confidence, the mean area under the ROC curve is {area.value:.3f} ({area.level:.0%} interval "
            f"{area.low:.3f} to {area.high:.3f}); 0.5 is guessing."
        )


def _confidence(report: StudyReport) -> Iterator[str]:
    found = report.confidence
    if found.synthetic_above_real is None or found.mean_real is None or found.mean_synthetic is None:
        return
    above = found.synthetic_above_real
    if above.high < 0.5:
        what = "Readers were less confident on synthetic patches"
    elif above.low > 0.5:
        what = "Readers were more confident on synthetic patches"
    else:
        what = "No difference in confidence between real and synthetic patches is shown"
    odds = ""
    if found.odds_ratio and found.p is not None:
        ratio = found.odds_ratio
        span = f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f}), {p_value(found.p)}"
        odds = f"; odds of more confidence on synthetic {span}"
    yield (
        f"{what}: {found.mean_synthetic:.2f} against {found.mean_real:.2f} of 5; a synthetic patch got more confidence "
        f"than a real one in {100 * above.value:.0f}% of pairs ({100 * above.low:.0f} to {100 * above.high:.0f}%; "
        f"50% is no difference){odds}."
    )


def _generators(report: StudyReport) -> Iterator[str]:
    for found in report.comparisons:
        yield comparison_sentence(found, alpha=report.alpha)


def comparison_sentence(found: Comparison, *, alpha: float) -> str:
    """Two generators in a sentence."""
    apart = found.difference.difference
    value, low, high = (signed(100 * v, 1) for v in (apart.value, apart.low, apart.high))
    span = f"{value} points, {low} to {high}"
    if found.p_holm <= alpha:
        more, less = (found.first, found.second) if apart.value > 0 else (found.second, found.first)
        return (
            f"Patches of {more} were recognized as synthetic more often than those of {less} "
            f"({found.first} less {found.second}: {span}; {p_value(found.p_holm)})."
        )
    return (
        f"No difference between {found.first} and {found.second} in how often patches were recognized is shown "
        f"({span}; {p_value(found.p_holm)}); that is not to say that there is none."
    )


def _course(report: StudyReport) -> Iterator[str]:
    slope = report.learning
    if slope and (slope.low > 0 or slope.high < 0):
        yield (
            f"Readers got {'better' if slope.value > 0 else 'worse'} on the way: log odds of a correct reading "
            f"{signed(slope.value)} from the first case to the last ({signed(slope.low)} to {signed(slope.high)})."
        )
    kappa = report.agreement.krippendorff
    if kappa:
        more = kappa.low > 0
        yield (
            f"Agreement between readers on real or synthetic: Krippendorff’s alpha {signed(kappa.value)} "
            f"({signed(kappa.low)} to {signed(kappa.high)}){'' if more else ', not shown to be more than chance'}."
        )


def cautions(report: StudyReport) -> list[Caution]:
    """Everything that limits the figures, the gravest first."""
    alarms = [Caution(level="alarm", text=text) for text in _alarms(report)]
    return [*alarms, *(Caution(level="note", text=text) for text in _notes(report))]


def _alarms(report: StudyReport) -> Iterator[str]:
    counts = report.counts
    if report.interim:
        lack = ", ".join(f"{name}: {number}" for name, number in counts.missing.items())
        yield (
            f"Interim: readings are missing ({lack}). Whoever has seen this page is no longer blind, and to stop or go "
            "on because of it makes the declared test invalid."
        )
    if not counts.real_cases or not counts.synthetic_cases:
        kind = "synthetic" if counts.synthetic_cases else "real"
        yield f"All cases are {kind}: accuracy says how often that was said, and not whether readers can tell."
    elif counts.real_cases != counts.synthetic_cases:
        real, synthetic = counts.real_cases, counts.synthetic_cases
        yield (
            f"There are {real} real and {synthetic} synthetic cases: who says the commoner always is right in "
            f"{percent(max(real, synthetic) / (real + synthetic))}, so 50% is not what guessing gives. Read d′ and the "
            "area under the curve instead."
        )
    least = _least_readings(report.margin, report.alpha)
    worth = report.pooled[0].effective
    if worth < least:
        yield (
            f"Too few readings: they are worth {worth:.0f} independent ones, and even at exactly 50% correct it takes "
            f"{least} to show equivalence within {points(report.margin)}. “Not shown” says nothing about readers here."
        )


def _least_readings(margin: float, alpha: float) -> int:
    """The fewest independent readings that can show equivalence, half of them correct."""
    n = 2
    while float(tost(n / 2, n, margin=margin)) > alpha:
        n += 2
    return n


def _notes(report: StudyReport) -> Iterator[str]:
    counts = report.counts
    if counts.readers < MIN_READERS_AT_LARGE:
        who = "reader" if counts.readers == 1 else "readers"
        yield (
            f"{counts.readers} {who}: the conclusion is on {'this' if counts.readers == 1 else 'these'} {who}. From "
            f"{MIN_READERS_AT_LARGE} on it is on readers at large."
        )
    for kind, number in (("real", counts.real_cases), ("synthetic", counts.synthetic_cases)):
        if 0 < number < MIN_CASES:
            yield f"Only {number} {kind} cases: intervals over cases are rough."
    if 0 < counts.patients < MIN_PATIENTS:
        yield (
            f"The real cases come from {counts.patients} patient{'s' if counts.patients > 1 else ''}; cases of one "
            "patient resemble each other, and the intervals take cases for independent."
        )
    for name, number in counts.left.items():
        yield f"{name} left with {number} readings missing; those given are used."
    if not counts.repeats and not report.interim:
        yield "No case was read twice: whether readers agree with themselves is not known."
    if len(report.readers) > 1:
        yield "Figures of single readers, labels and confidence levels are looked at side by side without adjustment."

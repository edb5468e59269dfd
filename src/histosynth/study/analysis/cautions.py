"""Cautions of a reader study's report: everything that limits its results, the most serious first."""

from collections.abc import Iterator

from histosynth.caution import Caution
from histosynth.study.analysis.schema import StudyReport
from histosynth.study.analysis.wording import percent, points
from histosynth.study.statistics import MIN_READERS_AT_LARGE
from histosynth.study.statistics.equivalence import tost

MIN_CASES = 20
"""Real cases, or synthetic cases; with fewer, intervals over cases are unreliable."""
MIN_PATIENTS = 5


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
    if counts.patients == 1 and not counts.unnamed_patients:
        yield "All real cases come from one patient: they show nothing about the tissue of other patients."
    least = _least_readings(report.declared.margin, report.declared.alpha)
    effective = report.pooled[0].effective
    if effective < least:
        yield (
            f"Too few readings: they are equivalent to {effective:.0f} independent readings, and even with exactly 50% "
            f"correct, {least} are needed to show equivalence within {points(report.declared.margin)}. Here, “not "
            "shown” says nothing about the readers."
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
    if pixels := report.pixel_auc:
        yield (
            "A program could still tell real from synthetic pictures by traces in their pixels: area under its ROC "
            f"curve {pixels.value:.2f} ({pixels.low:.2f} to {pixels.high:.2f}; 0.5 is guessing; {pixels.note})."
        )
    for kind, number in (("real", counts.real_cases), ("synthetic", counts.synthetic_cases)):
        if 0 < number < MIN_CASES:
            yield f"Only {number} {kind} cases: intervals over cases are approximate."
    if 1 < counts.patients < MIN_PATIENTS:
        yield (
            f"The real cases come from {counts.patients} patients. Cases of one patient count together, and so few "
            "patients say little about others: intervals are wide."
        )
    if counts.unnamed_patients:
        yield (
            f"The patient of {counts.unnamed_patients} real cases is not named; each counts as a patient of its own. "
            "If they share patients, intervals are too narrow, and equivalence is declared too often."
        )
    for name, number in counts.withdrawn.items():
        yield f"{name} did not finish: {number} readings are missing. The existing readings are used."
    if not counts.repeats and not report.interim:
        yield "No case was read twice, so the agreement of readers with themselves is unknown."
    if len(report.readers) > 1:
        yield "Results of single readers, labels and confidence levels are not adjusted for multiple comparisons."

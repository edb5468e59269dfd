"""From readings to the report: results against counts by hand, and cautions about few readings."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest, mannwhitneyu

from histosynth.errors import HistosynthError
from histosynth.study.analysis.analysis import analysis
from histosynth.study.analysis.declared import declaration
from histosynth.study.analysis.readings import Readings
from histosynth.study.analysis.schema import StudyReport, as_json
from histosynth.study.analysis.table import Table


def analyze(readings: Readings, **changes: float) -> StudyReport:
    """Analyze readings as declared in them, except for `changes`."""
    assert readings.declared is not None
    return analysis(readings, declared=replace(readings.declared, **changes), progress=False)


def select(readings: Readings, condition) -> Readings:
    return replace(readings, readings=[r for r in readings.readings if condition(r)])


def test_each_reader_s_results_come_from_first_readings(make_readings) -> None:
    readings = make_readings(3, 48, skill=0.5)
    report = analyze(readings)
    assert (report.counts.readings, report.counts.repeats, report.counts.patients) == (144, 18, 7)
    for name, facts in report.readers.items():
        own = [r for r in readings.readings if r.reader == name and not r.is_repeat]
        truth = binomtest(sum(r.correct for r in own if r.truth == "synthetic"), 24).proportion_ci(method="exact")
        assert (facts.accuracy.n, facts.accuracy.value) == (48, sum(r.correct for r in own) / 48)
        assert (facts.sensitivity.low, facts.sensitivity.high) == pytest.approx((truth.low, truth.high))
        scores = {kind: [r.score for r in own if r.truth == kind] for kind in ("real", "synthetic")}
        u = mannwhitneyu(scores["synthetic"], scores["real"]).statistic / 24**2
        assert facts.area is not None
        assert facts.area.value == pytest.approx(u)
        assert facts.repeats is not None
        again = {r.case: r for r in readings.readings if r.reader == name and r.is_repeat}
        assert facts.repeats.same.count == sum(again[r.case].said == r.said for r in own if r.case in again)
        assert facts.times.median is not None
        assert facts.times.median.value == pytest.approx(np.median([r.seconds for r in own]))


def test_results_over_all_readers(make_readings) -> None:
    readings = make_readings(5, 48, skill=0.5)
    first = [r for r in readings.readings if not r.is_repeat]
    report = analyze(readings)
    assert [p.scope for p in report.pooled] == ["readers at large", "these readers"]
    assert report.pooled[0].value == pytest.approx(np.mean([r.correct for r in first]))
    synthetic = [r for r in first if r.truth == "synthetic"]
    assert report.sensitivity[0].value == pytest.approx(np.mean([r.correct for r in synthetic]))
    assert report.specificity[0].value == pytest.approx(np.mean([r.correct for r in first if r.truth == "real"]))
    areas = [facts.area.value for facts in report.readers.values() if facts.area]
    assert report.area_bootstrap is not None
    assert report.area[0].value == pytest.approx(report.area_bootstrap.value) == pytest.approx(np.mean(areas))
    assert {k: p.n for k, p in report.calibration.items()} == {
        k: sum(r.confidence == k for r in first) for k in range(1, 6)
    }
    for label, group in report.labels.items():
        own = [r.correct for r in first if r.label == label]
        assert group.accuracy[0].value == pytest.approx(np.mean(own))
        assert group.accuracy[0].readings == len(own)


def test_the_order_of_readings_changes_only_the_bootstrap(make_readings) -> None:
    readings = make_readings(3, 24)
    reversed_order = replace(readings, readings=readings.readings[::-1])
    a, b = analyze(readings), analyze(reversed_order)
    assert a.pooled == b.pooled
    assert a.learning is not None
    assert b.learning is not None
    assert a.learning.value == pytest.approx(b.learning.value)
    assert a.readers == b.readers
    assert analyze(readings) == a


def test_generators_are_paired_by_seed_and_label(make_readings) -> None:
    readings = make_readings(2, 48, generators=("gan", "unet"))
    (comparison,) = analyze(readings).comparisons
    assert (comparison.first, comparison.second) == ("gan", "unet")
    assert "12 pairs" in comparison.note
    own = [r for r in readings.readings if r.reader == "Reader 1" and not r.is_repeat]
    a, b = ({r.patch_id.split("_")[1]: r.correct for r in own if r.source == name} for name in ("gan", "unet"))
    test = comparison.readers["Reader 1"].mcnemar
    assert test is not None
    assert test.first_only == sum(a[seed] and not b[seed] for seed in a)
    share = [
        np.mean([r.correct for r in readings.readings if r.source == g and not r.is_repeat]) for g in ("gan", "unet")
    ]
    assert comparison.difference.difference.value == pytest.approx(share[0] - share[1])


def test_generators_named_differently_than_their_runs_are_paired(make_readings) -> None:
    readings = make_readings(1, 48, generators=("gan", "unet"))
    named = {"gan": "A", "unet": "B", "real": "real"}
    renamed = replace(readings, readings=[replace(r, source=named[r.source]) for r in readings.readings])
    (a,), (b,) = (analyze(r).comparisons for r in (readings, renamed))
    assert a.readers["Reader 1"] == b.readers["Reader 1"]


def test_different_seeds_are_not_paired(make_readings) -> None:
    readings = make_readings(1, 48, generators=("gan", "unet"))
    different_seeds = [replace(r, patch_id=r.patch_id + "9") if r.source == "gan" else r for r in readings.readings]
    (comparison,) = analyze(replace(readings, readings=different_seeds)).comparisons
    assert comparison.readers["Reader 1"].mcnemar is None
    assert "there are no pairs" in comparison.note


def test_the_verdict_is_a_sentence(make_readings) -> None:
    guess = analyze(make_readings(6, 300, repeats=0))
    assert guess.verdicts["readers at large"].conclusion == "equivalent"
    expected = "Readers at large (estimated from 6 readers) tell real from synthetic patches no better than"
    assert guess.verdict[0].startswith(expected)
    tell = analyze(make_readings(2, 100, skill=1.5))
    assert tell.verdict[0].startswith("These 2 readers can tell real from synthetic patches")
    wrong = analyze(make_readings(1, 100, skill=-1.5))
    assert wrong.verdict[0].startswith("This reader systematically mistakes real for synthetic patches and vice versa")
    few = analyze(make_readings(1, 12))
    assert few.verdict[0].startswith("The study shows neither that this reader only guesses nor that they do not")
    assert any("Readers at large are less confident on synthetic" in sentence for sentence in guess.verdict)


def test_few_readings_raise_cautions(make_readings) -> None:
    few = analyze(make_readings(1, 12, repeats=0))
    texts = [c.text for c in few.cautions]
    assert any(
        c.level == "alarm" and "Too few readings" in c.text and "76 are needed to show" in c.text for c in few.cautions
    )
    assert any("Only 6 real cases" in text for text in texts)
    assert any("No case was read twice" in text for text in texts)
    uneven = select(make_readings(2, 48), lambda r: r.truth == "real" or r.label != "a")
    assert any("50% is not the accuracy of guessing" in c.text for c in analyze(uneven).cautions)


def test_an_interim_report_says_so(make_readings) -> None:
    readings = replace(make_readings(2, 24), planned={"Reader 1": 30, "Reader 2": 40})
    report = analyze(readings)
    assert report.interim
    assert report.cautions[0].level == "alarm"
    assert "Reader 2: 10" in report.cautions[0].text


@pytest.mark.parametrize("kind", ["real", "synthetic"])
def test_cases_of_only_one_kind_are_no_error(make_readings, kind: str) -> None:
    report = analyze(select(make_readings(2, 24), lambda r: r.truth == kind))
    assert report.area == []
    assert any(f"All cases are {kind}" in c.text for c in report.cautions)
    assert as_json(report)["area"] == []


def test_one_reading_is_no_error(make_readings) -> None:
    readings = make_readings(1, 12)
    report = analyze(replace(readings, readings=readings.readings[:1]))
    assert report.pooled[0].readings == 1
    as_json(report)


def test_readers_who_read_different_cases_are_no_error(make_readings) -> None:
    readings = make_readings(2, 24)
    half = {facts.case for facts in Table.of(readings.readings).cases[:12]}
    report = analyze(select(readings, lambda r: (r.case in half) == (r.reader == "Reader 1")))
    assert report.area_bootstrap is None
    assert report.agreement.fleiss is None
    as_json(report)


def test_the_margins_must_be_the_declared_ones(make_readings) -> None:
    in_study = make_readings(1, 12).declared
    nothing = {"margin": None, "area_margin": None, "alpha": None}
    assert declaration(in_study, **nothing) == in_study
    with pytest.raises(HistosynthError, match="omit --margin"):
        declaration(in_study, **nothing | {"margin": 0.2})
    with pytest.raises(HistosynthError, match="pass those that you declared"):
        declaration(None, **nothing | {"margin": 0.2})
    with pytest.raises(HistosynthError, match=r"--area-margin 0.6 must be between 0 and 0\.5"):
        declaration(None, margin=0.1, area_margin=0.6, alpha=None)
    assert declaration(None, margin=0.2, area_margin=0.2, alpha=None).alpha == 0.05


def test_readers_who_prefer_real_are_not_said_to_guess(make_readings) -> None:
    """Five readers with d' = 0.8 who call most patches real: accuracy alone would show equivalence."""
    readings = biased_readings(make_readings(5, 400, repeats=0), d=0.8, criterion=1.3)
    report = analyze(readings)
    accuracy, area = report.verdicts["readers at large"].accuracy, report.area[0]
    assert accuracy.conclusion == "equivalent"
    assert 0.53 < report.pooled[0].value < 0.59
    assert 0.66 < area.value < 0.76
    assert report.verdicts["readers at large"].conclusion == "different"
    assert report.verdict[0].startswith("Readers at large (estimated from 5 readers) can tell real from synthetic")
    assert "no better than" not in " ".join(report.verdict)
    assert any("Readers preferred the answer “real”" in sentence for sentence in report.verdict)
    assert report.signal[0].criterion.low > 0.7


def biased_readings(readings: Readings, *, d: float, criterion: float) -> Readings:
    """Replace the answers by those of readers with this d' and criterion; one patient per real case."""
    rng = np.random.default_rng(0)
    answers = []
    for r in readings.readings:
        x = rng.normal() + d * ((r.truth == "synthetic") - 0.5) - criterion
        patient = f"P {r.case}" if r.truth == "real" else None
        said, level = "synthetic" if x > 0 else "real", 1 + int(np.digitize(abs(x), [0.3, 0.7, 1.2, 1.8]))
        answers.append(replace(r, said=said, confidence=level, patient_id=patient))
    return replace(readings, readings=answers)


def test_a_small_difference_within_the_margins_is_named(make_readings) -> None:
    readings = biased_readings(make_readings(2, 1600, repeats=0), d=0.17, criterion=0.0)
    report = analyze(readings)
    assert report.verdicts["these readers"].conclusion == "equivalent"
    assert "better than by guessing (p" in report.verdict[0]
    assert "but by less than the declared margins" in report.verdict[0]
    assert "no better" not in report.verdict[0]


def test_real_cases_of_one_patient_count_together(make_readings) -> None:
    readings = make_readings(5, 96, repeats=0)
    alone = replace(readings, readings=[replace(r, patient_id=None) for r in readings.readings])
    one = replace(readings, readings=[replace(r, patient_id=r.patient_id and "P") for r in readings.readings])
    assert analyze(alone).counts.unnamed_patients == 48
    assert any("48 real cases is not named" in caution.text for caution in analyze(alone).cautions)
    report = analyze(one)
    assert (report.pooled[0].low, report.pooled[0].high) == (0, 1)
    assert report.verdicts["readers at large"].conclusion == "not shown"
    assert any(c.level == "alarm" and "come from one patient" in c.text for c in report.cautions)


def test_extreme_cases(make_readings) -> None:
    readings = make_readings(3, 48)
    patches = analyze(readings).patches
    scores = {}
    for r in readings.readings:
        if r.truth == "synthetic" and not r.is_repeat:
            scores.setdefault(r.case, []).append(r.score)
    means = sorted(np.mean(values) for values in scores.values())
    assert [p.score for p in patches.most_convincing] == pytest.approx(means[:6])
    assert [p.score for p in patches.least_convincing] == pytest.approx(means[::-1][:6])
    assert all(p.truth == "real" for p in patches.mistaken)

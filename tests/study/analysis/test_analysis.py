"""From readings to the report: results against counts by hand, and cautions about few readings."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest, mannwhitneyu

from histosynth.errors import HistosynthError
from histosynth.study.analysis.analysis import analysis
from histosynth.study.analysis.readings import Readings
from histosynth.study.analysis.schema import as_json
from histosynth.study.analysis.table import Table


def select(readings: Readings, condition) -> Readings:
    return replace(readings, readings=[r for r in readings.readings if condition(r)])


def test_each_reader_s_results_come_from_first_readings(make_readings) -> None:
    readings = make_readings(3, 48, skill=0.5)
    report = analysis(readings, progress=False)
    assert (report.counts.readings, report.counts.repeats, report.counts.patients) == (144, 18, 7)
    for name, facts in report.readers.items():
        own = [r for r in readings.readings if r.reader == name and not r.is_repeat]
        truth = binomtest(sum(r.correct for r in own), 48).proportion_ci(method="exact")
        assert (facts.accuracy.n, facts.accuracy.value) == (48, sum(r.correct for r in own) / 48)
        assert (facts.accuracy.low, facts.accuracy.high) == pytest.approx((truth.low, truth.high))
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
    report = analysis(readings, progress=False)
    assert [p.scope for p in report.pooled] == ["readers at large", "these readers"]
    assert report.pooled[0].value == pytest.approx(np.mean([r.correct for r in first]))
    synthetic = [r for r in first if r.truth == "synthetic"]
    assert report.sensitivity[0].value == pytest.approx(np.mean([r.correct for r in synthetic]))
    assert report.specificity[0].value == pytest.approx(np.mean([r.correct for r in first if r.truth == "real"]))
    assert report.area is not None
    areas = [facts.area.value for facts in report.readers.values() if facts.area]
    assert report.area.delong.value == report.area.bootstrap.value == pytest.approx(np.mean(areas))
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
    a, b = analysis(readings, progress=False), analysis(reversed_order, progress=False)
    assert a.pooled == b.pooled
    assert a.learning is not None
    assert b.learning is not None
    assert a.learning.value == pytest.approx(b.learning.value)
    assert a.readers == b.readers
    assert analysis(readings, progress=False) == a


def test_generators_are_paired_by_seed_and_label(make_readings) -> None:
    readings = make_readings(2, 48, generators=("gan", "unet"))
    (comparison,) = analysis(readings, progress=False).comparisons
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
    (a,), (b,) = (analysis(r, progress=False).comparisons for r in (readings, renamed))
    assert a.readers["Reader 1"] == b.readers["Reader 1"]


def test_different_seeds_are_not_paired(make_readings) -> None:
    readings = make_readings(1, 48, generators=("gan", "unet"))
    different_seeds = [replace(r, patch_id=r.patch_id + "9") if r.source == "gan" else r for r in readings.readings]
    (comparison,) = analysis(replace(readings, readings=different_seeds), progress=False).comparisons
    assert comparison.readers["Reader 1"].mcnemar is None
    assert "there are no pairs" in comparison.note


def test_the_verdict_is_a_sentence(make_readings) -> None:
    guess = analysis(make_readings(6, 300, repeats=0), progress=False)
    assert guess.pooled[0].equivalence is not None
    assert guess.pooled[0].equivalence.conclusion == "equivalent"
    expected = "Readers at large (estimated from 6 readers) tell real from synthetic patches no better than"
    assert guess.verdict[0].startswith(expected)
    tell = analysis(make_readings(2, 100, skill=1.5), progress=False)
    assert tell.verdict[0].startswith("These 2 readers can tell real from synthetic patches")
    wrong = analysis(make_readings(1, 100, skill=-1.5), progress=False)
    assert wrong.verdict[0].startswith("This reader systematically mistakes real for synthetic patches and vice versa")
    few = analysis(make_readings(1, 12), progress=False)
    assert few.verdict[0].startswith("The study shows neither that this reader only guesses nor that they do not")
    assert any("Readers were less confident on synthetic" in sentence for sentence in guess.verdict)


def test_few_readings_raise_cautions(make_readings) -> None:
    few = analysis(make_readings(1, 12, repeats=0), progress=False)
    texts = [c.text for c in few.cautions]
    assert any(
        c.level == "alarm" and "Too few readings" in c.text and "76 are needed to show" in c.text for c in few.cautions
    )
    assert any("Only 6 real cases" in text for text in texts)
    assert any("No case was read twice" in text for text in texts)
    uneven = select(make_readings(2, 48), lambda r: r.truth == "real" or r.label != "a")
    assert any("50% is not the accuracy of guessing" in c.text for c in analysis(uneven, progress=False).cautions)


def test_an_interim_report_says_so(make_readings) -> None:
    readings = replace(make_readings(2, 24), planned={"Reader 1": 30, "Reader 2": 40})
    report = analysis(readings, progress=False)
    assert report.interim
    assert report.cautions[0].level == "alarm"
    assert "Reader 2: 10" in report.cautions[0].text


@pytest.mark.parametrize("kind", ["real", "synthetic"])
def test_cases_of_only_one_kind_are_no_error(make_readings, kind: str) -> None:
    report = analysis(select(make_readings(2, 24), lambda r: r.truth == kind), progress=False)
    assert report.area is None
    assert any(f"All cases are {kind}" in c.text for c in report.cautions)
    assert as_json(report)["area"] is None


def test_one_reading_is_no_error(make_readings) -> None:
    readings = make_readings(1, 12)
    report = analysis(replace(readings, readings=readings.readings[:1]), progress=False)
    assert report.pooled[0].readings == 1
    as_json(report)


def test_readers_who_read_different_cases_are_no_error(make_readings) -> None:
    readings = make_readings(2, 24)
    half = {facts.case for facts in Table.of(readings.readings).cases[:12]}
    report = analysis(select(readings, lambda r: (r.case in half) == (r.reader == "Reader 1")), progress=False)
    assert report.area is None
    assert report.agreement.fleiss is None
    as_json(report)


def test_the_margin_must_be_the_declared_one(make_readings) -> None:
    readings = make_readings(1, 12)
    with pytest.raises(HistosynthError, match="omit --margin"):
        analysis(readings, margin=0.2, progress=False)
    csv = replace(readings, margin=None, alpha=None)
    with pytest.raises(HistosynthError, match="pass the one you declared"):
        analysis(csv, progress=False)
    with pytest.raises(HistosynthError, match=r"between 0 and 0\.5"):
        analysis(csv, margin=0.6, progress=False)
    assert analysis(csv, margin=0.2, progress=False).alpha == 0.05


def test_extreme_cases(make_readings) -> None:
    readings = make_readings(3, 48)
    patches = analysis(readings, progress=False).patches
    scores = {}
    for r in readings.readings:
        if r.truth == "synthetic" and not r.is_repeat:
            scores.setdefault(r.case, []).append(r.score)
    means = sorted(np.mean(values) for values in scores.values())
    assert [p.score for p in patches.most_convincing] == pytest.approx(means[:6])
    assert [p.score for p in patches.least_convincing] == pytest.approx(means[::-1][:6])
    assert all(p.truth == "real" for p in patches.mistaken)

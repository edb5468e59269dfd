"""From readings to a `StudyReport`: all results of a reader study, in one record.

Accuracy, sensitivity and all other results use first presentations; repeats only measure whether readers agree with
themselves. Real cases of one patient are one cluster. One seed determines all randomness.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from histosynth.metrics.uncertainty import Interval
from histosynth.study.analysis.cautions import cautions
from histosynth.study.analysis.comparisons import comparisons
from histosynth.study.analysis.declared import Declared
from histosynth.study.analysis.extreme_cases import extreme_cases
from histosynth.study.analysis.readings import Reading, Readings
from histosynth.study.analysis.schema import (
    Agreement,
    Counts,
    Group,
    ReaderFacts,
    StudyReport,
)
from histosynth.study.analysis.table import Mask, Table
from histosynth.study.analysis.wording import sentences
from histosynth.study.statistics import bootstrap
from histosynth.study.statistics.agreement import Repeats, agreement, repeats
from histosynth.study.statistics.area import Area, pooled_area
from histosynth.study.statistics.calibration import calibration
from histosynth.study.statistics.confidence import confidence
from histosynth.study.statistics.crossed import Pooled, Scope, pooled, share_of_readings
from histosynth.study.statistics.equivalence import Verdict, verdict
from histosynth.study.statistics.learning import learning
from histosynth.study.statistics.proportion import LEVEL
from histosynth.study.statistics.roc import curve, mann_whitney_kernel
from histosynth.study.statistics.signal import pooled_signal
from histosynth.study.statistics.times import times


def analysis(
    readings: Readings,
    *,
    declared: Declared,
    seed: int = 0,
    provenance: dict[str, Any] | None = None,
    progress: bool = True,
) -> StudyReport:
    """Analyze readings.

    Args:
        readings: of a study, or of a CSV.
        declared: the margins and alpha that were declared before anyone read.
        seed: for all resampling.
        provenance: the origin of the readings.
        progress: show a progress bar on standard error.
    """
    table = Table.of(readings.readings)
    rng = np.random.default_rng(seed)
    accuracy = pooled(
        table.correct, strata=table.synthetic, clusters=table.patients, margin=declared.margin, alpha=declared.alpha
    )
    areas = _areas(table, declared)
    # Each reader, then what is resampled, then all other results.
    with tqdm(total=len(table.readers) + 3, desc="analyze", unit="step", disable=not progress) as bar:
        readers = {}
        for name in table.readers:
            readers[name] = _reader(table.only(name), _repeated(readings, name), declared=declared)
            bar.update()
        area_bootstrap = _bootstrap(table, rng)
        bar.update()
        agreement_results = _agreement(table, rng)
        bar.update()
        facts: dict[str, Any] = {
            "title": readings.title,
            "interim": bool(readings.missing),
            "declared": declared,
            "level": LEVEL,
            "counts": _counts(readings, table),
            "pixel_auc": readings.pixel_auc,
            "verdicts": _verdicts(accuracy, areas),
            "pooled": accuracy,
            "sensitivity": _share(table, table.synthetic),
            "specificity": _share(table, ~table.synthetic),
            "signal": pooled_signal(table.said_synthetic, synthetic=table.synthetic, clusters=table.patients),
            "area": areas,
            "area_bootstrap": area_bootstrap,
            "confidence": confidence(table.confidence, table.synthetic, clusters=table.patients),
            "calibration": calibration(table.correct, table.confidence, clusters=table.patients),
            "learning": _learning([table.of_reader(name) for name in table.readers]),
            "times": {
                "all": _times(table.readings),
                "real": _times([r for r in table.readings if r.truth == "real"]),
                "synthetic": _times([r for r in table.readings if r.truth == "synthetic"]),
            },
            "agreement": agreement_results,
            "readers": readers,
            "labels": _labels(table),
            "generators": {name: _generator(table, name) for name in table.generators},
            "comparisons": comparisons(table),
            "patches": extreme_cases(table),
            "provenance": provenance or {},
        }
        bar.update()
    # The sentences are written from the results.
    draft = StudyReport(verdict=[], cautions=[], **facts)
    return StudyReport(verdict=sentences(draft), cautions=cautions(draft), **facts)


def _areas(table: Table, declared: Declared) -> list[Area]:
    return pooled_area(
        table.score,
        synthetic=table.synthetic,
        clusters=table.patients,
        margin=declared.area_margin,
        alpha=declared.alpha,
    )


def _verdicts(accuracy: Sequence[Pooled], areas: Sequence[Area]) -> dict[Scope, Verdict]:
    """Return the verdict for each scope; areas may have fewer readers, so their scope can be missing."""
    area = {result.scope: result.equivalence for result in areas}
    return {share.scope: verdict(share.equivalence, area.get(share.scope)) for share in accuracy if share.equivalence}


def _counts(readings: Readings, table: Table) -> Counts:
    real = [facts for facts in table.cases if facts.truth == "real"]
    return Counts(
        readers=len(table.readers),
        real_cases=len(real),
        synthetic_cases=int(table.synthetic.sum()),
        patients=len({facts.patient_id for facts in real if facts.patient_id}),
        unnamed_patients=sum(not facts.patient_id for facts in real),
        readings=len(table.readings),
        repeats=len(readings.readings) - len(table.readings),
        missing=readings.missing,
        withdrawn=dict(readings.withdrawn),
    )


def _reader(table: Table, repeated: tuple[list[Reading], list[Reading]], *, declared: Declared) -> ReaderFacts:
    """Return the results of the only reader of a table."""
    (name,), truth = table.readers, table.synthetic
    own = table.of_reader(name)
    (accuracy,) = pooled(
        table.correct, strata=truth, clusters=table.patients, margin=declared.margin, alpha=declared.alpha
    )
    areas = _areas(table, declared)
    signals = pooled_signal(table.said_synthetic, synthetic=truth, clusters=table.patients)
    return ReaderFacts(
        accuracy=share_of_readings(table.correct, strata=truth, clusters=table.patients),
        verdict=_verdicts([accuracy], areas)["one reader"],
        sensitivity=share_of_readings(table.correct[:, truth], strata=truth[truth]),
        specificity=share_of_readings(table.correct[:, ~truth], strata=truth[~truth], clusters=table.patients[~truth]),
        signal=signals[0] if signals else None,
        area=areas[0] if areas else None,
        roc=curve([r.score for r in own], [r.truth == "synthetic" for r in own]),
        confidence=confidence(table.confidence, truth, clusters=table.patients),
        calibration=calibration(table.correct, table.confidence, clusters=table.patients),
        learning=_learning([own]),
        times=_times(own),
        repeats=_repeats(*repeated),
    )


def _repeated(readings: Readings, reader: str) -> tuple[list[Reading], list[Reading]]:
    """Return the first and second readings of the cases that this reader read twice."""
    own = [reading for reading in readings.readings if reading.reader == reader]
    first = {reading.case: reading for reading in own if not reading.is_repeat}
    second = [reading for reading in own if reading.is_repeat and reading.case in first]
    return [first[reading.case] for reading in second], second


def _repeats(first: Sequence[Reading], second: Sequence[Reading]) -> Repeats | None:
    if not first:
        return None
    shift = [b.confidence - a.confidence for a, b in zip(first, second, strict=True)]
    return repeats([r.said == "synthetic" for r in first], [r.said == "synthetic" for r in second], shift)


def _share(table: Table, cases: Mask) -> list[Pooled]:
    """Return the share of correct readings of these cases, which are all real or all synthetic."""
    correct = table.correct[:, cases]
    read = ~np.isnan(correct).all(axis=1)
    if not read.any():
        return []
    return pooled(correct[read], strata=np.zeros(int(cases.sum())), clusters=table.patients[cases])


def _bootstrap(table: Table, rng: np.random.Generator) -> Interval | None:
    """Return the bootstrap interval of the mean area over the cases that all readers read; None without both kinds."""
    complete, synthetic = ~np.isnan(table.score).any(axis=0), table.synthetic
    if not (complete & synthetic).any() or not (complete & ~synthetic).any():
        return None
    psi = np.stack([mann_whitney_kernel(row[complete], synthetic[complete]) for row in table.score])
    return bootstrap.mean_area(psi, patients=table.patients[complete & ~synthetic], rng=rng)


def _agreement(table: Table, rng: np.random.Generator) -> Agreement:
    if len(table.readers) < 2:
        return Agreement(fleiss=None, krippendorff=None, krippendorff_confidence=None)
    said_synthetic, confidence_level, patients = table.said_synthetic, table.confidence - 1, table.patients
    return Agreement(
        fleiss=agreement(said_synthetic, categories=2, measure="fleiss", clusters=patients, rng=rng),
        krippendorff=agreement(said_synthetic, categories=2, measure="alpha", clusters=patients, rng=rng),
        krippendorff_confidence=agreement(
            confidence_level, categories=5, measure="ordinal alpha", clusters=patients, rng=rng
        ),
    )


def _learning(sessions: Sequence[Sequence[Reading]]) -> Any:
    """Return the learning slope over each reader's session, from the first case (0) to the last (1)."""
    correct, position, reader = [], [], []
    for number, session in enumerate(sessions):
        correct += [reading.correct for reading in session]
        position += np.linspace(0, 1, len(session)).tolist()
        reader += [number] * len(session)
    return learning(correct, position, reader)


def _times(readings: Sequence[Reading]) -> Any:
    return times([r.seconds for r in readings if r.seconds is not None])


def _labels(table: Table) -> dict[str, Group]:
    labels = np.array([facts.label or "" for facts in table.cases])
    return {str(name): _group(table, labels == name) for name in np.unique(labels) if name}


def _generator(table: Table, name: str) -> Group:
    return _group(table, table.where(lambda facts: facts.source in ("real", name)))


def _group(table: Table, cases: Mask) -> Group:
    correct, synthetic, patients = table.correct[:, cases], table.synthetic, table.patients
    read = ~np.isnan(correct).all(axis=1)
    areas = pooled_area(table.score[:, cases], synthetic=synthetic[cases], clusters=patients[cases])
    confidence_synthetic = table.confidence[:, cases & synthetic]
    return Group(
        real_cases=int((cases & ~synthetic).sum()),
        synthetic_cases=int((cases & synthetic).sum()),
        accuracy=pooled(correct[read], strata=synthetic[cases], clusters=patients[cases]),
        sensitivity=_share(table, cases & synthetic),
        specificity=_share(table, cases & ~synthetic),
        area=areas[0] if areas else None,
        mean_confidence_synthetic=(
            None if np.isnan(confidence_synthetic).all() else float(np.nanmean(confidence_synthetic))
        ),
    )

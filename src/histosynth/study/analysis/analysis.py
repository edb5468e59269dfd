"""From readings to a `StudyReport`: all results of a reader study, in one record.

Accuracy, sensitivity and all other results use first presentations; repeats only measure whether readers agree with
themselves. The margin is the one declared when the study was created. One seed determines all randomness.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from histosynth.errors import HistosynthError
from histosynth.study.analysis.comparisons import comparisons
from histosynth.study.analysis.extreme_cases import extreme_cases
from histosynth.study.analysis.readings import Reading, Readings
from histosynth.study.analysis.schema import (
    Agreement,
    Area,
    Counts,
    Group,
    ReaderFacts,
    StudyReport,
)
from histosynth.study.analysis.table import Mask, Table
from histosynth.study.analysis.wording import cautions, verdict
from histosynth.study.statistics import bootstrap
from histosynth.study.statistics.agreement import Repeats, agreement, repeats
from histosynth.study.statistics.calibration import calibration
from histosynth.study.statistics.confidence import confidence
from histosynth.study.statistics.crossed import pooled
from histosynth.study.statistics.equivalence import equivalence
from histosynth.study.statistics.learning import learning
from histosynth.study.statistics.proportion import LEVEL, proportion
from histosynth.study.statistics.roc import area, area_at_large, area_from_kernel, curve, mann_whitney_kernel
from histosynth.study.statistics.signal import signal
from histosynth.study.statistics.times import times


def analysis(
    readings: Readings,
    *,
    margin: float | None = None,
    alpha: float | None = None,
    seed: int = 0,
    provenance: dict[str, Any] | None = None,
    progress: bool = True,
) -> StudyReport:
    """Analyze readings.

    Args:
        readings: of a study, or of a CSV.
        margin: the declared margin, for readings of a CSV, which does not contain it.
        alpha: the declared alpha, for readings of a CSV; default 0.05.
        seed: for all resampling.
        provenance: the origin of the readings.
        progress: show a progress bar on standard error.

    Raises:
        HistosynthError: no margin was declared, or one is given in addition to the declared margin.
    """
    margin, alpha = _declared(readings, margin, alpha)
    table = Table.of(readings.readings)
    rng = np.random.default_rng(seed)
    # Each reader, then what is resampled, then all other results.
    with tqdm(total=len(table.readers) + 3, desc="analyze", unit="step", disable=not progress) as bar:
        readers = {}
        for name in table.readers:
            readers[name] = _reader(table.of_reader(name), _repeated(readings, name), margin=margin, alpha=alpha)
            bar.update()
        mean_area = _area(table, rng)
        bar.update()
        agreement_results = _agreement(table, rng)
        bar.update()
        facts: dict[str, Any] = {
            "title": readings.title,
            "interim": bool(readings.missing),
            "margin": margin,
            "alpha": alpha,
            "level": LEVEL,
            "counts": _counts(readings, table),
            "pooled": pooled(table.correct, strata=table.synthetic, margin=margin, alpha=alpha),
            "sensitivity": _share(table, table.synthetic),
            "specificity": _share(table, ~table.synthetic),
            "area": mean_area,
            "confidence": confidence(table.confidence, table.synthetic),
            "calibration": _calibration(table.readings),
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
    return StudyReport(verdict=verdict(draft), cautions=cautions(draft), **facts)


def _declared(readings: Readings, margin: float | None, alpha: float | None) -> tuple[float, float]:
    if readings.margin is not None:
        if margin is not None or alpha is not None:
            raise HistosynthError(
                f"the study declared its margin ({readings.margin:g}) and alpha ({readings.alpha:g}) when it was "
                "created; omit --margin and --alpha"
            )
        return readings.margin, readings.alpha or 0.05
    if margin is None:
        raise HistosynthError(
            "a CSV contains no equivalence margin; pass the one you declared, for example --margin 0.10"
        )
    alpha = 0.05 if alpha is None else alpha
    if not (0 < margin < 0.5 and 0 < alpha < 0.5):
        raise HistosynthError(f"--margin {margin:g} and --alpha {alpha:g} must be between 0 and 0.5")
    return margin, alpha


def _counts(readings: Readings, table: Table) -> Counts:
    return Counts(
        readers=len(table.readers),
        real_cases=int((~table.synthetic).sum()),
        synthetic_cases=int(table.synthetic.sum()),
        patients=len({facts.patient_id for facts in table.cases if facts.patient_id}),
        readings=len(table.readings),
        repeats=len(readings.readings) - len(table.readings),
        missing=readings.missing,
        withdrawn=dict(readings.withdrawn),
    )


def _reader(
    own: Sequence[Reading], repeated: tuple[list[Reading], list[Reading]], *, margin: float, alpha: float
) -> ReaderFacts:
    correct = [r.correct for r in own]
    synthetic = np.array([r.truth == "synthetic" for r in own])
    scores = [r.score for r in own]
    return ReaderFacts(
        accuracy=proportion(sum(correct), len(own)),
        equivalence=equivalence(sum(correct), len(own), margin=margin, alpha=alpha),
        signal=signal([r.said == "synthetic" for r in own], synthetic),
        area=area(scores, synthetic),
        roc=curve(scores, synthetic),
        confidence=confidence(np.array([[r.confidence for r in own]]), synthetic),
        calibration=_calibration(own),
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


def _share(table: Table, cases: Mask) -> list[Any]:
    """Return the share of correct readings of these cases, which are all real or all synthetic."""
    correct = table.correct[:, cases]
    read = ~np.isnan(correct).all(axis=1)
    return pooled(correct[read], strata=np.zeros(int(cases.sum()))) if read.any() else []


def _area(table: Table, rng: np.random.Generator) -> Area | None:
    psi = _kernels(table, table.synthetic)
    if psi is None:
        return None
    delong = area_from_kernel(psi.mean(axis=0))
    if delong is None:
        return None
    return Area(delong=delong, at_large=area_at_large(psi), bootstrap=bootstrap.mean_area(psi, rng=rng))


def _kernels(table: Table, synthetic: Mask, *, among: Mask | None = None) -> "np.ndarray[Any, Any] | None":
    """Return ψ (R, m, n) over the cases that all readers read; None without both real and synthetic ones."""
    complete = ~np.isnan(table.score).any(axis=0) & (np.True_ if among is None else among)
    if not (complete & synthetic).any() or not (complete & ~synthetic).any():
        return None
    return np.stack([mann_whitney_kernel(row[complete], synthetic[complete]) for row in table.score])


def _agreement(table: Table, rng: np.random.Generator) -> Agreement:
    if len(table.readers) < 2:
        return Agreement(fleiss=None, krippendorff=None, krippendorff_confidence=None)
    said_synthetic, confidence_level = table.said_synthetic, table.confidence - 1
    return Agreement(
        fleiss=agreement(said_synthetic, categories=2, measure="fleiss", rng=rng),
        krippendorff=agreement(said_synthetic, categories=2, measure="alpha", rng=rng),
        krippendorff_confidence=agreement(confidence_level, categories=5, measure="ordinal alpha", rng=rng),
    )


def _calibration(readings: Sequence[Reading]) -> Any:
    return calibration([r.correct for r in readings], [r.confidence for r in readings])


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
    correct, synthetic = table.correct[:, cases], table.synthetic
    read = ~np.isnan(correct).all(axis=1)
    psi = _kernels(table, synthetic, among=cases)
    confidence_synthetic = table.confidence[:, cases & synthetic]
    return Group(
        real_cases=int((cases & ~synthetic).sum()),
        synthetic_cases=int((cases & synthetic).sum()),
        accuracy=pooled(correct[read], strata=synthetic[cases]),
        sensitivity=_share(table, cases & synthetic),
        specificity=_share(table, cases & ~synthetic),
        area=None if psi is None else area_from_kernel(psi.mean(axis=0)),
        mean_confidence_synthetic=(
            None if np.isnan(confidence_synthetic).all() else float(np.nanmean(confidence_synthetic))
        ),
    )

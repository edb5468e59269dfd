"""The structure of `study_report.json`; as JSON Schema in `docs/reference/study_report.schema.json`.

A key's meaning never changes within a `schema_version`. A result is None if it is undefined: no readings, identical
answers, too few readers.
"""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter

from histosynth.caution import Caution
from histosynth.metrics.uncertainty import Interval
from histosynth.study.analysis.declared import Declared
from histosynth.study.statistics.agreement import Repeats
from histosynth.study.statistics.area import Area
from histosynth.study.statistics.confidence import Confidence
from histosynth.study.statistics.crossed import Pooled, Scope
from histosynth.study.statistics.equivalence import Verdict
from histosynth.study.statistics.generators import Difference, McNemar
from histosynth.study.statistics.proportion import Proportion
from histosynth.study.statistics.roc import Roc
from histosynth.study.statistics.signal import Signal
from histosynth.study.statistics.times import Times

KIND: Literal["study_report"] = "study_report"
SCHEMA_VERSION: Literal[2] = 2


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Numbers of readers, cases and readings; repeats are counted separately."""

    readers: int
    real_cases: int
    synthetic_cases: int
    patients: int
    """Of the real cases, if named."""
    unnamed_patients: int
    """Real cases whose patient is not named: each counts as a patient of its own."""
    readings: int
    repeats: int
    missing: dict[str, int]
    """Missing readings by reader, of readers who are still reading."""
    withdrawn: dict[str, int]
    """Missing readings by reader, of readers who do not continue."""


@dataclass(frozen=True, kw_only=True)
class ReaderFacts:
    """One reader's results. Repeats count only in `repeats`."""

    accuracy: Proportion
    verdict: Verdict
    sensitivity: Proportion
    specificity: Proportion
    signal: Signal | None
    area: Area | None
    roc: Roc | None
    confidence: Confidence
    calibration: dict[int, Proportion]
    learning: Interval | None
    times: Times
    repeats: Repeats | None


@dataclass(frozen=True, kw_only=True)
class Group:
    """The cases of one label, or of one generator with all real cases; each list as in `pooled`."""

    real_cases: int
    synthetic_cases: int
    accuracy: list[Pooled]
    """Of real and synthetic cases together. Generators share the real cases, so they differ in `sensitivity`."""
    sensitivity: list[Pooled]
    specificity: list[Pooled]
    area: Area | None
    """Mean over readers."""
    mean_confidence_synthetic: float | None


@dataclass(frozen=True, kw_only=True)
class ReaderComparison:
    """Two generators, one reader: Fisher's test, and McNemar's if pairs of the same seed and label were read."""

    fisher_p: float
    mcnemar: McNemar | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two generators: the share of synthetic patches recognized, `first` minus `second`."""

    first: str
    second: str
    difference: Difference
    p_holm: float
    """Adjusted for all pairs of generators."""
    readers: dict[str, ReaderComparison]
    note: str
    """Which patches were paired."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Agreement between readers, beyond chance."""

    fleiss: Interval | None
    """Of real or synthetic, over the cases that all readers read."""
    krippendorff: Interval | None
    """Of real or synthetic."""
    krippendorff_confidence: Interval | None
    """Of confidence, ordinal."""


@dataclass(frozen=True, kw_only=True)
class PatchFacts:
    """A patch and how readers judged it."""

    case: str
    patch_id: str
    label: str | None
    truth: Literal["real", "synthetic"]
    source: str
    score: float
    """Mean signed confidence: -5 certainly real, 5 certainly synthetic."""
    said_synthetic: int
    readings: int
    comments: list[str]


@dataclass(frozen=True, kw_only=True)
class Patches:
    """The extreme cases."""

    most_convincing: list[PatchFacts]
    """Synthetic patches taken for real with the most confidence."""
    least_convincing: list[PatchFacts]
    """Synthetic patches recognized with the most confidence."""
    mistaken: list[PatchFacts]
    """Real patches taken for synthetic with the most confidence."""


@dataclass(frozen=True, kw_only=True)
class StudyReport:
    """The content of `study_report.json`."""

    kind: Literal["study_report"] = KIND
    schema_version: Literal[2] = SCHEMA_VERSION
    title: str
    interim: bool
    verdict: list[str]
    """The findings in sentences, the verdict on guessing first."""
    cautions: list[Caution]
    declared: Declared
    level: float
    counts: Counts
    pixel_auc: Interval | None
    """How well a program distinguished the pictures by their pixels when the study was created: area under its
    ROC curve. None for a CSV, or if there were too few pictures."""
    verdicts: dict[Scope, Verdict]
    """Whether readers guess; the conclusion rests on the first scope."""
    pooled: list[Pooled]
    """Accuracy over all readers, for the same scopes."""
    sensitivity: list[Pooled]
    specificity: list[Pooled]
    signal: list[Signal]
    """Mean d' and criterion over readers who read both kinds."""
    area: list[Area]
    """Mean area over readers who read both kinds."""
    area_bootstrap: Interval | None
    """Over readers and patients of the cases that all readers read; with few readers, over patients only, as its note
    states. Conservative (too wide)."""
    confidence: Confidence
    calibration: dict[int, Proportion]
    learning: Interval | None
    """Log odds of a correct reading, last case minus first."""
    times: dict[Literal["all", "real", "synthetic"], Times]
    agreement: Agreement
    readers: dict[str, ReaderFacts]
    labels: dict[str, Group]
    generators: dict[str, Group]
    comparisons: list[Comparison]
    patches: Patches
    provenance: dict[str, Any]


def as_json(report: StudyReport) -> dict[str, Any]:
    """Return the content of `study_report.json`."""
    content: dict[str, Any] = TypeAdapter(StudyReport).dump_python(report, mode="json")
    return content


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of `study_report.json`."""
    return TypeAdapter(StudyReport).json_schema(mode="serialization")

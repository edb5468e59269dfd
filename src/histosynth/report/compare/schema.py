"""Schema of `compare.json`, checked whenever one is written; as JSON Schema in `docs/reference/compare.schema.json`.

The meaning of a key never changes within a `schema_version`. Results are those of the reports, digit for digit.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from histosynth.caution import Caution
from histosynth.json_files import read_facts
from histosynth.metrics.inception_score import InceptionScore
from histosynth.report.compare.ranking import Best
from histosynth.report.comparison import Comparison
from histosynth.report.schema import ExtractorFacts, StoreFacts

KIND = "comparison"
FACTS = "compare.json"
SCHEMA_VERSION = 1

ReferencePair = Literal["fake_vs_held_out", "fake_vs_train"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ModelFacts(_Table):
    """The report and the samples of a model."""

    report: str
    report_sha256: str
    samples: StoreFacts
    evaluated_with: dict[str, Any]  # the version and revision of histosynth


class Row(_Table):
    """The results of every model, overall or for a label."""

    models: dict[str, dict[ReferencePair, Comparison]]
    floor: Comparison | None  # training against held-out patients, both real
    best: dict[str, Best]  # by measure, against the reference


class Scores(_Table):
    """Inception Scores of the overall patches, where the extractor gives logits."""

    models: dict[str, InceptionScore]
    real: dict[Literal["held_out", "train"], InceptionScore]


class ComparisonFacts(_Table):
    """The content of `compare.json`."""

    kind: Literal["comparison"]
    schema_version: Literal[1]
    verdict: list[str]
    cautions: list[Caution]
    reference: Literal["held_out", "train"]  # the real side of the tables and of `best`
    models: dict[str, ModelFacts]
    overall: Row
    overall_labels: list[str]
    labels: dict[str, Row]
    inception_score: Scores
    extractor: ExtractorFacts
    neighbors: int
    real: StoreFacts
    provenance: dict[str, Any]

    @property
    def reference_pair(self) -> ReferencePair:
        """The pair of sides in the tables."""
        return "fake_vs_held_out" if self.reference == "held_out" else "fake_vs_train"

    @property
    def rows(self) -> dict[str, Row]:
        """The rows of a table: the overall results, then each label where there are several."""
        return {"Overall": self.overall, **(self.labels if len(self.labels) > 1 else {})}


def read_comparison(directory: Path) -> ComparisonFacts:
    """Read and check `compare.json`, whoever wrote it.

    Raises:
        HistosynthError: the directory is not a comparison, or its facts are damaged or of another version.
    """
    facts, _ = read_facts(directory / FACTS, ComparisonFacts, kind=KIND, verb="compare", version=SCHEMA_VERSION)
    return facts

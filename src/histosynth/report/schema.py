"""Schema of `report.json`, checked whenever one is written; as JSON Schema in `docs/reference/report.schema.json`.

The meaning of a key never changes within a `schema_version`. The key of a section is present if the section was
requested (`evaluate.sections`) and applies to the stores.
"""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from histosynth.caution import Caution
from histosynth.json_files import read_facts
from histosynth.metrics.inception_score import InceptionScore
from histosynth.report.comparison import MEASURES, PAIRS, Comparison, Matrix
from histosynth.report.sides import SideName

KIND = "report"
FACTS = "report.json"
SCHEMA_VERSION = 2

REQUIRED = frozenset({"frechet_distance", "precision", "recall", "density", "coverage"})
"""Measures of every comparison with results."""

Pair = Literal["fake_vs_held_out", "fake_vs_train", "train_vs_held_out"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LabelCounts(_Table):
    """Patches of a label on one side, and the patients behind them."""

    patches: int
    patients: int


class SideCounts(_Table):
    """Patches of one side, and the patients behind them."""

    patches: int
    patients: int
    labels: dict[str, LabelCounts]


class ExtractorFacts(_Table):
    """Identity of the features: results of different features cannot be compared."""

    name: str
    title: str
    dimension: int
    weights_sha256: str
    preprocessing: str


class StoreFacts(_Table):
    """Identity of a store, and its manifest without the slides."""

    path: str
    sha256: str
    patches: int
    patch_px: int
    mpp: float | None
    sources: list[str]
    manifest: dict[str, Any]  # `made_with`, if present, is a table


class SettingsFacts(BaseModel):
    """The settings of the evaluation; a comparison reads these."""

    model_config = ConfigDict(extra="allow")
    neighbors: int = Field(ge=1)
    grid: int = Field(ge=1, le=10_000)
    subsample_seed: int


class Versions(BaseModel):
    """Versions of packages."""

    model_config = ConfigDict(extra="allow")
    histosynth: str


class ProvenanceFacts(BaseModel):
    """The program that made the report; a comparison reads these."""

    model_config = ConfigDict(extra="allow")
    versions: Versions
    git_revision: str | None


class ReportFacts(_Table):
    """The content of `report.json`."""

    kind: Literal["report"]
    schema_version: Literal[2]
    verdict: list[str]
    cautions: list[Caution]
    sides: dict[SideName, SideCounts]
    overall: dict[Pair, Comparison]
    overall_labels: list[str]
    labels: dict[str, dict[Pair, Comparison]]
    matrices: dict[Pair, Matrix]
    inception_score: dict[SideName, InceptionScore]
    color: dict[str, Any] = {}
    morphology: dict[str, Any] = {}
    memorization: dict[str, Any] = {}
    label_check: dict[str, Any] = {}
    feature_map: dict[str, Any] = {}
    extractor: ExtractorFacts
    settings: SettingsFacts
    stores: dict[Literal["real", "fake"], StoreFacts]
    provenance: ProvenanceFacts

    @model_validator(mode="after")
    def _check_completeness(self) -> Self:
        """Reject a report that lacks a store, a comparison, or a measure of a comparison with results."""
        if missing := {"real", "fake"} - self.stores.keys():
            raise ValueError(f"no store '{min(missing)}'")
        for name, store in self.stores.items():
            if not isinstance(store.manifest.get("made_with") or {}, dict):
                raise ValueError(f"the manifest of store '{name}' has a made_with that is no table")
        for row in (self.overall, *self.labels.values()):
            if missing := PAIRS.keys() - row.keys():
                raise ValueError(f"no comparison '{min(missing)}'")
            for comparison in row.values():
                if comparison.n and (missing := set(REQUIRED) - comparison.measures.keys()):
                    raise ValueError(f"no measure '{min(missing)}' although n is {comparison.n}")
                if unknown := comparison.measures.keys() - MEASURES.keys():
                    raise ValueError(f"unknown measure '{min(unknown)}'")
        return self


def read_report(directory: Path) -> tuple[ReportFacts, str]:
    """Read and check `report.json`, whoever wrote it; also return its text.

    Raises:
        HistosynthError: the directory is not a report, or its facts are damaged or of another version.
    """
    return read_facts(directory / FACTS, ReportFacts, kind=KIND, verb="evaluate", version=SCHEMA_VERSION)

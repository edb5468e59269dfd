"""Schema of `report.json`, checked whenever one is written; as JSON Schema in `docs/reference/report.schema.json`.

The meaning of a key never changes within a `schema_version`. The key of a section is present if the section was
requested (`evaluate.sections`) and applies to the stores.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from histosynth.caution import Caution
from histosynth.metrics.inception_score import InceptionScore
from histosynth.report.comparison import Comparison, Matrix
from histosynth.report.sides import SideName

KIND = "report"
SCHEMA_VERSION = 2

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
    manifest: dict[str, Any]


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
    settings: dict[str, Any]
    stores: dict[Literal["real", "fake"], StoreFacts]
    provenance: dict[str, Any]

"""The manifest of a study: the values that readers use; the others document how the study was made."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from histosynth.config import StudySettings
from histosynth.json_files import check
from histosynth.rundir import MANIFEST

KIND = "reader study"


class _Table(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class Cell(_Table):
    """The number of cases of a part, label and source."""

    part: str
    label: str | None
    source: str
    cases: int


class LabelPatients(_Table):
    """The number of patients behind the real cases of a label."""

    label: str | None
    patients: int


class StudyManifest(_Table):
    """The design of a study, without truth and readings."""

    settings: StudySettings
    cases: list[Cell]
    patients: list[LabelPatients]
    patch_px: int = Field(ge=1)
    mpp: float | None
    warnings: list[str]


def check_study_manifest(directory: Path, content: dict[str, Any]) -> StudyManifest:
    """Check the content of the manifest of a study.

    Raises:
        HistosynthError: a value is missing, or of another type.
    """
    return check(content, StudyManifest, where=directory / MANIFEST, fix="restore the file from a backup")

"""Settings of a reader study, which are not part of the settings of a run."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from histosynth.config.section import Section
from histosynth.errors import HistosynthError


class StudySettings(Section):
    """`histosynth study create`, which stores them in `study.toml`; not part of the settings of a run."""

    title: str = Field("Real or synthetic?", min_length=1)
    """Title of the readers' page."""
    contact: str = ""
    """Contact for readers, shown on the page; empty: the sender of the link."""
    cases: int = Field(120, ge=2)
    """Cases that are analyzed: half real, half synthetic, in equal numbers per genotype and generator."""
    readers: int = Field(2, ge=1, le=1000)
    """Number of readers; each reads all cases, in an individual order."""
    practice: int = Field(0, ge=0, multiple_of=2)
    """Practice cases at the start, half of them real, each followed by the truth; they are not analyzed."""
    repeats: int = Field(0, ge=0, multiple_of=2)
    """Cases shown twice to each reader, half of them real, at least one third of the session apart."""
    seed: int = Field(0, ge=0)
    """Seed of the selection of patches and of the orders. Readers must not know it; without `--seed` it is random."""
    margin: float = Field(0.1, gt=0, lt=0.5)
    """Accuracy within 0.5 ± margin counts as equivalent to guessing. Fixed before the first reading."""
    area_margin: float = Field(0.14, gt=0, lt=0.5)
    """Area under the ROC curve within 0.5 ± area margin counts as equivalent to guessing, whichever answer a reader
    prefers; both margins must hold. 0.64 is the area of a reader without preference who is right in 60 %."""
    alpha: float = Field(0.05, gt=0, lt=0.5)
    """Significance level of the tests."""
    allow_training_patients: bool = False
    """Also use real cases from patients on whom the model was trained."""
    random_crop: bool = True
    """Crop every picture by 8 px at a random offset, which hides the place of an earlier JPEG's grid."""
    jpeg_history: int = Field(80, ge=0, le=100)
    """Quality of a JPEG compression applied to every picture after the crop, real or synthetic; 0: none."""
    normalize: str = ""
    """Stain normalizer applied to every image individually; empty: colors as in the stores."""
    valid_days: int = Field(90, ge=1, le=3650)
    """Days until links expire."""
    base_url: str = Field("http://127.0.0.1:8000", pattern=r"^https?://[^/\s]+/?$")
    """Address at which readers reach the page; links begin with it."""


def study_settings(values: Mapping[str, Any]) -> StudySettings:
    """Validate the settings of a reader study.

    Raises:
        HistosynthError: a value is invalid.
    """
    try:
        return StudySettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        option = f"--{first['loc'][0]}".replace("_", "-")
        raise HistosynthError(
            f"{option} {first['input']!r:.60}: {first['msg'][:1].lower()}{first['msg'][1:]}"
        ) from error

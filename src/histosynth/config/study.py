"""Settings of a reader study, which are no section of a run's."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from histosynth.config.section import Section
from histosynth.errors import HistosynthError


class StudySettings(Section):
    """`histosynth study create`, which keeps them in `study.toml`; no section of a run's settings."""

    title: str = Field("Real or synthetic?", min_length=1)
    """What readers see above the page."""
    contact: str = ""
    """Whom readers may ask, as the page shows it; empty: whoever sent the link."""
    cases: int = Field(120, ge=2)
    """Cases that count: half real, half synthetic, equally many of each genotype and generator."""
    readers: int = Field(2, ge=1, le=1000)
    """Readers; each reads every case, in an order of their own."""
    practice: int = Field(0, ge=0, multiple_of=2)
    """Practice cases before, half of them real, with the truth shown after each; they do not count."""
    repeats: int = Field(0, ge=0, multiple_of=2)
    """Cases that each reader is shown twice, half of them real, at least a third of the session apart."""
    seed: int = Field(0, ge=0)
    """Seed of the choice of patches and of the orders. Readers must not know it: without `--seed`, one is drawn."""
    margin: float = Field(0.1, gt=0, lt=0.5)
    """Accuracy within 0.5 ± margin counts as equivalent to guessing. Declared before anyone reads."""
    alpha: float = Field(0.05, gt=0, lt=0.5)
    """Level of the tests."""
    allow_training_patients: bool = False
    """Take real cases from patients that the model was trained on, too."""
    jpeg_history: int = Field(0, ge=0, le=100)
    """Quality of the JPEG that every picture goes through, real or synthetic; 0: none."""
    normalize: str = ""
    """Stain normalizer that every picture goes through by itself; empty: colors as the stores have them."""
    valid_days: int = Field(90, ge=1, le=3650)
    """Days until links expire."""
    base_url: str = Field("http://127.0.0.1:8000", pattern=r"^https?://[^/\s]+/?$")
    """Address under which readers reach the page: links begin with it."""


def study_settings(given: Mapping[str, Any]) -> StudySettings:
    """The settings of a reader study.

    Raises:
        HistosynthError: a value that cannot be.
    """
    try:
        return StudySettings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        option = f"--{first['loc'][0]}".replace("_", "-")
        raise HistosynthError(
            f"{option} {first['input']!r:.60}: {first['msg'][:1].lower()}{first['msg'][1:]}"
        ) from error

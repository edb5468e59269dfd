"""A raw store of slides from four laboratories, and the functions that make it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from histosynth.config import PatchSettings
from histosynth.patches.extract import extract


def restain(image: np.ndarray, *, red: float, strength: float) -> np.ndarray:
    """Return the tissue of the fixture as another laboratory might stain it: more red, stronger or paler."""
    density = -np.log((image.astype(float) + 1) / 240) * strength * np.array([red, 1.0, 1.0])
    return np.clip(np.rint(240 * np.exp(-density) - 1), 0, 255).astype(np.uint8)


def extract_store(cohort: Any, out: Path, settings: PatchSettings, **changes: Any) -> Path:
    """Extract a cohort in this process, with changes to the settings."""
    options: dict[str, Any] = {**cohort.inputs, "workers": 1, "progress": False}
    extract(options.pop("slides"), out=out, settings=settings.model_copy(update=changes), **options)
    return out


@pytest.fixture(scope="session")
def restained() -> Callable[..., np.ndarray]:
    """Return the function that stains tissue as another laboratory might."""
    return restain


@pytest.fixture(scope="session")
def store() -> Callable[..., Path]:
    """Return the function that extracts a cohort."""
    return extract_store


@pytest.fixture
def raw(draw_cohort: Any, small: PatchSettings, tmp_path: Path) -> Path:
    """Return a raw store of four slides with different stains."""
    cohort = draw_cohort(4)
    for n, path in enumerate(sorted(cohort.slides.iterdir())):
        image = restain(np.asarray(Image.open(path)), red=(1, 1.3, 0.8, 1.1)[n], strength=(1, 1.2, 0.8, 0.6)[n])
        Image.fromarray(image).save(path)
    return extract_store(cohort, tmp_path / "raw", small, stain="none")

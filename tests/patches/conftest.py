"""Small slides, drawn in a moment: PNG regions of violet tissue on glass, an outline each, and a table of labels."""

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from histosynth.config import PatchSettings

MPP = 0.5


Ring = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Cohort:
    """Files of a cohort, and ways to change them."""

    root: Path
    mpp: float = MPP

    @property
    def slides(self) -> Path:
        return self.root / "slides"

    @property
    def outlines(self) -> Path:
        return self.root / "outlines"

    @property
    def labels(self) -> Path:
        return self.root / "labels.csv"

    @property
    def inputs(self) -> dict[str, Any]:
        """What `extract` takes beside settings and `out`."""
        return {"slides": [self.slides], "outlines": self.outlines, "labels": self.labels, "mpp": self.mpp}

    def outline(self, slide_id: str, *rings: Ring, name: str = "Tumor") -> Path:
        """Write what QuPath exports for these polygons."""
        features = [
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
                "properties": {"objectType": "annotation", "classification": {"name": name}},
            }
            for ring in rings
        ]
        path = self.outlines / f"{slide_id}.geojson"
        path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        return path

    def add(self, slide_id: str, image: np.ndarray) -> Path:
        """Add a slide with an outline around its tissue."""
        path = self.slides / f"{slide_id}.png"
        Image.fromarray(image).save(path, compress_level=1)
        self.outline(slide_id, square(20, len(image) - 20))
        return path


def tissue(side: int, *, seed: int, glass: int = 32) -> np.ndarray:
    """Eosin ground with hematoxylin nuclei, repeated, and a margin of glass: (side, side, 3)."""
    rng = np.random.default_rng(seed)
    nuclei = rng.random((32, 32)).repeat(4, 0).repeat(4, 1) < 0.3
    hematoxylin = np.where(nuclei, 1.4, 0.2) + rng.normal(0, 0.05, nuclei.shape)
    eosin = np.where(nuclei, 0.4, 0.9) + rng.normal(0, 0.05, nuclei.shape)
    image = 240 * np.exp(-np.stack([hematoxylin, eosin], axis=2) @ [[0.56, 0.72, 0.41], [0.22, 0.80, 0.56]])
    image = np.tile(image.clip(0, 255).astype(np.uint8), (-(-side // 128), -(-side // 128), 1))[:side, :side]
    image[:glass], image[-glass:], image[:, :glass], image[:, -glass:] = 245, 245, 245, 245
    return image


def square(low: float, high: float) -> Ring:
    return [[low, low], [high, low], [high, high], [low, high]]


@pytest.fixture
def draw_cohort(tmp_path: Path) -> Callable[..., Cohort]:
    """Make a cohort of `count` slides of two genotypes in turn, of `side` pixels."""

    def make(count: int, *, side: int = 256, name: str = "cohort") -> Cohort:
        cohort = Cohort(tmp_path / name)
        cohort.slides.mkdir(parents=True)
        cohort.outlines.mkdir()
        for n in range(count):
            cohort.add(f"S{n}", tissue(side, seed=n))
        with cohort.labels.open("w", newline="") as file:
            rows = [(f"S{n}", f"P{n}", ("codel", "wt")[n % 2]) for n in range(count)]
            csv.writer(file).writerows([("slide_id", "patient_id", "label"), *rows])
        return cohort

    return make


@pytest.fixture
def small() -> PatchSettings:
    """Regions of 32 px at `MPP`, patches of 16 px."""
    return PatchSettings(region_px=32, region_mpp=MPP, patch_px=16, cap=12)


@pytest.fixture(scope="session")
def content() -> Callable[[Path], dict[str, bytes]]:
    """Reads every byte of a directory, hidden files included."""
    return lambda directory: {entry.name: entry.read_bytes() for entry in sorted(directory.iterdir())}

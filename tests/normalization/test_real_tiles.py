"""Normalization of real tiles."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histosynth.config import PatchSettings
from histosynth.convert.pack import pack
from histosynth.normalization.normalize import normalize


@pytest.mark.real
@pytest.mark.parametrize(
    ("folder", "side_px", "mpp"),
    [("glioma_cpm15", 320, 0.5), ("crc_val_he_7k_sample", 224, 0.5), ("osteosarcoma_10x", 256, 4)],
)
def test_normalization_removes_two_thirds_of_the_distance_between_real_tiles(
    shared_data: Path, tmp_path: Path, folder: str, side_px: int, mpp: float
) -> None:
    tiles = tmp_path / "tiles" / "all"
    tiles.mkdir(parents=True)
    for path in sorted((shared_data / folder / "images").iterdir()):
        image = np.asarray(Image.open(path).convert("RGB"))
        step = max(1, min(image.shape[:2]) // side_px)
        Image.fromarray(image[: side_px * step : step, : side_px * step : step]).save(tiles / f"{path.stem}.png")
    pack(tiles.parent, out=tmp_path / "raw", settings=PatchSettings(), mpp=mpp, progress=False)
    result = normalize(tmp_path / "raw", out=tmp_path / "out", progress=False)
    count = len(list(tiles.iterdir()))
    assert sum(result.patches.values()) == count
    assert result.patches["normalized"] >= 0.9 * count
    assert result.between_slides is not None
    assert result.between_slides["normalized"] < result.between_slides["raw"] / 3

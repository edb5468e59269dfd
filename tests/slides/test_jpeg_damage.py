"""Damage that JPEG decoders pass over in silence is found, and no undamaged file is called damaged."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from histosynth.errors import HistosynthError
from histosynth.slides.image import ImageReader
from histosynth.slides.jpeg_damage import find_jpeg_damage

OPTIONS: list[dict[str, Any]] = [
    {"quality": 75},
    {"quality": 95, "subsampling": 0},
    {"quality": 50, "progressive": True},
    {"quality": 90, "optimize": True, "restart_marker_rows": 1},
]


def jpeg(seed: int, *, side: int = 96, **options: Any) -> bytes:
    """Return a smooth field with noise, as tissue has; seed 0 is uniform white."""
    rng = np.random.default_rng(seed)
    field = Image.fromarray(rng.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)).resize((side, side))
    pixels = np.clip(np.asarray(field) + rng.normal(0, 8, (side, side, 3)), 0, 255).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels if seed else np.full_like(pixels, 255)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def zeroed(data: bytes) -> bytes:
    """Return the file with the second half of its data zeroed, up to the end marker."""
    start = (data.rindex(b"\xff\xda") + len(data)) // 2
    return data[:start] + bytes(len(data) - 2 - start) + data[-2:]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("side", [8, 33, 96])
def test_an_undamaged_file_is_accepted(options: dict[str, Any], side: int) -> None:
    for seed in range(6):
        assert find_jpeg_damage(jpeg(seed, side=side, **options)) is None
    for mode, level in (("L", 0), ("RGB", 114), ("RGB", 128)):  # as in padded tiles; 128 is what missing data decode to
        buffer = BytesIO()
        Image.new("RGB", (side, side), (level,) * 3).convert(mode).save(buffer, "JPEG", **options)
        assert find_jpeg_damage(buffer.getvalue()) is None


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_half_zeroed_file_is_damaged(options: dict[str, Any]) -> None:
    silent = 0
    for seed in range(1, 21):
        data = zeroed(jpeg(seed, **options))
        try:
            with Image.open(BytesIO(data)) as image:
                image.load()
            silent += 1
        except OSError:
            continue
        assert find_jpeg_damage(data), seed
    assert silent >= 10, "Pillow reports this damage by itself"


def test_missing_data_and_a_missing_end_are_damage() -> None:
    data = jpeg(1)
    assert find_jpeg_damage(data[: len(data) // 2] + data[-2:]) == "it has less data than pixels"
    assert find_jpeg_damage(data[:-2] + data[-300:]) == "it has more data than pixels"
    assert find_jpeg_damage(data[:-2] + bytes(2)) == "it ends before its end marker"
    assert find_jpeg_damage(data[:100]) == "its segments are damaged"


def test_no_damaged_tile_is_read(tmp_path: Path) -> None:
    (tmp_path / "tile.jpg").write_bytes(zeroed(jpeg(1)))
    with pytest.raises(HistosynthError, match=r"tile\.jpg is damaged: it has .* data than pixels; save it again"):
        ImageReader(tmp_path / "tile.jpg")


@pytest.mark.real
def test_no_real_tile_is_called_damaged(shared_data: Path) -> None:
    files = sorted(shared_data.glob("*/images/*.jp*g"))[:40]
    assert files
    for file in files:
        assert find_jpeg_damage(file.read_bytes()) is None, file

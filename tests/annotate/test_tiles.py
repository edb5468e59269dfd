"""Deep Zoom tiles: those of OpenSlide's own generator on a real slide, and of a file without a pyramid."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histosynth.annotate.tiles import JPEG, TILE_PX, WEBP, DeepZoom, encode_image, read_tile
from histosynth.slides.open import open_slide


@pytest.mark.real
def test_tiles_are_those_of_openslide(shared_data: Path) -> None:
    import openslide
    from openslide.deepzoom import DeepZoomGenerator

    path = shared_data / "slides" / "CMU-1-Small-Region.svs"
    with openslide.OpenSlide(path) as peer, open_slide(path) as slide:
        generator = DeepZoomGenerator(peer, TILE_PX, 1, limit_bounds=False)
        pyramid = DeepZoom(width_px=slide.width_px, height_px=slide.height_px)
        assert pyramid.max_level == generator.level_count - 1
        for level in range(8, generator.level_count):  # OpenSlide stretches small levels by up to a pixel
            columns, rows = generator.level_tiles[level]
            assert pyramid.tile_box(level, columns, 0) is None
            assert pyramid.tile_box(level, 0, rows) is None
            for column, row in {(0, 0), (columns - 1, rows - 1), (columns // 2, rows // 2)}:
                box = pyramid.tile_box(level, column, row)
                assert box is not None
                tile = read_tile(slide, box, scale=1 << (pyramid.max_level - level))
                theirs = np.asarray(generator.get_tile(level, (column, row)).convert("RGB"))
                assert tile.shape == theirs.shape
                # OpenSlide scales by a windowed sinc and we average; the last level is exact.
                difference = np.abs(tile.astype(float) - theirs).mean()
                assert difference == 0 if level == pyramid.max_level else difference < 6


def test_a_slide_without_pyramid_is_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(0).integers(0, 256, (700, 900, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    pyramid = DeepZoom(width_px=900, height_px=700)
    with open_slide(tmp_path / "a.png") as slide:
        box = pyramid.tile_box(8, 0, 0)
        assert box is not None
        whole = read_tile(slide, box, scale=4)
        monkeypatch.setattr("histosynth.annotate.tiles._BLOCK_PIXELS", 20_000)
        assert np.array_equal(read_tile(slide, box, scale=4), whole)
    average = image.reshape(175, 4, 225, 4, 3).mean(axis=(1, 3))
    assert np.abs(whole - average).max() <= 1


def test_both_encodings_hold_the_pixels() -> None:
    from io import BytesIO

    pixels = np.tile(np.linspace(100, 250, 254, dtype=np.uint8)[:, None, None], (1, 254, 3))
    for kind, name in ((JPEG, "JPEG"), (WEBP, "WEBP")):
        with Image.open(BytesIO(encode_image(pixels, kind))) as image:
            assert image.format == name
            assert np.abs(np.asarray(image).astype(int) - pixels).max() < 12

"""The direct tile path against OpenSlide, which reads the same files by other code, and against what was written."""

import gc
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from histosynth.errors import HistosynthError
from histosynth.slides.image import ImageReader
from histosynth.slides.openslide import OpenSlideReader
from histosynth.slides.phantom.files import write_pyramid
from histosynth.slides.reader import Box, open_slide
from histosynth.slides.tiff import TiffReader
from histosynth.slides.tiff_levels import NotUnderstoodError

HEIGHT, WIDTH = 610, 700
APERIO = "Aperio Image Library v11.2.1\n700x610 (240x240) JPEG/RGB Q=30|AppMag = 20|MPP = 0.4990"


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """Smooth color with sharp edges: where two JPEG decoders differ, they differ here. (HEIGHT, WIDTH, 3)"""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    waves = np.stack([np.sin(x / 9) * np.cos(y / 7), np.sin(x / 23 + 1), np.cos((x + y) / 31)], axis=2)
    image = (127 + 90 * waves).astype(np.uint8)
    image[::37] = (250, 20, 30)
    return image


def write(path: Path, *levels: np.ndarray, tile: tuple[int, int] = (256, 256), first: str = "", **options: object) -> Path:
    with tifffile.TiffWriter(path) as tiff:
        for n, level in enumerate(levels):
            tiff.write(
                level,
                tile=tile,
                subfiletype=min(n, 1),
                description=first if n == 0 else None,
                metadata=None,
                **{"photometric": "rgb", **options},
            )
    return path


def same_pixels(path: Path) -> None:
    """Both readers agree on every level, on random boxes of level 0 that may reach outside, and on the facts."""
    rng = np.random.default_rng(0)
    with TiffReader(path) as slide, OpenSlideReader(path) as oracle:
        assert (slide.width_px, slide.height_px, slide.levels) == (oracle.width_px, oracle.height_px, oracle.levels)
        assert slide.mpp == (None if oracle.mpp is None else pytest.approx(oracle.mpp))
        for number, level in enumerate(slide.levels):
            whole = Box(x=0, y=0, width=level.width_px, height=level.height_px)
            np.testing.assert_array_equal(slide.read(whole, level=number), oracle.read(whole, level=number))
        for x, y, width, height in rng.integers((-99, -99, 1, 1), (slide.width_px, slide.height_px, 500, 500), (20, 4)):
            box = Box(x=int(x), y=int(y), width=int(width), height=int(height))
            np.testing.assert_array_equal(slide.read(box), oracle.read(box))
        np.testing.assert_array_equal(slide.thumbnail(100), oracle.thumbnail(100))


@pytest.mark.parametrize("description", ["", APERIO])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True},
        {"compression": "lzw"},
        {"compression": "lzw", "predictor": True, "byteorder": ">"},
        {"compression": "jpeg"},
        {"compression": "jpeg", "compressionargs": {"level": 30}, "subsampling": (2, 2)},
        {"compression": "jpeg", "subsampling": (2, 1), "tile": (240, 240)},
        {"compression": "jpeg", "subsampling": (1, 1), "tile": (128, 512)},
        {"compression": "jpeg", "compressionargs": {"outcolorspace": "rgb"}},
    ],
    ids=str,
)
def test_every_compression_reads_as_openslide_reads_it(
    tmp_path: Path, picture: np.ndarray, options: dict[str, object], description: str
) -> None:
    options = dict(options)
    byteorder = options.pop("byteorder", None)
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, byteorder=byteorder) as tiff:
        for n, level in enumerate((picture, picture[::2, ::2], picture[: HEIGHT // 4 * 4 : 4, ::4])):
            tiff.write(
                level,
                **{"tile": (256, 256), "photometric": "rgb", **options},
                subfiletype=min(n, 1),
                description=description if n == 0 else None,
                metadata=None,
            )
    same_pixels(path)
    with open_slide(path) as slide:
        assert isinstance(slide, TiffReader)


def test_a_phantom_reads_as_openslide_reads_it(tmp_path: Path, picture: np.ndarray) -> None:
    write_pyramid(tmp_path / "a.tif", picture, mpp=0.25)
    same_pixels(tmp_path / "a.tif")


@pytest.mark.real
@pytest.mark.parametrize(
    "name",
    [
        "slides/CMU-1-Small-Region.svs",
        "slides/TCGA-CR-7395-01A-01-TS1.svs",
        "lgg_mini/slides/TCGA-DB-5270-01Z-00-DX1.svs",
        "lgg_mini/slides/TCGA-DB-5275-01Z-00-DX1.svs",
    ],
)
def test_a_real_slide_reads_as_openslide_reads_it(shared_data: Path, name: str) -> None:
    with open_slide(shared_data / name) as slide:
        assert isinstance(slide, TiffReader)
    same_pixels(shared_data / name)


def sparse(path: Path, *, description: str = "", lower: bool = False) -> Path:
    """The second tile of the first level, or of the second one (`lower`), was not scanned."""

    def tiles(columns: int, gap: bool) -> Iterator[np.ndarray | None]:
        for n in range(columns):
            yield None if gap and n == 1 else np.full((128, 128, 3), 50, np.uint8)

    with tifffile.TiffWriter(path) as tiff:
        for n, columns in enumerate((4, 2)):
            tiff.write(
                tiles(columns, gap=lower == (n == 1)),
                shape=(128 * (2 - n), 128 * columns // (2 - n), 3) if n == 0 else (128, 128 * columns, 3)[:0] or (128, 128, 3),
                dtype=np.uint8,
                tile=(128, 128),
                photometric="rgb",
                subfiletype=n,
                description=description if n == 0 else None,
                metadata=None,
            )
    return path

"""The TIFF reader compared with OpenSlide, an independent reader of the same files, and with the pixels written."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

from histosynth.slides.open import open_slide
from histosynth.slides.openslide import OpenSlideReader
from histosynth.slides.phantom.files import write_pyramid
from histosynth.slides.tiff import TiffReader
from histosynth.slides.types import Box

HEIGHT, WIDTH = 610, 700
APERIO = "Aperio Image Library v11.2.1\n700x610 (240x240) JPEG/RGB Q=30|AppMag = 20|MPP = 0.4990"


def assert_same_pixels(path: Path) -> None:
    """Assert that both readers agree on all levels, on random boxes of level 0 (also outside), and on the metadata."""
    rng = np.random.default_rng(0)
    with TiffReader(path) as slide, OpenSlideReader(path) as oracle:
        assert (slide.width_px, slide.height_px, slide.levels) == (oracle.width_px, oracle.height_px, oracle.levels)
        assert slide.mpp == (None if oracle.mpp is None else pytest.approx(oracle.mpp))
        for number, level in enumerate(slide.levels):
            whole = Box(x=0, y=0, width=min(level.width_px, 1000), height=min(level.height_px, 1000))
            np.testing.assert_array_equal(slide.read(whole, level=number), oracle.read(whole, level=number))
        for x, y, width, height in rng.integers((-99, -99, 1, 1), (slide.width_px, slide.height_px, 400, 400), (12, 4)):
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
        {"compression": "lzw", "predictor": True},
        {"compression": "jpeg"},
        {"compression": "jpeg", "compressionargs": {"level": 30}, "subsampling": (2, 2)},
        {"compression": "jpeg", "subsampling": (2, 1), "tile": (240, 240)},
        {"compression": "jpeg", "subsampling": (1, 1), "tile": (128, 512)},
        {"compression": "jpeg", "compressionargs": {"outcolorspace": "rgb"}},
    ],
    ids=str,
)
def test_every_compression_agrees_with_openslide(
    tmp_path: Path, picture: np.ndarray, options: dict[str, object], description: str
) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tiff:
        for n, level in enumerate((picture, picture[::2, ::2], picture[: HEIGHT // 4 * 4 : 4, ::4])):
            tiff.write(
                level,
                **{"tile": (256, 256), "photometric": "rgb", **options},
                subfiletype=min(n, 1),
                description=description if n == 0 else None,
                metadata=None,
            )
    assert_same_pixels(path)
    with open_slide(path) as slide:
        assert isinstance(slide, TiffReader)


def test_big_endian_file_is_read(tmp_path: Path, picture: np.ndarray) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif", byteorder=">", bigtiff=True) as tiff:
        tiff.write(picture, tile=(256, 256), photometric="rgb", compression="lzw", predictor=True, metadata=None)
    with open_slide(tmp_path / "a.tif") as slide:
        np.testing.assert_array_equal(slide.read(Box(x=0, y=0, width=WIDTH, height=HEIGHT)), picture)


def test_phantom_agrees_with_openslide(tmp_path: Path, picture: np.ndarray) -> None:
    write_pyramid(tmp_path / "a.tif", picture, mpp=0.25)
    assert_same_pixels(tmp_path / "a.tif")


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
def test_real_slide_agrees_with_openslide(shared_data: Path, name: str) -> None:
    with open_slide(shared_data / name) as slide:
        assert isinstance(slide, TiffReader)
    assert_same_pixels(shared_data / name)


def sparse(path: Path, *, gap: int, description: str = "") -> Path:
    """Write levels of 256 x 256 and 128 x 128 px of gray tiles; the last tile of level `gap` was not scanned."""

    def tiles(count: int, last: np.ndarray | None) -> Iterator[np.ndarray | None]:
        yield from [np.full((64, 64, 3), 50, np.uint8)] * (count - 1)
        yield last

    with tifffile.TiffWriter(path) as tiff:
        for n, side in enumerate((256, 128)):
            tiff.write(
                tiles((side // 64) ** 2, None if n == gap else np.full((64, 64, 3), 90, np.uint8)),
                shape=(side, side, 3),
                dtype=np.uint8,
                tile=(64, 64),
                photometric="rgb",
                subfiletype=n,
                description=description if n == 0 else None,
                metadata=None,
            )
    return path


@pytest.mark.parametrize("description", ["", APERIO])
@pytest.mark.parametrize("gap", [0, 1])
def test_tiles_that_were_not_scanned_are_white(tmp_path: Path, gap: int, description: str) -> None:
    path = sparse(tmp_path / "a.tif", gap=gap, description=description)
    if description:  # OpenSlide renders missing tiles of an SVS from other levels
        with open_slide(path) as slide:
            assert isinstance(slide, OpenSlideReader)
        return
    assert_same_pixels(path)
    with TiffReader(path) as slide:
        side = 256 >> gap
        assert (slide.read(Box(x=side - 64, y=side - 64, width=64, height=64), level=gap) == 255).all()
        assert (slide.read(Box(x=0, y=0, width=64, height=64), level=gap) == 50).all()


def write_ome(path: Path, image: np.ndarray, *, sizes: int = 3, **options: object) -> Path:
    """Write a pyramid in SubIFDs, as Bio-Formats and QuPath do, after a small image (a label) in its own series."""
    planar = options.get("planarconfig") == "separate"
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(image[:40, :60], photometric="rgb", metadata={"axes": "YXS", "Name": "label"})
        for n in range(sizes):
            level = image[:: 2**n, :: 2**n]
            tiff.write(
                level.transpose(2, 0, 1) if planar else level,
                tile=(128, 128),
                photometric="rgb",
                subifds=sizes - 1 if n == 0 else None,
                subfiletype=min(n, 1),
                metadata={
                    "axes": "SYX" if planar else "YXS",
                    "PhysicalSizeX": 0.00025,
                    "PhysicalSizeXUnit": "mm",
                    "PhysicalSizeY": 250.0,
                    "PhysicalSizeYUnit": "nm",
                }
                if n == 0
                else None,
                **options,
            )
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib", "predictor": True},
        {"planarconfig": "separate"},
        {"planarconfig": "separate", "compression": "lzw", "predictor": True},
        {"compression": "jpeg2000"},
    ],
    ids=str,
)
def test_largest_series_of_an_ome_tiff_is_the_slide(
    tmp_path: Path, picture: np.ndarray, options: dict[str, object]
) -> None:
    with open_slide(write_ome(tmp_path / "a.ome.tif", picture, **options)) as slide:
        assert isinstance(slide, TiffReader)
        assert (slide.slide_id, slide.mpp) == ("a", pytest.approx(0.25))
        assert [level.downsample for level in slide.levels] == [1, 2, 4]
        for n, level in enumerate(slide.levels):
            whole = slide.read(Box(x=0, y=0, width=level.width_px, height=level.height_px), level=n)
            np.testing.assert_array_equal(whole, picture[:: 2**n, :: 2**n])


def test_tile_cache_is_bounded_and_changes_no_pixel(
    tmp_path: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture, tile=(64, 64), photometric="rgb", metadata=None)
    monkeypatch.setattr("histosynth.slides.tiff._CACHE_BYTES", 1)
    with TiffReader(path) as slide, openslide.OpenSlide(path) as oracle:
        for x, y in np.random.default_rng(0).integers(0, 500, (50, 2)).tolist():
            expected = np.asarray(oracle.read_region((x, y), 0, (110, 90)).convert("RGB"))
            np.testing.assert_array_equal(slide.read(Box(x=x, y=y, width=110, height=90)), expected)
            assert len(slide._tiles) <= 4

"""JPEG data whose color space differs from the page's, and damaged data: never other pixels in silence."""

from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from histosynth.errors import HistosynthError
from histosynth.slides.jpeg import decode_jpeg
from histosynth.slides.open import open_slide
from histosynth.slides.types import Box

TILE = 128
SIDE = 2 * TILE
WHOLE = Box(x=0, y=0, width=SIDE, height=SIDE)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE]
    noise = np.random.default_rng(0).normal(0, 12, (SIDE, SIDE, 1))
    return (np.stack([200 - x / 3, 60 + y / 4, 150 + (x - y) / 4], axis=2) + noise).clip(0, 255).astype(np.uint8)


def encode(tile: np.ndarray, stream: str, level: int = 95) -> bytes:
    """Return the JPEG data: JFIF (YCbCr), Adobe (RGB), or without both (RGB with the ids 0, 1, 2, as Aperio writes)."""
    if stream == "jfif":
        return bytes(imagecodecs.jpeg8_encode(tile, level=level, subsampling="420"))
    data = bytes(imagecodecs.jpeg8_encode(tile, level=level, colorspace="RGB", outcolorspace="RGB"))
    if stream == "adobe":
        return data
    start = data.index(b"\xff\xee")
    bare = data[:start] + data[start + 2 + int.from_bytes(data[start + 2 : start + 4]) :]
    frame, scan = bare.index(b"\xff\xc0") + 10, bare.index(b"\xff\xda") + 5
    renamed = bytearray(bare)
    for n in range(3):
        renamed[frame + 3 * n] = renamed[scan + 2 * n] = n
    return bytes(renamed)


def write(path: Path, picture: np.ndarray, *, stream: str, photometric: str, level: int = 95) -> Path:
    """Write tiles of one kind of JPEG data on a page of another, as QuPath and Bio-Formats do."""
    corners = [(y, x) for y in range(0, SIDE, TILE) for x in range(0, SIDE, TILE)]
    tifffile.imwrite(
        path,
        iter([encode(picture[y : y + TILE, x : x + TILE], stream, level) for y, x in corners]),
        shape=picture.shape,
        dtype=np.uint8,
        tile=(TILE, TILE),
        compression="jpeg",
        photometric=photometric,
        compressionargs={"outcolorspace": "rgb"} if photometric == "rgb" else None,
        metadata={"axes": "YXS"} if ".ome." in path.name else None,
        ome=".ome." in path.name,
    )
    return path


@pytest.mark.parametrize("name", ["a.ome.tif", "a.tif"])
@pytest.mark.parametrize(
    ("stream", "photometric"),
    [("jfif", "rgb"), ("jfif", "ycbcr"), ("adobe", "rgb"), ("adobe", "ycbcr"), ("bare", "rgb")],
)
def test_color_space_of_the_stream_decides(
    tmp_path: Path, picture: np.ndarray, name: str, stream: str, photometric: str
) -> None:
    path = write(tmp_path / name, picture, stream=stream, photometric=photometric)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages.first.photometric.name.lower() == photometric
    with open_slide(path) as slide:
        pixels = slide.read(WHOLE)
    np.testing.assert_array_equal(pixels, tifffile.imread(path))
    assert np.abs(pixels.astype(int) - picture).mean() < 5  # the wrong color space is off by 40


@pytest.mark.real
@pytest.mark.parametrize(
    "name",
    ["slides/CMU-1-Small-Region", "slides/TCGA-CR-7395-01A-01-TS1", "lgg_mini/slides/TCGA-DB-5270-01Z-00-DX1"],
)
def test_real_slide_agrees_with_tifffile(shared_data: Path, name: str) -> None:
    path = shared_data / f"{name}.svs"
    with tifffile.TiffFile(path) as tiff, open_slide(path) as slide:
        page = tiff.pages.first
        for index in range(0, len(page.dataoffsets), len(page.dataoffsets) // 20 + 1):
            tiff.filehandle.seek(page.dataoffsets[index])
            data = tiff.filehandle.read(page.databytecounts[index])
            tile, (_, _, top, left, _), _ = page.decode(data, index, jpegtables=page.jpegtables)
            height, width = min(page.tilelength, slide.height_px - top), min(page.tilewidth, slide.width_px - left)
            ours = slide.read(Box(x=left, y=top, width=width, height=height))
            np.testing.assert_array_equal(ours, tile.reshape(page.tilelength, page.tilewidth, 3)[:height, :width])


def damage(data: bytes, how: str) -> bytes:
    """Return the data with one fault in its entropy-coded part."""
    start = data.index(b"\xff\xda") + 14
    half = (start + len(data)) // 2
    return {
        "second half zeroed": data[:half] + bytes(len(data) - half),
        "second half zeroed, marker kept": data[:half] + bytes(len(data) - half - 2) + data[-2:],
        "first half zeroed": data[:start] + bytes(half - start) + data[half:],
        "block zeroed": data[:half] + bytes(64) + data[half + 64 :],
        "truncated": data[:half],
        "truncated, marker kept": data[:half] + data[-2:],
    }[how]


FAULTS = (
    "second half zeroed",
    "second half zeroed, marker kept",
    "first half zeroed",
    "block zeroed",
    "truncated",
    "truncated, marker kept",
)


@pytest.mark.parametrize("how", FAULTS)
def test_damaged_tile_is_an_error(tmp_path: Path, picture: np.ndarray, how: str) -> None:
    path = write(tmp_path / "a.tif", picture, stream="jfif", photometric="ycbcr")
    with tifffile.TiffFile(path) as tiff:
        start, length = tiff.pages.first.dataoffsets[1], tiff.pages.first.databytecounts[1]
    content = bytearray(path.read_bytes())
    content[start : start + length] = damage(bytes(content[start : start + length]), how).ljust(length, b"\0")
    path.write_bytes(content)
    with open_slide(path) as slide:
        slide.read(Box(x=0, y=0, width=TILE, height=TILE))
        with pytest.raises(HistosynthError, match=r"a\.tif cannot be read \(tile 1 of 256 x 256 px: the JPEG data"):
            slide.read(WHOLE)


@pytest.mark.parametrize("options", [{"progressive": True}, {"restart_marker_rows": 3}], ids=str)
@pytest.mark.parametrize("how", ["first half zeroed", "truncated, marker kept"])
def test_damage_between_other_markers_is_found(picture: np.ndarray, how: str, options: dict[str, Any]) -> None:
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=80, subsampling=0, **options)
    data = buffer.getvalue()
    expected = imagecodecs.jpeg8_decode(data)
    np.testing.assert_array_equal(decode_jpeg(data, tables=None, color_space="RGB"), expected)
    with pytest.raises(ValueError, match="the JPEG data is damaged"):
        decode_jpeg(damage(data, how), tables=None, color_space="RGB")


@pytest.mark.parametrize("optimize", [False, True])
def test_blank_image_is_not_taken_for_damaged(optimize: bool) -> None:
    blank = np.full((512, 512, 3), 255, np.uint8)
    data = bytes(imagecodecs.jpeg8_encode(blank, level=90, optimize=optimize))
    assert (bytes(64) in data) == optimize
    np.testing.assert_array_equal(decode_jpeg(data, tables=None, color_space="RGB"), blank)


def test_flipped_bits_are_found_as_openslide_finds_them(tmp_path: Path, picture: np.ndarray) -> None:
    path = write(tmp_path / "a.tif", picture, stream="jfif", photometric="ycbcr", level=40)
    with tifffile.TiffFile(path) as tiff:
        start, length = tiff.pages.first.dataoffsets[0], tiff.pages.first.databytecounts[0]
    intact = path.read_bytes()
    scan = intact.index(b"\xff\xda", start) + 14
    rng = np.random.default_rng(0)
    verdicts = []
    for position, bit in zip(rng.integers(scan, start + length - 2, 100), rng.integers(0, 8, 100), strict=True):
        content = bytearray(intact)
        content[position] ^= 1 << bit
        path.write_bytes(content)
        with openslide.OpenSlide(path) as oracle:
            try:
                oracle.read_region((0, 0), 0, (TILE, TILE))
                expected = False
            except openslide.OpenSlideError:
                expected = True
        try:
            decode_jpeg(bytes(content[start : start + length]), tables=None, color_space="YCbCr")
            verdicts.append((False, expected))
        except ValueError:
            verdicts.append((True, expected))
    ours, theirs = np.array(verdicts).T
    assert theirs.sum() > 15
    assert (ours != theirs).sum() <= 2


@pytest.mark.real
@pytest.mark.parametrize("how", ["zeros", "truncated"])
def test_damaged_jpeg2000_tile_is_an_error(shared_data: Path, tmp_path: Path, how: str) -> None:
    content = bytearray((shared_data / "slides/TCGA-CR-7395-01A-01-TS1.svs").read_bytes())
    with tifffile.TiffFile(shared_data / "slides/TCGA-CR-7395-01A-01-TS1.svs") as tiff:
        page = tiff.pages.first
        index = int(np.argmax(page.databytecounts))
        start, length = page.dataoffsets[index], page.databytecounts[index]
        top, left = (index // -(-page.imagewidth // page.tilewidth)) * page.tilelength, 0
    content[start + length // 2 : start + length // 2 + 512 if how == "zeros" else start + length] = bytes(
        512 if how == "zeros" else length - length // 2
    )
    (tmp_path / "a.svs").write_bytes(content)
    with open_slide(tmp_path / "a.svs") as slide, pytest.raises(HistosynthError, match="the JPEG 2000 data is damaged"):
        slide.read(Box(x=left, y=top, width=slide.width_px, height=page.tilelength))


@pytest.mark.real
def test_no_tile_of_a_real_slide_is_taken_for_damaged(shared_data: Path) -> None:
    for path in sorted(shared_data.glob("*/*.svs")) + sorted(shared_data.glob("*/slides/*.svs")):
        with open_slide(path) as slide:
            slide.thumbnail(min(slide.width_px, 512))
            for number, level in enumerate(slide.levels[1:], start=1):
                slide.read(Box(x=0, y=0, width=level.width_px, height=level.height_px), level=number)

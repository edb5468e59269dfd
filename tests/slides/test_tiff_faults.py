"""TIFF files that cannot be read end in one line or in another reader, and no file stays open."""

import gc
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from histosynth.errors import HistosynthError
from histosynth.slides.image import ImageReader
from histosynth.slides.open import open_slide
from histosynth.slides.openslide import OpenSlideReader
from histosynth.slides.tiff import TiffReader
from histosynth.slides.tiff_levels import UnsupportedTiffError
from histosynth.slides.types import Box

HEIGHT, WIDTH = 610, 700
APERIO = "Aperio Image Library v11.2.1\n700x610 (240x240) JPEG/RGB Q=30|AppMag = 20|MPP = 0.4990"


def test_ome_tiff_of_other_channels_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    channels = np.zeros((4, 256, 256), np.uint16)
    tifffile.imwrite(path, channels, ome=True, tile=(128, 128), photometric="minisblack", metadata={"axes": "CYX"})
    with pytest.raises(HistosynthError, match=r"a\.ome\.tif is an OME-TIFF of CYX uint16, not 8-bit RGB; export it"):
        open_slide(path)


@pytest.mark.parametrize(
    ("options", "reader"),
    [
        ({"extrasamples": "unassalpha"}, OpenSlideReader),  # premultiplied by libtiff
        ({"photometric": "minisblack"}, OpenSlideReader),
        ({"tile": None}, ImageReader),
    ],
    ids=str,
)
def test_unsupported_tiff_is_left_to_another_reader(
    tmp_path: Path, picture: np.ndarray, options: dict[str, object], reader: type
) -> None:
    image = picture[..., 0] if "photometric" in options else picture
    if "extrasamples" in options:
        image = np.dstack([picture, picture[..., 0]])
    tifffile.imwrite(
        tmp_path / "a.tif", image, **{"tile": (256, 256), "photometric": "rgb", "metadata": None, **options}
    )
    with pytest.raises(UnsupportedTiffError):
        TiffReader(tmp_path / "a.tif")
    with open_slide(tmp_path / "a.tif") as slide:
        assert isinstance(slide, reader)


def damaged(path: Path, image: np.ndarray, fault: str) -> Path:
    """Write a slide with one fault."""
    tifffile.imwrite(path, image, tile=(256, 256), photometric="rgb", compression="zlib", metadata=None)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        start, length = page.dataoffsets[0], page.databytecounts[0]
        tag = page.tags["Compression"].valueoffset
    if fault == "truncated":
        content = content[: len(content) // 2]
    elif fault == "empty":
        content.clear()
    elif fault == "corrupt tile":
        content[start : start + length] = bytes(length)
    elif fault == "unknown compression":
        struct.pack_into("<H", content, tag, 34999)
    elif fault == "text":
        content[:] = b"slide_id,label\n"
    elif fault == "png":
        content[:] = b"\x89PNG\r\n\x1a\n" + bytes(100)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", [".svs", ".tif"])
@pytest.mark.parametrize("fault", ["truncated", "empty", "corrupt tile", "unknown compression", "text", "png"])
def test_damaged_slide_gives_a_one_line_error(
    tmp_path: Path, picture: np.ndarray, fault: str, suffix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = damaged(tmp_path / f"bad{suffix}", picture, fault)
    expected = pytest.raises(HistosynthError, match=rf"(slide|image) .*bad\{suffix} cannot be read .*; ")
    with expected as caught, open_slide(path) as slide:
        slide.read(Box(x=0, y=0, width=WIDTH, height=HEIGHT))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@settings(max_examples=30)
@given(share=st.floats(0, 1), flip=st.integers(1, 255))
def test_wrong_byte_in_the_structure_never_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, picture: np.ndarray, share: float, flip: int
) -> None:
    path = tmp_path_factory.mktemp("wrong") / "a.svs"
    tifffile.imwrite(path, picture[:64, :64], tile=(64, 64), photometric="rgb", description=APERIO, metadata=None)
    content = bytearray(path.read_bytes())
    content[int(share * 400)] ^= flip
    path.write_bytes(content)
    try:
        with open_slide(path) as slide:
            slide.read(Box(x=0, y=0, width=64, height=64))
    except HistosynthError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="file handles are counted in /proc")
def test_closed_slides_leave_no_file_handle_and_no_memory(tmp_path: Path, picture: np.ndarray) -> None:
    path = tmp_path / "a.tif"
    picture = picture[:300, :300]
    tifffile.imwrite(path, picture, tile=(256, 256), photometric="rgb", compression="jpeg", metadata=None)

    def open_and_read(times: int) -> None:
        for _ in range(times):
            with open_slide(path) as slide:
                slide.read(Box(x=0, y=0, width=300, height=300))

    open_and_read(50)
    gc.collect()
    handles, memory = len(os.listdir("/proc/self/fd")), resident_bytes()  # noqa: PTH208
    open_and_read(500)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == handles  # noqa: PTH208
    assert resident_bytes() - memory < 500 * picture.nbytes / 20  # a twentieth of a leak of every slide


def test_rejected_file_leaves_no_file_handle(tmp_path: Path) -> None:
    (tmp_path / "a.svs").write_bytes(b"II*\0" + bytes(200))
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 0
    with pytest.raises(UnsupportedTiffError):
        TiffReader(tmp_path / "a.svs")
    if before:
        assert len(list(Path("/proc/self/fd").iterdir())) == before

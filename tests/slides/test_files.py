"""Files that are not slides, or no ordinary ones: an error of one line within bounded time, never a silent omission."""

import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from histosynth.errors import HistosynthError
from histosynth.inspect.describe import describe
from histosynth.slides.files import find_slides, slide_id_of
from histosynth.slides.open import open_slide


def write_tiff(path: Path, *, side: int, tile: int) -> Path:
    """Write a TIFF of RGB that claims a size, with a single tile of 100 bytes."""
    longs = {256: side, 257: side, 322: tile, 323: tile, 324: 200, 325: 100}
    shorts = {259: 1, 262: 2, 277: 3}
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in longs.items()]
    entries += [struct.pack("<HHII", tag, 3, 1, value) for tag, value in shorts.items()]
    entries.append(struct.pack("<HHII", 258, 3, 3, 180))
    entries.sort(key=lambda entry: struct.unpack("<H", entry[:2]))
    header = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(4)
    path.write_bytes((header.ljust(180, b"\0") + struct.pack("<HHH", 8, 8, 8)).ljust(400, b"\0"))
    return path


@pytest.mark.parametrize("suffix", [".tif", ".svs"])
@pytest.mark.parametrize(("side", "tile"), [(2**32 - 16, 2**32 - 16), (4_000_000, 65_520), (2**31, 2**31)])
def test_giant_dimensions_are_an_error(tmp_path: Path, suffix: str, side: int, tile: int) -> None:
    with pytest.raises(HistosynthError, match=r"which do not fit into memory|more than any scanner writes"):
        open_slide(write_tiff(tmp_path / f"a{suffix}", side=side, tile=tile))


def test_slide_larger_than_any_scan_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        iter([np.zeros((64, 8192, 3), np.uint8)] * 123),
        shape=(64, 8192 * 123, 3),
        dtype=np.uint8,
        tile=(64, 8192),
        photometric="rgb",
        compression="zlib",
        metadata=None,
    )
    with pytest.raises(HistosynthError, match="claims 1007616 x 64 px, more than any scanner writes"):
        open_slide(path)


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("target", [0, 1, 2])
def test_circle_of_directories_is_an_error(tmp_path: Path, target: int, bigtiff: bool) -> None:
    path = tmp_path / "a.svs"
    pages = np.zeros((3, 64, 64, 3), np.uint8)
    tifffile.imwrite(path, pages, tile=(64, 64), photometric="rgb", metadata=None, bigtiff=bigtiff)
    with tifffile.TiffFile(path) as tiff:
        offsets = [page.offset for page in tiff.pages]
    open_slide(path).close()
    content = bytearray(path.read_bytes())
    count, entry, offset = ("<Q", 20, "<Q") if bigtiff else ("<H", 12, "<I")
    (entries,) = struct.unpack_from(count, content, offsets[-1])
    struct.pack_into(offset, content, offsets[-1] + struct.calcsize(count) + entry * entries, offsets[target])
    path.write_bytes(content)
    started = time.process_time()
    with pytest.raises(HistosynthError, match="its directories form a circle"):
        open_slide(path)
    assert time.process_time() - started < 5


def test_pipe_is_an_error(tmp_path: Path) -> None:
    for name in ("a.svs", "a.geojson", "a.csv", "a.safetensors"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(HistosynthError, match="is not a regular file"):
            describe(tmp_path / name)
    with pytest.raises(HistosynthError, match=r"a\.svs' \(it is not a regular file\)"):
        open_slide(tmp_path / "a.svs")


@pytest.mark.parametrize("suffix", [".lif", ".qptiff"])
def test_formats_without_a_reader_are_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"a format of a company")
    assert find_slides([tmp_path]) == [path]
    assert slide_id_of(path) == "a"
    for call in (open_slide, describe):
        with pytest.raises(HistosynthError, match=rf"a\{suffix} is of a format that no reader supports .*; convert it"):
            call(path)


def test_tiled_qptiff_opens_alike_everywhere(tmp_path: Path) -> None:
    path = tmp_path / "a.qptiff"
    tifffile.imwrite(path, np.full((64, 64, 3), 99, np.uint8), tile=(64, 64), photometric="rgb", metadata=None)
    assert find_slides([tmp_path]) == [path]
    assert describe(path)["width_px"] == 64

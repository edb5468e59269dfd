"""DICOM files of slides, written element by element (PS3.5, 7.1), since no dependency writes them."""

import struct
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

EXPLICIT, IMPLICIT, JPEG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.4.50"
SLIDE_IMAGE = "1.2.840.10008.5.1.4.1.1.77.1.6"
UNDEFINED = 2**32 - 1
TILE = 64


def element(tag: int, kind: str, value: bytes | str | int, *, implicit: bool = False, undefined: bool = False) -> bytes:
    if isinstance(value, int):
        value = struct.pack({"US": "<H", "UL": "<I"}[kind], value)
    if isinstance(value, str):
        value = value.encode()
    value += (b"\0" if kind in {"UI", "OB"} else b" ") * (len(value) % 2)
    length = UNDEFINED if undefined else len(value)
    start = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if implicit:
        return start + struct.pack("<I", length) + value
    if kind in {"OB", "SQ", "UN"}:
        return start + kind.encode() + struct.pack("<HI", 0, length) + value
    return start + kind.encode() + struct.pack("<H", length) + value


def delimited(tag: int, content: bytes, *, undefined: bool, implicit: bool = False, kind: str = "SQ") -> bytes:
    """Return a sequence of one item, both of known or of undefined length."""
    item = struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED if undefined else len(content)) + content
    item += struct.pack("<HHI", 0xFFFE, 0xE00D, 0) * undefined
    item += struct.pack("<HHI", 0xFFFE, 0xE0DD, 0) * undefined
    return element(tag, kind, item, implicit=implicit, undefined=undefined)


def dicom(elements: bytes, *, syntax: str) -> bytes:
    meta = element(0x00020001, "OB", b"\0\1") + element(0x00020002, "UI", SLIDE_IMAGE)
    meta += element(0x00020003, "UI", "1.2.3") + element(0x00020010, "UI", syntax)
    return bytes(128) + b"DICM" + element(0x00020000, "UL", len(meta)) + meta + elements


def write_instance(path: Path, picture: np.ndarray, *, series: str, mpp: float, undefined: bool = False) -> Path:
    """Write one level of a slide, (H, W, 3), in JPEG tiles. Its other sequences are of known or undefined length."""
    height, width = picture.shape[:2]
    frames = []
    for y in range(0, height, TILE):
        for x in range(0, width, TILE):
            tile = np.full((TILE, TILE, 3), 255, np.uint8)
            part = picture[y : y + TILE, x : x + TILE]
            tile[: part.shape[0], : part.shape[1]] = part
            Image.fromarray(tile).save(buffer := BytesIO(), "JPEG", quality=95, subsampling=0)
            frames.append(buffer.getvalue() + b"\0" * (buffer.tell() % 2))
    spacing = f"{mpp / 1000:.7f}"
    measures = delimited(0x00289110, element(0x00280030, "DS", f"{spacing}\\{spacing}"), undefined=undefined)
    volume = "ORIGINAL\\PRIMARY\\VOLUME\\NONE"
    # A sequence before the series holds another series, which is not that of the instance.
    other = delimited(0x00081115, element(0x0020000E, "UI", "9.9.9"), undefined=undefined)
    elements = [
        element(0x00080008, "CS", volume), element(0x00080016, "UI", SLIDE_IMAGE),
        element(0x00080018, "UI", f"{series}.{width}"), element(0x00080060, "CS", "SM"), other,
        element(0x0020000D, "UI", "1.2"), element(0x0020000E, "UI", series), element(0x00200052, "UI", "1.2.9"),
        element(0x00209311, "CS", "TILED_FULL"), element(0x00280002, "US", 3),
        element(0x00280004, "CS", "YBR_FULL_422"), element(0x00280006, "US", 0),
        element(0x00280008, "IS", str(len(frames))), element(0x00280010, "US", TILE), element(0x00280011, "US", TILE),
        element(0x00280100, "US", 8), element(0x00280101, "US", 8), element(0x00280102, "US", 7),
        element(0x00280103, "US", 0), element(0x00480006, "UL", width), element(0x00480007, "UL", height),
        element(0x00480303, "UL", 1), delimited(0x52009229, measures, undefined=undefined),
    ]  # fmt: skip
    items = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(frame)) + frame for frame in (b"", *frames))
    pixels = element(0x7FE00010, "OB", items + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0), undefined=True)
    path.write_bytes(dicom(b"".join(elements) + pixels, syntax=JPEG))
    return path


def picture(side: int, *, seed: int = 0) -> np.ndarray:
    """Return squares of 16 px in colors of tissue, (side, side, 3)."""
    colors = np.random.default_rng(seed).integers((150, 60, 120), (220, 130, 190), (side // 16, side // 16, 3))
    return colors.repeat(16, 0).repeat(16, 1).astype(np.uint8)


def write_series(folder: Path, names: str, *, series: str, undefined: bool = False, seed: int = 0) -> np.ndarray:
    """Write a slide of 320 px and two coarser levels as a file each, and return its pixels."""
    folder.mkdir(exist_ok=True)
    pixels = picture(320, seed=seed)
    for name, step in zip(names, (1, 2, 4), strict=True):
        write_instance(
            folder / f"{name}.dcm", pixels[::step, ::step], series=series, mpp=0.5 * step, undefined=undefined
        )
    return pixels

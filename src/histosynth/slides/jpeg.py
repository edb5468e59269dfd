"""Decode a baseline JPEG strictly: its own color space, and an error instead of invented pixels.

Color space: the stream states it, in this order: a JFIF marker (YCbCr), Adobe's marker (its transform), component ids
R, G, B. A stream that states none, as in Aperio's SVS, has that of its page (libjpeg and tifffile decide alike).

Damage: a Huffman stream has no checksum, but after a fault it almost always asks for more bits than there are. libjpeg
then reads zeros up to the end-of-image marker, and only warns. Here that marker is replaced by eight bytes, as many as
libjpeg reads ahead of an intact stream, so that a stream that asks for more is incomplete, which is an error. Zeros, as
lost blocks of a disk are read, may also stand for fewer bits: a run of 64 zero bytes is an error, unless zero bits are
the code of "end of block" throughout, so that a blank area has such runs. `jpeg_damage` finds more, in four times the
time; it checks data of several scans or with restart markers.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histosynth.slides.jpeg_damage import find_jpeg_damage

ColorSpace = Literal["RGB", "YCbCr"]

_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_SOF_BASELINE, _SOF_PROGRESSIVE = (0xC0, 0xC1), 0xC2
_DHT, _SOS, _DRI, _APP0, _APP14 = 0xC4, 0xDA, 0xDD, 0xE0, 0xEE
_LOST_BLOCK = bytes(64)
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a segment
_READ_AHEAD = bytes(8)


@dataclass(frozen=True, kw_only=True)
class JpegHeader:
    """What precedes the entropy-coded data. `color_space` is None if the stream states none."""

    width_px: int
    height_px: int
    components: int
    color_space: ColorSpace | None
    scan_start: int
    one_segment: bool
    has_runs_of_zeros: bool


def decode_jpeg(data: bytes, *, tables: bytes | None, color_space: ColorSpace) -> NDArray[np.uint8]:
    """Return the pixels (H, W, 3) of an 8-bit JPEG of three components.

    Args:
        data: the stream.
        tables: an abbreviated stream of tables that precedes it (tag JPEGTables), if there is one.
        color_space: that of a stream that states none.

    Raises:
        ValueError: the stream is damaged, or of another kind.
    """
    if tables:
        data = _SOI + tables.removeprefix(_SOI).removesuffix(_EOI) + data.removeprefix(_SOI)
    header = read_header(data)
    if header.components != 3:
        raise ValueError(f"JPEG data of {header.components} components instead of 3")
    end = data.find(_EOI, header.scan_start)  # not a part of entropy-coded data, in which 0 follows each 255
    if end < 0:
        raise ValueError("the JPEG data is damaged: it ends before its end marker")
    # Replace the end marker, or check the rarer kinds of data, in which other markers end parts of it, the slow way.
    if header.one_segment:
        if not header.has_runs_of_zeros and data.find(_LOST_BLOCK, header.scan_start, end) >= 0:
            raise ValueError("the JPEG data is damaged: parts of it are zero")
        data = data[:end] + _READ_AHEAD
    elif damage := find_jpeg_damage(data):
        raise ValueError(f"the JPEG data is damaged: {damage}")
    # Decode.
    size = header.width_px, header.height_px
    try:
        image = Image.frombytes("RGB", size, data, "jpeg", ("RGB", header.color_space or color_space, 1, 0))
    except ValueError as error:
        raise ValueError("the JPEG data is damaged: it has less data than pixels") from error
    return np.asarray(image)


def read_header(data: bytes) -> JpegHeader:
    """Return the header of a stream.

    Raises:
        ValueError: it is invalid, or the stream is neither baseline nor progressive, or not of 8 bits.
    """
    frame: tuple[int, int, int, bytes] | None = None
    stated: ColorSpace | None = None
    adobe: ColorSpace | None = None
    progressive, restarts, has_runs_of_zeros = False, False, True
    position = 2 if data.startswith(_SOI) else len(data)
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF or marker in _ALONE:  # 255 is a fill byte
            position += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[position + 2 : position + 4])
        segment, position = data[position + 4 : position + 2 + length], position + 2 + length
        if marker in _SOF_BASELINE or marker == _SOF_PROGRESSIVE:
            frame, progressive = _read_frame(segment), marker == _SOF_PROGRESSIVE
        elif marker == _DHT:
            has_runs_of_zeros &= _zero_bits_end_block(segment)
        elif marker == _DRI:
            restarts = any(segment)
        elif marker == _APP0 and segment.startswith(b"JFIF\0"):
            stated = "YCbCr"
        elif marker == _APP14 and segment.startswith(b"Adobe") and len(segment) >= 12:
            adobe = "YCbCr" if segment[11] == 1 else "RGB"
        elif marker == _SOS and frame is not None and segment:
            height, width, components, ids = frame
            by_ids: ColorSpace | None = "RGB" if ids == b"RGB" else None
            return JpegHeader(
                width_px=width,
                height_px=height,
                components=components,
                color_space=stated or adobe or by_ids,
                scan_start=position,
                one_segment=not progressive and not restarts and segment[0] == components,
                has_runs_of_zeros=has_runs_of_zeros,
            )
    raise ValueError("not JPEG data of a supported kind (baseline or progressive, 8 bits)")


def _read_frame(segment: bytes) -> tuple[int, int, int, bytes]:
    """Return the height, the width, the number of components, and their ids."""
    if len(segment) < 6 or len(segment) < 6 + 3 * segment[5] or segment[0] != 8:
        raise ValueError("not JPEG data of 8 bits")
    height, width = int.from_bytes(segment[1:3]), int.from_bytes(segment[3:5])
    if not height or not width:
        raise ValueError("JPEG data without pixels")
    return height, width, segment[5], segment[6 : 6 + 3 * segment[5] : 3]


def _zero_bits_end_block(tables: bytes) -> bool:
    """Return True if the code of zero bits, the first of a Huffman table, is "end of block" in all AC tables."""
    position = 0
    while position + 18 <= len(tables):
        if tables[position] >> 4 == 1 and tables[position + 17]:
            return False
        position += 17 + sum(tables[position + 1 : position + 17])
    return True

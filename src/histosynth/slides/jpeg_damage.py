"""Damage inside a JPEG: pixels that the file does not state, or data that no pixel uses.

libjpeg fills what it cannot decode and reports it as a warning, which Pillow and imagecodecs discard: a file whose
second half was zeroed decodes without an error. The pixels themselves show it. Each segment of entropy-coded data is
followed by a marker, and in an undamaged file its last block ends within its last byte. Therefore

- bytes that are added behind a segment change no pixel; they do where the decoder ran out of data and read on;
- the last bytes of the last segment matter: without them, or with others in their place, some pixel changes. None does
  where the decoder had finished before them, or where all pixels have the gray that stands for missing data.

A damaged segment shifts all later codes and almost never ends at the right byte by chance. A single flipped bit often
leaves the length as it was and is not found; JPEG has no checksum.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import imagecodecs

_MARKER = re.compile(rb"\xff[^\x00\xff]")  # in entropy-coded data, FF 00 is a byte FF, and FF FF is filler
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_RESTARTS = range(0xD0, 0xD8)
_ARITHMETIC = frozenset({0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})  # whose decoder reads ahead
_OTHER = b"\x00" + b"\x5a" * 63  # 00 first: behind an FF, it makes that a byte of data
_REPLACED = 8  # bytes: at least the last blocks; a shorter segment is not checked for too much data


def find_jpeg_damage(data: bytes) -> str | None:
    """Return what is wrong with the data of a JPEG that decodes without an error; None where nothing is found."""
    try:
        segments = list(_segments(data))
    except (IndexError, ValueError):
        return "its segments are damaged"
    if not segments:
        return None
    start, end = segments[-1]
    if end == len(data):
        return "it ends before its end marker"
    longer, last = b"", 0
    for _, stop in segments:
        longer, last = longer + data[last:stop] + _OTHER, stop
    pixels = _decoded(data)
    if _decoded(longer + data[last:]) != pixels:
        return "it has less data than pixels"
    if end - start <= _REPLACED or pixels is None or pixels.uniform:
        return None
    before = data[: end - _REPLACED]
    unused = all(_decoded(before + tail + data[end:]) == pixels for tail in (b"", _OTHER))
    return "it has more data than pixels" if unused else None


@dataclass(frozen=True)
class _Pixels:
    """A checksum of the pixels, and whether all have one value."""

    checksum: int
    uniform: bool


def _decoded(data: bytes) -> _Pixels | None:
    """Return what identifies the pixels; None where they cannot be decoded."""
    try:
        image = imagecodecs.jpeg8_decode(data)
    except imagecodecs.Jpeg8Error:
        return None
    return _Pixels(checksum=zlib.crc32(image.data), uniform=bool(image.min() == image.max()))


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each segment of Huffman-coded data; an arithmetic-coded file has none."""
    at = 2
    while data[at + 1] != _END_OF_IMAGE:
        marker = data[at + 1]
        if data[at] != 0xFF:
            raise ValueError("no marker where one must be")
        if marker in _ARITHMETIC:
            return
        if marker == 0xFF:  # filler
            at += 1
            continue
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        while marker == _START_OF_SCAN or marker in _RESTARTS:
            next_marker = _MARKER.search(data, at)
            end = next_marker.start() if next_marker else len(data)
            yield at, end
            if next_marker is None:
                return
            marker = data[end + 1]
            at = end + 2 if marker in _RESTARTS else end
            if at == end:
                break

"""Text inside a PNG: iTXt chunks behind the header, before the pixels, as UTF-8 (PNG specification, 11.3.3.4).

A chunk is its length, its type, its data, and the CRC-32 of type and data; of a text the data are the keyword, a zero,
two zeros for "not compressed", two empty strings for language and translated keyword, and the text.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping

_HEADER = 8 + 25  # signature and IHDR: what has to come first
_TYPE, _PLAIN = b"iTXt", b"\0\0\0\0\0"


def with_text(png: bytes, text: Mapping[str, str]) -> bytes:
    """The same picture, with these texts by keyword (Latin letters, at most 79)."""
    chunks = (_TYPE + key.encode("latin-1") + _PLAIN + value.encode() for key, value in text.items())
    made = b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return png[:_HEADER] + made + png[_HEADER:]


def text_of(png: bytes) -> dict[str, str]:
    """The texts that `with_text` wrote."""
    pairs = (data.split(_PLAIN, 1) for kind, data in _chunks(png) if kind == _TYPE and _PLAIN in data)
    return {key.decode("latin-1"): value.decode() for key, value in pairs}


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and data of the chunks before the pixels."""
    at = 8
    while at + 8 <= len(png):
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        if kind == b"IDAT":
            return
        yield kind, png[at + 8 : at + 8 + size]
        at += size + 12

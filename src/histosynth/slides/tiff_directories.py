"""The chain of directories (IFD) of a TIFF: a circle in it would keep readers busy forever.

A directory is a number of entries, the entries, and the offset of the next directory, 0 at the end (TIFF 6.0, section
2). BigTIFF (version 43) has wider numbers.
"""

from typing import BinaryIO, Literal

_MAX_ENTRIES = 1 << 16


def has_circle(file: BinaryIO) -> bool:
    """Return True if the chain of directories returns to one of them. A chain that is damaged otherwise just ends."""
    file.seek(0)
    header = file.read(16)
    order: Literal["little", "big"] = "little" if header[:2] == b"II" else "big"
    is_big = int.from_bytes(header[2:4], order) == 43
    count_bytes, entry_bytes, offset_bytes = (8, 20, 8) if is_big else (2, 12, 4)
    offset = int.from_bytes(header[offset_bytes : 2 * offset_bytes], order)
    visited: set[int] = set()
    while offset and offset not in visited:
        visited.add(offset)
        file.seek(offset)
        entries = int.from_bytes(file.read(count_bytes), order)
        if entries > _MAX_ENTRIES:
            return False
        file.seek(offset + count_bytes + entries * entry_bytes)
        offset = int.from_bytes(file.read(offset_bytes), order)
    return bool(offset)

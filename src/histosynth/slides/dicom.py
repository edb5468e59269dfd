"""Series of DICOM files: the instances of one slide, each a level of its pyramid (DICOM PS3.3, A.32.8).

Every instance of a slide states the same Series Instance UID. OpenSlide opens a slide by any of its instances and finds
the others beside it, so that one instance per series is enough: that of the largest pixel matrix, the full resolution.

Only the header up to the size of that matrix is parsed (PS3.5, 7.1): elements of tag, type, length and value in the
order of their tags, explicit or implicit, little endian. Sequences of undefined length are entered, and their elements
ignored, until their delimiter.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from histosynth.remote import url_of

DICOM_SUFFIX = ".dcm"

_PREAMBLE = 128
_IMPLICIT = b"1.2.840.10008.1.2"
_TRANSFER_SYNTAX, _SERIES, _COLUMNS, _ROWS = 0x0002_0010, 0x0020_000E, 0x0048_0006, 0x0048_0007
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFE_E000, 0xFFFE_E00D, 0xFFFE_E0DD
_LONG_TYPES = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_UNDEFINED = 2**32 - 1
_MAX_UID_BYTES = 64
_MAX_ELEMENTS = 100_000


@dataclass(frozen=True)
class Instance:
    """What the header of a DICOM file states."""

    series: str
    """Series Instance UID."""
    pixels: int
    """Pixels of the total pixel matrix; 0 if it states none."""


def read_instance(path: Path) -> Instance | None:
    """Return what the header of a local file states; None if it is no DICOM file, or is damaged."""
    try:
        with path.open("rb") as file:
            values = _read_values(file)
        series = values[_SERIES].rstrip(b"\0 ").decode("ascii")
        columns, rows = (int.from_bytes(values.get(tag, b""), "little") for tag in (_COLUMNS, _ROWS))
    except (OSError, struct.error, LookupError, ValueError):
        return None
    return Instance(series, columns * rows) if series else None


def one_per_series(files: Iterable[Path]) -> tuple[list[Path], dict[Path, str]]:
    """Return the files, with one file for each series of DICOM files: that of the full resolution.

    Other files, URLs, and DICOM files without a readable header are returned as they are. A series whose files lie in
    several folders cannot be read as one slide; the second result has the reason by its file of the full resolution.
    """
    kept: list[Path] = []
    scattered: dict[Path, str] = {}
    of_series: dict[str, dict[Path, int]] = {}
    for file in files:
        local = file.suffix.lower() == DICOM_SUFFIX and not url_of(file) and file.is_file()
        if local and (instance := read_instance(file)):
            of_series.setdefault(instance.series, {})[file] = instance.pixels
        else:
            kept.append(file)
    for series, pixels in of_series.items():
        kept.append(max(sorted(pixels), key=lambda file: pixels[file]))
        if len(folders := sorted({str(file.parent.resolve()) for file in pixels})) > 1:
            scattered[kept[-1]] = (
                f"the DICOM files of the series {series} lie in several folders, such as {folders[0]} and "
                f"{folders[1]}; put the files of a slide into one folder, or name only one of the folders"
            )
    return kept, scattered


def other_files_of_series(slides: Iterable[Path]) -> dict[Path, list[Path]]:
    """Return, for each local DICOM slide, the other files of its series: those that OpenSlide finds beside it.

    They are sorted by name; the headers of each folder are read once. Slides of other formats are left out.
    """
    series_of: dict[Path, dict[Path, str]] = {}  # folder -> file -> series
    others: dict[Path, list[Path]] = {}
    for slide in slides:
        if slide.suffix.lower() != DICOM_SUFFIX or url_of(slide):
            continue
        if (folder := slide.parent) not in series_of:
            files = sorted(file for file in folder.iterdir() if file.is_file())
            instances = {file: read_instance(file) for file in files}
            series_of[folder] = {file: instance.series for file, instance in instances.items() if instance}
        series = series_of[folder].get(slide)
        others[slide] = [file for file, other in series_of[folder].items() if other == series and file != slide]
    return others


def _read_values(file: BinaryIO) -> dict[int, bytes]:
    """Return the values of the wanted elements by tag.

    Raises:
        struct.error: the file ends within the header.
        ValueError: it is no DICOM file, or its elements are not in order.
    """
    if file.read(_PREAMBLE + 4)[_PREAMBLE:] != b"DICM":
        raise ValueError("no DICOM file")
    values: dict[int, bytes] = {}
    last = 0
    nested: list[bool] = []  # per open sequence and item: implicit types?
    for _ in range(_MAX_ELEMENTS):
        if not (start := file.read(8)):
            break
        tag = _tag(start)
        implicit = nested[-1] if nested else tag >> 16 != 2 and _is_implicit(values)
        if tag in (_ITEM_END, _SEQUENCE_END):
            nested.pop()
            continue
        if tag == _ITEM or implicit:
            kind, length = b"", struct.unpack("<4xI", start)[0]
        elif (kind := start[4:6]) in _LONG_TYPES:
            length = struct.unpack("<I", file.read(4))[0]
        else:
            length = struct.unpack("<6xH", start)[0]
        if not nested and (tag <= last or tag > _ROWS):
            break
        last = last if nested else tag
        if length == _UNDEFINED:
            nested.append(implicit or kind == b"UN")
        elif not nested and tag in (_TRANSFER_SYNTAX, _SERIES, _COLUMNS, _ROWS) and length <= _MAX_UID_BYTES:
            values[tag] = file.read(length)
        else:
            file.seek(length, 1)
    return values


def _tag(start: bytes) -> int:
    group, element = struct.unpack_from("<HH", start)
    return int(group << 16 | element)


def _is_implicit(values: dict[int, bytes]) -> bool:
    return values.get(_TRANSFER_SYNTAX, b"").rstrip(b"\0 ") == _IMPLICIT

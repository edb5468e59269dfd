"""Detect the format of a file from its content: XML by its root element; all other files must be JSON."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
import shapely

from histosynth.errors import HistosynthError
from histosynth.slides.annotations.areas import ParsedAnnotations, check_crossings
from histosynth.slides.annotations.asap import parse_asap
from histosynth.slides.annotations.geojson import parse_geojson
from histosynth.slides.annotations.imagescope import parse_imagescope
from histosynth.slides.annotations.markup import parse_xml
from histosynth.slides.annotations.ndpa import parse_ndpa
from histosynth.text import nfc

_BY_ROOT: dict[str, Callable[[Element, str], ParsedAnnotations]] = {
    "ASAP_Annotations": parse_asap,
    "Annotations": parse_imagescope,
    "annotations": parse_ndpa,
}
_SUPPORTED = "QuPath GeoJSON and XML of ASAP, ImageScope, HALO or NDP.view"


def parse_annotations(path: Path) -> ParsedAnnotations:
    """Return the areas of a file, in the coordinates of its format; names of classes are in their composed spelling.

    Raises:
        HistosynthError: the file is unreadable, of an unknown format, or invalid.
    """
    where = f"outlines {path}"
    parsed = _parse(path, where)
    invalid = np.flatnonzero(~shapely.is_valid([area.polygon for area in parsed.areas]))
    check_crossings([parsed.areas[number].polygon for number in invalid], where)
    areas = [replace(area, name=nfc(area.name), within=tuple(map(nfc, area.within))) for area in parsed.areas]
    return replace(parsed, areas=areas)


def _parse(path: Path, where: str) -> ParsedAnnotations:
    if path.exists() and not path.is_file() and not path.is_dir():
        raise HistosynthError(f"{where} cannot be read: not a regular file; check the path")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise HistosynthError(f"{where} cannot be read: {error.strerror}; check the path") from error
    first = _first_character(data)
    if not first:
        raise HistosynthError(f"{where} are empty; export them again")
    if first in (b"{", b"["):
        return parse_geojson(data, where)
    if first != b"<":
        raise HistosynthError(f"{where} are neither JSON nor XML; supported are {_SUPPORTED}")
    root = parse_xml(data, where)
    if root.tag not in _BY_ROOT:
        raise HistosynthError(
            f"{where} are XML of an unknown kind (root element '{root.tag}'); supported are {_SUPPORTED}"
        )
    return _BY_ROOT[root.tag](root, where)


def _first_character(data: bytes) -> bytes:
    """Return the first non-space character, in UTF-8 or UTF-16 of either order, with or without a byte order mark."""
    return data.removeprefix(b"\xef\xbb\xbf").lstrip(b"\xff\xfe\0 \t\r\n")[:1]

"""Tumor outlines from QuPath GeoJSON (RFC 7946 geometries in level-0 pixels, y downward), as one shapely MultiPolygon.

QuPath has written the class of an annotation in several ways: `properties.classification.name` (now),
`properties.classification` as text, and `properties.name`; each is understood. Points, lines and detected cells are no
outlines: they are left out and counted.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon, shape
from shapely.geometry.base import BaseGeometry

from histosynth.errors import HistosynthError

_SUFFIXES = (".geojson", ".json")
_OTHER_FORMATS = (".xml", ".ndpa", ".annotations")
_CELLS = frozenset({"cell", "detection", "PathCellObject", "PathDetectionObject"})
_UNCLASSIFIED = "(no class)"


@dataclass(frozen=True)
class Outlines:
    """The tumor of one slide.

    Attributes:
        tumor: union of all outlines of the tumor class, in level-0 pixels, valid and not empty.
        counts: what was found in the file: `polygons` (taken), `repaired`, `without_area`, `ignored_points`,
            `ignored_lines`, `ignored_cells`, `other_classes`; zeros are left out.
    """

    tumor: MultiPolygon
    counts: dict[str, int]


def find_outlines(directory: Path, slide_id: str) -> Path | None:
    """The outline file of a slide: `<slide_id>.geojson` or `.json`, or one whose name differs by a dotted part only.

    `TCGA-XX.geojson` belongs to slide `TCGA-XX.<uuid>`, and `TCGA-XX.<uuid>.geojson` to slide `TCGA-XX`.

    Returns:
        The path; None where the slide has none.

    Raises:
        HistosynthError: no such directory, several files that could be meant, or outlines in another format only.
    """
    if not directory.is_dir():
        raise HistosynthError(f"no folder of outlines '{directory}'; check --outlines")
    files = sorted(file for file in directory.iterdir() if file.is_file() and not file.name.startswith("."))
    exact = [file for file in files if file.stem == slide_id]
    near = [
        file for file in files if f"{file.stem}.".startswith(f"{slide_id}.") or slide_id.startswith(f"{file.stem}.")
    ]
    for candidates in (exact, near):
        found = [file for file in candidates if file.suffix.lower() in _SUFFIXES]
        if len(found) > 1:
            names = ", ".join(file.name for file in found)
            raise HistosynthError(f"slide {slide_id} has several outline files in {directory} ({names}); keep one")
        if found:
            return found[0]
    for file in near:
        if file.suffix.lower() in _OTHER_FORMATS:
            raise HistosynthError(_other_format(file))
    return None


def read_outlines(path: Path, *, tumor_class: str) -> Outlines:
    """Read the outlines of the tumor class from a FeatureCollection, a list of features, or one feature.

    Rings that cross themselves are repaired (`shapely.make_valid`, structure method) and counted.

    Raises:
        HistosynthError: not GeoJSON, broken coordinates, no outline of the class (the text names the classes found).
    """
    if path.suffix.lower() in _OTHER_FORMATS:
        raise HistosynthError(_other_format(path))
    counts: Counter[str] = Counter()
    classes: Counter[str] = Counter()
    polygons: list[Polygon] = []
    for number, feature in enumerate(_features(path), start=1):
        if _is_cell(feature):
            counts["ignored_cells"] += 1
            continue
        parts = _parts(feature, f"outlines {path}, feature {number}")
        areas = [part for part in parts if isinstance(part, Polygon)]
        counts["ignored_points"] += sum(part.geom_type == "Point" for part in parts)
        counts["ignored_lines"] += sum(part.geom_type in ("LineString", "LinearRing") for part in parts)
        if not areas:
            continue
        name = _class_of(feature)
        classes[name] += len(areas)
        if not _same(name, tumor_class):
            counts["other_classes"] += len(areas)
            continue
        for area in areas:
            valid = area if area.is_valid else shapely.make_valid(area, method="structure", keep_collapsed=False)
            kept = [part for part in shapely.get_parts(valid) if isinstance(part, Polygon) and part.area > 0]
            counts["repaired"] += bool(kept) and not area.is_valid
            counts["polygons" if kept else "without_area"] += 1
            polygons += kept
    if not polygons:
        raise HistosynthError(_nothing_found(path, tumor_class, classes, counts))
    tumor = MultiPolygon([p for p in shapely.get_parts(shapely.union_all(polygons)) if isinstance(p, Polygon)])
    return Outlines(tumor=tumor, counts={key: count for key, count in sorted(counts.items()) if count})


def outlined_classes(path: Path) -> dict[str, dict[str, int]]:
    """What a file outlines: for each class the number of areas, and their sum in square level-0 pixels.

    Raises:
        HistosynthError: not GeoJSON, or broken coordinates.
    """
    classes: dict[str, dict[str, int]] = {}
    for number, feature in enumerate(_features(path), start=1):
        parts = _parts(feature, f"outlines {path}, feature {number}")
        for area in (part for part in parts if isinstance(part, Polygon)):
            found = classes.setdefault(_class_of(feature), {"areas": 0, "area_px2": 0})
            found["areas"] += 1
            found["area_px2"] += round(area.area)
    return dict(sorted(classes.items()))


def _features(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise HistosynthError(f"outlines {path} cannot be read: {error.strerror}; check the path") from error
    except (ValueError, RecursionError) as error:
        raise HistosynthError(
            f"outlines {path} are not valid JSON ({error}); export them from QuPath as GeoJSON"
        ) from error
    if isinstance(content, dict):
        content = content.get("features") if content.get("type") == "FeatureCollection" else [content]
    features: list[dict[str, Any]] = content if isinstance(content, list) else [{}]
    for feature in features:
        if not isinstance(feature, dict) or feature.get("type") != "Feature":
            raise HistosynthError(f"outlines {path} are JSON but no GeoJSON; export them from QuPath as GeoJSON")
    return features


def _properties(feature: dict[str, Any]) -> dict[str, Any]:
    found = feature.get("properties")
    return found if isinstance(found, dict) else {}


def _is_cell(feature: dict[str, Any]) -> bool:
    return str(_properties(feature).get("objectType")) in _CELLS or str(feature.get("id")) in _CELLS


def _parts(feature: dict[str, Any], where: str) -> list[BaseGeometry]:
    """The simple geometries of a feature, in two dimensions."""
    geometry: Any = feature.get("geometry")
    try:
        with np.errstate(invalid="ignore"):  # not a number: told below
            whole = shapely.force_2d(shape(geometry))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, shapely.errors.ShapelyError) as error:
        raise HistosynthError(f"{where}: broken geometry ({error}); mend or remove it in QuPath") from error
    if not np.isfinite(shapely.get_coordinates(whole)).all():
        raise HistosynthError(f"{where}: coordinates that are no finite numbers; mend or remove it in QuPath")
    parts = [whole]
    while any(hasattr(part, "geoms") for part in parts):
        parts = [simple for part in parts for simple in getattr(part, "geoms", [part])]
    return parts


def _class_of(feature: dict[str, Any]) -> str:
    properties = _properties(feature)
    classification = properties.get("classification")
    if isinstance(classification, dict):
        names = classification.get("names")
        classification = classification.get("name") or (": ".join(map(str, names)) if isinstance(names, list) else None)
    return str(classification or properties.get("name") or _UNCLASSIFIED).strip()


def _same(name: str, tumor_class: str) -> bool:
    return name.casefold() == tumor_class.strip().casefold()


def _nothing_found(path: Path, tumor_class: str, classes: Counter[str], counts: Counter[str]) -> str:
    if not classes:
        seen = ", ".join(f"{count} {key}" for key, count in sorted(counts.items()) if count) or "no feature"
        return f"outlines {path} hold no outlined area ({seen}); outline the tumor in QuPath and export it again"
    if any(_same(name, tumor_class) for name in classes):
        return f"outlines {path}: every outline of class '{tumor_class}' has no area; draw it anew"
    found = ", ".join(f"'{name}' ({count})" for name, count in classes.most_common(8))
    return f"outlines {path} have no class '{tumor_class}' but {found}; name one by --set patches.tumor_class=NAME"


def _other_format(path: Path) -> str:
    return (
        f"outlines {path}: only GeoJSON is read so far; open the slide in QuPath and export its annotations as GeoJSON"
    )

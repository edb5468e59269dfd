"""QuPath GeoJSON (RFC 7946, in pixels instead of degrees): a FeatureCollection, a list, one feature, or one geometry.

QuPath has stored the class of an annotation as `properties.classification.name` (current versions), as the text
`properties.classification`, and as `properties.name`; all are read. Points, lines and detected cells are not outlines:
they are ignored and counted. QuPath crops a slide to its scanned bounds and counts from their corner
(github.com/qupath/qupath/issues/820).
"""

import json
from typing import Any

import numpy as np
import shapely
from shapely.geometry import Polygon, shape
from shapely.geometry.base import BaseGeometry

from histosynth.errors import HistosynthError
from histosynth.slides.annotations.areas import NO_CLASS, Area, ParsedAnnotations, check_coordinates

_GEOMETRIES = frozenset({"Polygon", "MultiPolygon", "GeometryCollection"})
_CELLS = frozenset({"cell", "detection", "PathCellObject", "PathDetectionObject"})


def parse_geojson(data: bytes, where: str) -> ParsedAnnotations:
    """Return the areas of a file.

    Raises:
        HistosynthError: not JSON, not GeoJSON, or invalid coordinates.
    """
    parsed = ParsedAnnotations(format="QuPath GeoJSON", cropped=True)
    for number, feature in enumerate(_features(data, where), start=1):
        if _is_cell(feature):
            parsed.ignored["ignored_cells"] += 1
            continue
        for part in _parts(feature, f"{where}, feature {number}"):
            if isinstance(part, Polygon):
                parsed.areas.append(Area(name=_class_of(feature), polygon=part, comment=_comment_of(feature)))
            else:
                parsed.ignored["ignored_points" if part.geom_type == "Point" else "ignored_lines"] += 1
    return parsed


def _features(data: bytes, where: str) -> list[dict[str, Any]]:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise HistosynthError(f"{where} are not valid JSON ({error}); export them from QuPath as GeoJSON") from error
    if isinstance(content, dict) and content.get("type") in _GEOMETRIES:
        content = {"type": "Feature", "geometry": content}
    if isinstance(content, dict):
        content = content.get("features") if content.get("type") == "FeatureCollection" else [content]
    features: list[dict[str, Any]] = content if isinstance(content, list) else [{}]
    for feature in features:
        if not isinstance(feature, dict) or feature.get("type") != "Feature":
            raise HistosynthError(f"{where} are JSON but not GeoJSON; export them from QuPath as GeoJSON")
    return features


def _properties(feature: dict[str, Any]) -> dict[str, Any]:
    properties = feature.get("properties")
    return properties if isinstance(properties, dict) else {}


def _is_cell(feature: dict[str, Any]) -> bool:
    return str(_properties(feature).get("objectType")) in _CELLS or str(feature.get("id")) in _CELLS


def _parts(feature: dict[str, Any], where: str) -> list[BaseGeometry]:
    """Return the simple geometries of a feature, in two dimensions."""
    geometry: Any = feature.get("geometry")
    try:
        with np.errstate(invalid="ignore"):  # not a number: reported below
            whole = shapely.force_2d(shape(geometry))
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        OverflowError,
        RecursionError,
        shapely.errors.ShapelyError,
    ) as error:
        raise HistosynthError(f"{where}: invalid geometry ({error}); fix or remove it in QuPath") from error
    check_coordinates(shapely.get_coordinates(whole), where)
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
    return str(classification or properties.get("name") or NO_CLASS).strip()


def _comment_of(feature: dict[str, Any]) -> str:
    """Return the description, which QuPath keeps under this key (PathAnnotationObject.java)."""
    metadata = _properties(feature).get("metadata")
    return str(metadata.get("ANNOTATION_DESCRIPTION") or "") if isinstance(metadata, dict) else ""

"""Parsed annotations in a common form for all formats: areas with their class, and counts of other elements."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import Polygon

from histosynth.errors import HistosynthError

NO_CLASS = "(no class)"
_MAX_COORDINATE = 1e9  # a slide of 75 mm is 75 million nanometers, and fewer pixels
_MAX_ELLIPSE_POINTS = 4
_MAX_CROSSINGS = 20_000
_SEGMENTS = 16


@dataclass(frozen=True, kw_only=True)
class Area:
    """One outlined area as annotated.

    Attributes:
        name: its class, or `NO_CLASS`.
        polygon: may intersect itself; empty for fewer than three points.
        within: names of the groups that enclose its class (ASAP).
        layer: number of the layer that the area belongs to.
        negative: True for a hole in the areas of its layer.
        comment: the annotator's description (QuPath).
    """

    name: str
    polygon: Polygon
    within: tuple[str, ...] = ()
    layer: int = 0
    negative: bool = False
    comment: str = ""


@dataclass(frozen=True, kw_only=True)
class ParsedAnnotations:
    """The content of one file.

    Attributes:
        format: name of the format, for display.
        areas: in the order of the file.
        ignored: counts of elements that are not areas: `ignored_points`, `ignored_lines`, `ignored_cells`,
            `ignored_others`.
        nanometers: True if coordinates are nanometers from the center of the glass slide instead of pixels.
        cropped: True if the tool, by default, counts from the corner of the scanned bounds.
    """

    format: str
    areas: list[Area] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    nanometers: bool = False
    cropped: bool = False


def parse_coordinate(text: str | None, where: str) -> float:
    """Return a coordinate as a number; a decimal comma, as tools write under some European locales, is accepted.

    Raises:
        HistosynthError: the text is not a number.
    """
    try:
        return float((text or "").replace(",", "."))
    except ValueError:
        raise HistosynthError(
            f"{where}: the coordinate '{text or ''}' is not a number; fix or remove the area"
        ) from None


def polygon(points: Sequence[tuple[float, float]], where: str) -> Polygon:
    """Return the polygon of a ring of points; an empty one for fewer than three points.

    Raises:
        HistosynthError: a coordinate is not finite, or larger than any slide.
    """
    check_coordinates(np.asarray(points, float), where)
    return Polygon(points) if len(points) > 2 else Polygon()


def rectangle(points: Sequence[tuple[float, float]], where: str) -> Polygon:
    """Return the rectangle with two opposite corners; the polygon of the points if there are more."""
    if len(points) != 2:
        return polygon(points, where)
    (left, top), (right, bottom) = points
    return polygon([(left, top), (right, top), (right, bottom), (left, bottom)], where)


def ellipse(points: Sequence[tuple[float, float]], where: str) -> Polygon:
    """Return the upright ellipse in the bounds of two to four points; the polygon of the points if there are more."""
    if not 2 <= len(points) <= _MAX_ELLIPSE_POINTS:
        return polygon(points, where)
    x, y = np.asarray(points, float).T
    angle = np.linspace(0, 2 * np.pi, 360, endpoint=False)  # the polygon has 0.005 % less area than the ellipse
    xs = (x.min() + x.max()) / 2 + (x.max() - x.min()) / 2 * np.cos(angle)
    ys = (y.min() + y.max()) / 2 + (y.max() - y.min()) / 2 * np.sin(angle)
    return polygon(list(zip(xs, ys, strict=True)), where)


def check_coordinates(points: NDArray[np.float64], where: str) -> None:
    """Raise if a coordinate is not finite, or larger than any slide."""
    if not np.isfinite(points).all():
        raise HistosynthError(f"{where}: coordinates that are not finite; fix or remove the area")
    if points.size and np.abs(points).max() > _MAX_COORDINATE:
        raise HistosynthError(f"{where}: coordinates larger than any slide; fix or remove the area")


def check_crossings(shapes: Sequence[Polygon], where: str) -> None:
    """Raise if rings cross themselves or each other so often that their repair would take minutes and gigabytes.

    The repair computes the arrangement of all segments, so that its cost grows with the square of their crossings.
    """
    crossings = 0
    for shape in shapes:
        ends = [shapely.get_coordinates(ring) for ring in (shape.exterior, *shape.interiors)]
        pairs = np.concatenate([np.stack([ring[:-1], ring[1:]], axis=1) for ring in ends])
        segments = np.asarray(shapely.linestrings(pairs))
        tree = shapely.STRtree(segments)
        for first in range(0, len(segments), _SEGMENTS):
            part = segments[first : first + _SEGMENTS]
            # A segment touches itself and its two neighbors, and each crossing is counted from both sides.
            crossings += max(0, tree.query(part, predicate="intersects").shape[1] - 3 * len(part)) // 2
            if crossings > _MAX_CROSSINGS:
                raise HistosynthError(
                    f"{where}: outlines that cross themselves more than {_MAX_CROSSINGS} times; redraw or remove them"
                )


def make_valid(shape: Polygon) -> tuple[list[Polygon], bool]:
    """Return the area as valid polygons, and True if it had to be repaired.

    A ring that intersects itself keeps everything that it winds around, as in ASAP's own masks (method "structure" of
    `shapely.make_valid`).
    """
    valid = shape if shape.is_valid else shapely.make_valid(shape, method="structure", keep_collapsed=False)
    return polygon_parts(valid), not shape.is_valid


def polygon_parts(geometry: shapely.Geometry) -> list[Polygon]:
    """Return the polygons of a geometry that have an area."""
    return [part for part in shapely.get_parts(geometry) if isinstance(part, Polygon) and part.area > 0]

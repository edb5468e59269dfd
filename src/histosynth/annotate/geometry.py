"""Geometry of strokes: from what was drawn to valid polygons on a grid of a quarter of a pixel.

Every polygon that leaves this module is valid, and its coordinates are multiples of 1/4 px. Log, GeoJSON and page can
therefore agree to the last digit. Strokes are simplified within a pixel before they are united with an outline; what
has been drawn is never simplified again.
"""

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import LineString, Point, Polygon

from histosynth.slides.annotations.areas import check_crossings, make_valid, polygon_parts

GRID_PX = 0.25
MIN_AREA_PX2 = 1.0
_TOLERANCE_PX, _TOLERANCE_OF_RADIUS = 1.0, 0.1
_QUARTER_SEGMENTS = 16  # of a circle: within 0.12 % of its radius


def polygons_on_grid(geometry: shapely.Geometry) -> list[Polygon]:
    """Return the polygons of a valid geometry on the grid, without parts and holes smaller than 1 px²."""
    snapped = shapely.set_precision(geometry, GRID_PX)
    return [without_specks(part) for part in polygon_parts(snapped) if part.area >= MIN_AREA_PX2]


def without_specks(polygon: Polygon) -> Polygon:
    """Return a polygon without holes smaller than 1 px²."""
    holes = [ring for ring in polygon.interiors if Polygon(ring).area >= MIN_AREA_PX2]
    return polygon if len(holes) == len(polygon.interiors) else Polygon(polygon.exterior, holes)


def brush_shape(points: Sequence[tuple[float, float]], radius_px: float) -> shapely.Geometry:
    """Return what a round brush covers on its way along points."""
    tolerance = min(_TOLERANCE_PX, _TOLERANCE_OF_RADIUS * radius_px) / 2
    path = np.asarray(points, float)
    path = path[np.r_[True, (np.diff(path, axis=0) != 0).any(axis=1)]]
    line = LineString(path).simplify(tolerance) if len(path) > 1 else Point(path[0])
    return line.buffer(radius_px, quad_segs=_QUARTER_SEGMENTS).simplify(tolerance)


def polygon_shape(points: Sequence[tuple[float, float]]) -> shapely.Geometry:
    """Return the area that a ring of points winds around; empty for fewer than three points.

    Raises:
        HistosynthError: the ring crosses itself too often.
    """
    if len(points) < 3:
        return Polygon()
    polygon = Polygon(points)
    if not polygon.is_valid:
        check_crossings([polygon], "outline")
    return shapely.MultiPolygon(make_valid(polygon)[0])


def rings_of(polygon: Polygon) -> list[NDArray[np.float64]]:
    """Return the vertices (N, 2) of the exterior and of each hole, without the closing one."""
    return [shapely.get_coordinates(ring)[:-1] for ring in (polygon.exterior, *polygon.interiors)]


def polygon_of(rings: Sequence[NDArray[np.float64]]) -> shapely.Geometry:
    """Return the area inside the first ring and outside all others, valid whatever their shape."""
    exterior, *holes = (polygon_shape(ring.tolist()) for ring in rings)
    return shapely.difference(exterior, shapely.union_all(holes)) if holes else exterior


def redraw_boundary(polygon: Polygon, path: NDArray[np.float64]) -> shapely.Geometry:
    """Replace the part of a polygon's boundary between both ends of a path by the path.

    The ring nearest to the start of the path is changed. Of the two parts between the ends, the one is replaced that
    leaves more of the ring's area.

    Args:
        polygon: valid.
        path: (N, 2), at least two points.
    """
    rings = rings_of(polygon)
    lines = [LineString(np.vstack([ring, ring[:1]])) for ring in rings]
    nearest = int(np.argmin([line.distance(Point(path[0])) for line in lines]))
    line, before = lines[nearest], Polygon(rings[nearest])
    start, end = (line.project(Point(point)) for point in (path[0], path[-1]))
    candidates = [
        np.vstack([path, _along(line, end, start)]),
        np.vstack([path[::-1], _along(line, start, end)]),
    ]
    shared = [shapely.intersection(polygon_shape(each.tolist()), before).area for each in candidates]
    rings[nearest] = candidates[int(np.argmax(shared))]
    return polygon_of(rings)


def _along(ring: LineString, start: float, end: float) -> NDArray[np.float64]:
    """Return the points of a closed line from one distance along it to another, in its direction."""
    points = shapely.get_coordinates(ring)
    at = np.r_[0.0, np.cumsum(np.hypot(*np.diff(points, axis=0).T))]
    first, last = (shapely.get_coordinates(ring.interpolate(distance)) for distance in (start, end))
    if start <= end:
        between = points[(at > start) & (at < end)]
    else:
        between = np.vstack([points[:-1][at[:-1] > start], points[at < end]])
    return np.vstack([first, between, last])

"""Unite a small shape with a large polygon, or subtract it, in time that hardly depends on the size of the polygon.

Only the boundary near the shape changes. The polygon is clipped to a window around the shape and combined with the
shape there. The new course of the boundary inside the window then replaces the old one between the points where it
enters and leaves:

    outside the window: chains of old vertices, from where the boundary leaves the window to where it enters again
    inside the window:  paths of the combined polygon, without the edges on the border of the window

Rings have their interior on the left, so that chains and paths join in one way only. Where they do not (crossings of
the border closer than the grid, an edge that lies on the border), another window is tried, and in the end the whole
polygon is combined.
"""

from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import Polygon

from histosynth.annotate.geometry import GRID_PX, MIN_AREA_PX2, polygons_on_grid, without_specks
from histosynth.slides.annotations.areas import polygon_parts

_FEW_VERTICES = 1000
_MARGINS_PX = range(2, 10)
Points = NDArray[np.float64]


class _AmbiguousError(Exception):
    """The pieces of the boundary do not join in one way only."""


def combine(polygon: Polygon, shape: shapely.Geometry, *, add: bool) -> list[Polygon]:
    """Return the parts of the union with a shape, or of the difference, valid and on the grid.

    Args:
        polygon: valid and on the grid.
        shape: valid and on the grid.
        add: unite; otherwise subtract.
    """
    if shapely.get_num_coordinates(polygon) > _FEW_VERTICES:
        rings = [shapely.get_coordinates(ring) for ring in _rings(shapely.orient_polygons(polygon))]
        for window in _windows(rings, shape):
            with suppress(_AmbiguousError, shapely.errors.GEOSException):
                parts = _combine_in_window(polygon, rings, shape, window, add=add)
                return [without_specks(part) for part in parts if part.area >= MIN_AREA_PX2]
    operation = shapely.union if add else shapely.difference
    return polygons_on_grid(operation(polygon, shape, grid_size=GRID_PX))


def _combine_in_window(
    polygon: Polygon, rings: list[Points], shape: shapely.Geometry, window: Points, *, add: bool
) -> list[Polygon]:
    # Inside: combine the polygon's part in the window with the shape.
    clipped = shapely.intersection(polygon, shapely.box(*window), grid_size=GRID_PX)
    inside = (shapely.union if add else shapely.difference)(clipped, shape, grid_size=GRID_PX)
    paths: list[Points] = []
    closed: list[Points] = []
    for part in polygon_parts(shapely.orient_polygons(inside)):
        for points in map(shapely.get_coordinates, _rings(part)):
            _split_at_border(points, window, paths, closed)
    # Outside: the old boundary.
    chains = []
    for ring in rings:
        cut = list(_chains(ring, window))
        chains += cut
        if not cut and not _is_inside(ring, window).all():
            closed.append(ring)
    joined, altered = _join(chains, paths, window)
    _check(altered, [*joined, *closed])
    return _polygons([*joined, *closed])


def _rings(polygon: Polygon) -> list[shapely.LinearRing]:
    return [polygon.exterior, *polygon.interiors]


def _windows(rings: list[Points], shape: shapely.Geometry) -> Iterator[Points]:
    """Yield a few windows around the shape, left, top, right and bottom, with no vertex on their border."""
    bounds = shapely.bounds(shape)
    low, high = np.floor(bounds[:2]) - _MARGINS_PX[-1], np.ceil(bounds[2:]) + _MARGINS_PX[-1]
    points = np.vstack([ring[_edges_near(ring, low, high)] for ring in rings])  # each edge's start; a vertex starts one
    for margin in _MARGINS_PX:
        low, high = np.floor(bounds[:2]) - margin, np.ceil(bounds[2:]) + margin
        near = points[np.all((points >= low) & (points <= high), axis=1)]
        if not np.any((near == low) | (near == high)):
            yield np.concatenate([low, high])


def _is_inside(points: Points, window: Points) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = np.all((points > window[:2]) & (points < window[2:]), axis=1)
    return inside


def _split_at_border(ring: Points, window: Points, paths: list[Points], closed: list[Points]) -> None:
    """Split a closed ring at its edges on the border of the window into paths; a ring without any stays closed."""
    same = ring[:-1] == ring[1:]
    on_line = (ring[:-1] == window[:2]) | (ring[:-1] == window[2:])
    on_border = (same & on_line).any(axis=1)
    if not on_border.any():
        closed.append(ring)
        return
    start = int(np.flatnonzero(on_border)[-1]) + 1  # the edge after a border edge
    points = np.vstack([ring[:-1], ring[:-1]])[start : start + len(ring)]
    on_border = np.roll(on_border, -start)
    ends = np.flatnonzero(np.diff(np.r_[True, on_border].astype(int)))
    for first, last in zip(ends[::2], ends[1::2], strict=True):
        paths.append(points[first : last + 1])


def _chains(ring: Points, window: Points) -> Iterator[Points]:
    """Yield the chains of a closed ring outside the window, each with the two points where it crosses the border."""
    near = _edges_near(ring, window[:2], window[2:])
    start, step = ring[near], ring[near + 1] - ring[near]
    # Where along each edge, in [0, 1], it enters and leaves the window (Liang & Barsky 1984).
    with np.errstate(divide="ignore", invalid="ignore"):
        bounds = np.stack([(window[:2] - start) / step, (window[2:] - start) / step])
    within = (start > window[:2]) & (start < window[2:])
    still = step == 0
    enter = np.where(still, np.where(within, -np.inf, np.inf), bounds.min(axis=0)).max(axis=1)
    leave = np.where(still, np.where(within, np.inf, -np.inf), bounds.max(axis=0)).min(axis=1)
    enter, leave = np.maximum(enter, 0), np.minimum(leave, 1)
    hits = enter < leave
    points = np.round((start + step * np.stack([enter, leave])[..., None]) / GRID_PX) * GRID_PX
    exits = [(near[k], points[1, k]) for k in np.flatnonzero(hits & (leave < 1))]
    entries = [(near[k], points[0, k]) for k in np.flatnonzero(hits & (enter > 0))]
    if len(exits) != len(entries):
        raise _AmbiguousError
    if exits and entries[0][0] <= exits[0][0]:  # each exit with the entry that follows it
        entries = [*entries[1:], entries[0]]
    vertices = ring[:-1]
    for (edge, first), (next_edge, last) in zip(exits, entries, strict=True):
        between = np.arange(edge + 1, next_edge + 1 if next_edge > edge else next_edge + 1 + len(vertices))
        yield np.vstack([first, vertices[between % len(vertices)], last])


def _join(chains: list[Points], paths: list[Points], window: Points) -> tuple[list[Points], list[Points]]:
    """Join chains and paths to closed rings; also return the edges that replace a crossing of the border."""
    path_after = _match([chain[-1] for chain in chains], [path[0] for path in paths], window)
    chain_after = _match([path[-1] for path in paths], [chain[0] for chain in chains], window)
    rings, altered, left = [], [], set(range(len(chains)))
    while left:
        number, pieces = min(left), []
        while number in left:
            left.remove(number)
            path, following = paths[path_after[number]], chain_after[path_after[number]]
            pieces += [chains[number][1:-1], path[1:-1]]  # the crossings themselves were no vertices
            edges = np.vstack([chains[number][-2:-1], path[1:-1], chains[following][1:2]])
            altered += [edges[:2], edges[-2:]]
            number = following
        points = np.vstack(pieces)
        rings.append(np.vstack([points, points[:1]]))
    return rings, altered


def _match(ends: list[Points], starts: list[Points], window: Points) -> dict[int, int]:
    """Return the start that belongs to each end: the same point on the border of the window, rounded twice."""
    if len(ends) != len(starts):
        raise _AmbiguousError
    if not ends:
        return {}
    first, second = (np.argsort(_along_border(np.array(points), window)) for points in (ends, starts))
    distance = np.abs(np.array(ends)[first] - np.array(starts)[second]).max(axis=1)
    if (distance > 2 * GRID_PX).any():
        raise _AmbiguousError
    return dict(zip(first.tolist(), second.tolist(), strict=True))


def _along_border(points: Points, window: Points) -> Points:
    """Return how far along the border of the window each point on it is, from the upper left corner."""
    (x, y), (width, height) = (points - window[:2]).T, window[2:] - window[:2]
    upper_or_right = (y == 0) | (x == width)
    along: Points = np.where(upper_or_right, x + y, 2 * (width + height) - x - y)
    return along


def _check(altered: list[Points], rings: list[Points]) -> None:
    """Raise if an edge that was moved, by less than the grid, meets others than its two neighbors."""
    if not altered:
        return
    moved = np.stack(altered)
    near_edges = [(ring, _edges_near(ring, moved.min(axis=(0, 1)), moved.max(axis=(0, 1)))) for ring in rings]
    edges = np.concatenate([np.stack([ring[near], ring[near + 1]], axis=1) for ring, near in near_edges])
    low, high = edges.min(axis=1), edges.max(axis=1)
    for edge in moved:
        near = np.all((low <= edge.max(axis=0)) & (high >= edge.min(axis=0)), axis=1)
        met = shapely.intersects(shapely.linestrings(edges[near]), shapely.linestrings(edge))
        if met.sum() != 3:
            raise _AmbiguousError


def _edges_near(ring: Points, low: Points, high: Points) -> NDArray[np.int64]:
    """Return the numbers of the edges of a closed ring whose bounds meet a box."""
    (x, y), (left, top), (right, bottom) = ring.T, low, high
    # An edge does not if both of its ends are on the same side.
    apart = np.logical_or.reduce([beyond[:-1] & beyond[1:] for beyond in (x < left, x > right, y < top, y > bottom)])
    return np.flatnonzero(~apart)


def _polygons(rings: list[Points]) -> list[Polygon]:
    """Return the polygons of closed rings, which have their interior on the left."""
    shapes = [Polygon(ring) for ring in rings]
    counterclockwise = [shapely.is_ccw(shape.exterior) for shape in shapes]
    exteriors = [shape for shape, is_exterior in zip(shapes, counterclockwise, strict=True) if is_exterior]
    holes: list[list[shapely.LinearRing]] = [[] for _ in exteriors]
    for shape, is_exterior in zip(shapes, counterclockwise, strict=True):
        if not is_exterior:
            point = shape.representative_point()
            around = [n for n, exterior in enumerate(exteriors) if shapely.contains_xy(exterior, point.x, point.y)]
            if not around:
                raise _AmbiguousError
            holes[min(around, key=lambda n: exteriors[n].area)].append(shape.exterior)
    return [Polygon(exterior.exterior, inside) for exterior, inside in zip(exteriors, holes, strict=True)]

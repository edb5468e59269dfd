"""Subtract negative regions (ImageScope, HALO) from the areas of their layer.

An area inside a hole is an island and is kept: a hole covers it, and so does a larger area of the layer that extends
beyond the hole.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import shapely
from shapely.geometry import MultiPolygon, Polygon

from histosynth.slides.annotations.areas import Area, make_valid, polygon_parts


@dataclass(frozen=True, kw_only=True)
class NetArea:
    """A positive area, valid, after subtraction of the holes of its layer.

    Attributes:
        area: the area as annotated.
        parts: the remaining polygons; empty if nothing remains.
        repaired: True if the area was invalid as annotated.
        holes: numbers, in the file, of the holes that were subtracted.
    """

    area: Area
    parts: list[Polygon]
    repaired: bool
    holes: frozenset[int] = frozenset()


def subtract_holes(areas: Sequence[Area]) -> list[NetArea]:
    """Return all positive areas, in their order, without the holes of their layers."""
    layers: dict[int, list[int]] = defaultdict(list)
    for number, area in enumerate(areas):
        layers[area.layer].append(number)
    net: dict[int, NetArea] = {}
    for numbers in layers.values():
        net |= _subtract_in_layer({number: areas[number] for number in numbers})
    return [net[number] for number in sorted(net)]


def _subtract_in_layer(areas: dict[int, Area]) -> dict[int, NetArea]:
    repaired = {number: make_valid(area.polygon) for number, area in areas.items()}
    shapes = {number: MultiPolygon(parts) for number, (parts, _) in repaired.items() if parts}
    holes = _ShapeIndex({number: shape for number, shape in shapes.items() if areas[number].negative})
    positive = _ShapeIndex({number: shape for number, shape in shapes.items() if not areas[number].negative})
    net: dict[int, NetArea] = {}
    for number, area in areas.items():
        if area.negative:
            continue
        parts, was_repaired = repaired[number]
        subtracted: frozenset[int] = frozenset()
        if number in shapes and holes.shapes:
            candidates = holes.query("intersects", shapes[number])
            subtracted = frozenset(n for n in candidates if _applies(holes.shapes[n], shapes[number], positive))
        if subtracted:
            rest = shapely.difference(shapes[number], shapely.union_all([shapes[hole] for hole in subtracted]))
            parts = polygon_parts(rest)
        net[number] = NetArea(area=area, parts=parts, repaired=was_repaired, holes=subtracted)
    return net


class _ShapeIndex:
    """Spatial index of numbered shapes, of which a layer may have ten thousand."""

    def __init__(self, shapes: dict[int, MultiPolygon]) -> None:
        self.shapes = shapes
        self._numbers = list(shapes)
        self._tree = shapely.STRtree(list(shapes.values()))

    def query(self, predicate: Literal["intersects", "covered_by"], shape: MultiPolygon) -> list[int]:
        """Return the numbers of the shapes that `shape` intersects, or by which it is covered."""
        return [self._numbers[i] for i in self._tree.query(shape, predicate=predicate)]


def _applies(hole: MultiPolygon, shape: MultiPolygon, positive: _ShapeIndex) -> bool:
    """Return True if a hole reduces an area, which is then not its island and does not only touch it."""
    if shapely.touches(hole, shape):
        return False
    is_island = shapely.covers(hole, shape) and any(
        not shapely.covers(hole, positive.shapes[other]) for other in positive.query("covered_by", shape)
    )
    return not is_island

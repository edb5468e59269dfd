"""Negative regions (ImageScope, HALO) cut out of the areas of their layer.

What is drawn inside a hole is an island and stays: an area that a hole covers, where a larger area of the layer, one
that reaches beyond the hole, covers the area too.
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
    """A positive area, valid, less the holes of its layer.

    Attributes:
        area: as drawn.
        parts: what is left of it; none where it has no area.
        repaired: whether it was invalid as drawn.
        holes: numbers of the areas of the file that cut it.
    """

    area: Area
    parts: list[Polygon]
    repaired: bool
    holes: frozenset[int] = frozenset()


def subtract_holes(areas: Sequence[Area]) -> list[NetArea]:
    """Every positive area, in its order, with the holes of its layer cut out."""
    layers: dict[int, list[int]] = defaultdict(list)
    for number, area in enumerate(areas):
        layers[area.layer].append(number)
    found: dict[int, NetArea] = {}
    for numbers in layers.values():
        found |= _layer({number: areas[number] for number in numbers})
    return [found[number] for number in sorted(found)]


def _layer(areas: dict[int, Area]) -> dict[int, NetArea]:
    mended = {number: make_valid(area.polygon) for number, area in areas.items()}
    shapes = {number: MultiPolygon(parts) for number, (parts, _) in mended.items() if parts}
    holes = _Found({number: shape for number, shape in shapes.items() if areas[number].negative})
    positive = _Found({number: shape for number, shape in shapes.items() if not areas[number].negative})
    found: dict[int, NetArea] = {}
    for number, area in areas.items():
        if area.negative:
            continue
        parts, repaired = mended[number]
        cutting: frozenset[int] = frozenset()
        if number in shapes:
            over = holes.that("intersects", shapes[number])
            cutting = frozenset(hole for hole in over if _cuts(holes.shapes[hole], shapes[number], positive))
        if cutting:
            rest = shapely.difference(shapes[number], shapely.union_all([shapes[hole] for hole in cutting]))
            parts = polygon_parts(rest)
        found[number] = NetArea(area=area, parts=parts, repaired=repaired, holes=cutting)
    return found


class _Found:
    """Shapes by number, found by where they lie: a layer may have ten thousand."""

    def __init__(self, shapes: dict[int, MultiPolygon]) -> None:
        self.shapes = shapes
        self._numbers = list(shapes)
        self._tree = shapely.STRtree(list(shapes.values()))

    def that(self, predicate: Literal["intersects", "covered_by"], shape: MultiPolygon) -> list[int]:
        """Numbers of the shapes that `shape` intersects, or is covered by."""
        return [self._numbers[i] for i in self._tree.query(shape, predicate=predicate)]


def _cuts(hole: MultiPolygon, shape: MultiPolygon, positive: _Found) -> bool:
    """Whether a hole takes from an area, which is not its island and does not only touch it."""
    if shapely.touches(hole, shape):
        return False
    is_island = shapely.covers(hole, shape) and any(
        not shapely.covers(hole, positive.shapes[other]) for other in positive.that("covered_by", shape)
    )
    return not is_island

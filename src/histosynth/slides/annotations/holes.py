"""Negative regions (ImageScope, HALO) cut out of the areas of their layer.

What is drawn inside a hole is an island and stays: an area that a hole covers, where a larger area of the layer, one
that reaches beyond the hole, covers the area too.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import shapely
from shapely.geometry import MultiPolygon, Polygon

from histosynth.slides.annotations.drawing import Area, mend, polygons


@dataclass(frozen=True, kw_only=True)
class Solid:
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


def solids(areas: Sequence[Area]) -> list[Solid]:
    """Every positive area, in its order, with the holes of its layer cut out."""
    layers: dict[int, list[int]] = defaultdict(list)
    for number, area in enumerate(areas):
        layers[area.layer].append(number)
    found: dict[int, Solid] = {}
    for numbers in layers.values():
        found |= _layer({number: areas[number] for number in numbers})
    return [found[number] for number in sorted(found)]


def _layer(areas: dict[int, Area]) -> dict[int, Solid]:
    mended = {number: mend(area.polygon) for number, area in areas.items()}
    shapes = {number: MultiPolygon(parts) for number, (parts, _) in mended.items() if parts}
    holes = [number for number in shapes if areas[number].negative]
    tree = shapely.STRtree([shapes[number] for number in holes])
    found: dict[int, Solid] = {}
    for number, area in areas.items():
        if area.negative:
            continue
        parts, repaired = mended[number]
        cutting: frozenset[int] = frozenset()
        if holes and parts:
            over = [holes[i] for i in tree.query(shapes[number], predicate="intersects")]
            larger = [n for n in shapes if n != number and not areas[n].negative] if over else []
            cutting = frozenset(hole for hole in over if _cuts(hole, number, larger, shapes))
        if cutting:
            rest = shapely.difference(shapes[number], shapely.union_all([shapes[hole] for hole in cutting]))
            parts = polygons(rest)
        found[number] = Solid(area=area, parts=parts, repaired=repaired, holes=cutting)
    return found


def _cuts(hole: int, number: int, others: Iterable[int], shapes: dict[int, MultiPolygon]) -> bool:
    """Whether a hole takes from an area, which is not its island and does not only touch it."""
    if shapely.touches(shapes[hole], shapes[number]):
        return False
    is_island = shapely.covers(shapes[hole], shapes[number]) and any(
        shapely.covers(shapes[other], shapes[number]) and not shapely.covers(shapes[hole], shapes[other])
        for other in others
    )
    return not is_island

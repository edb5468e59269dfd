"""ASAP's XML: `Annotation` elements with `Coordinate` points, each part of a group that names its class.

Rectangle and Spline are the polygon through their points, as in ASAP's own masks (its AnnotationToMask.cpp); Dot,
PointSet and Measurement are no areas. Groups may lie in groups: an area is of its group's class, and of every class
above. Without a group the class is the annotation's own name, unless ASAP gave it ("Annotation 7").
"""

import re
from xml.etree.ElementTree import Element

from histosynth.slides.annotations.areas import NO_CLASS, Area, ParsedAnnotations, parse_coordinate, polygon, rectangle

_NO_GROUP = frozenset({"", "None"})
_GIVEN_BY_ASAP = re.compile(r"(Annotation \d+)?")
_AREAS = frozenset({"polygon", "spline", ""})
_POINTS = frozenset({"dot", "pointset"})


def parse_asap(root: Element, where: str) -> ParsedAnnotations:
    """What the file outlines.

    Raises:
        HistosynthError: broken coordinates.
    """
    parsed = ParsedAnnotations(format="ASAP XML")
    parents = {group.get("Name", ""): group.get("PartOfGroup", "") for group in root.iter("Group")}
    for count, annotation in enumerate(root.iter("Annotation"), start=1):
        here = f"{where}, annotation {count}"
        points = _points(annotation, here)
        kind = annotation.get("Type", "").lower()
        if kind in _POINTS:
            parsed.ignored["ignored_points"] += max(1, len(points))
        elif kind == "measurement":
            parsed.ignored["ignored_lines"] += 1
        elif kind in _AREAS or kind == "rectangle":
            group = annotation.get("PartOfGroup", "").strip()
            own = annotation.get("Name", "").strip()
            name = own if group in _NO_GROUP else group
            drawn = rectangle(points, here) if kind == "rectangle" else polygon(points, here)
            if group in _NO_GROUP and _GIVEN_BY_ASAP.fullmatch(own):
                name = NO_CLASS
            parsed.areas.append(Area(name=name, polygon=drawn, within=_above(group, parents)))
        else:
            parsed.ignored["ignored_others"] += 1
    return parsed


def _points(annotation: Element, where: str) -> list[tuple[float, float]]:
    """The points by their `Order`, which is that of the file in every file seen; a missing one keeps its place."""
    found = []
    for place, point in enumerate(annotation.iter("Coordinate")):
        order = parse_coordinate(point.get("Order") or str(place), where)
        found.append((order, parse_coordinate(point.get("X"), where), parse_coordinate(point.get("Y"), where)))
    return [(x, y) for _, x, y in sorted(found, key=lambda entry: entry[0])]


def _above(group: str, parents: dict[str, str]) -> tuple[str, ...]:
    """The groups that a group lies in, the nearest first; groups that contain each other end it."""
    above: list[str] = []
    while (group := parents.get(group, "")) not in _NO_GROUP and group not in above:
        above.append(group)
    return tuple(above)

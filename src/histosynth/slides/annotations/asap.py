"""XML of ASAP: `Annotation` elements with `Coordinate` points, each in a group that names its class.

Rectangles and splines are read as the polygon through their points, as in ASAP's own masks (AnnotationToMask.cpp); Dot,
PointSet and Measurement are not areas. Groups can be nested: an area belongs to the class of its group and to those of
all enclosing groups. Without a group, the class is the name of the annotation, unless ASAP generated it
("Annotation 7").
"""

import re
from xml.etree.ElementTree import Element

from histosynth.slides.annotations.areas import NO_CLASS, Area, ParsedAnnotations, parse_coordinate, polygon, rectangle

_NO_GROUP = frozenset({"", "None"})
_GENERATED_NAME = re.compile(r"(Annotation \d+)?")
_AREAS = frozenset({"polygon", "spline", ""})
_POINTS = frozenset({"dot", "pointset"})


def parse_asap(root: Element, where: str) -> ParsedAnnotations:
    """Return the areas of a file.

    Raises:
        HistosynthError: invalid coordinates.
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
            annotation_name = annotation.get("Name", "").strip()
            class_name = annotation_name if group in _NO_GROUP else group
            shape = rectangle(points, here) if kind == "rectangle" else polygon(points, here)
            if group in _NO_GROUP and _GENERATED_NAME.fullmatch(annotation_name):
                class_name = NO_CLASS
            parsed.areas.append(Area(name=class_name, polygon=shape, within=_enclosing_groups(group, parents)))
        else:
            parsed.ignored["ignored_others"] += 1
    return parsed


def _points(annotation: Element, where: str) -> list[tuple[float, float]]:
    """Return the points sorted by `Order`, which agrees with the file in all files examined; it may be missing."""
    points = []
    for position, point in enumerate(annotation.iter("Coordinate")):
        order = parse_coordinate(point.get("Order") or str(position), where)
        points.append((order, parse_coordinate(point.get("X"), where), parse_coordinate(point.get("Y"), where)))
    return [(x, y) for _, x, y in sorted(points, key=lambda entry: entry[0])]


def _enclosing_groups(group: str, parents: dict[str, str]) -> tuple[str, ...]:
    """Return the groups that enclose a group, innermost first; groups that contain each other end the search."""
    enclosing: list[str] = []
    while (group := parents.get(group, "")) not in _NO_GROUP and group not in enclosing:
        enclosing.append(group)
    return tuple(enclosing)

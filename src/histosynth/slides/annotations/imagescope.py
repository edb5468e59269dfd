"""XML of Aperio ImageScope and of HALO, which uses the same structure: layers (`Annotation`) of regions with vertices.

ImageScope numbers the types of regions (0 freehand, 1 rectangle or closed polygon, 2 ellipse by two corners of its
bounds, 3 arrow, 4 ruler; github.com/laclouis5/globox/issues/3); HALO names them (github.com/rharkes/pyhaloxml).
`NegativeROA="1"` marks a region as a hole in its layer. The class of a region is the name of its layer; else the
layer's attribute (its value, or its name unless that is ImageScope's `Description`); else the region's text.
"""

from collections.abc import Callable, Sequence
from xml.etree.ElementTree import Element

from shapely.geometry import Polygon

from histosynth.slides.annotations.areas import (
    NO_CLASS,
    Area,
    ParsedAnnotations,
    ellipse,
    parse_coordinate,
    polygon,
    rectangle,
)

_AREAS: dict[str, Callable[[Sequence[tuple[float, float]], str], Polygon]] = {
    "": polygon,
    "0": polygon,
    "polygon": polygon,
    "freehand": polygon,
    "1": rectangle,
    "rectangle": rectangle,
    "2": ellipse,
    "ellipse": ellipse,
}
_LINES = frozenset({"3", "4", "arrow", "ruler", "line", "polyline"})
_POINTS = frozenset({"pin", "point"})
_UNNAMED_ATTRIBUTE = "Description"


def parse_imagescope(root: Element, where: str) -> ParsedAnnotations:
    """Return the areas of a file.

    Raises:
        HistosynthError: invalid coordinates.
    """
    is_halo = next(root.iter("V"), None) is not None
    parsed = ParsedAnnotations(format="HALO XML" if is_halo else "ImageScope XML")
    for layer, annotation in enumerate(root.iter("Annotation"), start=1):
        name = _layer_name(annotation)
        for count, region in enumerate(annotation.iter("Region"), start=1):
            kind = region.get("Type", "").strip().lower()
            if kind in _AREAS:
                here = f"{where}, layer {layer}, region {count}"
                points = [
                    (parse_coordinate(vertex.get("X"), here), parse_coordinate(vertex.get("Y"), here))
                    for vertex in region.iter("V" if is_halo else "Vertex")
                ]
                parsed.areas.append(
                    Area(
                        name=name or region.get("Text", "").strip() or NO_CLASS,
                        polygon=_AREAS[kind](points, here),
                        layer=layer,
                        negative=region.get("NegativeROA", "").strip().lower() in ("1", "true"),
                    )
                )
            elif kind in _LINES:
                parsed.ignored["ignored_lines"] += 1
            else:
                parsed.ignored["ignored_points" if kind in _POINTS else "ignored_others"] += 1
    return parsed


def _layer_name(annotation: Element) -> str:
    names = [annotation.get("Name", "").strip()]
    for attribute in annotation.findall("Attributes/Attribute"):
        name = attribute.get("Name", "").strip()
        names += [attribute.get("Value", "").strip(), "" if name == _UNNAMED_ATTRIBUTE else name]
    return next(filter(None, names), "")

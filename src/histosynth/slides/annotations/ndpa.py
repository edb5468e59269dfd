"""NDPA of Hamamatsu NDP.view: view states with one annotation each, in nanometers from the center of the glass slide.

The title is the class. Closed freehand lines (including rectangles) and circles are areas; open lines, rulers, pointers
and pins are not. NDPA has no holes: outline them as a separate class and exclude it. `frame` converts nanometers to
pixels.
"""

from xml.etree.ElementTree import Element

from histosynth.errors import HistosynthError
from histosynth.slides.annotations.areas import NO_CLASS, Area, ParsedAnnotations, ellipse, parse_coordinate, polygon

_POINTS = frozenset({"pin"})
_LINES = frozenset({"freehand", "linearmeasure", "pointer"})
_CLOSED = frozenset({"1", "true"})


def parse_ndpa(root: Element, where: str) -> ParsedAnnotations:
    """Return the areas of a file.

    Raises:
        HistosynthError: coordinates are invalid, or in another unit.
    """
    parsed = ParsedAnnotations(format="Hamamatsu NDPA", nanometers=True)
    for count, view in enumerate(root.iter("ndpviewstate"), start=1):
        here = f"{where}, view state {count}"
        unit = _text(view, "coordformat") or "nanometers"
        if unit != "nanometers":
            raise HistosynthError(f"{here}: coordinates in '{unit}', not nanometers; save them again from NDP.view")
        for annotation in view.iter("annotation"):
            kind = annotation.get("type", "").lower()
            if kind == "circle":
                x, y, radius = (parse_coordinate(_text(annotation, key), here) for key in ("x", "y", "radius"))
                shape = ellipse([(x - radius, y - radius), (x + radius, y + radius)], here)
            elif kind == "freehand" and (
                _text(annotation, "closed").lower() in _CLOSED
                or _text(annotation, "specialtype").lower().startswith("rectangle")
            ):
                points = [
                    (parse_coordinate(_text(point, "x"), here), parse_coordinate(_text(point, "y"), here))
                    for point in annotation.iter("point")
                ]
                shape = polygon(points, here)
            else:
                others = "ignored_lines" if kind in _LINES else "ignored_others"
                parsed.ignored["ignored_points" if kind in _POINTS else others] += 1
                continue
            parsed.areas.append(Area(name=_text(view, "title") or NO_CLASS, polygon=shape))
    return parsed


def _text(element: Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()

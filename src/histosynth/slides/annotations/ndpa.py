"""Hamamatsu NDP.view's NDPA: view states with one annotation each, in nanometers from the center of the glass slide.

The title is the class. Closed freehand lines (rectangles among them) and circles are areas; open lines, rulers,
pointers and pins are not. NDPA knows no holes: outline them as a class of their own and exclude it. The facts of the
slide that turn nanometers into pixels are in `frame`.
"""

from xml.etree.ElementTree import Element

from histosynth.errors import HistosynthError
from histosynth.slides.annotations.areas import NO_CLASS, Area, ParsedAnnotations, ellipse, parse_coordinate, polygon

_POINTS = frozenset({"pin"})
_LINES = frozenset({"freehand", "linearmeasure", "pointer"})
_CLOSED = frozenset({"1", "true"})


def parse_ndpa(root: Element, where: str) -> ParsedAnnotations:
    """What the file outlines.

    Raises:
        HistosynthError: coordinates that are broken, or in another unit.
    """
    parsed = ParsedAnnotations(format="Hamamatsu NDPA", nanometers=True)
    for count, view in enumerate(root.iter("ndpviewstate"), start=1):
        here = f"{where}, view state {count}"
        unit = _text(view, "coordformat") or "nanometers"
        if unit != "nanometers":
            raise HistosynthError(f"{here}: coordinates in '{unit}', not nanometers; save them anew from NDP.view")
        for annotation in view.iter("annotation"):
            kind = annotation.get("type", "").lower()
            if kind == "circle":
                x, y, radius = (parse_coordinate(_text(annotation, key), here) for key in ("x", "y", "radius"))
                drawn = ellipse([(x - radius, y - radius), (x + radius, y + radius)], here)
            elif kind == "freehand" and (
                _text(annotation, "closed").lower() in _CLOSED
                or _text(annotation, "specialtype").lower().startswith("rectangle")
            ):
                points = annotation.iter("point")
                drawn = polygon(
                    [(parse_coordinate(_text(p, "x"), here), parse_coordinate(_text(p, "y"), here)) for p in points],
                    here,
                )
            else:
                others = "ignored_lines" if kind in _LINES else "ignored_others"
                parsed.ignored["ignored_points" if kind in _POINTS else others] += 1
                continue
            parsed.areas.append(Area(name=_text(view, "title") or NO_CLASS, polygon=drawn))
    return parsed


def _text(element: Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()

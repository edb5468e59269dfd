"""Read the tumor of a slide from its outline file: select classes, repair, merge, subtract, convert to level 0."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry import MultiPolygon, Polygon

from histosynth.errors import HistosynthError
from histosynth.slides.annotations.areas import NO_CLASS, Area, ParsedAnnotations, polygon_parts
from histosynth.slides.annotations.formats import parse_annotations
from histosynth.slides.annotations.frame import SlideFrame, to_level0
from histosynth.slides.annotations.holes import NetArea, subtract_holes
from histosynth.text import nfc

_MM2_PER_NM2 = 1e-12


@dataclass(frozen=True)
class Outlines:
    """The tumor of one slide.

    Attributes:
        tumor: union of all outlines of the tumor classes without the excluded ones, in level-0 pixels of the whole
            slide; valid and not empty.
        counts: content of the file, without zeros. `polygons`: tumor areas; `excluded`: excluded areas; `repaired`,
            `holes`, `without_area` (nothing remains): among both; `excluded_absent`: excluded classes that the file
            lacks; `other_classes`: areas of all other classes; `holes_unused`: negative regions outside all selected
            areas; `ignored_points`, `ignored_lines`, `ignored_cells`, `ignored_others`.
        format: name of the format of the file.
    """

    tumor: MultiPolygon
    counts: dict[str, int]
    format: str


def read_outlines(
    path: Path,
    *,
    tumor_classes: Sequence[str],
    exclude_classes: Sequence[str] = (),
    frame: SlideFrame | None = None,
    origin: str = "auto",
) -> Outlines:
    """Read the outlines of the tumor from a file of any supported format.

    Args:
        path: the file; its content determines the format.
        tumor_classes: names of the tumor classes, case-insensitive.
        exclude_classes: names of classes to subtract from the tumor. A file may lack them.
        frame: of the slide. NDPA requires it; other formats without it count from the corner of the whole slide.
        origin: what pixels count from, `slide` or `bounds`; `auto` for the default of the tool (see `frame`).

    Raises:
        HistosynthError: the file is of an unknown format, invalid, or without outlines of the classes (the message
            lists its classes); nothing remains of them; a class is both tumor and excluded; or the slide does not state
            a property that the conversion requires.
    """
    # Sort the areas into tumor, excluded and other classes.
    parsed = parse_annotations(path)
    tumors, excluded = _names(tumor_classes), _names(exclude_classes)
    if both := [name for name in exclude_classes if not _names([name]).isdisjoint(tumors)]:
        raise HistosynthError(f"class '{both[0]}' is both a tumor class and an excluded class; remove one of the two")
    tumor_areas: list[NetArea] = []
    excluded_areas: list[NetArea] = []
    counts, classes = Counter(parsed.ignored), Counter[str]()
    for net in subtract_holes(parsed.areas):
        classes[net.area.name] += 1
        if _is_one_of(net.area, excluded):
            excluded_areas.append(net)
        elif _is_one_of(net.area, tumors):
            tumor_areas.append(net)
        else:
            counts["other_classes"] += 1
    # Count what was read.
    selected = [*tumor_areas, *excluded_areas]
    counts["polygons"] = sum(bool(net.parts) for net in tumor_areas)
    counts["excluded"] = sum(bool(net.parts) for net in excluded_areas)
    counts["without_area"] = len(selected) - counts["polygons"] - counts["excluded"]
    counts["repaired"] = sum(net.repaired and bool(net.parts) for net in selected)
    counts["holes"] = len(frozenset[int]().union(*(net.holes for net in selected)))
    counts["holes_unused"] = sum(area.negative for area in parsed.areas) - counts["holes"]
    counts["excluded_absent"] = len(excluded - {name for net in excluded_areas for name in _class_names(net.area)})
    if not counts["polygons"]:
        raise HistosynthError(_no_tumor_message(path, tumor_classes, classes, parsed, absent=not tumor_areas))
    # Merge the tumor areas, subtract the excluded ones, and convert the result.
    tumor = _union(tumor_areas)
    if excluded_areas:
        tumor = shapely.difference(tumor, _union(excluded_areas))
    if not (remaining := polygon_parts(tumor)):
        raise HistosynthError(
            f"outlines {path}: nothing remains of class {_listed(tumor_classes)} without {_listed(exclude_classes)}; "
            "exclude fewer classes, or correct the outlines"
        )
    return Outlines(
        tumor=to_level0(MultiPolygon(remaining), parsed, frame=frame, origin=origin, path=path),
        counts={key: count for key, count in sorted(counts.items()) if count},
        format=parsed.format,
    )


@dataclass(frozen=True, kw_only=True)
class ClassedArea:
    """An outlined area of any class, in level-0 pixels of the whole slide; valid, in one or more polygons."""

    name: str
    polygons: Sequence[Polygon]
    comment: str


def read_areas(path: Path, *, frame: SlideFrame | None = None, origin: str = "auto") -> list[ClassedArea]:
    """Read all areas of a file of any supported format, with their holes subtracted, in the order of the file.

    Args:
        path: the file; its content determines the format.
        frame: of the slide; see `read_outlines`.
        origin: see `read_outlines`.

    Raises:
        HistosynthError: the file is of an unknown format or invalid, or the slide does not state a property that the
            conversion requires.
    """
    parsed = parse_annotations(path)
    areas = [net for net in subtract_holes(parsed.areas) if net.parts]
    if not areas:
        return []
    whole = MultiPolygon([part for net in areas for part in net.parts])
    parts = iter(to_level0(whole, parsed, frame=frame, origin=origin, path=path).geoms)
    return [
        ClassedArea(name=net.area.name, polygons=[next(parts) for _ in net.parts], comment=net.area.comment)
        for net in areas
    ]


def summarize_outlines(path: Path) -> dict[str, Any]:
    """Return the content of an outline file, without reading its slide.

    Returns:
        `format`; `classes`: for each class the number of areas and their total area, in square level-0 pixels
        (`area_px2`) or for NDPA in square millimeters (`area_mm2`), without holes, overlaps counted twice; `left_out`:
        counts of points, lines and other elements that are not areas, if there are any.

    Raises:
        HistosynthError: the file is of an unknown format, or invalid.
    """
    parsed = parse_annotations(path)
    classes: dict[str, dict[str, float]] = {}
    for net in subtract_holes(parsed.areas):
        summary = classes.setdefault(net.area.name, {"areas": 0})
        summary["areas"] += 1
        area = sum(part.area for part in net.parts)
        if parsed.nanometers:
            summary["area_mm2"] = round(summary.get("area_mm2", 0) + area * _MM2_PER_NM2, 6)
        else:
            summary["area_px2"] = summary.get("area_px2", 0) + round(area)
    left_out = {"left_out": dict(sorted(parsed.ignored.items()))} if parsed.ignored else {}
    return {"format": parsed.format, "classes": dict(sorted(classes.items())), **left_out}


def outlined_classes(path: Path) -> dict[str, dict[str, float]]:
    """Return the classes of a file, as reported by `summarize_outlines`."""
    classes: dict[str, dict[str, float]] = summarize_outlines(path)["classes"]
    return classes


def _union(areas: Sequence[NetArea]) -> shapely.Geometry:
    """Return the union of areas; those that touch no other are merged at no cost."""
    return shapely.disjoint_subset_union_all([part for net in areas for part in net.parts])


def _names(classes: Sequence[str]) -> frozenset[str]:
    return frozenset(nfc(name.strip()).casefold() for name in classes)


def _class_names(area: Area) -> frozenset[str]:
    return _names([area.name, *area.within])


def _is_one_of(area: Area, names: Collection[str]) -> bool:
    return not _class_names(area).isdisjoint(names)


def _listed(classes: Sequence[str]) -> str:
    return " or ".join(f"'{name}'" for name in classes)


def _no_tumor_message(
    path: Path, tumor_classes: Sequence[str], classes: Counter[str], parsed: ParsedAnnotations, *, absent: bool
) -> str:
    if not classes:
        ignored = ", ".join(f"{count} {key}" for key, count in sorted(parsed.ignored.items())) or "no annotation"
        return f"outlines {path} contain no area ({ignored}); outline the tumor and export it again"
    if not absent:
        return f"outlines {path}: every outline of class {_listed(tumor_classes)} has no area; redraw it"
    names = ", ".join(f"'{name}' ({count})" for name, count in classes.most_common(8))
    fix = "choose one with --tumor-class NAME"
    if set(classes) == {NO_CLASS}:
        fix = f"give the tumor a class, or select all areas with --tumor-class '{NO_CLASS}'"
    return f"outlines {path} have no class {_listed(tumor_classes)}, only {names}; {fix}"

"""The tumor of a slide from its outline file: the classes asked for, repaired, joined, less the excluded, placed."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry import MultiPolygon

from histosynth.errors import HistosynthError
from histosynth.slides.annotations.areas import NO_CLASS, Area, ParsedAnnotations, polygon_parts
from histosynth.slides.annotations.formats import parse_annotations
from histosynth.slides.annotations.frame import SlideFrame, to_level0
from histosynth.slides.annotations.holes import NetArea, subtract_holes

_MM2_PER_NM2 = 1e-12


@dataclass(frozen=True)
class Outlines:
    """The tumor of one slide.

    Attributes:
        tumor: union of all outlines of the tumor classes less the excluded ones, in level-0 pixels of the whole slide,
            valid and not empty.
        counts: what was found in the file, zeros left out. `polygons`: tumor areas taken; `excluded`: areas taken away;
            `repaired`, `holes`, `without_area` (nothing is left of it): among both; `excluded_absent`: excluded classes
            that the file does not have; `other_classes`: areas of all other classes; `holes_unused`: negative regions
            that lie on nothing taken; `ignored_points`, `ignored_lines`, `ignored_cells`, `ignored_others`.
        format: what wrote the file.
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
    """Read the outlines of the tumor from a file of any known format.

    Args:
        path: the file; its content tells the format.
        tumor_classes: names of the classes that are tumor; case does not matter.
        exclude_classes: names of classes to take away from it. A file may lack them.
        frame: of the slide. NDPA cannot be placed without; other formats then count from the corner of the whole slide.
        origin: what pixels count from, `slide` or `bounds`; `auto` goes by the tool (see `frame`).

    Raises:
        HistosynthError: of no known format, broken, no outline of the classes (the text names those found), nothing
            left of them, a class both tumor and excluded, or a slide that does not state what placing them needs.
    """
    parsed = parse_annotations(path)
    tumors, excluded = _names(tumor_classes), _names(exclude_classes)
    if both := [name for name in exclude_classes if name.strip().casefold() in tumors]:
        raise HistosynthError(f"class '{both[0]}' is to be tumor and to be excluded; name it once")
    chosen: list[NetArea] = []
    away: list[NetArea] = []
    counts, classes = Counter(parsed.ignored), Counter[str]()
    for net in subtract_holes(parsed.areas):
        classes[net.area.name] += 1
        if _is_one_of(net.area, excluded):
            away.append(net)
        elif _is_one_of(net.area, tumors):
            chosen.append(net)
        else:
            counts["other_classes"] += 1
    counts["polygons"] = sum(bool(net.parts) for net in chosen)
    counts["excluded"] = sum(bool(net.parts) for net in away)
    counts["without_area"] = len(chosen) + len(away) - counts["polygons"] - counts["excluded"]
    counts["repaired"] = sum(net.repaired and bool(net.parts) for net in [*chosen, *away])
    counts["holes"] = len(frozenset[int]().union(*(net.holes for net in [*chosen, *away])))
    counts["holes_unused"] = sum(area.negative for area in parsed.areas) - counts["holes"]
    counts["excluded_absent"] = len(excluded - {name for net in away for name in _class_names(net.area)})
    if not counts["polygons"]:
        raise HistosynthError(_nothing_found(path, tumor_classes, classes, parsed, absent=not chosen))
    tumor = shapely.union_all([part for net in chosen for part in net.parts])
    if away:
        tumor = shapely.difference(tumor, shapely.union_all([part for net in away for part in net.parts]))
    if not (left := polygon_parts(tumor)):
        raise HistosynthError(
            f"outlines {path}: nothing is left of class {_listed(tumor_classes)} without {_listed(exclude_classes)}; "
            "exclude less, or mend the outlines"
        )
    return Outlines(
        tumor=to_level0(MultiPolygon(left), parsed, frame=frame, origin=origin, path=path),
        counts={key: count for key, count in sorted(counts.items()) if count},
        format=parsed.format,
    )


def summarize_outlines(path: Path) -> dict[str, Any]:
    """What a file outlines, without its slide.

    Returns:
        `format`; `classes`: for each class the number of areas and their sum, in square level-0 pixels (`area_px2`) or
        for NDPA in square millimeters (`area_mm2`), holes taken off, overlaps counted twice; `left_out`: points, lines
        and other things that are no areas, where there are any.

    Raises:
        HistosynthError: of no known format, or broken.
    """
    parsed = parse_annotations(path)
    classes: dict[str, dict[str, float]] = {}
    for net in subtract_holes(parsed.areas):
        found = classes.setdefault(net.area.name, {"areas": 0})
        found["areas"] += 1
        area = sum(part.area for part in net.parts)
        if parsed.nanometers:
            found["area_mm2"] = round(found.get("area_mm2", 0) + area * _MM2_PER_NM2, 6)
        else:
            found["area_px2"] = found.get("area_px2", 0) + round(area)
    left_out = {"left_out": dict(sorted(parsed.ignored.items()))} if parsed.ignored else {}
    return {"format": parsed.format, "classes": dict(sorted(classes.items())), **left_out}


def outlined_classes(path: Path) -> dict[str, dict[str, float]]:
    """The classes of a file, as `summarize_outlines` tells them."""
    classes: dict[str, dict[str, float]] = summarize_outlines(path)["classes"]
    return classes


def _names(classes: Sequence[str]) -> frozenset[str]:
    return frozenset(name.strip().casefold() for name in classes)


def _class_names(area: Area) -> frozenset[str]:
    return _names([area.name, *area.within])


def _is_one_of(area: Area, names: Collection[str]) -> bool:
    return not _class_names(area).isdisjoint(names)


def _listed(classes: Sequence[str]) -> str:
    return " or ".join(f"'{name}'" for name in classes)


def _nothing_found(
    path: Path, tumor_classes: Sequence[str], classes: Counter[str], parsed: ParsedAnnotations, *, absent: bool
) -> str:
    if not classes:
        seen = ", ".join(f"{count} {key}" for key, count in sorted(parsed.ignored.items())) or "nothing drawn"
        return f"outlines {path} hold no outlined area ({seen}); outline the tumor and export it again"
    if not absent:
        return f"outlines {path}: every outline of class {_listed(tumor_classes)} has no area; draw it anew"
    found = ", ".join(f"'{name}' ({count})" for name, count in classes.most_common(8))
    mend = "name one by --tumor-class NAME"
    if set(classes) == {NO_CLASS}:
        mend = f"give the tumor a class, or take all of them by --tumor-class '{NO_CLASS}'"
    return f"outlines {path} have no class {_listed(tumor_classes)} but {found}; {mend}"

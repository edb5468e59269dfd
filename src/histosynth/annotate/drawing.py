"""The drawing of one slide: its outlines, and what each stroke makes of them.

Drawings are immutable, and `apply_edit` is a pure function: the same strokes give the same drawing. Outlines that a
stroke does not touch are shared between drawings, so a thousand of them cost little more than one.

What is added unites with the outlines of its class that it touches; the oldest of them keeps its id. An outline that is
divided keeps its id on the largest part. New outlines are named after the number of their stroke.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch

import numpy as np
import shapely
from shapely.geometry import Polygon

from histosynth.annotate.encoding import decode_rings
from histosynth.annotate.geometry import (
    GRID_PX,
    brush_shape,
    polygon_of,
    polygon_shape,
    polygons_on_grid,
    redraw_boundary,
    rings_of,
)
from histosynth.annotate.local_overlay import combine
from histosynth.annotate.strokes import (
    Area,
    Boundary,
    Brush,
    Delete,
    Edit,
    Import,
    InsertVertex,
    MoveVertex,
    RemoveVertex,
    SetClass,
    SetComment,
)
from histosynth.errors import HistosynthError


@dataclass(frozen=True, kw_only=True, eq=False)
class Outline:
    """An outlined area: valid, inside the slide, on the grid, in level-0 pixels; it may have holes."""

    id: str
    class_name: str
    polygon: Polygon
    comment: str = ""


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """What is drawn on: a slide of so many level-0 pixels."""

    width_px: int
    height_px: int

    def clip(self, shape: shapely.Geometry) -> list[Polygon]:
        """Return the parts of a shape on the slide."""
        return polygons_on_grid(shapely.intersection(shape, shapely.box(0, 0, self.width_px, self.height_px)))


Drawing = tuple[Outline, ...]
"""Outlines, the oldest first."""


class UnknownOutlineError(HistosynthError):
    """A stroke names an outline, a ring or a vertex that the drawing does not have."""


def apply_edit(drawing: Drawing, edit: Edit, *, number: int, canvas: Canvas) -> Drawing:
    """Return the drawing after a stroke, the same object if the stroke changes nothing.

    Args:
        drawing: the drawing before.
        edit: the stroke.
        number: of the stroke in its log; new outlines are named after it.
        canvas: the slide.

    Raises:
        UnknownOutlineError: the stroke names an outline, a ring or a vertex that the drawing does not have.
        HistosynthError: an area crosses itself too often.
    """
    return _apply(edit, drawing, _new_ids(number), canvas)


def _new_ids(number: int) -> Iterator[str]:
    yield str(number)
    yield from (f"{number}-{part}" for part in range(1, 10**9))


@singledispatch
def _apply(edit: Edit, drawing: Drawing, new_ids: Iterator[str], canvas: Canvas) -> Drawing:
    raise AssertionError(f"no such stroke: {edit!r}")


@_apply.register
def _(edit: Brush | Area, drawing: Drawing, new_ids: Iterator[str], canvas: Canvas) -> Drawing:
    shape = brush_shape(edit.points, edit.radius_px) if isinstance(edit, Brush) else polygon_shape(edit.points)
    parts = canvas.clip(shape)
    if not parts:
        return drawing
    whole = shapely.MultiPolygon(parts)
    if edit.add:
        assert edit.class_name is not None
        return _add(drawing, edit.class_name, whole, new_ids)
    return _erase(drawing, edit.class_name, whole, new_ids)


def _add(drawing: Drawing, class_name: str, shape: shapely.MultiPolygon, new_ids: Iterator[str]) -> Drawing:
    touched = [each for each in drawing if each.class_name == class_name and shapely.intersects(each.polygon, shape)]
    if any(shapely.covers(each.polygon, shape) for each in touched):
        return drawing
    parts = list(shape.geoms)
    if touched:
        # The shape unites with the small outlines first, and what results with the largest one.
        *small, large = sorted((each.polygon for each in touched), key=shapely.get_num_coordinates)
        if small:
            parts = polygons_on_grid(shapely.union_all([shape, *small], grid_size=GRID_PX))
        parts = combine(large, shapely.MultiPolygon(parts), add=True)
    # Each part continues the oldest outline inside it.
    owners: dict[str, Polygon] = {}
    new = []
    for part in parts:
        inside = [each for each in touched if shapely.covers(part, each.polygon.representative_point())]
        owner = next((each for each in inside if each.id not in owners), None)
        if owner is None:
            new.append(Outline(id=next(new_ids), class_name=class_name, polygon=part))
        else:
            owners[owner.id] = part
    gone = {each.id for each in touched}
    kept = (
        replace(each, polygon=owners[each.id]) if each.id in owners else each
        for each in drawing
        if each.id in owners or each.id not in gone
    )
    return (*kept, *new)


def _erase(drawing: Drawing, class_name: str | None, shape: shapely.MultiPolygon, new_ids: Iterator[str]) -> Drawing:
    def overlaps(each: Outline) -> bool:
        of_class = class_name is None or each.class_name == class_name
        return of_class and bool(shapely.relate_pattern(each.polygon, shape, "T********"))  # their interiors meet

    changed = {each.id: combine(each.polygon, shape, add=False) for each in drawing if overlaps(each)}
    return _replace(drawing, changed, new_ids)


def _replace(drawing: Drawing, changed: dict[str, list[Polygon]], new_ids: Iterator[str]) -> Drawing:
    """Give outlines, by id, other polygons: none, one, or several, of which the largest keeps the id."""
    if not changed:
        return drawing
    after, new = [], []
    for each in drawing:
        if each.id not in changed:
            after.append(each)
            continue
        parts = sorted(changed[each.id], key=lambda part: -part.area)
        after += [replace(each, polygon=part) for part in parts[:1]]
        new += [replace(each, id=next(new_ids), polygon=part) for part in parts[1:]]
    return (*after, *new)


def _outline(drawing: Drawing, outline_id: str) -> Outline:
    for each in drawing:
        if each.id == outline_id:
            return each
    raise UnknownOutlineError(f"there is no outline {outline_id} any more; look at the slide again")


@_apply.register
def _(edit: Boundary, drawing: Drawing, new_ids: Iterator[str], canvas: Canvas) -> Drawing:
    polygon = _outline(drawing, edit.outline).polygon
    shape = redraw_boundary(polygon, np.asarray(edit.points, float))
    return _with_polygons(drawing, edit.outline, canvas.clip(shape), new_ids)


@_apply.register
def _(
    edit: MoveVertex | InsertVertex | RemoveVertex, drawing: Drawing, new_ids: Iterator[str], canvas: Canvas
) -> Drawing:
    rings = rings_of(_outline(drawing, edit.outline).polygon)
    last = None
    if edit.ring < len(rings):
        last = len(rings[edit.ring]) - (not isinstance(edit, InsertVertex))
    if last is None or edit.index > last:
        raise UnknownOutlineError(f"outline {edit.outline} has no such vertex any more; look at the slide again")
    ring = rings[edit.ring]
    if isinstance(edit, InsertVertex):
        ring = np.insert(ring, edit.index, edit.to, axis=0)
    elif isinstance(edit, RemoveVertex):
        ring = np.delete(ring, edit.index, axis=0)
    else:
        ring[edit.index] = edit.to
    rings[edit.ring] = ring
    return _with_polygons(drawing, edit.outline, canvas.clip(polygon_of(rings)), new_ids)


def _with_polygons(drawing: Drawing, outline_id: str, parts: list[Polygon], new_ids: Iterator[str]) -> Drawing:
    before = _outline(drawing, outline_id).polygon
    if len(parts) == 1 and shapely.equals_exact(parts[0], before, normalize=True):
        return drawing
    return _replace(drawing, {outline_id: parts}, new_ids)


@_apply.register
def _(edit: SetClass, drawing: Drawing, new_ids: Iterator[str], canvas: Canvas) -> Drawing:
    outline = _outline(drawing, edit.outline)
    if outline.class_name == edit.class_name:
        return drawing
    return _with(drawing, replace(outline, class_name=edit.class_name))


@_apply.register
def _(edit: SetComment, drawing: Drawing, new_ids: Iterator[str], canvas: Canvas) -> Drawing:
    outline = _outline(drawing, edit.outline)
    return drawing if outline.comment == edit.text else _with(drawing, replace(outline, comment=edit.text))


def _with(drawing: Drawing, outline: Outline) -> Drawing:
    return tuple(outline if each.id == outline.id else each for each in drawing)


@_apply.register
def _(edit: Delete, drawing: Drawing, new_ids: Iterator[str], canvas: Canvas) -> Drawing:
    gone = _outline(drawing, edit.outline)
    return tuple(each for each in drawing if each is not gone)


@_apply.register
def _(edit: Import, drawing: Drawing, new_ids: Iterator[str], canvas: Canvas) -> Drawing:
    return tuple(
        Outline(id=next(new_ids), class_name=each.class_name, polygon=part, comment=each.comment)
        for each in edit.outlines
        for part in canvas.clip(polygon_of(decode_rings(each.rings)))
    )


def total_area(outlines: Sequence[Outline]) -> float:
    """Return the area of all outlines in square pixels, overlaps counted once per outline."""
    return float(sum(each.polygon.area for each in outlines))

"""What a file of outlines holds, whatever its format: areas with their class, and what is no area, counted."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import Polygon

from histosynth.errors import HistosynthError

NO_CLASS = "(no class)"
_LARGEST = 1e9  # a slide of 75 mm is 75 million nanometers, and fewer pixels
_CORNERS = 4


@dataclass(frozen=True, kw_only=True)
class Area:
    """One outlined area as it was drawn.

    Attributes:
        name: its class, or `NO_CLASS`.
        polygon: it may cross itself; empty where fewer than three points were set.
        within: names of the groups that its class belongs to (ASAP).
        layer: areas of one layer belong together.
        negative: a hole in the areas of its layer.
    """

    name: str
    polygon: Polygon
    within: tuple[str, ...] = ()
    layer: int = 0
    negative: bool = False


@dataclass(frozen=True, kw_only=True)
class ParsedAnnotations:
    """The content of one file.

    Attributes:
        format: what wrote it, for people.
        areas: in the order of the file.
        ignored: what is no area: `ignored_points`, `ignored_lines`, `ignored_cells`, `ignored_others`.
        nanometers: coordinates are nanometers from the center of the glass slide, not pixels.
        cropped: the tool counts from the corner of the scanned bounds, by default.
    """

    format: str
    areas: list[Area] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    nanometers: bool = False
    cropped: bool = False


def parse_coordinate(text: str | None, where: str) -> float:
    """A coordinate. A decimal comma is one that a tool wrote under a European locale.

    Raises:
        HistosynthError: it is no number.
    """
    try:
        return float((text or "").replace(",", "."))
    except ValueError:
        raise HistosynthError(f"{where}: a coordinate is '{text or ''}', no number; mend or remove the area") from None


def polygon(points: Sequence[tuple[float, float]], where: str) -> Polygon:
    """The area that a ring of points encloses; an empty one for fewer than three.

    Raises:
        HistosynthError: a coordinate that is not finite, or larger than any slide.
    """
    check_coordinates(np.asarray(points, float), where)
    return Polygon(points) if len(points) > 2 else Polygon()


def rectangle(points: Sequence[tuple[float, float]], where: str) -> Polygon:
    """A rectangle given by two opposite corners; by more points, it is as they say."""
    if len(points) != 2:
        return polygon(points, where)
    (left, top), (right, bottom) = points
    return polygon([(left, top), (right, top), (right, bottom), (left, bottom)], where)


def ellipse(points: Sequence[tuple[float, float]], where: str) -> Polygon:
    """An upright ellipse given by two corners of its box (or four points that span it); by more, it is as they say."""
    if not 2 <= len(points) <= _CORNERS:
        return polygon(points, where)
    x, y = np.asarray(points, float).T
    turn = np.linspace(0, 2 * np.pi, 360, endpoint=False)  # 0.005 % less area than the ellipse
    around = (
        (x.min() + x.max()) / 2 + (x.max() - x.min()) / 2 * np.cos(turn),
        (y.min() + y.max()) / 2 + (y.max() - y.min()) / 2 * np.sin(turn),
    )
    return polygon(list(zip(*around, strict=True)), where)


def check_coordinates(points: NDArray[np.float64], where: str) -> None:
    """Raise where a coordinate is no finite number, or larger than any slide."""
    if not np.isfinite(points).all():
        raise HistosynthError(f"{where}: coordinates that are no finite numbers; mend or remove the area")
    if points.size and np.abs(points).max() > _LARGEST:
        raise HistosynthError(f"{where}: coordinates larger than any slide; mend or remove the area")


def make_valid(drawn: Polygon) -> tuple[list[Polygon], bool]:
    """The area as valid polygons, and whether it had to be repaired.

    A ring that crosses itself keeps all that it winds around, as ASAP's own masks do (`shapely.make_valid`, structure).
    """
    valid = drawn if drawn.is_valid else shapely.make_valid(drawn, method="structure", keep_collapsed=False)
    return polygon_parts(valid), not drawn.is_valid


def polygon_parts(geometry: shapely.Geometry) -> list[Polygon]:
    """The polygons of a geometry that have an area."""
    return [part for part in shapely.get_parts(geometry) if isinstance(part, Polygon) and part.area > 0]

"""Strokes: what an annotator did, one after the other, as the page sends it and the log keeps it.

Coordinates are level-0 pixels of the whole slide, rounded to the grid of `geometry`. Each kind has its own model, so
that everything that comes from a browser or from a log is checked in this one place.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from histosynth.annotate.geometry import GRID_PX

_MAX_POINTS = 20_000
_MAX_COMMENT = 2000
_FAR_PX = 1e7  # beyond any slide


def _on_grid(value: float) -> float:
    return round(value / GRID_PX) * GRID_PX


Coordinate = Annotated[float, Field(ge=-_FAR_PX, le=_FAR_PX), AfterValidator(_on_grid)]
Location = tuple[Coordinate, Coordinate]
ClassName = Annotated[str, Field(min_length=1, max_length=100)]
OutlineId = Annotated[str, Field(min_length=1, max_length=40)]
Index = Annotated[int, Field(ge=0)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


class _Drawn(_Model):
    class_name: ClassName | None = Field(alias="class")
    add: bool = True
    """False: erase; without a class, from the outlines of all classes."""

    @model_validator(mode="after")
    def _check_class(self) -> Self:
        if self.add and self.class_name is None:
            raise ValueError("what is added needs a class")
        return self


class Brush(_Drawn):
    """A round brush, moved along points."""

    kind: Literal["brush"] = "brush"
    radius_px: Annotated[float, Field(gt=0, le=1e5)]
    points: Annotated[Sequence[Location], Field(min_length=1, max_length=_MAX_POINTS)]


class Area(_Drawn):
    """An area inside a ring of points."""

    kind: Literal["area"] = "area"
    shape: Literal["polygon", "rectangle", "fill"] = "polygon"
    """The tool."""
    points: Annotated[Sequence[Location], Field(min_length=3, max_length=_MAX_POINTS)]


class Boundary(_Model):
    """A new course for a part of an outline's boundary."""

    kind: Literal["boundary"] = "boundary"
    outline: OutlineId
    points: Annotated[Sequence[Location], Field(min_length=2, max_length=_MAX_POINTS)]


class _OneVertex(_Model):
    outline: OutlineId
    ring: Index
    """0 is the exterior."""
    index: Index


class MoveVertex(_OneVertex):
    """A vertex of a ring, elsewhere."""

    kind: Literal["vertex"] = "vertex"
    to: Location


class InsertVertex(_OneVertex):
    """A new vertex, which becomes vertex `index` of its ring."""

    kind: Literal["vertex_insert"] = "vertex_insert"
    to: Location


class RemoveVertex(_OneVertex):
    """A vertex less."""

    kind: Literal["vertex_remove"] = "vertex_remove"


class SetClass(_Model):
    """Another class for an outline."""

    kind: Literal["class"] = "class"
    outline: OutlineId
    class_name: ClassName = Field(alias="class")


class SetComment(_Model):
    """Another comment for an outline; empty for none."""

    kind: Literal["comment"] = "comment"
    outline: OutlineId
    text: Annotated[str, Field(max_length=_MAX_COMMENT)]


class Delete(_Model):
    """An outline less."""

    kind: Literal["delete"] = "delete"
    outline: OutlineId


class ImportedOutline(_Model):
    """An outline of a file: its rings as in the answers to the page (`encoding`), the exterior first."""

    class_name: ClassName = Field(alias="class")
    comment: Annotated[str, Field(max_length=_MAX_COMMENT)] = ""
    rings: Sequence[str]


class Import(_Model):
    """The outlines of a file, in place of all present ones."""

    kind: Literal["import"] = "import"
    name: str
    """Name of the file."""
    outlines: Sequence[ImportedOutline]


class Restore(_Model):
    """The drawing as it was after entry `to`; 0 for an empty one."""

    kind: Literal["restore"] = "restore"
    to: Index


class Undo(_Model):
    """Back to the drawing before the last stroke."""

    kind: Literal["undo"] = "undo"


class Redo(_Model):
    """Back to the drawing before the last undo."""

    kind: Literal["redo"] = "redo"


class Done(_Model):
    """The annotator's word that the slide is finished, or not."""

    kind: Literal["done"] = "done"
    done: bool


VertexStroke = MoveVertex | InsertVertex | RemoveVertex
Edit = Brush | Area | Boundary | VertexStroke | SetClass | SetComment | Delete | Import
"""What changes the drawing itself."""
Stroke = Annotated[Edit | Restore | Undo | Redo | Done, Field(discriminator="kind")]
STROKE: TypeAdapter[Stroke] = TypeAdapter(Stroke)

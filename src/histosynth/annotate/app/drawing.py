"""Routes that draw: the outlines of the annotator, strokes, history, conflicts, and the preview of patches."""

import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Request
from pydantic import BaseModel, ValidationError

from histosynth.annotate.app.auth import Annotator, SignedIn, Visitor
from histosynth.annotate.app.errors import RequestRejected
from histosynth.annotate.app.state import AppState, app_state
from histosynth.annotate.app.viewing import find_slide, outlines_of_other
from histosynth.annotate.document import Document
from histosynth.annotate.drawing import Drawing
from histosynth.annotate.encoding import encode_points, encode_rings
from histosynth.annotate.strokes import STROKE, Import
from histosynth.errors import HistosynthError

router = APIRouter(prefix="/api/slides/{slide_id}")
_ID = re.compile(r"[A-Za-z0-9-]{8,64}")


class Choice(BaseModel):
    """How a conflict ends: `take` the file of the other program, or `keep` ours."""

    choice: Literal["take", "keep"]


@router.get("/outlines")
def show_outlines(
    request: Request, visitor: SignedIn, slide_id: str, since: int = -1, annotator: str = ""
) -> dict[str, Any]:
    """Return the outlines, or only their number of strokes if that is still `since`."""
    state = app_state(request)
    if state.read_only:
        return outlines_of_other(state, slide_id, annotator)
    if annotator not in ("", visitor.name):
        raise RequestRejected(404)
    state.see(visitor.name, slide_id)
    document = _document(state, visitor, slide_id)
    with document.lock:
        if document.history.number == since and not document.conflict:
            return {"n": since}
        return {**_status(document), "outlines": _outlines(state, slide_id, document.history.drawing)}


@router.post("/strokes")
def add_stroke(
    request: Request, visitor: Annotator, slide_id: str, body: Annotated[dict[str, Any], Body()]
) -> dict[str, Any]:
    """Apply a stroke, save it, and return what it changed."""
    state = app_state(request)
    base, stroke_id = body.pop("base", None), body.pop("id", None)
    if not isinstance(base, int) or not isinstance(stroke_id, str) or not _ID.fullmatch(stroke_id):
        raise RequestRejected(422)
    try:
        stroke = STROKE.validate_python(body)
    except ValidationError as error:
        raise RequestRejected(422, text=f"This stroke could not be read: {error.errors()[0]['msg']}.") from None
    if isinstance(stroke, Import):
        raise RequestRejected(422)
    state.see(visitor.name, slide_id)
    document = _document(state, visitor, slide_id)
    with document.lock:
        number = document.history.number
        change = document.apply(stroke, stroke_id, base=base)
        reset = base != number
        changed = document.history.drawing if reset else change.changed if change else ()
        removed = list(change.removed) if change and not reset else []
        return {
            **_status(document),
            "changed": _outlines(state, slide_id, changed),
            "removed": removed,
            "reset": reset,
        }


@router.post("/conflict")
def end_conflict(request: Request, visitor: Annotator, slide_id: str, body: Choice) -> dict[str, Any]:
    """End a conflict, and return the outlines."""
    state = app_state(request)
    document = _document(state, visitor, slide_id)
    with document.lock:
        document.take_theirs() if body.choice == "take" else document.keep_ours()
        return {**_status(document), "outlines": _outlines(state, slide_id, document.history.drawing)}


@router.get("/history")
def show_history(request: Request, visitor: SignedIn, slide_id: str) -> dict[str, Any]:
    """Return all strokes, the last one first."""
    document = _document(app_state(request), visitor, slide_id)
    with document.lock:
        events = document.history.events()
    return {
        "entries": [
            {
                "n": entry.number,
                "at": entry.at.isoformat(timespec="seconds"),
                "kind": entry.stroke.kind,
                "class": getattr(entry.stroke, "class_name", None),
                "erases": getattr(entry.stroke, "add", True) is False,
                "to": getattr(entry.stroke, "to", None) if entry.stroke.kind == "restore" else None,
                "shown": shown,
            }
            for entry, shown in reversed(events)
        ]
    }


@router.get("/preview")
def show_preview(request: Request, visitor: SignedIn, slide_id: str, annotator: str = "") -> dict[str, Any]:
    """Return the patches that these outlines give, or why there are none."""
    state = app_state(request)
    find_slide(state, slide_id)
    if state.read_only and annotator not in state.workspace.everyone():
        raise RequestRejected(404)
    name = annotator if state.read_only else visitor.name
    number = 0 if state.read_only else _document(state, visitor, slide_id).history.number
    try:
        preview = state.previewer.preview(slide_id, state.workspace.outline_file(name, slide_id))
    except HistosynthError as error:
        return {"n": number, "message": str(error), "accepted": "", "rejected": {}, "counts": {}, "extent_px": 0}
    return {
        "n": number,
        "message": None,
        "extent_px": preview.extent_px,
        "accepted": encode_points(preview.accepted.astype(float)),
        "rejected": {reason: encode_points(each.astype(float)) for reason, each in preview.rejected.items()},
        "counts": {"accepted": len(preview.accepted)}
        | {reason: len(corners) for reason, corners in preview.rejected.items()},
    }


def _document(state: AppState, visitor: Visitor, slide_id: str) -> Document:
    find_slide(state, slide_id)
    if state.read_only:
        raise RequestRejected(403, text="This server only shows outlines.", code="read_only")
    return state.workspace.document(visitor.name, slide_id)


def _status(document: Document) -> dict[str, Any]:
    history = document.history
    return {
        "n": history.number,
        "can_undo": history.can_undo,
        "can_redo": history.can_redo,
        "done": history.done,
        "conflict": document.conflict,
    }


def _outlines(state: AppState, slide_id: str, drawing: Drawing) -> list[dict[str, Any]]:
    mpp = state.workspace.catalog.facts(slide_id).mpp
    return [
        {
            "id": each.id,
            "class": each.class_name,
            "comment": each.comment,
            "area_um2": each.polygon.area * mpp**2 if mpp else None,
            "rings": encode_rings(each.polygon),
        }
        for each in drawing
    ]

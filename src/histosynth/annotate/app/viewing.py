"""Routes that only show: the session, the slides, their tiles, and outlines of others."""

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request
from fastapi.responses import Response

from histosynth import __version__
from histosynth.annotate.app.auth import SignedIn
from histosynth.annotate.app.errors import RequestRejected
from histosynth.annotate.app.state import AppState, app_state
from histosynth.annotate.catalog import SlideFacts, UnreadableSlideError
from histosynth.annotate.encoding import encode_rings
from histosynth.annotate.geometry import polygons_on_grid
from histosynth.annotate.tiles import JPEG, OVERLAP_PX, TILE_PX, WEBP, DeepZoom, encode_image, read_tile
from histosynth.slides.annotations import SlideFrame, read_areas

router = APIRouter(prefix="/api")
IMAGE_PATH = r"/api/slides/[^/]+/(tiles/.*|thumbnail)"
"""Addresses that browsers may keep and ask about again."""
_THUMBNAIL_PX = 256
_KEPT = "private, max-age=86400"
_TILE_NAME = re.compile(rf"([0-9]{{1,7}})_([0-9]{{1,7}})\.({JPEG}|{WEBP})")


@router.get("/session")
def show_session(request: Request, visitor: SignedIn) -> dict[str, Any]:
    """Return who is signed in, the classes, and the settings of the preview."""
    state = app_state(request)
    patches = state.previewer.settings
    return {
        "version": __version__,
        "annotator": visitor.name,
        "read_only": state.read_only,
        "annotators": state.workspace.everyone() if state.read_only else [],
        "classes": [{"name": each.name, "color": each.color} for each in state.workspace.classes],
        "preview": {
            "region_um": patches.region_px * patches.region_mpp,
            "patch_px": patches.patch_px,
            "cap": patches.cap,
            "placement": patches.placement,
            "min_tumor": patches.min_tumor,
            "min_tissue": patches.min_tissue,
            "tumor_classes": patches.tumor_classes,
            "exclude_classes": patches.exclude_classes,
        },
    }


@router.get("/slides")
def list_slides(request: Request, visitor: SignedIn) -> dict[str, Any]:
    """Return all slides. What is not known of a slide before it is opened is null."""
    state = app_state(request)
    return {"slides": [_listed(state, slide_id, visitor.name) for slide_id in state.workspace.catalog.slide_ids]}


def _listed(state: AppState, slide_id: str, annotator: str) -> dict[str, Any]:
    workspace = state.workspace
    facts = workspace.catalog.known(slide_id) or SlideFacts(frame=None)
    summaries = {name: workspace.summary(name, slide_id) for name in workspace.everyone()}
    own = summaries.pop(annotator, None)
    return {
        "id": slide_id,
        "width_px": facts.frame and facts.frame.width_px,
        "height_px": facts.frame and facts.frame.height_px,
        "mpp": facts.mpp,
        "state": "unreadable" if facts.reason else own.state if own else "new",
        "reason": facts.reason,
        "outlines": own.outlines if own else 0,
        "others": [
            {"annotator": name, "state": summary.state, "outlines": summary.outlines}
            for name, summary in summaries.items()
            if summary.state != "new"
        ],
        "active": [name for name in state.active(slide_id) if name != annotator],
    }


@router.get("/slides/{slide_id}")
def show_slide(request: Request, visitor: SignedIn, slide_id: str) -> dict[str, Any]:
    """Return the size of a slide and of its tiles."""
    frame, facts = find_slide(app_state(request), slide_id)
    return {
        "id": slide_id,
        "width_px": frame.width_px,
        "height_px": frame.height_px,
        "mpp": facts.mpp,
        "tile_px": TILE_PX,
        "overlap_px": OVERLAP_PX,
        "max_level": DeepZoom(width_px=frame.width_px, height_px=frame.height_px).max_level,
    }


@router.get("/slides/{slide_id}/thumbnail")
async def show_thumbnail(request: Request, visitor: SignedIn, slide_id: str) -> Response:
    """Return the whole slide, at most 256 px wide and high."""

    def draw(state: AppState) -> bytes:
        find_slide(state, slide_id)
        with state.workspace.catalog.opened(slide_id) as slide:
            return encode_image(slide.thumbnail(_THUMBNAIL_PX), JPEG)

    return await _image(request, (slide_id, "thumbnail"), draw, JPEG)


@router.get("/slides/{slide_id}/tiles/{level}/{name}")
async def show_tile(request: Request, visitor: SignedIn, slide_id: str, level: int, name: str) -> Response:
    """Return a Deep Zoom tile: `{column}_{row}.jpg`, or `.webp`."""
    matched = _TILE_NAME.fullmatch(name)
    if matched is None:
        raise RequestRejected(404)
    column, row, kind = int(matched[1]), int(matched[2]), matched[3]

    def draw(state: AppState) -> bytes:
        frame, _ = find_slide(state, slide_id)
        pyramid = DeepZoom(width_px=frame.width_px, height_px=frame.height_px)
        box = pyramid.tile_box(level, column, row)
        if box is None:
            raise RequestRejected(404)
        with state.workspace.catalog.opened(slide_id) as slide:
            return encode_image(read_tile(slide, box, scale=1 << (pyramid.max_level - level)), kind)

    return await _image(request, (slide_id, level, column, row, kind), draw, kind)


async def _image(request: Request, key: tuple[object, ...], draw: Callable[[AppState], bytes], kind: str) -> Response:
    """Return an image, drawn in a thread unless it is kept. As many are drawn at once as there are processors."""
    state = app_state(request)
    if (image := state.images.get(key)) is None:
        image = await run_sync(draw, state, limiter=state.drawing)
        state.images.put(key, image)
    etag = f'"{sha256(image).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": _KEPT}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(image, media_type="image/webp" if kind == WEBP else "image/jpeg", headers=headers)


def find_slide(state: AppState, slide_id: str) -> tuple[SlideFrame, SlideFacts]:
    """Return what is known of a slide.

    Raises:
        RequestRejected: there is no such slide.
        UnreadableSlideError: it cannot be opened.
    """
    catalog = state.workspace.catalog
    if slide_id not in catalog.paths and catalog.known(slide_id) is None:
        raise RequestRejected(404)
    facts = catalog.facts(slide_id)
    if facts.frame is None:
        raise UnreadableSlideError(facts.reason or "this slide cannot be opened")
    return facts.frame, facts


def outlines_of_other(state: AppState, slide_id: str, annotator: str) -> dict[str, Any]:
    """Return the outlines of somebody else, from the GeoJSON, on a server that only shows."""
    frame, facts = find_slide(state, slide_id)
    if not state.read_only or annotator not in state.workspace.everyone():
        raise RequestRejected(404)
    file = state.workspace.outline_file(annotator, slide_id)
    areas = read_areas(file, frame=frame) if file.exists() else []
    outlines = [
        {
            "id": f"{number}-{part_number}",
            "class": area.name,
            "comment": area.comment,
            "area_um2": part.area * facts.mpp**2 if facts.mpp else None,
            "rings": encode_rings(part),
        }
        for number, area in enumerate(areas, start=1)
        for part_number, part in enumerate(part for polygon in area.polygons for part in polygons_on_grid(polygon))
    ]
    return {
        "n": 0,
        "can_undo": False,
        "can_redo": False,
        "done": False,
        "conflict": None,
        "annotator": annotator,
        "outlines": outlines,
    }

"""Routes of the page itself: the link, the page, and its scripts and styles."""

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from histosynth.annotate.app.auth import open_link
from histosynth.annotate.app.errors import RequestRejected
from histosynth.annotate.app.state import app_state

router = APIRouter()
ASSETS = "assets"


@router.get("/open/{token}")
def open_page(request: Request, token: str) -> Response:
    """Exchange a link for a cookie."""
    return open_link(request, token)


@router.get("/")
def show_page(request: Request) -> Response:
    """Return the page. It holds nothing secret; without a cookie it says that a link is needed."""
    return FileResponse(app_state(request).page / "index.html", media_type="text/html")


@router.get("/static/assets/{name}")
def show_asset(request: Request, name: str) -> Response:
    """Return a script or a style sheet of the page."""
    folder = app_state(request).page / ASSETS
    path = folder / name
    if name.startswith(".") or path.parent != folder or not path.is_file():
        raise RequestRejected(404)
    return FileResponse(path)

"""Rejected requests and failures: a sentence for the annotator and a code for the page, as JSON."""

import errno

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from histosynth.annotate.app.state import app_state
from histosynth.annotate.catalog import UnreadableSlideError
from histosynth.annotate.document import ConflictError, StaleError
from histosynth.errors import HistosynthError
from histosynth.web_server.clients import client_address, client_network

MESSAGES = {
    400: ("This request could not be read.", "bad_request"),
    401: ("Please open your link again. Everything that was saved is kept.", "signed_out"),
    403: ("This is not allowed here.", "forbidden"),
    404: ("There is nothing at this address.", "not_found"),
    405: ("This is not allowed here.", "forbidden"),
    408: ("The request did not arrive completely.", "timeout"),
    413: ("This stroke is too large. Draw it in several parts.", "too_large"),
    422: ("This stroke could not be read.", "bad_stroke"),
    429: ("Too many requests. Please wait a little.", "busy"),
    500: ("Something went wrong in the server. Everything that was saved is safe.", "failed"),
    503: ("The outlines cannot be saved at the moment.", "unsaved"),
    507: ("The disk of the server is full: nothing more is saved until there is space.", "disk_full"),
}
"""Sentence and code by HTTP status."""


class RequestRejected(HTTPException):
    """A rejected request.

    Args:
        status: the HTTP status.
        text: for the annotator; default: that of the status.
        code: for the page; default: that of the status.
        retry_after_s: seconds until the client may try again.
    """

    def __init__(self, status: int, *, text: str = "", code: str = "", retry_after_s: float = 0) -> None:
        headers = {"Retry-After": str(int(retry_after_s) + 1)} if retry_after_s else None
        super().__init__(status, detail=text, headers=headers)
        self.text, self.code = text, code


def render_error(request: Request, status: int, *, text: str = "", code: str = "") -> Response:
    """Return the JSON of an error."""
    sentence, default_code = MESSAGES.get(status, MESSAGES[400])
    return JSONResponse({"error": text or sentence, "code": code or default_code}, status)


def log_rejection(request: Request, status: int, reason: str) -> None:
    """Write a rejection to the audit log, unless the client's network exceeds its rate of lines."""
    state = app_state(request)
    if not state.rejections.take(client_network(request)):
        path = "/open/…" if request.url.path.startswith("/open/") else request.url.path[:200]
        actor = getattr(request.state, "actor", "")
        detail = f"{status} {request.method} {path}: {reason}"
        state.audit(actor, "request rejected", address=client_address(request), detail=detail)


def handle_http_error(request: Request, error: Exception) -> Response:
    """Handle `RequestRejected`, and what the framework itself rejects: unknown addresses, wrong methods."""
    assert isinstance(error, HTTPException)
    text, code = getattr(error, "text", ""), getattr(error, "code", "")
    log_rejection(request, error.status_code, text or str(error.detail))
    response = render_error(request, error.status_code, text=text, code=code)
    response.headers.update(error.headers or {})
    return response


def handle_validation_error(request: Request, error: Exception) -> Response:
    """Handle a stroke with missing or invalid fields."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    log_rejection(request, 422, f"field {'.'.join(map(str, first['loc']))}"[:200])
    return render_error(request, 422, text=f"This stroke could not be read: {first['msg']}.")


def handle_known_error(request: Request, error: Exception) -> Response:
    """Handle what can be said in one line: conflicts, slides that cannot be read, strokes that do not apply."""
    assert isinstance(error, HistosynthError)
    if isinstance(error, ConflictError):
        return render_error(request, 409, text=str(error), code="conflict")
    if isinstance(error, StaleError):
        return render_error(request, 409, text=str(error), code="stale")
    if isinstance(error, UnreadableSlideError):
        return render_error(request, 404, text=str(error), code="unreadable")
    return render_error(request, 400, text=str(error), code="not_applicable")


def handle_os_error(request: Request, error: Exception) -> Response:
    """Handle a disk that is full or fails: nothing was changed, and the page sends the stroke again."""
    assert isinstance(error, OSError)
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    text = "" if full else f"The outlines cannot be saved ({error.strerror or error})."
    return render_error(request, 507 if full else 503, text=text)

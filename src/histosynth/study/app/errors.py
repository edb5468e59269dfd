"""Rejected requests and failures: answered in plain words, as a page or as JSON, and recorded in the audit log."""

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from histosynth.study.app.state import app_state
from histosynth.study.records.answers import ANONYMOUS
from histosynth.web_server.clients import client_address, client_network

MESSAGES = {
    400: ("This request could not be read", "Please go back and try again."),
    401: (
        "Please open your link",
        "This page recognizes you by the link that you received. Please open the link again to continue where you "
        "stopped. All saved answers are kept.",
    ),
    403: (
        "This is not allowed",
        "The request came from another page, or from an outdated copy of this page. Please continue from here.",
    ),
    404: ("Page not found", "The address may contain a typing error. Your answers are safe."),
    405: ("This is not allowed", "The address is correct, but it does not accept this kind of request."),
    408: ("The request took too long", "It did not arrive completely. Please try again."),
    409: ("This case is already answered", "Answers are final once given. Please continue with the current case."),
    413: ("The request is too large", "It is larger than any answer can be. Is the comment very long?"),
    422: ("An answer is missing", "Please answer both questions: real or synthetic, and your confidence from 1 to 5."),
    429: ("Too many attempts", "Please wait a little, then try again."),
    500: ("Something went wrong", "This is a fault of the server, not yours. All saved answers are safe."),
    503: ("The server is busy", "All saved answers are safe. Please try again in a moment."),
}
"""Heading and text by HTTP status."""


class RequestRejected(HTTPException):
    """A rejected request.

    Args:
        status: the HTTP status.
        reason: for the audit log.
        text: for the page; default: that of the status.
        retry_after_s: seconds until the client may try again.
        logged: whether the audit log has it already.
    """

    def __init__(
        self, status: int, *, reason: str = "", text: str = "", retry_after_s: float = 0, logged: bool = False
    ) -> None:
        headers = {"Retry-After": str(int(retry_after_s) + 1)} if retry_after_s else None
        super().__init__(status, detail=reason, headers=headers)
        self.text, self.logged = text, logged


def wants_json(request: Request) -> bool:
    """Return whether the request comes from a script of the page."""
    return request.headers.get("accept", "") == "application/json"


def render_error(request: Request, status: int, *, text: str = "", headers: dict[str, str] | None = None) -> Response:
    """Return the error page, or its JSON."""
    heading, default = MESSAGES.get(status, MESSAGES[400])
    if wants_json(request):
        return JSONResponse({"heading": heading, "text": text or default}, status, headers=headers)
    html = (
        app_state(request)
        .template("error")
        .render(heading=heading, text=text or default, can_continue=status in (403, 404, 409, 422, 503))
    )
    return HTMLResponse(html, status, headers=headers)


def log_rejection(request: Request, status: int, reason: str) -> None:
    """Write a rejection to the audit log, unless the client's network exceeds its rate of entries."""
    state = app_state(request)
    if not state.rejections.take(client_network(request)):
        detail = f"{status} {request.method} {redacted_path(request)}: {reason}"
        actor = getattr(request.state, "actor", ANONYMOUS)
        state.answers.audit(actor, "request rejected", detail=detail, address=client_address(request))


def redacted_path(request: Request) -> str:
    """Return the path without what may be the token of a link."""
    path = request.url.path
    for start in ("/r/", "/organizer/"):
        if path.startswith(start):
            return f"{start}…"
    return path[:200]


def handle_http_error(request: Request, error: Exception) -> Response:
    """Handle `RequestRejected`, and what the framework itself rejects: unknown addresses, wrong methods."""
    assert isinstance(error, HTTPException)
    if not getattr(error, "logged", False):
        log_rejection(request, error.status_code, error.detail)
    headers = dict(error.headers) if error.headers else None
    return render_error(request, error.status_code, text=getattr(error, "text", ""), headers=headers)


def handle_validation_error(request: Request, error: Exception) -> Response:
    """Handle form fields that are missing or invalid."""
    assert isinstance(error, RequestValidationError)
    fields = sorted({str(e["loc"][-1]) for e in error.errors()})
    log_rejection(request, 422, f"fields {', '.join(fields)}"[:200])
    return render_error(request, 422)


def handle_database_error(request: Request, error: Exception) -> Response:
    """Handle a database that cannot be reached or written: the page retries, and says so."""
    assert isinstance(error, SQLAlchemyError)
    app_state(request).logger.error("the database failed: %s", error)
    return render_error(request, 503, headers={"Retry-After": "2"})

"""What is refused: told plainly, as a page or as JSON, and logged in the audit log."""

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from histosynth.study.app.state import app_state, client_address, client_network
from histosynth.study.records.answers import ANONYMOUS

HEADINGS = {
    400: ("This request could not be read", "Please go back and try again."),
    401: (
        "Please open your link",
        "This page knows you by the link that you were sent. Open it again, and go on where you stopped: "
        "every answer that was saved is there.",
    ),
    403: (
        "That is not allowed",
        "The request did not come from this page, or from an outdated one. Please go on from here.",
    ),
    404: ("There is nothing here", "The address may be mistyped. Your answers are safe."),
    405: ("That is not allowed", "The address is right, but not what was to be done there."),
    408: ("That took too long", "The request did not arrive whole. Please try again."),
    409: ("This case has been answered", "Answers are final once given. Please go on with the present case."),
    413: ("That is too much", "The request was larger than any answer is. Is the comment very long?"),
    422: ("Something is missing", "Please answer both questions: real or synthetic, and a confidence of 1 to 5."),
    429: ("Too many attempts", "Please wait a little, then try again."),
    500: ("Something went wrong here", "That is this server's fault, not yours. Answers that were saved are safe."),
    503: ("The server is busy", "Nothing that was saved is lost. Please try again in a moment."),
}


class RequestRejected(HTTPException):
    """A request that is not granted; `logged` where the audit log has it already."""

    def __init__(
        self, status: int, *, reason: str = "", text: str = "", retry_after_s: float = 0, logged: bool = False
    ) -> None:
        headers = {"Retry-After": str(int(retry_after_s) + 1)} if retry_after_s else None
        super().__init__(status, detail=reason, headers=headers)
        self.text, self.logged = text, logged


def wants_json(request: Request) -> bool:
    """Whether a script of the page asks."""
    return request.headers.get("accept", "") == "application/json"


def render_error(request: Request, status: int, *, text: str = "", headers: dict[str, str] | None = None) -> Response:
    """The reply that tells of a refusal."""
    heading, usual = HEADINGS.get(status, HEADINGS[400])
    if wants_json(request):
        return JSONResponse({"heading": heading, "text": text or usual}, status, headers=headers)
    page = app_state(request).page("error")
    shown = page.render(heading=heading, text=text or usual, onward=status in (403, 404, 409, 422, 503))
    return HTMLResponse(shown, status, headers=headers)


def log_rejection(request: Request, status: int, reason: str) -> None:
    """Write a refusal to the audit log, unless that network has filled more than its share of it."""
    state = app_state(request)
    if not state.rejections.take(client_network(request)):
        detail = f"{status} {request.method} {redacted_path(request)}: {reason}"
        actor = getattr(request.state, "actor", ANONYMOUS)
        state.answers.audit(actor, "request refused", detail=detail, address=client_address(request))


def redacted_path(request: Request) -> str:
    """The path without what may be the token of a link."""
    path = request.url.path
    for start in ("/r/", "/organizer/"):
        if path.startswith(start):
            return f"{start}…"
    return path[:200]


def handle_http_error(request: Request, error: Exception) -> Response:
    """A `RequestRejected`, or what the framework refuses by itself: unknown addresses, wrong methods."""
    assert isinstance(error, HTTPException)
    if not getattr(error, "logged", False):
        log_rejection(request, error.status_code, error.detail)
    headers = dict(error.headers) if error.headers else None
    return render_error(request, error.status_code, text=getattr(error, "text", ""), headers=headers)


def handle_validation_error(request: Request, error: Exception) -> Response:
    """Fields that are absent, or hold what they cannot."""
    assert isinstance(error, RequestValidationError)
    fields = sorted({str(e["loc"][-1]) for e in error.errors()})
    log_rejection(request, 422, f"fields {', '.join(fields)}"[:200])
    return render_error(request, 422)


def handle_database_error(request: Request, error: Exception) -> Response:
    """The database cannot be reached or written: the page tries again, and shows that it does."""
    assert isinstance(error, SQLAlchemyError)
    app_state(request).logger.error("the database failed: %s", error)
    return render_error(request, 503, headers={"Retry-After": "2"})

"""The reader's pages: link, welcome and consent, instructions, practice, cases, pause, thanks."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from pydantic import ValidationError

from histosynth.study.app.auth import SignedIn, SignedInPost, Visitor, start_visit
from histosynth.study.app.errors import RequestRejected, wants_json
from histosynth.study.app.state import app_state
from histosynth.study.records.answers import MAX_COMMENT_LENGTH, Answer, NotAllowed, Progress, Step, Truth
from histosynth.study.records.timing import practice_answer, reading_seconds, record_shown
from histosynth.web_server.clients import cookie_name

router = APIRouter()
CONFIDENCE_ANCHORS = {1: "1 = a guess", 5: "5 = certain"}
_MAX_VISIBLE_MS = 10**12  # thirty years
HTTP_STATUS = {"unknown": 404, "no-consent": 403, "out-of-order": 409, "final": 409}


def render_page(request: Request, template: str, **content: Any) -> HTMLResponse:
    """Return a page of the study."""
    return HTMLResponse(app_state(request).template(template).render(**content))


def case_heading(step: Step) -> str:
    """Return the heading of a case, such as `Case 3 of 120`."""
    return f"{'Practice case' if step.part == 'practice' else 'Case'} {step.number} of {step.total}"


def rejection(error: NotAllowed) -> RequestRejected:
    """Return the HTTP error for what the rules do not allow; the rules have logged it."""
    return RequestRejected(HTTP_STATUS[error.reason], logged=True)


def reader_progress(request: Request, visitor: Visitor) -> Progress:
    """Return this reader's progress."""
    return next(p for p in app_state(request).answers.progress() if p.reader_id == visitor.reader.reader_id)


@router.get("/r/{token}")
def open_link(request: Request, token: str) -> Response:
    """Open a reader's link."""
    return start_visit(request, "reader", token)


@router.get("/")
def home(request: Request, visitor: SignedIn) -> Response:
    """Redirect to where this reader stopped."""
    if not visitor.reader.consented:
        return RedirectResponse("/welcome", 303)
    return RedirectResponse("/case", 303)


@router.get("/welcome")
def welcome(request: Request, visitor: SignedIn) -> Response:
    """Describe the study and ask for consent."""
    if visitor.reader.consented:
        return RedirectResponse("/case", 303)
    progress = reader_progress(request, visitor)
    return render_page(
        request,
        "welcome",
        reader=visitor.reader.name,
        cases=progress.main_total,
        practice=progress.practice_total,
        csrf=visitor.csrf,
    )


@router.post("/welcome")
def consent(request: Request, visitor: SignedInPost, consent: Annotated[str, Form(pattern="^yes$")]) -> Response:
    """Record the reader's consent."""
    app_state(request).answers.consent(visitor.reader, address=visitor.address)
    return RedirectResponse("/instructions", 303)


@router.get("/instructions")
def instructions(request: Request, visitor: SignedIn) -> Response:
    """Explain how to read; available at any time."""
    progress = reader_progress(request, visitor)
    begun = progress.practice + progress.main > 0
    button = "Continue" if begun else "Begin the practice" if progress.practice_total else "Begin the study"
    return render_page(request, "instructions", button=button)


@router.get("/case")
def case(request: Request, visitor: SignedIn) -> Response:
    """Show the current case. The address is always the same, so history and bookmarks never lead to another case."""
    state = app_state(request)
    if not visitor.reader.consented:
        return RedirectResponse("/welcome", 303)
    step = state.answers.next_step(visitor.reader)
    if step is None:
        return RedirectResponse("/thanks", 303)
    record_shown(state.database, step.presentation_id)
    return render_page(
        request,
        "case",
        presentation=step.presentation_id,
        heading=case_heading(step),
        number=step.number,
        total=step.total,
        anchors=CONFIDENCE_ANCHORS,
        comment_limit=MAX_COMMENT_LENGTH,
        csrf=visitor.csrf,
    )


@router.get("/now")
def current_presentation(request: Request, visitor: SignedIn) -> Response:
    """Return the id of the current case, for a page that has been open for a long time."""
    step = app_state(request).answers.next_step(visitor.reader)
    return JSONResponse({"presentation": step and step.presentation_id})


@router.get("/picture/{presentation}")
def picture(request: Request, visitor: SignedIn, presentation: str) -> Response:
    """Return the picture of a case."""
    try:
        png = app_state(request).answers.picture(visitor.reader, presentation, address=visitor.address)
    except NotAllowed as error:
        raise rejection(error) from None
    return Response(png, media_type="image/png")


@router.post("/answer")
def answer(
    request: Request,
    visitor: SignedInPost,
    presentation: Annotated[str, Form(max_length=100)],
    said: Annotated[Truth, Form()],
    confidence: Annotated[int, Form(ge=1, le=5)],
    comment: Annotated[str, Form()] = "",
    changes: Annotated[int, Form(ge=0)] = 0,
    visible_ms: Annotated[int, Form(ge=0, le=_MAX_VISIBLE_MS)] = 0,
) -> Response:
    """Store an answer; the response is sent once it is on disk."""
    # Validate the form.
    state = app_state(request)
    if len(comment := comment.replace("\r\n", "\n").strip()) > MAX_COMMENT_LENGTH:
        text = f"A comment may have at most {MAX_COMMENT_LENGTH:,} characters."
        raise RequestRejected(422, reason="a long comment", text=text)
    # Store the answer.
    try:
        reader_answer = Answer(
            said=said,
            confidence=confidence,
            comment=comment,
            seconds=reading_seconds(state.database, presentation, visible_ms=visible_ms),
            changes=changes,
        )
        stored = state.answers.store(visitor.reader, presentation, reader_answer, address=visitor.address)
    except ValidationError as error:
        raise RequestRejected(422, reason=f"{error.error_count()} invalid fields") from None
    except NotAllowed as error:
        raise rejection(error) from None
    # Lead to the next page.
    next_page = "/thanks" if stored.finished else f"/practice/{presentation}" if stored.feedback else "/case"
    if wants_json(request):
        return JSONResponse({"saved": presentation, "next": next_page})
    return RedirectResponse(next_page, 303)


@router.get("/practice/{presentation}")
def feedback(request: Request, visitor: SignedIn, presentation: str) -> Response:
    """Show the truth of a practice case after it is answered."""
    state = app_state(request)
    try:
        truth = state.answers.feedback(visitor.reader, presentation, address=visitor.address)
    except NotAllowed as error:
        raise rejection(error) from None
    progress = reader_progress(request, visitor)
    answer = practice_answer(state.database, presentation)
    return render_page(
        request,
        "feedback",
        presentation=presentation,
        heading=f"Practice case {answer.number} of {progress.practice_total}",
        number=answer.number,
        total=progress.practice_total,
        truth=truth,
        said=answer.said,
        confidence=answer.confidence,
        last=progress.practice == progress.practice_total,
    )


@router.get("/pause")
def pause(request: Request, visitor: SignedIn) -> Response:
    """Hide the case and stop its clock."""
    progress = reader_progress(request, visitor)
    answered, total = progress.practice + progress.main, progress.practice_total + progress.main_total
    return render_page(request, "pause", answered=answered, total=total, csrf=visitor.csrf)


@router.get("/thanks")
def thanks(request: Request, visitor: SignedIn) -> Response:
    """Thank the reader who has finished."""
    if app_state(request).answers.next_step(visitor.reader) is not None:
        return RedirectResponse("/", 303)
    total = reader_progress(request, visitor).main_total
    return render_page(request, "thanks", reader=visitor.reader.name, total=total, csrf=visitor.csrf)


@router.post("/leave")
def leave(request: Request, visitor: SignedInPost) -> Response:
    """Sign out: end the visit and clear what the browser stores."""
    app_state(request).visits.end(visitor.cookie)
    response = render_page(request, "signed_out")
    response.delete_cookie(
        cookie_name(request, "reader"), path="/", secure=request.url.scheme == "https", httponly=True
    )
    response.headers["Clear-Site-Data"] = '"storage"'
    return response

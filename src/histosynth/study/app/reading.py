"""The reader's way: link, welcome and consent, instructions, practice, cases, thanks; pause at any time."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from pydantic import ValidationError

from histosynth.study.app.auth import SignedIn, SignedInPost, Visitor, cookie_name, start_visit
from histosynth.study.app.errors import RequestRejected, wants_json
from histosynth.study.app.state import app_state
from histosynth.study.records.answers import MAX_COMMENT_LENGTH, Answer, NotAllowed, Progress, Step, Truth
from histosynth.study.records.timing import practice_answer, reading_seconds, record_shown

router = APIRouter()
CONFIDENCE_ANCHORS = {1: "1 = a guess", 5: "5 = certain"}
HTTP_STATUS = {"unknown": 404, "no-consent": 403, "out-of-order": 409, "final": 409}


def page(request: Request, template: str, **content: Any) -> HTMLResponse:
    """A page of the study."""
    return HTMLResponse(app_state(request).page(template).render(**content))


def heading(step: Step) -> str:
    """What a case is called."""
    return f"{'Practice case' if step.part == 'practice' else 'Case'} {step.number} of {step.total}"


def rejection(error: NotAllowed) -> RequestRejected:
    """The reply to what the rules refuse; they have noted it."""
    return RequestRejected(HTTP_STATUS[error.reason], logged=True)


def reader_progress(request: Request, visitor: Visitor) -> Progress:
    """How far this reader is."""
    return next(p for p in app_state(request).answers.progress() if p.reader_id == visitor.reader.reader_id)


@router.get("/r/{token}")
def link(request: Request, token: str) -> Response:
    """An invitation."""
    return start_visit(request, "reader", token)


@router.get("/")
def home(request: Request, visitor: SignedIn) -> Response:
    """Where this reader is."""
    if not visitor.reader.consented:
        return RedirectResponse("/welcome", 303)
    return RedirectResponse("/case", 303)


@router.get("/welcome")
def welcome(request: Request, visitor: SignedIn) -> Response:
    """What the study is, and consent."""
    if visitor.reader.consented:
        return RedirectResponse("/case", 303)
    mine = reader_progress(request, visitor)
    return page(
        request,
        "welcome",
        reader=visitor.reader.name,
        cases=mine.main_total,
        practice=mine.practice_total,
        csrf=visitor.csrf,
    )


@router.post("/welcome")
def consent(request: Request, visitor: SignedInPost, consent: Annotated[str, Form(pattern="^yes$")]) -> Response:
    """The reader takes part."""
    app_state(request).answers.consent(visitor.reader, address=visitor.address)
    return RedirectResponse("/instructions", 303)


@router.get("/instructions")
def instructions(request: Request, visitor: SignedIn) -> Response:
    """How to read; at any time."""
    mine = reader_progress(request, visitor)
    begun = mine.practice + mine.main > 0
    onward = "Go on" if begun else "Begin the practice" if mine.practice_total else "Begin the study"
    return page(request, "instructions", onward=onward)


@router.get("/case")
def case(request: Request, visitor: SignedIn) -> Response:
    """The case to be answered now: always this address, so that neither history nor bookmarks lead elsewhere."""
    state = app_state(request)
    if not visitor.reader.consented:
        return RedirectResponse("/welcome", 303)
    step = state.answers.next_step(visitor.reader)
    if step is None:
        return RedirectResponse("/thanks", 303)
    record_shown(state.database, step.presentation_id)
    return page(
        request,
        "case",
        presentation=step.presentation_id,
        heading=heading(step),
        number=step.number,
        total=step.total,
        anchors=CONFIDENCE_ANCHORS,
        comment_limit=MAX_COMMENT_LENGTH,
        csrf=visitor.csrf,
    )


@router.get("/now")
def current_presentation(request: Request, visitor: SignedIn) -> Response:
    """Which case is to be answered now, for a page that has been open for long."""
    step = app_state(request).answers.next_step(visitor.reader)
    return JSONResponse({"presentation": step and step.presentation_id})


@router.get("/picture/{presentation}")
def picture(request: Request, visitor: SignedIn, presentation: str) -> Response:
    """The patch of a case."""
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
    visible_ms: Annotated[int, Form(ge=0)] = 0,
) -> Response:
    """Store an answer; the reply comes once it is on disk."""
    state = app_state(request)
    if len(comment := comment.replace("\r\n", "\n").strip()) > MAX_COMMENT_LENGTH:
        raise RequestRejected(
            422, reason="a long comment", text=f"Comments hold {MAX_COMMENT_LENGTH:,} characters at most."
        )
    try:
        given = Answer(
            said=said,
            confidence=confidence,
            comment=comment,
            seconds=reading_seconds(state.database, presentation, visible_ms=visible_ms),
            changes=changes,
        )
        stored = state.answers.store(visitor.reader, presentation, given, address=visitor.address)
    except ValidationError as error:
        raise RequestRejected(422, reason=f"{error.error_count()} fields") from None
    except NotAllowed as error:
        raise rejection(error) from None
    onward = "/thanks" if stored.finished else f"/practice/{presentation}" if stored.feedback else "/case"
    if wants_json(request):
        return JSONResponse({"saved": presentation, "next": onward})
    return RedirectResponse(onward, 303)


@router.get("/practice/{presentation}")
def feedback(request: Request, visitor: SignedIn, presentation: str) -> Response:
    """The truth of a practice case, once answered."""
    state = app_state(request)
    try:
        truth = state.answers.feedback(visitor.reader, presentation, address=visitor.address)
    except NotAllowed as error:
        raise rejection(error) from None
    mine = reader_progress(request, visitor)
    said = practice_answer(state.database, presentation)
    return page(
        request,
        "feedback",
        presentation=presentation,
        heading=f"Practice case {said.number} of {mine.practice_total}",
        number=said.number,
        total=mine.practice_total,
        truth=truth,
        said=said.said,
        confidence=said.confidence,
        last=mine.practice == mine.practice_total,
    )


@router.get("/pause")
def pause(request: Request, visitor: SignedIn) -> Response:
    """Nothing to see; the clock stands still."""
    mine = reader_progress(request, visitor)
    answered, total = mine.practice + mine.main, mine.practice_total + mine.main_total
    return page(request, "pause", answered=answered, total=total, csrf=visitor.csrf)


@router.get("/thanks")
def thanks(request: Request, visitor: SignedIn) -> Response:
    """The end."""
    if app_state(request).answers.next_step(visitor.reader) is not None:
        return RedirectResponse("/", 303)
    total = reader_progress(request, visitor).main_total
    return page(request, "thanks", reader=visitor.reader.name, total=total, csrf=visitor.csrf)


@router.post("/leave")
def leave(request: Request, visitor: SignedInPost) -> Response:
    """Forget this browser, and have it forget what it kept."""
    app_state(request).visits.close(visitor.cookie)
    reply = page(request, "left")
    reply.delete_cookie(cookie_name(request, "reader"), path="/", secure=request.url.scheme == "https", httponly=True)
    reply.headers["Clear-Site-Data"] = '"storage"'
    return reply

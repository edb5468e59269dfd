"""The reader's way: link, welcome and consent, instructions, practice, cases, thanks; pause at any time."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from pydantic import ValidationError

from histosynth.study.app.auth import Known, Sender, Visitor, cookie_name, welcome_in
from histosynth.study.app.errors import Refusal, wants_json
from histosynth.study.app.state import desk_of
from histosynth.study.records.answers import LONGEST_COMMENT, Answer, Progress, Refused, Step, Truth
from histosynth.study.records.timing import practice_answer, seconds_of, show

router = APIRouter()
ENDS = {1: "1 = a guess", 5: "5 = certain"}
STATUS = {"unknown": 404, "no-consent": 403, "out-of-order": 409, "final": 409}


def page(request: Request, template: str, **content: Any) -> HTMLResponse:
    """A page of the study."""
    return HTMLResponse(desk_of(request).page(template).render(**content))


def heading(step: Step) -> str:
    """What a case is called."""
    return f"{'Practice case' if step.part == 'practice' else 'Case'} {step.number} of {step.total}"


def refusal(refused: Refused) -> Refusal:
    """The reply to what the rules refuse; they have noted it."""
    return Refusal(STATUS[refused.reason], noted=True)


def own_progress(request: Request, known: Visitor) -> Progress:
    """How far this reader is."""
    return next(p for p in desk_of(request).answers.progress() if p.reader_id == known.reader.reader_id)


@router.get("/r/{token}")
def link(request: Request, token: str) -> Response:
    """An invitation."""
    return welcome_in(request, "reader", token)


@router.get("/")
def present(request: Request, known: Known) -> Response:
    """Where this reader is."""
    if not known.reader.consented:
        return RedirectResponse("/welcome", 303)
    return RedirectResponse("/case", 303)


@router.get("/welcome")
def welcome(request: Request, known: Known) -> Response:
    """What the study is, and consent."""
    if known.reader.consented:
        return RedirectResponse("/case", 303)
    mine = own_progress(request, known)
    return page(
        request,
        "welcome",
        reader=known.reader.name,
        cases=mine.main_total,
        practice=mine.practice_total,
        csrf=known.csrf,
    )


@router.post("/welcome")
def consent(request: Request, known: Sender, consent: Annotated[str, Form(pattern="^yes$")]) -> Response:
    """The reader takes part."""
    desk_of(request).answers.consent(known.reader, address=known.address)
    return RedirectResponse("/instructions", 303)


@router.get("/instructions")
def instructions(request: Request, known: Known) -> Response:
    """How to read; at any time."""
    mine = own_progress(request, known)
    begun = mine.practice + mine.main > 0
    onward = "Go on" if begun else "Begin the practice" if mine.practice_total else "Begin the study"
    return page(request, "instructions", onward=onward)


@router.get("/case")
def case(request: Request, known: Known) -> Response:
    """The case to be answered now: always this address, so that neither history nor bookmarks lead elsewhere."""
    desk = desk_of(request)
    if not known.reader.consented:
        return RedirectResponse("/welcome", 303)
    step = desk.answers.next_step(known.reader)
    if step is None:
        return RedirectResponse("/thanks", 303)
    show(desk.database, step.presentation_id)
    return page(
        request,
        "case",
        presentation=step.presentation_id,
        heading=heading(step),
        number=step.number,
        total=step.total,
        ends=ENDS,
        comment_limit=LONGEST_COMMENT,
        csrf=known.csrf,
    )


@router.get("/now")
def present_presentation(request: Request, known: Known) -> Response:
    """Which case is to be answered now, for a page that has been open for long."""
    step = desk_of(request).answers.next_step(known.reader)
    return JSONResponse({"presentation": step and step.presentation_id})


@router.get("/picture/{presentation}")
def picture(request: Request, known: Known, presentation: str) -> Response:
    """The patch of a case."""
    try:
        png = desk_of(request).answers.picture(known.reader, presentation, address=known.address)
    except Refused as refused:
        raise refusal(refused) from None
    return Response(png, media_type="image/png")


@router.post("/answer")
def answer(
    request: Request,
    known: Sender,
    presentation: Annotated[str, Form(max_length=100)],
    said: Annotated[Truth, Form()],
    confidence: Annotated[int, Form(ge=1, le=5)],
    comment: Annotated[str, Form()] = "",
    changes: Annotated[int, Form(ge=0)] = 0,
    visible_ms: Annotated[int, Form(ge=0)] = 0,
) -> Response:
    """Store an answer; the reply comes once it is on disk."""
    desk = desk_of(request)
    if len(comment := comment.replace("\r\n", "\n").strip()) > LONGEST_COMMENT:
        raise Refusal(422, why="a long comment", text=f"Comments hold {LONGEST_COMMENT:,} characters at most.")
    try:
        given = Answer(
            said=said,
            confidence=confidence,
            comment=comment,
            seconds=seconds_of(desk.database, presentation, visible_ms=visible_ms),
            changes=changes,
        )
        stored = desk.answers.store(known.reader, presentation, given, address=known.address)
    except ValidationError as error:
        raise Refusal(422, why=f"{error.error_count()} fields") from None
    except Refused as refused:
        raise refusal(refused) from None
    onward = "/thanks" if stored.finished else f"/practice/{presentation}" if stored.feedback else "/case"
    if wants_json(request):
        return JSONResponse({"saved": presentation, "next": onward})
    return RedirectResponse(onward, 303)


@router.get("/practice/{presentation}")
def feedback(request: Request, known: Known, presentation: str) -> Response:
    """The truth of a practice case, once answered."""
    desk = desk_of(request)
    try:
        truth = desk.answers.feedback(known.reader, presentation, address=known.address)
    except Refused as refused:
        raise refusal(refused) from None
    mine = own_progress(request, known)
    said = practice_answer(desk.database, presentation)
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
def pause(request: Request, known: Known) -> Response:
    """Nothing to see; the clock stands still."""
    mine = own_progress(request, known)
    answered, total = mine.practice + mine.main, mine.practice_total + mine.main_total
    return page(request, "pause", answered=answered, total=total, csrf=known.csrf)


@router.get("/thanks")
def thanks(request: Request, known: Known) -> Response:
    """The end."""
    if desk_of(request).answers.next_step(known.reader) is not None:
        return RedirectResponse("/", 303)
    total = own_progress(request, known).main_total
    return page(request, "thanks", reader=known.reader.name, total=total, csrf=known.csrf)


@router.post("/leave")
def leave(request: Request, known: Sender) -> Response:
    """Forget this browser, and have it forget what it kept."""
    desk_of(request).visits.close(known.cookie)
    reply = page(request, "left")
    reply.delete_cookie(cookie_name(request, "reader"), path="/", secure=request.url.scheme == "https", httponly=True)
    reply.headers["Clear-Site-Data"] = '"storage"'
    return reply

"""The organizer's page: how far each reader is, and nothing of how well, behind a link of its own."""

from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from histosynth.study.app.auth import cookie_name, start_visit
from histosynth.study.app.errors import RequestRejected
from histosynth.study.app.state import app_state
from histosynth.study.records.answers import ORGANIZER, Progress
from histosynth.study.records.database import now

router = APIRouter()


@dataclass(frozen=True, kw_only=True)
class Row:
    """One reader, as the page shows it."""

    name: str
    answered: int
    total: int
    last_seen: str
    link: str


@router.get("/organizer/{token}")
def link(request: Request, token: str) -> Response:
    """The organizer's link."""
    return start_visit(request, "organizer", token)


@router.get("/organizer")
def progress(request: Request) -> Response:
    """The table of readers."""
    state = app_state(request)
    cookie = request.cookies.get(cookie_name(request, "organizer"), "")
    if not cookie or not state.visits.is_organizer(cookie):
        text = "This page is for the organizer, who knows its link from `histosynth study serve`."
        raise RequestRejected(401, reason="no organizer's cookie", text=text)
    request.state.actor = ORGANIZER
    found = state.answers.progress()
    rows = [row(one) for one in found]
    shown = state.page("organizer").render(
        readers=rows,
        finished=sum(one.finished_at is not None for one in found),
        answered=sum(r.answered for r in rows),
        planned=sum(r.total for r in rows),
    )
    return HTMLResponse(shown)


def row(one: Progress) -> Row:
    """Progress in words; times are UTC, to the minute."""
    seen = max(filter(None, (one.last_shown_at, one.last_answer_at)), default="")
    if one.finished_at:
        state = "finished"
    elif one.revoked_at:
        state = "revoked"
    elif one.expires_at <= now():
        state = f"expired {one.expires_at[:10]}"
    else:
        state = f"good until {one.expires_at[:10]}"
    return Row(
        name=one.name,
        answered=one.practice + one.main,
        total=one.practice_total + one.main_total,
        last_seen=f"{seen[:10]} {seen[11:16]} UTC" if seen else "",
        link=state,
    )

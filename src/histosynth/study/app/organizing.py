"""The organizer's page, behind its own link: each reader's progress, but no answers and no accuracy."""

from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from histosynth.study.app.auth import start_visit
from histosynth.study.app.errors import RequestRejected
from histosynth.study.app.state import app_state
from histosynth.study.records.answers import ORGANIZER, Progress
from histosynth.study.records.tables import now
from histosynth.web_server.clients import cookie_name

router = APIRouter()


@dataclass(frozen=True, kw_only=True)
class ReaderRow:
    """One reader's row of the page's table."""

    name: str
    answered: int
    total: int
    last_seen: str
    link: str


@router.get("/organizer/{token}")
def open_link(request: Request, token: str) -> Response:
    """Open the organizer's link."""
    return start_visit(request, "organizer", token)


@router.get("/organizer")
def progress(request: Request) -> Response:
    """Show the table of readers."""
    state = app_state(request)
    cookie = request.cookies.get(cookie_name(request, "organizer"), "")
    if not cookie or not state.visits.is_organizer(cookie):
        text = "This page is for the organizer of the study. Its link is printed by `histosynth study serve`."
        raise RequestRejected(401, reason="no organizer's cookie", text=text)
    request.state.actor = ORGANIZER
    readers = state.answers.progress()
    rows = [reader_row(reader) for reader in readers]
    html = state.template("organizer").render(
        readers=rows,
        finished=sum(reader.finished_at is not None for reader in readers),
        answered=sum(row.answered for row in rows),
        planned=sum(row.total for row in rows),
    )
    return HTMLResponse(html)


def reader_row(reader: Progress) -> ReaderRow:
    """Return a reader's progress in words; times are in UTC, to the minute."""
    seen = max(filter(None, (reader.last_shown_at, reader.last_answer_at)), default="")
    if reader.finished_at:
        link = "finished"
    elif reader.revoked_at:
        link = "revoked"
    elif reader.expires_at <= now():
        link = f"expired {reader.expires_at[:10]}"
    else:
        link = f"valid until {reader.expires_at[:10]}"
    return ReaderRow(
        name=reader.name,
        answered=reader.practice + reader.main,
        total=reader.practice_total + reader.main_total,
        last_seen=f"{seen[:10]} {seen[11:16]} UTC" if seen else "",
        link=link,
    )

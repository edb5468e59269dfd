"""Who asks: the visit behind a cookie, and whether a form was sent from one of its pages."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from histosynth.study.app.errors import Refusal
from histosynth.study.app.state import address_of, desk_of, network_of
from histosynth.study.records.answers import ORGANIZER, ReaderState

Role = Literal["reader", "organizer"]


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """A reader at a browser."""

    reader: ReaderState
    cookie: str
    address: str

    @property
    def csrf(self) -> str:
        """What forms of this visit hold. It follows from the cookie, which no script can read."""
        return hmac.digest(self.cookie.encode(), b"form", hashlib.sha256).hex()


def cookie_name(request: Request, role: Role) -> str:
    """Behind https, browsers keep a name with `__Host-` from being set by anyone but this host."""
    return f"__Host-{role}" if request.url.scheme == "https" else role


def welcome_in(request: Request, role: Role, token: str) -> Response:
    """Exchange the token of a link for a cookie, and lead to an address without it.

    Lax, not Strict: a browser that comes from a mail would not send a strict cookie along with this redirection.
    """
    desk, place = desk_of(request), network_of(request)
    if wait_s := desk.wrong_links.wait(place):
        raise Refusal(429, why="too many wrong links", wait_s=wait_s)
    address = address_of(request)
    if role == "reader":
        reader = desk.answers.reader_of(token, address=address)
        good = reader is not None
    else:
        reader, good = None, desk.answers.is_organizer(token, address=address)
    if not good:
        desk.wrong_links.take(place)
        text = "This link does not hold: it may be incomplete, expired, or replaced by a newer one. Please copy it whole, or ask whoever sent it for a new one."  # noqa: E501
        raise Refusal(404, text=text, noted=True)
    reply = RedirectResponse("/" if reader else "/organizer", 303)
    if reader and reader == desk.visits.reader(request.cookies.get(cookie_name(request, role), "")):
        return reply  # the same visit goes on: forms that stand open in another tab remain good
    cookie = desk.visits.open(reader, token=token)
    desk.answers.audit(reader.actor if reader else ORGANIZER, "link opened", address=address)
    secure = request.url.scheme == "https"
    reply.set_cookie(cookie_name(request, role), cookie, httponly=True, samesite="lax", secure=secure, path="/")
    return reply


def visitor(request: Request) -> Visitor:
    """The reader at this browser."""
    cookie = request.cookies.get(cookie_name(request, "reader"), "")
    reader = desk_of(request).visits.reader(cookie) if cookie else None
    if reader is None:
        raise Refusal(401, why="a cookie that holds no more" if cookie else "no cookie")
    request.state.actor = reader.actor
    return Visitor(reader=reader, cookie=cookie, address=address_of(request))


Known = Annotated[Visitor, Depends(visitor)]


def sender(request: Request, known: Known, csrf: Annotated[str, Form(max_length=100)] = "") -> Visitor:
    """The reader who sent a form from one of our pages, and not too often."""
    if not hmac.compare_digest(csrf.encode(), known.csrf.encode()):
        raise Refusal(403, why="no token of this visit")
    if wait_s := desk_of(request).posts.take(known.cookie):
        raise Refusal(429, why="too many forms", wait_s=wait_s)
    return known


Sender = Annotated[Visitor, Depends(sender)]

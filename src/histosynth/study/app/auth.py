"""Who asks: the visit behind a cookie, and whether a form was sent from one of its pages."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from histosynth.study.app.errors import RequestRejected
from histosynth.study.app.state import app_state, client_address, client_network
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


def start_visit(request: Request, role: Role, token: str) -> Response:
    """Exchange the token of a link for a cookie, and lead to an address without it.

    Lax, not Strict: a browser that comes from a mail would not send a strict cookie along with this redirection.
    """
    state, network = app_state(request), client_network(request)
    if retry_after_s := state.failed_links.wait(network):
        raise RequestRejected(429, reason="too many wrong links", retry_after_s=retry_after_s)
    address = client_address(request)
    if role == "reader":
        reader = state.answers.reader_by_token(token, address=address)
        good = reader is not None
    else:
        reader, good = None, state.answers.is_organizer(token, address=address)
    if not good:
        state.failed_links.take(network)
        text = "This link does not hold: it may be incomplete, expired, or replaced by a newer one. Please copy it whole, or ask whoever sent it for a new one."  # noqa: E501
        raise RequestRejected(404, text=text, logged=True)
    reply = RedirectResponse("/" if reader else "/organizer", 303)
    if reader and reader == state.visits.reader(request.cookies.get(cookie_name(request, role), "")):
        return reply  # the same visit goes on: forms that stand open in another tab remain good
    cookie = state.visits.open(reader, token=token)
    state.answers.audit(reader.actor if reader else ORGANIZER, "link opened", address=address)
    secure = request.url.scheme == "https"
    reply.set_cookie(cookie_name(request, role), cookie, httponly=True, samesite="lax", secure=secure, path="/")
    return reply


def current_visitor(request: Request) -> Visitor:
    """The reader at this browser."""
    cookie = request.cookies.get(cookie_name(request, "reader"), "")
    reader = app_state(request).visits.reader(cookie) if cookie else None
    if reader is None:
        raise RequestRejected(401, reason="a cookie that holds no more" if cookie else "no cookie")
    request.state.actor = reader.actor
    return Visitor(reader=reader, cookie=cookie, address=client_address(request))


SignedIn = Annotated[Visitor, Depends(current_visitor)]


def form_visitor(request: Request, visitor: SignedIn, csrf: Annotated[str, Form(max_length=100)] = "") -> Visitor:
    """The reader who sent a form from one of our pages, and not too often."""
    if not hmac.compare_digest(csrf.encode(), visitor.csrf.encode()):
        raise RequestRejected(403, reason="no token of this visit")
    if retry_after_s := app_state(request).form_posts.take(visitor.cookie):
        raise RequestRejected(429, reason="too many forms", retry_after_s=retry_after_s)
    return visitor


SignedInPost = Annotated[Visitor, Depends(form_visitor)]

"""Authentication: the visit behind a cookie, and proof that a form was sent from one of its pages."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from histosynth.study.app.errors import RequestRejected
from histosynth.study.app.state import app_state
from histosynth.study.records.answers import ORGANIZER, ReaderState
from histosynth.web_server.clients import client_address, client_network, cookie_name

INVALID_LINK = (
    "This link is not valid. It may be incomplete, expired, or replaced by a newer one. Please copy the whole link, or "
    "ask the person who sent it for a new one."
)
Role = Literal["reader", "organizer"]


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """A reader in a browser."""

    reader: ReaderState
    cookie: str
    address: str

    @property
    def csrf(self) -> str:
        """The token in the forms of this visit, derived from the cookie, which no script can read."""
        return hmac.digest(self.cookie.encode(), b"form", hashlib.sha256).hex()


def start_visit(request: Request, role: Role, token: str) -> Response:
    """Exchange the token of a link for a cookie, and redirect to an address without the token.

    The cookie is Lax, not Strict: a browser that follows a link from an e-mail would not send a strict cookie along
    with this redirection.
    """
    # Rate limit: only invalid links count.
    state, network = app_state(request), client_network(request)
    if retry_after_s := state.invalid_links.retry_after_s(network):
        raise RequestRejected(429, reason="too many invalid links", retry_after_s=retry_after_s)
    # Check the token.
    address = client_address(request)
    if role == "reader":
        reader = state.answers.reader_by_token(token, address=address)
        valid = reader is not None
    else:
        reader, valid = None, state.answers.is_organizer(token, address=address)
    if not valid:
        state.invalid_links.take(network)
        raise RequestRejected(404, text=INVALID_LINK, logged=True)
    # Set the cookie, unless the browser has one of this reader: forms that are open in another tab stay valid.
    response = RedirectResponse("/" if reader else "/organizer", 303)
    if reader and reader == state.visits.reader(request.cookies.get(cookie_name(request, role), "")):
        return response
    if retry_after_s := state.link_opens.take(token):
        raise RequestRejected(429, reason="a link opened too often", retry_after_s=retry_after_s)
    cookie = state.visits.start(reader, token=token)
    state.answers.audit(reader.actor if reader else ORGANIZER, "link opened", address=address)
    secure = request.url.scheme == "https"
    response.set_cookie(cookie_name(request, role), cookie, httponly=True, samesite="lax", secure=secure, path="/")
    return response


def current_visitor(request: Request) -> Visitor:
    """Return the reader who is signed in to this browser."""
    cookie = request.cookies.get(cookie_name(request, "reader"), "")
    reader = app_state(request).visits.reader(cookie) if cookie else None
    if reader is None:
        raise RequestRejected(401, reason="a cookie that is no longer valid" if cookie else "no cookie")
    request.state.actor = reader.actor
    return Visitor(reader=reader, cookie=cookie, address=client_address(request))


SignedIn = Annotated[Visitor, Depends(current_visitor)]
"""A route with this parameter requires a signed-in reader."""


def form_visitor(request: Request, visitor: SignedIn, csrf: Annotated[str, Form(max_length=100)] = "") -> Visitor:
    """Return the reader who sent a form from one of our pages, within the rate limit."""
    if not hmac.compare_digest(csrf.encode(), visitor.csrf.encode()):
        raise RequestRejected(403, reason="no form token of this visit")
    if retry_after_s := app_state(request).form_posts.take(visitor.cookie):
        raise RequestRejected(429, reason="too many forms", retry_after_s=retry_after_s)
    return visitor


SignedInPost = Annotated[Visitor, Depends(form_visitor)]
"""A route with this parameter requires a form of a signed-in reader, with the form's token."""

"""Authentication: from a link to a cookie, and who it belongs to.

The checks are coroutines, since they wait for nothing: every tile passes them, and a change of threads would cost more.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.responses import RedirectResponse, Response

from histosynth.annotate.app.errors import RequestRejected
from histosynth.annotate.app.state import app_state
from histosynth.web_server.clients import client_address, client_network, cookie_name

_ROLE = "annotator"
_OWN_HEADER = "x-histosynth"


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Someone in a browser."""

    name: str


def open_link(request: Request, token: str) -> Response:
    """Exchange the token of a link for a cookie, and redirect to an address without the token."""
    state, network = app_state(request), client_network(request)
    if retry_after_s := state.invalid_links.retry_after_s(network):
        raise RequestRejected(429, retry_after_s=retry_after_s)
    name = state.links.name_of_token(token)
    if name is None:
        state.invalid_links.take(network)
        raise RequestRejected(404, text="This link is not valid. Please copy the whole link, or ask for a new one.")
    state.audit(name, "link opened", address=client_address(request))
    response = RedirectResponse("/", 303)
    response.set_cookie(
        cookie_name(request, _ROLE), state.links.cookie(name), httponly=True, samesite="lax",
        secure=request.url.scheme == "https", path="/", max_age=400 * 86400,
    )  # fmt: skip
    return response


async def current_visitor(request: Request) -> Visitor:
    """Return whose browser this is."""
    cookie = request.cookies.get(cookie_name(request, _ROLE), "")
    name = app_state(request).links.name_of_cookie(cookie)
    if name is None:
        raise RequestRejected(401)
    request.state.actor = name
    return Visitor(name=name)


SignedIn = Annotated[Visitor, Depends(current_visitor)]
"""A route with this parameter requires a cookie."""


async def drawing_visitor(request: Request, visitor: SignedIn) -> Visitor:
    """Return who sent a stroke from our page, within the rate limit, to a server that takes strokes."""
    state = app_state(request)
    if request.headers.get(_OWN_HEADER) != "1":
        raise RequestRejected(403)
    if state.read_only:
        raise RequestRejected(403, text="This server only shows outlines.", code="read_only")
    if retry_after_s := state.strokes.take(visitor.name):
        raise RequestRejected(429, retry_after_s=retry_after_s)
    return visitor


Annotator = Annotated[Visitor, Depends(drawing_visitor)]
"""A route with this parameter changes outlines."""

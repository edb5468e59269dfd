"""The middleware around an app: security headers on every response, a size limit for bodies, no cross-site POST.

Three defenses keep cross-site requests out. The cookie is SameSite. Here, the headers of a POST must name our own
origin (`Sec-Fetch-Site`, which all browsers have sent since 2023 and no script can forge, else `Origin`). And the app
requires something that no other site can send: a form with the token of its visit, or a header of its own. Older
browsers send `Origin: null` from a page without a referrer, as ours are: they are checked by the last of these.

The body is read here, before any route: a client that sends it slowly keeps a coroutine waiting, not a thread.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_TIMEOUT_S = 10
_LOGGER = logging.getLogger("uvicorn.error")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}


@dataclass(frozen=True, kw_only=True)
class SecurityPolicy:
    """What differs between apps."""

    max_body_bytes: int
    log_rejection: Callable[[Request, int, str], None]
    """Writes a rejected request, its status and the reason to the audit log of the app."""
    render_error: Callable[[Request, int], Response]
    """Returns the page, or the JSON, of a status."""
    cached: tuple[str, ...] = ()
    """Patterns of addresses whose responses say themselves how long a browser may keep them."""


class SecurityMiddleware:
    """ASGI middleware that checks every request and sets headers on every response."""

    def __init__(self, app: ASGIApp, policy: SecurityPolicy) -> None:
        self._app, self._policy = app, policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on to the app, or reject it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request, policy, started = Request(scope), self._policy, False

        # Outgoing: headers on every response.
        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers["Cache-Control"] = self._cache_control(request, message["status"], headers)
            await send(message)

        async def reject(status: int, reason: str) -> None:
            await run_in_threadpool(policy.log_rejection, request, status, reason)
            await policy.render_error(request, status)(scope, receive, send_with_headers)

        # Incoming: the origin, then the body.
        try:
            if request.method == "POST" and not is_same_origin(request):
                await reject(403, "from another origin")
                return
            try:
                body = await read_body(request, receive, max_bytes=policy.max_body_bytes)
            except TimeoutError:
                await reject(408, f"body incomplete after {BODY_TIMEOUT_S} s")
                return
            if body is None:
                await reject(413, f"body larger than {policy.max_body_bytes:,} bytes")
                return
            await self._app(scope, replay(body, receive), send_with_headers)
        except Exception:
            _LOGGER.exception("%s failed", request.method)
            if not started:
                await policy.render_error(request, 500)(scope, receive, send_with_headers)

    def _cache_control(self, request: Request, status: int, headers: MutableHeaders) -> str:
        """Return how long browsers may keep a response: pages and pictures not at all, unless the policy says so.

        Scripts and styles are kept: a page that was half loaded when the server died can then still send again.
        """
        path = request.url.path
        if status == 200 and path.startswith("/static/"):
            return "public, max-age=31536000, immutable"
        if status in (200, 304) and any(re.fullmatch(pattern, path) for pattern in self._policy.cached):
            return headers.get("Cache-Control", "no-store")
        return "no-store"


def is_same_origin(request: Request) -> bool:
    """Return whether the browser names our own origin, or is too old to name any."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin in (None, "null", f"{request.url.scheme}://{request.headers.get('host', '')}")


async def read_body(request: Request, receive: Receive, *, max_bytes: int) -> bytes | None:
    """Return the body; None if it is too large.

    Raises:
        TimeoutError: the body was not complete in time.
    """
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > max_bytes:
        return None
    body = bytearray()
    async with asyncio.timeout(BODY_TIMEOUT_S):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return bytes(body)
            body += message.get("body", b"")
            if len(body) > max_bytes:
                return None
            if not message.get("more_body", False):
                return bytes(body)


def replay(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    """Return a `receive` that first yields the body already read, then later messages."""
    replayed = False

    async def receive_again() -> Message:
        nonlocal replayed
        if replayed:
            return await receive()
        replayed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again

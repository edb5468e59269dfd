"""What every request passes: security headers on all replies, a body that is small and whole, and no foreign POST.

Cross-site requests are kept out thrice. The cookie is SameSite; here, a POST must say that it comes from this very
origin (`Sec-Fetch-Site`, which all browsers since 2023 send and no script can forge, else `Origin`); and its form must
hold the token of its visit (`entry`). Older browsers say `Origin: null` to a page that sends no referrer, as ours do:
those have the cookie and the token to show.

The body is read here, before any route: a client that sends it slowly keeps a coroutine waiting, not a thread.
"""

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from histosynth.study.app.errors import log_rejection, render_error

BODY_TIMEOUT_S = 10
MAX_BODY_BYTES = 64 * 1024
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


class SecurityMiddleware:
    """The middleware around the app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let through, or reject."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request, started = Request(scope), False

        async def sending(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                # What a reader sees is never kept by a browser or a proxy. Scripts and styles are: with them at hand, a
                # page that has loaded half when the server dies still knows how to send its answer again.
                fixed = message["status"] == 200 and request.url.path.startswith("/static/")
                headers["Cache-Control"] = "public, max-age=31536000, immutable" if fixed else "no-store"
            await send(message)

        async def reject(status: int, reason: str) -> None:
            await run_in_threadpool(log_rejection, request, status, reason)
            await render_error(request, status)(scope, receive, sending)

        try:
            if request.method == "POST" and not is_same_origin(request):
                await reject(403, "from another origin")
                return
            try:
                body = await read_body(request, receive)
            except TimeoutError:
                await reject(408, f"no whole body within {BODY_TIMEOUT_S} s")
                return
            if body is None:
                await reject(413, f"a body of more than {MAX_BODY_BYTES:,} bytes")
                return
            await self._app(scope, replay(body, receive), sending)
        except Exception:
            request.app.state.study.logger.exception("%s failed", request.method)
            if not started:
                await render_error(request, 500)(scope, receive, sending)


def is_same_origin(request: Request) -> bool:
    """Whether the browser says that one of our own pages asks, or is too old to say."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin in (None, "null", f"{request.url.scheme}://{request.headers.get('host', '')}")


async def read_body(request: Request, receive: Receive) -> bytes | None:
    """The body; None where it is too large.

    Raises:
        TimeoutError: it did not come in time.
    """
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced) > MAX_BODY_BYTES:
        return None
    body = bytearray()
    async with asyncio.timeout(BODY_TIMEOUT_S):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return bytes(body)
            body += message.get("body", b"")
            if len(body) > MAX_BODY_BYTES:
                return None
            if not message.get("more_body", False):
                return bytes(body)


def replay(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    """A `receive` that gives the body that was read, then what comes after."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again

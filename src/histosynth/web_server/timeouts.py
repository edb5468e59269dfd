"""Limits for slow clients: a deadline for headers (here) and one for bodies (`security`); both are limited in size.

Uvicorn's keep-alive timeout starts after the first response, and any byte cancels it: a client that sends one byte of
its headers per minute would hold a connection indefinitely. `HeaderTimeoutProtocol` closes the connection unless the
headers are complete within `HEADER_TIMEOUT_S` of connecting or, on a kept-alive connection, of their first byte. Above
`MAX_OPEN` connections it closes new ones at once, before the process runs out of file descriptors (often 1,024). Both
are logged once per minute and network, so that no client can fill the log.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from histosynth.web_server.limits import RateLimiter, network

HEADER_TIMEOUT_S = 10
_KEEP_ALIVE_TIMEOUT_S = 30
_MAX_HEADER_BYTES = 16 * 1024
_MAX_CONNECTIONS = 800
MAX_OPEN = 850
_BACKLOG = 100  # accepted at once, before any of them can be closed
_log_limit = RateLimiter(burst=1, per_second=1 / 60)


class HeaderTimeoutProtocol(H11Protocol):
    """Uvicorn's HTTP/1.1 protocol with a timeout for request headers."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timeout."""
        super().connection_made(transport)
        if len(self.connections) > MAX_OPEN:
            self._log("more than %s connections", MAX_OPEN)
            self.transport.abort()
            return
        self._deadline = self.loop.call_later(HEADER_TIMEOUT_S, self._close_connection)

    def data_received(self, data: bytes) -> None:
        """Stop the timeout once the headers are complete; restart it at the first byte of the next request."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            if self._deadline is None:
                self._deadline = self.loop.call_later(HEADER_TIMEOUT_S, self._close_connection)
        else:
            self._stop_timeout()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timeout."""
        self._stop_timeout()
        super().connection_lost(exc)

    def _stop_timeout(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close_connection(self) -> None:
        self._deadline = None
        self._log("headers incomplete after %s s", HEADER_TIMEOUT_S)
        self.transport.close()

    def _log(self, reason: str, value: int) -> None:
        client = self.client[0] if self.client else "?"
        if not _log_limit.take(f"{network(client)} {reason}"):
            self.logger.warning(f"closed a connection of %s: {reason}", client, value)


def server_settings() -> dict[str, Any]:
    """Return the settings to start uvicorn with: `uvicorn.run(app, host=…, port=…, **server_settings())`.

    There is no access log, because it would contain the tokens of links; the audit log records what matters.
    """
    return {
        "http": HeaderTimeoutProtocol,
        "ws": "none",
        "access_log": False,
        "server_header": False,
        "timeout_keep_alive": _KEEP_ALIVE_TIMEOUT_S,
        "timeout_graceful_shutdown": 10,
        "limit_concurrency": _MAX_CONNECTIONS,
        "backlog": _BACKLOG,
        "h11_max_incomplete_event_size": _MAX_HEADER_BYTES,
    }

"""What a slow client may take: headers within a deadline (here), bodies within another (`gate`), both limited in size.

Uvicorn's own timeout begins after the first reply, and ends with any byte; a client that sends its headers a byte a
minute would hold a connection for ever. `ImpatientProtocol` hangs up unless the headers are whole `HEADER_SECONDS`
after the connection was made or, in one that is kept alive, after their first byte.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10
_KEEP_ALIVE_SECONDS = 30
_MOST_HEADER_BYTES = 16 * 1024
_MOST_CONNECTIONS = 1000


class ImpatientProtocol(H11Protocol):
    """Uvicorn's HTTP/1.1, which hangs up on those who do not finish their headers."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEADER_SECONDS, self._hang_up)

    def data_received(self, data: bytes) -> None:
        """Stop the clock once the headers are whole, start it with the first byte of the next request."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            if self._deadline is None:
                self._deadline = self.loop.call_later(HEADER_SECONDS, self._hang_up)
        else:
            self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop()
        super().connection_lost(exc)

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _hang_up(self) -> None:
        self._deadline = None
        client = self.client[0] if self.client else "?"
        self.logger.warning("%s took more than %s s for its headers: hung up", client, HEADER_SECONDS)
        self.transport.close()


def server_settings() -> dict[str, Any]:
    """What to start uvicorn with: `uvicorn.run(app, host=…, port=…, **server_settings())`.

    No access log, for it would hold the tokens of links; the audit log has what matters.
    """
    return {
        "http": ImpatientProtocol,
        "ws": "none",
        "access_log": False,
        "server_header": False,
        "timeout_keep_alive": _KEEP_ALIVE_SECONDS,
        "timeout_graceful_shutdown": 10,
        "limit_concurrency": _MOST_CONNECTIONS,
        "h11_max_incomplete_event_size": _MOST_HEADER_BYTES,
    }

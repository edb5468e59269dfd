"""Start a server on a socket that already listens, and stop it gracefully at any signal that ends a command."""

import signal
import socket
import warnings
from contextlib import suppress

from starlette.types import ASGIApp

from histosynth.errors import HistosynthError
from histosynth.web_server.timeouts import server_settings


def listen(host: str, port: int, *, served: str) -> socket.socket:
    """Return a listening socket, so that a port in use fails before anything is created or printed.

    Args:
        host: address to listen on.
        port: port to listen on; 0 for any.
        served: what is served, for messages: `the study`.

    Raises:
        HistosynthError: the address cannot be used.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]
        raise HistosynthError(
            f"cannot listen on {host}:{port} ({reason}); if {served} is not already being served, choose another "
            "--port or --host"
        ) from None
    if not str(listener.getsockname()[0]).startswith(("127.", "::1")):
        warnings.warn(
            f"{host} accepts connections from other machines without TLS: links and answers can be intercepted",
            stacklevel=2,
        )
    return listener


def address_of(listener: socket.socket) -> str:
    """Return the address of a listening socket as a URL."""
    address, port = listener.getsockname()[:2]
    return f"http://{f'[{address}]' if ':' in address else address}:{port}"


def serve(app: ASGIApp, listener: socket.socket) -> None:
    """Serve the app until a signal ends it. Proxy headers are trusted only if the proxy runs on this machine.

    A closed terminal (SIGHUP) ends the server as Ctrl-C and SIGTERM do: gracefully. Uvicorn handles the latter, and
    then sends them again to the handler of `main`, a KeyboardInterrupt.
    """
    import uvicorn

    config = uvicorn.Config(app, log_level="warning", forwarded_allow_ips="127.0.0.1", **server_settings())
    server = uvicorn.Server(config)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # not under nohup
        signal.signal(signal.SIGHUP, server.handle_exit)
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listener])

"""`histosynth study serve`: serve the page on which readers answer."""

import signal
import socket
import warnings
from contextlib import suppress
from pathlib import Path

import click

from histosynth.cli.study.options import database_option, study_argument
from histosynth.errors import HistosynthError
from histosynth.study import require


@click.command("serve", short_help="Serve the page on which readers answer.")
@study_argument
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on, usually behind a proxy.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option(
    "--new-organizer-link", is_flag=True, help="Print a new organizer's link; the older one is no longer valid."
)
@database_option
def command(study: Path, host: str, port: int, new_organizer_link: bool, database: str | None) -> None:
    """Serve STUDY's page until stopped. Every answer is on disk before the next case is shown, so stop it at any time.

    Back up the answers with `histosynth study backup`, also while the server runs.

    The organizer's link is printed at the first start. By default, only this machine can connect; for other readers,
    use a proxy with TLS in front of it (docs/how-to/reader-study.md).

    \b
      histosynth study serve study --port 8000
    """
    require("fastapi", "python_multipart", "sqlalchemy", "uvicorn")
    import uvicorn

    from histosynth.study.app import create_app, server_settings
    from histosynth.study.records.database import open_study
    from histosynth.study.records.links import create_organizer_link

    with open_study(study, database=database) as study_db, _listen(host, port) as listener:
        link = create_organizer_link(study_db, replace=new_organizer_link)
        if link is not None:
            click.echo(f"organizer    {link}\n             (shown only once; store it safely)")
        address, port = listener.getsockname()[:2]
        click.echo(f"serving      http://{f'[{address}]' if ':' in address else address}:{port}")
        # Proxy headers are trusted only if the proxy runs on this machine.
        config = uvicorn.Config(
            create_app(study_db), log_level="warning", forwarded_allow_ips="127.0.0.1", **server_settings()
        )
        server = uvicorn.Server(config)
        # A closed terminal (SIGHUP) ends the server as Ctrl-C and SIGTERM do: gracefully, with a closed database.
        # Uvicorn handles the latter, and then sends them again to the handler of `main`, a KeyboardInterrupt.
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # not under nohup
            signal.signal(signal.SIGHUP, server.handle_exit)
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, so that a port in use fails before anything is created or printed."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]
        raise HistosynthError(
            f"cannot listen on {host}:{port} ({reason}); if the study is not already being served, choose another "
            "--port or --host"
        ) from None
    if not str(listener.getsockname()[0]).startswith(("127.", "::1")):
        warnings.warn(
            f"{host} accepts connections from other machines without TLS: links and answers can be intercepted",
            stacklevel=2,
        )
    return listener

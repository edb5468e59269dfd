"""`histosynth study serve`: the page that readers answer on."""

import socket
import warnings
from contextlib import suppress
from pathlib import Path

import click

from histosynth.cli.study.options import database_option, study_argument
from histosynth.errors import HistosynthError
from histosynth.study import require


@click.command("serve", short_help="Serve the page that readers answer on.")
@study_argument
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; a proxy stands before it.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port to listen at.")
@click.option("--new-organizer-link", is_flag=True, help="Print a new organizer's link; the older one ends.")
@database_option
def command(study: Path, host: str, port: int, new_organizer_link: bool, database: str | None) -> None:
    """Serve STUDY's page until stopped. Every answer is on disk before the next case shows: stop it at any time.

    The organizer's link is printed at the first start. It listens to this machine alone; for readers elsewhere, put a
    proxy with TLS before it (docs/how-to/reader-study.md).

    \b
      histosynth study serve study --port 8000
    """
    require("fastapi", "python_multipart", "sqlalchemy", "uvicorn")
    import uvicorn

    from histosynth.study.app import create_app, server_settings
    from histosynth.study.records.database import open_study
    from histosynth.study.records.links import create_organizer_link

    opened = open_study(study, database=database)
    with _listening(host, port) as listener:
        link = create_organizer_link(opened, replace=new_organizer_link)
        url = opened.url.render_as_string(hide_password=False)
        opened.close()
        if link is not None:
            click.echo(f"organizer    {link}\n             (told once; keep it)")
        address, port = listener.getsockname()[:2]
        click.echo(f"serving      http://{f'[{address}]' if ':' in address else address}:{port}")
        # Headers of a proxy count only if it runs on this machine.
        config = uvicorn.Config(
            create_app(url), log_level="warning", forwarded_allow_ips="127.0.0.1", **server_settings()
        )
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens there, before anything else is done or told."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        why = str(error.strerror).partition(" (")[0]
        raise HistosynthError(
            f"cannot listen at {host}:{port} ({why}); is the study being served already? Else give another --port or "
            "--host"
        ) from None
    if not str(listener.getsockname()[0]).startswith(("127.", "::1")):
        warnings.warn(f"{host} is open to other machines, without TLS: links and answers can be read", stacklevel=2)
    return listener

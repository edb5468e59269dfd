"""`histosynth study serve`: serve the page on which readers answer."""

from pathlib import Path

import click

from histosynth.cli.study.options import database_option, study_argument
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
    from histosynth.study.app import create_app
    from histosynth.study.records.database import open_study
    from histosynth.study.records.links import create_organizer_link
    from histosynth.web_server.serving import address_of, listen, serve

    with open_study(study, database=database) as study_db, listen(host, port, served="the study") as listener:
        link = create_organizer_link(study_db, replace=new_organizer_link)
        if link is not None:
            click.echo(f"organizer    {link}\n             (shown only once; store it safely)")
        click.echo(f"serving      {address_of(listener)}")
        serve(create_app(study_db), listener)

"""`histosynth study links`: create, revoke or extend a reader's link."""

from pathlib import Path

import click

from histosynth.cli.study.options import database_option, study_argument
from histosynth.study import require


@click.command("links", short_help="Create, revoke or extend a reader's link.")
@click.argument("action", type=click.Choice(["new", "revoke", "extend"]))
@study_argument
@click.argument("reader")
@click.option(
    "--days", default=90, show_default=True, type=click.IntRange(1, 3650), help="Days from now until the link expires."
)
@database_option
def command(action: str, study: Path, reader: str, days: int, database: str | None) -> None:
    """Create a new link for READER (a name or number), revoke the link, or extend it. All answers are kept.

    \b
      histosynth study links new study "Reader 2"
      histosynth study links revoke study 2
      histosynth study links extend study 2 --days 30
    """
    require("sqlalchemy")
    from histosynth.study.records.database import open_study
    from histosynth.study.records.links import extend_link, new_link, revoke_link

    with open_study(study, database=database) as study_db:
        if action == "new":
            link = new_link(study_db, reader, days=days)
            click.echo(f"{link}\n(shown only once; older links of this reader no longer work)")
        elif action == "extend":
            click.echo(f"the link is valid until {extend_link(study_db, reader, days=days)}")
        else:
            revoke_link(study_db, reader)
            click.echo("the link is revoked")

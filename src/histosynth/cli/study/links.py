"""`histosynth study links`: give a reader a new link, end one, or let it hold longer."""

from pathlib import Path

import click

from histosynth.cli.study.options import database_option, study_argument
from histosynth.study import require


@click.command("links", short_help="A new link for a reader, or one revoked or extended.")
@click.argument("action", type=click.Choice(["new", "revoke", "extend"]))
@study_argument
@click.argument("reader")
@click.option("--days", default=90, show_default=True, type=click.IntRange(1, 3650), help="Days it holds from now.")
@database_option
def command(action: str, study: Path, reader: str, days: int, database: str | None) -> None:
    """Give READER (a name or number) a new link, revoke the link, or extend it. Answers stay in any case.

    \b
      histosynth study links new study "Reader 2"
      histosynth study links revoke study 2
      histosynth study links extend study 2 --days 30
    """
    require("sqlalchemy")
    from histosynth.study.records.database import open_study
    from histosynth.study.records.links import extend_link, new_link, revoke_link

    opened = open_study(study, database=database)
    if action == "new":
        click.echo(f"{new_link(opened, reader, days=days)}\n(told once; older links of this reader end)")
    elif action == "extend":
        click.echo(f"the link holds until {extend_link(opened, reader, days=days)}")
    else:
        revoke_link(opened, reader)
        click.echo("the link is revoked")

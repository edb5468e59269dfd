"""`histosynth study backup`: copy the database of a study, also while it is served."""

from pathlib import Path

import click

from histosynth.cli.study.options import database_option, study_argument
from histosynth.study import require


@click.command("backup", short_help="Copy the database, also while readers read.")
@study_argument
@click.argument("file", type=click.Path(path_type=Path))
@database_option
def command(study: Path, file: Path, database: str | None) -> None:
    """Copy the database of STUDY to FILE: all answers given so far, also while `study serve` runs.

    FILE reveals which cases are real, so only its owner can read it. It is one file; to restore it, stop the server and
    copy it to STUDY/study.db.

    \b
      histosynth study backup study backup/study-2026-01-31.db
    """
    require("sqlalchemy")
    from histosynth.study.records.backup import backup

    answers = backup(study, file, database=database)
    click.echo(f"{answers} answers in {file}")

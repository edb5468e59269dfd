"""Backup of a study: a complete copy of its SQLite file, checked before it gets its name."""

import os
from pathlib import Path

from sqlalchemy import URL, func, select

from histosynth.errors import HistosynthError
from histosynth.study.records.database import Database, open_study
from histosynth.study.records.tables import Reading


def backup(study: Path, file: Path, *, database: str | None = None) -> int:
    """Copy a study's database to `file`, also while it is served; return the number of answers in the copy.

    Raises:
        HistosynthError: `file` exists, there is no study, or its database is not SQLite or cannot be copied.
    """
    if file.exists():
        raise HistosynthError(f"{file} exists, and a backup is never overwritten; choose another name")
    temporary = file.with_name(f".{file.name}.tmp")
    with open_study(study, database=database) as source:
        if not source.is_sqlite:
            raise HistosynthError(
                f"{source.display_url} is not SQLite; use the backup program of that database, such as pg_dump"
            )
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)  # left by a killed command
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL, 0o600))  # it reveals which cases are real
        try:
            source.backup(temporary)
            answers = _count_answers(temporary)
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    return answers


def _count_answers(file: Path) -> int:
    with Database(URL.create("sqlite", database=str(file))).require_study() as copy, copy.read_session() as session:
        return session.scalar(select(func.count()).select_from(Reading)) or 0

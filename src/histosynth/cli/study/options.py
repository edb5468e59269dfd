"""Options that several steps of a study share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def database_option(command: F) -> F:
    """Add `--database`; the variable HISTOSYNTH_DATABASE keeps a password out of the list of processes."""
    return click.option(
        "--database",
        envvar="HISTOSYNTH_DATABASE",
        metavar="URL",
        help="Database of the study; or set HISTOSYNTH_DATABASE. Default: STUDY/study.db.",
    )(command)


def study_argument(command: F) -> F:
    """Add the argument for the study's directory."""
    return click.argument("study", type=click.Path(path_type=Path))(command)

"""`histosynth annotate`: outlines, one file per task."""

import click

from histosynth.cli.lazy_group import lazy_group

TASKS = ("compare",)


@click.command(
    "annotate", cls=lazy_group(__name__, TASKS, noun="task"), short_help="Compare the outlines of two annotators."
)
def command() -> None:
    """Compare the outlines of two annotators.

    \b
      histosynth annotate compare outlines/anna outlines/ben --slides SLIDES --out agreement
    """

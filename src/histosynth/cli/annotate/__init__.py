"""`histosynth annotate`: outlines, one file per task."""

from importlib import import_module

import click

from histosynth.errors import did_you_mean

TASKS = ("compare",)


class Tasks(click.Group):
    """A group that imports a task only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the tasks."""
        return list(TASKS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """Return the command in `histosynth.cli.annotate.<task>`."""
        if cmd_name not in TASKS:
            ctx.fail(f"no task '{cmd_name}'{did_you_mean(cmd_name, TASKS)}; the tasks are: {', '.join(TASKS)}")
        command: click.Command = import_module(f"histosynth.cli.annotate.{cmd_name}").command
        return command


@click.command("annotate", cls=Tasks, short_help="Compare the outlines of two annotators.")
def command() -> None:
    """Compare the outlines of two annotators.

    \b
      histosynth annotate compare outlines/anna outlines/ben --slides SLIDES --out agreement
    """

"""`histosynth annotate`: outlines, one file per task. The page is what opens if no task is named."""

import click

from histosynth.cli.lazy_group import lazy_group

TASKS = ("serve", "compare")
_HELP = ("--help", "-h")


class _DefaultGroup(lazy_group(__name__, TASKS, noun="task")):  # type: ignore[misc]
    """A group whose first task need not be named: `annotate SLIDES …` is `annotate serve SLIDES …`."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command: click.Command | None = super().get_command(ctx, cmd_name if cmd_name in TASKS else TASKS[0])
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*TASKS, *_HELP):
            args = [TASKS[0], *args]
        rest: list[str] = super().parse_args(ctx, args)
        return rest


@click.command("annotate", cls=_DefaultGroup, short_help="Outline tumor in the browser; compare annotators.")
def command() -> None:
    """Outline tumor on whole slides in the browser, and compare the outlines of two annotators.

    \b
      histosynth annotate slides/ --out outlines            # is: histosynth annotate serve …
      histosynth annotate compare outlines/anna outlines/ben --slides slides/ --out agreement
    """

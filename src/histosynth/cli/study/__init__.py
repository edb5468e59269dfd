"""`histosynth study`: the blinded reader study, one file per step."""

from importlib import import_module

import click

from histosynth.errors import did_you_mean

STEPS = ("plan", "create", "serve", "links", "backup", "export", "analyze")


class Steps(click.Group):
    """A group that imports a step only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the steps in the order of use."""
        return list(STEPS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """Return the command in `histosynth.cli.study.<step>`."""
        if cmd_name not in STEPS:
            ctx.fail(f"no step '{cmd_name}'{did_you_mean(cmd_name, STEPS)}; the steps are: {', '.join(STEPS)}")
        command: click.Command = import_module(f"histosynth.cli.study.{cmd_name}").command
        return command


@click.command("study", cls=Steps, short_help="Run a blinded reader study: real or synthetic?")
def command() -> None:
    """Run a blinded reader study: for each patch, readers decide real or synthetic and state their confidence.

    \b
      histosynth study plan --margin 0.10
      histosynth study create --real STORE --fake SAMPLES --cases 120 --readers 2 --out STUDY
      histosynth study serve STUDY
      histosynth study backup STUDY FILE
      histosynth study analyze STUDY --out REPORT
    """

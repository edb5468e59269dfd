"""`histosynth study`: the blinded reader study, one file a step."""

from importlib import import_module

import click

from histosynth.errors import did_you_mean

STEPS = ("plan", "create", "serve", "links", "export", "analyze")


class Steps(click.Group):
    """Looks a step up in its own module, as the verbs are looked up."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The steps in the order of use."""
        return list(STEPS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """The command of `histosynth.cli.study.<step>`."""
        if cmd_name not in STEPS:
            ctx.fail(f"no step '{cmd_name}'{did_you_mean(cmd_name, STEPS)}; there are: {', '.join(STEPS)}")
        command: click.Command = import_module(f"histosynth.cli.study.{cmd_name}").command
        return command


@click.command("study", cls=Steps, short_help="Ask readers, blinded: real or synthetic?")
def command() -> None:
    """Ask readers, patch by patch and blinded: real or synthetic, and how confident are you?

    \b
      histosynth study plan --margin 0.10
      histosynth study create --real STORE --fake SAMPLES --cases 120 --readers 2 --out STUDY
      histosynth study serve STUDY
      histosynth study analyze STUDY --out REPORT
    """

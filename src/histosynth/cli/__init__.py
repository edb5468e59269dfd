"""The command line: one file a verb, loaded when the verb is called."""

import errno
import os
import sys
from importlib import import_module

import click

from histosynth import __version__
from histosynth.errors import HistosynthError

VERBS = ("demo", "patches", "train", "sample", "evaluate", "info", "doctor")


class Verbs(click.Group):
    """Looks a verb up in its own module, so that `--help` is quick and no verb pays for another's imports."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order of use."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of `histosynth.cli.<verb>`."""
        if cmd_name not in VERBS:
            return None
        command: click.Command = import_module(f"histosynth.cli.{cmd_name}").command
        return command


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="histosynth")
def histosynth() -> None:
    """Synthetic histology by genotype: slides and outlines in; a diffusion model, synthetic patches and the evidence out.

    \b
    Start with `histosynth demo`. With slides of your own:
      histosynth patches SLIDES --outlines DIR --labels labels.csv --out STORE
      histosynth train STORE --out RUN
      histosynth sample RUN --out SAMPLES
      histosynth evaluate --real STORE --fake SAMPLES --out REPORT
    """


def main() -> None:
    """Run the command line. A user's mistake ends in one line and exit code 2, never in a traceback."""
    try:
        histosynth(prog_name="histosynth", standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        _say("stopped; the same command goes on where this one left off")
        sys.exit(130)
    except HistosynthError as error:
        _say(f"error: {error}")
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        place = f" at {error.filename}" if error.filename else ""
        _say(
            f"error: cannot write{place}: {error.strerror}; nothing half-written was left, so mend that and run the same command again"
        )
        sys.exit(2)


def _say(text: str) -> None:
    print(f"histosynth: {text}", file=sys.stderr)

"""The command line: one file a verb, loaded when the verb is called."""

import errno
import sys
import warnings
from importlib import import_module
from typing import NoReturn

import click

from histosynth import __version__
from histosynth.cli.options import main_process
from histosynth.errors import HistosynthError, Stopped, did_you_mean

VERBS = (
    "demo", "patches", "pack", "normalize", "train", "watch", "sample", "translate", "interpolate", "inpaint",
    "evaluate", "compare", "study", "export", "info", "doctor",
)  # fmt: skip
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


class Verbs(click.Group):
    """Looks a verb up in its own module, so that `--help` is quick and no verb pays for another's imports."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order of use."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """The command of `histosynth.cli.<verb>`."""
        if cmd_name not in VERBS:
            ctx.fail(f"no verb '{cmd_name}'{did_you_mean(cmd_name, VERBS)}; there are: {', '.join(VERBS)}")
        command: click.Command = import_module(f"histosynth.cli.{cmd_name}").command
        return command


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="histosynth")
def histosynth() -> None:
    """Synthetic histology by genotype: from slides and outlines to a diffusion model, its patches and the evidence.

    \b
    Start with `histosynth demo`. With slides of your own:
      histosynth patches SLIDES --outlines DIR --labels labels.csv --out STORE
      histosynth train STORE --out RUN
      histosynth sample RUN --out SAMPLES
      histosynth evaluate --real STORE --fake SAMPLES --out REPORT
    """


def main() -> None:
    """Run the command line. A user's mistake ends in one line and exit code 2, never in a traceback."""
    warnings.showwarning = lambda message, *_: _say(f"warning: {message}")
    try:
        histosynth(prog_name="histosynth", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "histosynth"
        _stop(f"{error.format_message().rstrip('.')}; see `{where} --help`")
    except (click.ClickException, HistosynthError) as error:
        _stop(str(error))
    except Stopped as error:
        _say(str(error))
        sys.exit(128 + error.signum)
    except click.Abort:
        _say("stopped; the same command goes on where this one left off")
        sys.exit(130)
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        place = f"{error.filename}: " if error.filename else ""
        _stop(f"{place}{error.strerror}; nothing half-written was left: mend that and run the same command again")


def _stop(text: str) -> NoReturn:
    _say(f"error: {' '.join(text.split())}")
    sys.exit(2)


def _say(text: str) -> None:
    """Tell the user; of many processes under a launcher, one is enough."""
    if main_process():
        print(f"histosynth: {text}", file=sys.stderr)

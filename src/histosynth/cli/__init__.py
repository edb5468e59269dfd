"""The command line: one file per verb, imported when the verb is called."""

import errno
import signal
import sys
import threading
import warnings
from types import FrameType
from typing import NoReturn

import click

from histosynth import __version__
from histosynth.cli.lazy_group import lazy_group
from histosynth.cli.options import echo, main_process
from histosynth.errors import HistosynthError, Stopped

VERBS = (
    "demo", "annotate", "patches", "pack", "normalize", "train", "watch", "sample", "translate", "interpolate",
    "inpaint", "evaluate", "compare", "study", "export", "info", "doctor",
)  # fmt: skip
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


@click.command(
    cls=lazy_group(__name__, VERBS, noun="verb"),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="histosynth")
def histosynth() -> None:
    """Synthetic histology by genotype: from slides and outlines to a diffusion model, its patches and the evidence.

    \b
    Start with `histosynth demo`. With your own slides:
      histosynth patches SLIDES --outlines DIR --labels labels.csv --out STORE
      histosynth train STORE --out RUN
      histosynth sample RUN --out SAMPLES
      histosynth evaluate --real STORE --fake SAMPLES --out REPORT
    """


def main() -> None:
    """Run the command line; a user's mistake ends in a one-line error and exit code 2, never in a traceback."""
    _end_by_signals_alike()
    warnings.showwarning = lambda message, *_: _print_message(f"warning: {message}")
    try:
        histosynth(prog_name="histosynth", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "histosynth"
        _exit_with_error(f"{error.format_message().rstrip('.')}; see `{where} --help`")
    except (click.ClickException, HistosynthError) as error:
        _exit_with_error(str(error))
    except Stopped as error:
        _print_message(str(error))
        sys.exit(128 + error.signum)
    except (click.Abort, KeyboardInterrupt) as error:
        interrupt = error if isinstance(error, KeyboardInterrupt) else error.__cause__
        _print_message("stopped; rerun the command to resume")
        # An interrupt inside `exec` of a string, as in some imports, makes CPython kill itself by SIGINT at its exit
        # although it was caught; another `exec` resets that (`run_eval_code_obj` in CPython's pythonrun.c).
        exec("")
        sys.exit(128 + (interrupt.args[0] if interrupt and interrupt.args else signal.SIGINT))
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        place = f"{error.filename}: " if error.filename else ""
        _exit_with_error(f"{place}{error.strerror}; no partial file was left; fix this and rerun the command")


def _end_by_signals_alike() -> None:
    """Make SIGTERM, which schedulers send, end the command as Ctrl-C does: by an exception, with every cleanup."""
    if threading.current_thread() is threading.main_thread():
        for signum in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(signum) != signal.SIG_IGN:  # as of a shell for a command in the background
                signal.signal(signum, _interrupt)


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt(signum)


def _exit_with_error(text: str) -> NoReturn:
    _print_message(f"error: {' '.join(text.split())}")
    sys.exit(2)


def _print_message(text: str) -> None:
    """Print a line on standard error; of several processes, only the first prints."""
    if main_process():
        echo(f"histosynth: {text}", err=True)

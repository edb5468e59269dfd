"""`histosynth watch`: progress of a run, in the terminal."""

import time
from dataclasses import asdict
from pathlib import Path

import click

from histosynth.cli.options import json_option, print_result


@click.command(short_help="Progress of a run, in the terminal.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--once", is_flag=True, help="Print once and exit.")
@click.option("--every", default=5.0, show_default=True, type=click.FloatRange(0.1), help="Seconds between updates.")
@json_option
def command(run: Path, once: bool, every: float, as_json: bool) -> None:
    """Show the progress of RUN until it ends: loss, rate, time left, the newest checkpoint and sample grid.

    The command reads only the files of the run, so it works from any machine with access to them.

    \b
      histosynth watch runs/lgg
      histosynth watch runs/lgg --once --json
    """
    from histosynth.training.progress import progress_text, read_progress

    while True:
        progress = read_progress(run)
        facts = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(progress).items()}
        if not (once or as_json):
            click.clear()
        print_result(facts, progress_text(progress), as_json=as_json)
        if once or progress.status != "running":
            return
        time.sleep(every)

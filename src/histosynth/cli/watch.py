"""`histosynth watch`: how a run is doing, in the terminal."""

import time
from dataclasses import asdict
from pathlib import Path

import click

from histosynth.cli.options import json_option, print_result


@click.command(short_help="How a run is doing, in the terminal.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--once", is_flag=True, help="Print once and end.")
@click.option("--every", default=5.0, show_default=True, type=click.FloatRange(0.1), help="Seconds between two looks.")
@json_option
def command(run: Path, once: bool, every: float, as_json: bool) -> None:
    """Show how far RUN is: loss, rate, time left, the newest checkpoint and sample grid; again and again until it ends.

    It reads the run's files and nothing else, so it works from any machine that sees them.

    \b
      histosynth watch runs/lgg
      histosynth watch runs/lgg --once --json
    """
    from histosynth.training.progress import progress_text, read_progress

    while True:
        found = read_progress(run)
        facts = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(found).items()}
        if not (once or as_json):
            click.clear()
        print_result(facts, progress_text(found), as_json=as_json)
        if once or found.status != "running":
            return
        time.sleep(every)

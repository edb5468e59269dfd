"""`histosynth demo`: from phantom slides to a report, with the commands that a user would type."""

import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import click

from histosynth.cli.evaluate import COPIES_FOUND

_PER_LABEL = 64


@click.command()
@click.option(
    "--out", default=Path("demo"), show_default=True, type=click.Path(path_type=Path), help="Directory of all results."
)
def command(out: Path) -> None:
    """Draw a small cohort of phantom slides and process it up to a report. Needs neither network nor data.

    The cohort has three genotypes with four patients each. The demo takes four to eight minutes on two cores.
    Rerun the command to resume after an interruption.
    """
    from histosynth.rundir import exclusive_lock
    from histosynth.slides.phantom import Cohort, draw_cohort

    started = time.perf_counter()
    cohort, store, run, samples, report = (out / name for name in ("cohort", "store", "run", "samples", "report"))
    slides = Cohort.at(cohort)
    with exclusive_lock(out):
        if not slides.labels.is_file():
            click.secho(f"Drawing 12 phantom slides, their outlines and labels into {cohort}", bold=True)
            draw_cohort(cohort)
    config = ["--config", "demo"]
    for verb in (
        ["patches", slides.slides, "--outlines", slides.outlines, "--labels", slides.labels, "--out", store, *config],
        ["train", store, "--out", run, *config],
        ["sample", run, "--out", samples, "--per-label", _PER_LABEL, "--autoguidance", 1.5],
        ["evaluate", "--real", store, "--fake", samples, "--out", report],
    ):
        _run([str(word) for word in verb])
    minutes = (time.perf_counter() - started) / 60
    click.secho(f"\nDone in {minutes:.1f} minutes.", bold=True)
    click.echo(
        f"The report: {report / 'report.html'}\n"
        f"The synthetic patches: {samples / 'contact_sheet.png'}\n\n"
        "With your own slides (QuPath outlines as GeoJSON, a table of slide_id and label):\n"
        "  histosynth patches SLIDES --outlines DIR --labels labels.csv --out STORE\n"
        "  histosynth train STORE --out RUN\n"
        "  histosynth sample RUN --out SAMPLES\n"
        "  histosynth evaluate --real STORE --fake SAMPLES --out REPORT"
    )


def _run(words: list[str]) -> None:
    """Print a command, run it in a new process, and exit with its code if it fails."""
    click.secho(f"\n$ histosynth {shlex.join(words)}", fg="cyan", bold=True)
    with subprocess.Popen([sys.executable, "-m", "histosynth", *words]) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt as interrupt:
            if interrupt.args == (signal.SIGTERM,):  # Ctrl-C has reached the process, too
                process.terminate()
            raise
    if code not in (0, COPIES_FOUND):  # copies do not fail the demo; the report lists them
        sys.exit(code if code >= 0 else 128 - code)

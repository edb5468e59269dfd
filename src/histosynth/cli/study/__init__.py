"""`histosynth study`: the blinded reader study, one file per step."""

import click

from histosynth.cli.lazy_group import lazy_group

STEPS = ("plan", "create", "serve", "links", "backup", "export", "analyze")


@click.command(
    "study", cls=lazy_group(__name__, STEPS, noun="step"), short_help="Run a blinded reader study: real or synthetic?"
)
def command() -> None:
    """Run a blinded reader study: for each patch, readers decide real or synthetic and state their confidence.

    \b
      histosynth study plan --margin 0.10
      histosynth study create --real STORE --fake SAMPLES --cases 120 --readers 2 --out STUDY
      histosynth study serve STUDY
      histosynth study backup STUDY FILE
      histosynth study analyze STUDY --out REPORT
    """

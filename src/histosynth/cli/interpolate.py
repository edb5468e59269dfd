"""`histosynth interpolate`: from one patch to another."""

from pathlib import Path

import click

from histosynth.cli.edit_options import edit_options, show_edits
from histosynth.cli.options import device_option, json_option, quiet_option


@click.command(short_help="From one patch to another, through their noise and labels.")
@edit_options
@click.option("--frames", default=7, show_default=True, type=click.IntRange(2), help="Patches, both ends included.")
@device_option
@quiet_option
@json_option
def command(
    run: Path,
    paths: tuple[Path, ...],
    out: Path,
    patches: tuple[str, ...],
    label: str | None,
    steps: int,
    guidance: float,
    frames: int,
    device: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Draw what lies between two patches: two --patch of STORE, or two image files.

    The ends are the patches as the model gives them back. Between two labels a frame has none in the store.

    \b
      histosynth interpolate runs/lgg store --patch S1_10240_2048 --patch S7_512_768 --out edits/between
      histosynth interpolate runs/lgg a.png b.png --label IDHwt --out edits/images --frames 11
    """
    from histosynth.sampling.edit import EditOptions, interpolate
    from histosynth.sampling.sources import Selection

    selection = Selection(paths=paths, patches=patches, label=label, split=None)
    options = EditOptions(steps=steps, guidance=guidance, device=device, progress=not quiet)
    show_edits(interpolate(run, selection, out=out, frames=frames, options=options), as_json=as_json)

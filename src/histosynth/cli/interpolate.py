"""`histosynth interpolate`: a sequence of patches from one patch to another."""

import click

from histosynth.cli.edit_options import EditArguments, edit_options, pass_edit_arguments, print_edits
from histosynth.cli.options import device_option, json_option, quiet_option


@click.command(short_help="A sequence from one patch to another, through their noise and labels.")
@edit_options
@click.option("--frames", default=7, show_default=True, type=click.IntRange(2), help="Patches, both ends included.")
@device_option
@quiet_option
@json_option
@pass_edit_arguments
def command(shared: EditArguments, frames: int, device: str | None, quiet: bool, as_json: bool) -> None:
    """Generate a sequence between two patches: two --patch of STORE, or two image files.

    The ends are the two patches as the model reconstructs them. Between two labels, a frame has no label in the store.

    \b
      histosynth interpolate runs/lgg store --patch S1_10240_2048 --patch S7_512_768 --out edits/between
      histosynth interpolate runs/lgg a.png b.png --label IDHwt --out edits/images --frames 11
    """
    from histosynth.sampling.edit import interpolate

    options = shared.options(device=device, quiet=quiet)
    result = interpolate(shared.run, shared.selection(), out=shared.out, frames=frames, options=options)
    print_edits(result, as_json=as_json)

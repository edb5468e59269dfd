"""`histosynth inpaint`: part of real patches generated again."""

from pathlib import Path

import click

from histosynth.cli.edit_options import (
    EditArguments,
    edit_options,
    pass_edit_arguments,
    print_edits,
    random_choice_options,
)
from histosynth.cli.options import device_option, json_option, quiet_option


@click.command(short_help="Part of real patches generated again, so that it fits the rest.")
@edit_options
@random_choice_options
@click.option(
    "--mask",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Image of the size of the patch, white where to inpaint. Default: a central square.",
)
@click.option(
    "--hole",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="Side of the central square, as a share of the patch side.",
)
@click.option("--to", metavar="LABEL", help="Label of the inpainted part. Default: the patch's own.")
@click.option("--variants", default=1, show_default=True, type=click.IntRange(1), help="Results per patch.")
@click.option(
    "--repeats",
    default=10,
    show_default=True,
    type=click.IntRange(1),
    help="Repetitions of each step; fewer are faster, but the result fits worse.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Seed of the first variant, and of the random choice of patches.",
)
@device_option
@quiet_option
@json_option
@pass_edit_arguments
def command(
    shared: EditArguments,
    mask: Path | None,
    hole: float,
    to: str | None,
    variants: int,
    repeats: int,
    seed: int,
    device: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Generate part of patches of STORE (or of image files of one patch each) again, so that it fits the rest.

    Pixels outside the mask stay equal to the bit. They are pixels of a patient, also in the result.

    \b
      histosynth inpaint runs/lgg store --out edits/inpainted --variants 3
      histosynth inpaint runs/lgg patch.png --label IDHwt --mask mask.png --out edits/patch
    """  # fmt: skip
    from histosynth.sampling.edit import inpaint
    from histosynth.sampling.mask import read_mask

    result = inpaint(
        shared.run,
        shared.selection(seed=seed),
        out=shared.out,
        hole=read_mask(mask) if mask else hole,
        to=to,
        variants=variants,
        seed=seed,
        repeats=repeats,
        options=shared.options(device=device, quiet=quiet),
    )
    print_edits(result, as_json=as_json)

"""`histosynth inpaint`: part of a patch drawn anew."""

from pathlib import Path

import click

from histosynth.cli.edit_options import draw_options, edit_options, show_edits
from histosynth.cli.options import device_option, json_option, quiet_option


@click.command(short_help="Part of real patches drawn anew, so that it fits the rest.")
@edit_options
@draw_options
@click.option(
    "--mask",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Image of the patch's size, white where to draw. Default: a square in the middle.",
)
@click.option(
    "--hole",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="Side of that square as a share of the patch's.",
)
@click.option("--to", metavar="LABEL", help="The label to draw. Default: the patch's own.")
@click.option("--variants", default=1, show_default=True, type=click.IntRange(1), help="Fillings of each patch.")
@click.option(
    "--repeats",
    default=10,
    show_default=True,
    type=click.IntRange(1),
    help="How often each step is taken; fewer are quicker and fit worse.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of the first filling.")
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
    split: str,
    per_label: int,
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
    """Draw part of patches of STORE (or of image files of one patch each) anew, so that it fits the rest.

    Pixels outside the mask stay as they are, to the bit: they are a patient's, also in the result.

    \b
      histosynth inpaint runs/lgg store --out edits/filled --variants 3
      histosynth inpaint runs/lgg patch.png --label IDHwt --mask mask.png --out edits/patch
    """  # fmt: skip
    from histosynth.sampling.edit import EditOptions, inpaint, read_mask
    from histosynth.sampling.sources import Selection

    selection = Selection(
        paths=paths, patches=patches, label=label, split=None if split == "all" else split, per_label=per_label,
        seed=seed,
    )  # fmt: skip
    result = inpaint(
        run, selection, out=out, hole=read_mask(mask) if mask else hole, to=to, variants=variants, seed=seed,
        repeats=repeats, options=EditOptions(steps=steps, guidance=guidance, device=device, progress=not quiet),
    )  # fmt: skip
    show_edits(result, as_json=as_json)

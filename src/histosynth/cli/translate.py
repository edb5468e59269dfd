"""`histosynth translate`: real patches as another genotype would look."""

from pathlib import Path

import click

from histosynth.cli.edit_options import draw_options, edit_options, show_edits
from histosynth.cli.options import device_option, json_option, quiet_option


@click.command(short_help="Real patches as they would look under another label.")
@edit_options
@draw_options
@click.option("--to", multiple=True, metavar="LABEL", help="The label to draw; repeatable. Default: all but its own.")
@click.option(
    "--depth",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="The share of the way to noise; less keeps more of the patch.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of the choice of patches.")
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
    to: tuple[str, ...],
    depth: float,
    seed: int,
    device: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Draw patches of STORE (or image files of one patch each) as they would look under another label.

    Each patch is led to its noise under its own label, and back under the other one, so that its layout stays. No
    chance is in it. The results are synthetic, have the split of their source, and the manifest names it.

    \b
      histosynth translate runs/lgg store --out edits/wt --to IDHwt --per-label 20
      histosynth translate runs/lgg patch.png --label IDHmut-codel --out edits/patch
    """  # fmt: skip
    from histosynth.sampling.edit import EditOptions, translate
    from histosynth.sampling.sources import Selection

    selection = Selection(
        paths=paths, patches=patches, label=label, split=None if split == "all" else split, per_label=per_label,
        seed=seed,
    )  # fmt: skip
    options = EditOptions(steps=steps, guidance=guidance, device=device, progress=not quiet)
    show_edits(translate(run, selection, out=out, to=to, depth=depth, options=options), as_json=as_json)

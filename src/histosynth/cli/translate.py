"""`histosynth translate`: real patches as they would look with another label."""

import click

from histosynth.cli.edit_options import (
    EditArguments,
    edit_options,
    pass_edit_arguments,
    print_edits,
    random_choice_options,
)
from histosynth.cli.options import device_option, json_option, quiet_option


@click.command(short_help="Real patches as they would look with another label.")
@edit_options
@random_choice_options
@click.option(
    "--to", multiple=True, metavar="LABEL", help="Target label; repeatable. Default: all labels but the patch's own."
)
@click.option(
    "--depth",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="How far to go toward noise, as a share of the full range; less keeps more of the patch.",
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of the random choice of patches."
)
@device_option
@quiet_option
@json_option
@pass_edit_arguments
def command(
    shared: EditArguments,
    to: tuple[str, ...],
    depth: float,
    seed: int,
    device: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Generate patches of STORE (or image files of one patch each) as they would look with another label.

    Each patch is inverted to noise under its own label and regenerated under the other, so that its layout is kept.
    The result is deterministic. Results are synthetic, have the split of their source, and the manifest names it.

    \b
      histosynth translate runs/lgg store --out edits/wt --to IDHwt --per-label 20
      histosynth translate runs/lgg patch.png --label IDHmut-codel --out edits/patch
    """  # fmt: skip
    from histosynth.sampling.edit import translate

    result = translate(
        shared.run,
        shared.selection(seed=seed),
        out=shared.out,
        to=to,
        depth=depth,
        options=shared.options(device=device, quiet=quiet),
    )
    print_edits(result, as_json=as_json)

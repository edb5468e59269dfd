"""`histosynth normalize`: the colors of a store, without its slides."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from histosynth.cli.options import json_option, quiet_option, show

if TYPE_CHECKING:
    from histosynth.normalization.normalize import NormalizeResult

_PATH = click.Path(path_type=Path)


@click.command("normalize", short_help="Stain normalization of a store.")
@click.argument("store", type=_PATH, metavar="STORE")
@click.option("--out", required=True, type=_PATH, metavar="OUT", help="Directory of the normalized store.")
@click.option(
    "--stain",
    default="macenko",
    show_default=True,
    metavar="METHOD",
    help="macenko, vahadane, reinhard, or a registered one.",
)
@click.option(
    "--stain-target",
    default="",
    metavar="IMAGE|STORE|median",
    help="Bring colors to those of an image or store, or to the median of all slides. Default: the built-in target.",
)
@click.option(
    "--stain-per",
    default="slide",
    show_default=True,
    type=click.Choice(["slide", "patch"]),
    help="One fit a slide on its pooled tissue pixels, or one a patch.",
)
@click.option("--device", help="Compute there, with PyTorch: cuda, mps … Default: NumPy, on the processor.")
@click.option("--preview", is_flag=True, help="Draw raw beside normalized patches: OUT/preview/stain.png.")
@quiet_option
@json_option
def command(
    store: Path,
    out: Path,
    stain: str,
    stain_target: str,
    stain_per: Literal["slide", "patch"],
    device: str | None,
    preview: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Normalize the stains of a store of raw colors: the same patches in the colors of one target.

    Every patch says what became of it, in the column `stain`: normalized, or skipped and why. A slide that allows no
    fit keeps its colors. The same command run again finishes a store that was interrupted.

    \b
      histosynth patches slides/ --out raw --set patches.stain=none
      histosynth normalize raw --out store --stain-target median --preview
    """
    from histosynth.normalization.normalize import normalize

    result = normalize(
        store,
        out=out,
        method=stain,
        target=stain_target,
        per=stain_per,
        device=device,
        preview=preview,
        progress=not quiet,
    )
    if result.parts_resumed:
        click.echo(f"histosynth: {result.parts_resumed} part(s) were done already", err=True)
    picture = str(result.preview) if result.preview else None
    show({**asdict(result), "store": str(out), "preview": picture}, _text(result), as_json=as_json)


def _text(result: "NormalizeResult") -> str:
    width = max(map(len, result.patches))
    lines = [f"{status:<{width}}  {count:>7,} patches" for status, count in result.patches.items()]
    if spread := result.between_slides:
        lines.append(
            f"distance between the stains of any two slides: {spread['raw']:.3f} raw, {spread['normalized']:.3f} "
            f"normalized ({spread['slides']} slides measured, {spread['not_measured']} not)"
        )
    if result.preview:
        lines.append(f"preview  {result.preview}")
    return "\n".join([*lines, f"next: histosynth train {result.store} --out RUN"])

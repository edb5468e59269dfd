"""`histosynth normalize`: stain normalization of a store, without its slides."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from histosynth.cli.options import echo, json_option, print_result, quiet_option

if TYPE_CHECKING:
    from histosynth.normalization.normalize import NormalizeResult

_PATH = click.Path(path_type=Path)


@click.command("normalize", short_help="Normalize the stains of a store.")
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
    help="Normalize to the stains of an image or store, or to the median of the training slides. Default: built in.",
)
@click.option(
    "--stain-per",
    default="slide",
    show_default=True,
    type=click.Choice(["slide", "patch"]),
    help="One fit per slide, on its pooled tissue pixels, or one per patch.",
)
@click.option(
    "--fallback",
    default="",
    metavar="METHOD",
    help="Method for slides that --stain cannot fit, such as reinhard. Default: they keep their colors.",
)
@click.option("--device", help="Compute with PyTorch on this device: cuda, mps … Default: NumPy on the CPU.")
@click.option("--preview", is_flag=True, help="Draw raw beside normalized patches: OUT/preview/stain.png.")
@quiet_option
@json_option
def command(
    store: Path,
    out: Path,
    stain: str,
    stain_target: str,
    stain_per: Literal["slide", "patch"],
    fallback: str,
    device: str | None,
    preview: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Normalize the stains of a store of raw patches to those of one target.

    The column `stain` records the status of each patch: normalized, or skipped with the reason. A slide without a valid
    fit keeps its colors, or is normalized by the method of --fallback. Rerun the command to resume after an
    interruption.

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
        fallback=fallback,
        device=device,
        preview=preview,
        progress=not quiet,
    )
    if result.parts_resumed:
        echo(f"histosynth: {result.parts_resumed} part(s) were complete already", err=True)
    picture = str(result.preview) if result.preview else None
    print_result({**asdict(result), "store": str(out), "preview": picture}, _text(result), as_json=as_json)


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
